//! Making a connection: token, request, TLS, and what a refusal means.

use std::io;
use std::sync::{Arc, OnceLock};

use http::{HeaderName, HeaderValue, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::error::{BuildError, Reason};
use crate::options::{Options, TokenPlace, TokenSource};
use crate::retry::Shown;

/// What is spoken.
const PROTOCOL: &str = "tidings.v1.json";

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection that was not made.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// The token that was shown.
    pub(crate) shown: Shown,
}

/// Fetches a token and connects, in the time that the options give.
pub(crate) async fn open(options: &Options) -> Result<Socket, Failure> {
    let mut shown = None;
    let opening = async {
        shown = token(&options.token).await?;
        let request = request(options, shown.as_deref()).map_err(|error| match error {
            BuildError::Token => Reason::Token(error.into()),
            error => Reason::Protocol(error.into()),
        })?;
        let connector = (request.uri().scheme_str() == Some("wss")).then(|| Connector::Rustls(tls()));
        let connected = connect_async_tls_with_config(request, None, true, connector).await;
        connected.map(|(socket, _)| socket).map_err(reason)
    };
    let opened = timeout(options.connect_within, opening).await;
    opened.unwrap_or(Err(Reason::TimedOut(options.connect_within))).map_err(|reason| Failure { reason, shown })
}

async fn token(source: &TokenSource) -> Result<Shown, Reason> {
    match source {
        TokenSource::None => Ok(None),
        TokenSource::Fixed(token) => Ok(Some(token.clone())),
        TokenSource::Fetched(fetch) => fetch().await.map(Some).map_err(Reason::Token),
    }
}

/// The request of a handshake.
pub(crate) fn request(options: &Options, token: Option<&str>) -> Result<Request<()>, BuildError> {
    let request = address(options, token).into_client_request();
    let mut request = request.map_err(|error| BuildError::Url(error.into()))?;
    if !matches!(request.uri().scheme_str(), Some("ws" | "wss")) {
        return Err(BuildError::Url("it begins with neither ws:// nor wss://".into()));
    }
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_static(PROTOCOL));
    for (name, value) in &options.headers {
        let wrong = || BuildError::Header(name.clone());
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::try_from(value).map_err(|_| wrong())?);
    }
    if let Some(token) = token.filter(|_| options.token_place == TokenPlace::Header) {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| BuildError::Token)?;
        value.set_sensitive(true);
        headers.insert("authorization", value);
    }
    Ok(request)
}

fn address(options: &Options, token: Option<&str>) -> String {
    let mut address = options.url.clone();
    let token = token.filter(|_| options.token_place == TokenPlace::Query).map(|token| ("access_token", token));
    let query = options.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in query.chain(token) {
        address.push(if address.contains('?') { '&' } else { '?' });
        address.extend(utf8_percent_encode(name, ENCODED));
        address.push('=');
        address.extend(utf8_percent_encode(value, ENCODED));
    }
    address
}

/// The system's roots, with ring: whatever else an application brings, there is no choice that it would have to make.
fn tls() -> Arc<ClientConfig> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        // A root that cannot be read is one that is not trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("ring speaks TLS 1.2 and 1.3");
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    });
    Arc::clone(config)
}

/// What an error of the handshake means.
fn reason(error: Error) -> Reason {
    match error {
        Error::Http(response) => Reason::Status(response.status().as_u16()),
        Error::Io(error) if is_cut(&error) => Reason::Lost(error.into()),
        // rustls speaks through errors of the connection.
        Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => Reason::Tls(error.into()),
        Error::Io(error) => Reason::Unreachable(error),
        Error::Tls(error) => Reason::Tls(error.into()),
        error @ (Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake)) => {
            Reason::Lost(error.into())
        }
        error => Reason::Protocol(error.into()),
    }
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Options {
        let mut options = Options::new("wss://example.org/prod".to_owned());
        options.query.push(("user".to_owned(), "ü&b".to_owned()));
        options.headers.push(("X-Api-Key".to_owned(), "k".to_owned()));
        options
    }

    #[test]
    fn the_token_goes_into_a_header_that_is_not_shown_or_into_the_query() {
        let mut options = options();
        let made = request(&options, Some("secret")).unwrap();
        assert_eq!(made.uri(), "wss://example.org/prod?user=%C3%BC%26b");
        assert_eq!(made.headers()["authorization"], "Bearer secret");
        assert!(made.headers()["authorization"].is_sensitive());
        assert_eq!(made.headers()["sec-websocket-protocol"], PROTOCOL);
        assert_eq!(made.headers()["x-api-key"], "k");
        options.token_place = TokenPlace::Query;
        let made = request(&options, Some("se/cret")).unwrap();
        assert_eq!(made.uri(), "wss://example.org/prod?user=%C3%BC%26b&access_token=se%2Fcret");
        assert!(!made.headers().contains_key("authorization"));
    }

    #[test]
    fn what_cannot_be_sent_is_told_without_a_secret() {
        let error = |change: fn(&mut Options)| {
            let mut options = options();
            change(&mut options);
            request(&options, Some("a\nb")).unwrap_err()
        };
        assert!(matches!(error(|options| options.url = "nowhere".to_owned()), BuildError::Url(_)));
        assert!(matches!(error(|options| options.url = "https://example.org".to_owned()), BuildError::Url(_)));
        let header = error(|options| options.headers.push(("x".to_owned(), "hidden\n".to_owned())));
        assert_eq!(header.to_string(), "the header x is not valid");
        assert!(matches!(error(|_| {}), BuildError::Token));
    }

    #[test]
    fn a_handshake_that_breaks_off_is_a_lost_connection_and_another_protocol_is_not() {
        let protocol = |error| reason(Error::Protocol(error));
        assert!(matches!(protocol(ProtocolError::HandshakeIncomplete), Reason::Lost(_)));
        assert!(matches!(protocol(ProtocolError::MissingUpgradeWebSocketHeader), Reason::Protocol(_)));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(matches!(reason(Error::Io(refused)), Reason::Unreachable(_)));
        assert!(matches!(reason(Error::Io(io::ErrorKind::ConnectionReset.into())), Reason::Lost(_)));
    }
}
