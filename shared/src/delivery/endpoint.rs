//! Posts to sockets over the SDK's own HTTP client, without what the SDK does anew for each call.
//!
//! For one `PostToConnection` the SDK puts together its layers of configuration, resolves endpoint, identity and
//! authentication scheme, and asks each interceptor: several times what the post itself costs, and the same for every
//! member of an audience. `docs/performance.md` has the profile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::time::timeout;

use super::sign::{self, CONTENT_TYPE, Signer};
use crate::ids::Socket;

/// Everything but what RFC 3986 calls unreserved, as signatures want it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &ENCODED.remove(b'/');
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidings/", env!("CARGO_PKG_VERSION")));

/// The API Gateway Management API at one endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: SharedHttpConnector,
    signer: Signer,
    /// Scheme, host and the stage's path.
    base: String,
    /// The stage's path and `/@connections/`, as it is signed.
    signed_path: String,
    token: Option<HeaderValue>,
    deadline: Duration,
}

/// An endpoint that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {endpoint:?} is not a URL such as https://abcdef1234.execute-api.us-east-1.amazonaws.com/dev")]
pub struct InvalidEndpoint {
    endpoint: String,
}

/// A message with its hash, which is part of each signature.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    hash: Arc<str>,
}

impl Message {
    pub(super) fn new(bytes: Bytes) -> Self {
        let hash = sign::hash(&bytes).into();
        Self { bytes, hash }
    }
}

/// What a post was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty for a post that was taken.
    pub(super) body: Bytes,
}

/// Why there is no answer. The operation is named as the SDKs name theirs: `tests/suite/roles.rs` reads in the programs
/// what they can call.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("ApiGatewayManagementApi.PostToConnection had no answer within {0:?}")]
    TimedOut(Duration),
    #[error("ApiGatewayManagementApi.PostToConnection could not be sent")]
    Connector(#[from] aws_smithy_runtime_api::client::result::ConnectorError),
    #[error("the answer broke off")]
    Body(#[from] aws_smithy_types::byte_stream::error::Error),
    #[error("the post cannot be written")]
    Request(#[from] http::Error),
    #[error("the post cannot be written")]
    SdkRequest(#[from] aws_smithy_runtime_api::http::HttpError),
}

impl PostError {
    /// Whether another attempt would be the same.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Request(_) | Self::SdkRequest(_))
    }
}

impl Sockets {
    /// Posts to `endpoint` (`https://…/<stage>`) through `connector`; each post has `deadline` to succeed.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        connector: SharedHttpConnector,
        deadline: Duration,
    ) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint { endpoint: endpoint.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| invalid())?;
        let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(invalid());
        };
        // Clients leave the scheme's own port out of the header that is signed.
        let own_port = if scheme == "https" { 443 } else { 80 };
        let host = match uri.port_u16().filter(|port| *port != own_port) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let stage = uri.path().trim_end_matches('/');
        let token = credentials.session_token().map(HeaderValue::from_str).transpose().map_err(|_| invalid())?;
        Ok(Self(Arc::new(Inner {
            connector,
            base: format!("{scheme}://{host}{stage}/@connections/"),
            signed_path: format!("{}/%40connections/", percent_encode(stage.as_bytes(), PATH)),
            signer: Signer::new(credentials, region.to_owned(), host),
            token,
            deadline,
        })))
    }

    /// Posts a message to a socket.
    pub(super) async fn post(&self, socket: &Socket, message: &Message) -> Result<Answer, PostError> {
        let request = self.0.request(socket, message, SystemTime::now())?;
        let exchange = async {
            let answer = self.0.connector.call(request).await?;
            read(answer).await
        };
        timeout(self.0.deadline, exchange).await.unwrap_or(Err(PostError::TimedOut(self.0.deadline)))
    }
}

impl Inner {
    fn request(&self, socket: &Socket, message: &Message, now: SystemTime) -> Result<HttpRequest, PostError> {
        let id = percent_encode(socket.as_str().as_bytes(), ENCODED).to_string();
        let path = format!("{}{}", self.signed_path, percent_encode(id.as_bytes(), ENCODED));
        let signature = self.signer.sign(&path, &message.hash, now);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{id}", self.base))
            .header(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))
            .header(header::USER_AGENT, AGENT)
            .header("x-amz-date", signature.date)
            .header(header::AUTHORIZATION, signature.authorization);
        if let Some(token) = &self.token {
            request = request.header("x-amz-security-token", token);
        }
        Ok(request.body(SdkBody::from(message.bytes.clone()))?.try_into()?)
    }
}

/// Reads an answer to its end, or its connection could not be used again.
async fn read(answer: HttpResponse) -> Result<Answer, PostError> {
    let status = answer.status().as_u16();
    let body = match answer.body().content_length() {
        Some(0) => Bytes::new(),
        _ => ByteStream::new(answer.into_body()).collect().await?.into_bytes(),
    };
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(endpoint: &str) -> Result<Sockets, InvalidEndpoint> {
        let credentials = Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test");
        let connector = crate::aws::connector_to(endpoint);
        Sockets::new(endpoint, "us-east-1", credentials, connector, Duration::from_secs(1))
    }

    #[test]
    fn a_post_goes_to_the_socket_below_the_stage_and_is_signed() {
        for (endpoint, uri) in [
            ("http://127.0.0.1:3030/dev", "http://127.0.0.1:3030/dev/@connections/a%3D"),
            ("http://127.0.0.1:80/dev/", "http://127.0.0.1/dev/@connections/a%3D"),
            ("http://localhost", "http://localhost/@connections/a%3D"),
        ] {
            let sockets = sockets(endpoint).unwrap();
            let message = Message::new(Bytes::from_static(b"{}"));
            let request = sockets.0.request(&Socket::parse("a=").unwrap(), &message, SystemTime::now()).unwrap();
            assert_eq!((request.method(), request.uri()), ("POST", uri));
            assert_eq!(request.headers().get("x-amz-security-token"), Some("token"));
            let authorization = request.headers().get("authorization").unwrap();
            assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_refused_by_name() {
        for endpoint in ["", "abc", "ftp://host/dev", "/dev"] {
            let error = sockets(endpoint).unwrap_err();
            assert!(error.to_string().contains(&format!("{endpoint:?}")), "{error}");
        }
    }
}
