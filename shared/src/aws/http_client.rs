//! The way to services: which connections, which TLS.

use std::error::Error;
use std::future::ready;
use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::transport::{Exchange, Transport};

/// An HTTP client: HTTP/1.1 and TLS, no redirects, no timeout but that of a connection. The SDK's body is one that can
/// stream.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, SdkBody>;

/// How long to wait for a connection to a service of AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to a service. The SDK's own client would read the system's certificates once for each client that is made and
/// once more at its first call.
pub(super) fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(shared(endpoint.unwrap_or_default()));
    http_client_fn(move |_, _| connector.clone())
}

/// Connections that all clients share which speak TLS, or all that do not.
pub(super) fn shared(endpoint: &str) -> Way {
    static PLAIN: LazyLock<Way> = LazyLock::new(|| Way::to("http://"));
    static SECRET: LazyLock<Way> = LazyLock::new(|| Way::to("https://"));
    if endpoint.starts_with("http://") { PLAIN.clone() } else { SECRET.clone() }
}

/// Connections to services such as the one at `endpoint`. Only local endpoints speak plain HTTP, and then nothing of TLS
/// is loaded. Where TLS has nobody to trust, each call says so.
#[cfg(any(feature = "sdk", test))]
#[must_use]
pub fn connector_to(endpoint: &str) -> SharedHttpConnector {
    SharedHttpConnector::new(Way::to(endpoint))
}

/// A client, or why there is none: the system's certificates cannot be read.
#[derive(Debug, Clone)]
pub(super) struct Way(Result<HttpClient, String>);

impl Way {
    fn to(endpoint: &str) -> Self {
        Self(http_client_to(endpoint).map_err(|error| crate::describe(&error)))
    }
}

impl Transport for HttpClient {
    fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
        let answer = self.request(request.map(SdkBody::from));
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            // To its end, or its connection could not be used again.
            let body = match body.is_end_stream() {
                true => Bytes::new(),
                false => body.collect().await?.to_bytes(),
            };
            Ok(Response::from_parts(head, body))
        })
    }
}

impl Transport for Way {
    fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
        match &self.0 {
            Ok(client) => client.send(request),
            Err(reason) => Box::pin(ready(Err(reason.as_str().into()))),
        }
    }
}

impl SdkConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = match &self.0 {
            Ok(client) => client,
            Err(reason) => return HttpConnectorFuture::ready(Err(ConnectorError::other(reason.as_str().into(), None))),
        };
        let answer = match request.try_into_http1x() {
            Ok(request) => client.request(request),
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(connector_error)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tells the SDK what may be tried again: a connection that was not made or that broke.
fn connector_error(error: hyper_util::client::legacy::Error) -> ConnectorError {
    let (mut source, mut is_incomplete): (Option<&(dyn Error + 'static)>, _) = (error.source(), false);
    let mut is_passing = error.is_connect();
    while let Some(cause) = source {
        let hyper = cause.downcast_ref::<hyper::Error>();
        is_passing |=
            cause.is::<std::io::Error>() || hyper.is_some_and(|hyper| hyper.is_closed() || hyper.is_canceled());
        is_incomplete |= hyper.is_some_and(hyper::Error::is_incomplete_message);
        source = cause.source();
    }
    match is_passing {
        true => ConnectorError::io(error.into()),
        // The connection was closed while it was idle, at the moment of the request.
        false => ConnectorError::other(error.into(), is_incomplete.then_some(ErrorKind::TransientError)),
    }
}

/// A client for requests to the endpoint, over HTTP/1.1: with HTTP/2 all posts of a worker would share one connection, and
/// so wait for one another; DynamoDB and SQS speak nothing else. Plain HTTP reads no certificates.
///
/// # Errors
/// When the system has no certificates, and the endpoint needs them.
pub fn http_client_to(endpoint: &str) -> std::io::Result<HttpClient> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let ring = rustls::crypto::ring::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(ring.into());
    let config = config.with_safe_default_protocol_versions().map_err(std::io::Error::other)?;
    let config = match endpoint.starts_with("http://") {
        true => config.with_root_certificates(rustls::RootCertStore::empty()),
        false => config.with_native_roots()?,
    };
    let https = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth());
    let connector = https.https_or_http().enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn posts_do_not_offer_http_2() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let client = http_client_to(&url).unwrap();
        let post = tokio::spawn(client.request(Request::post(url).body(SdkBody::empty()).unwrap()));
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut header = [0; 5];
        socket.read_exact(&mut header).await.unwrap();
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        socket.read_exact(&mut hello).await.unwrap();
        post.abort();
        // The extension "application layer protocol negotiation" with HTTP/2 first, or alone. Without it a server speaks 1.1.
        for offer in [&b"\x02h2\x08http/1.1"[..], b"\x00\x10\x00\x05\x00\x03\x02h2"] {
            assert!(!hello.windows(offer.len()).any(|window| window == offer), "{hello:?}");
        }
    }

    async fn failure(endpoint: &str) -> ConnectorError {
        let request = HttpRequest::try_from(Request::get(endpoint).body(SdkBody::empty()).unwrap()).unwrap();
        connector_to(endpoint).call(request).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_that_is_refused_or_breaks_may_be_tried_again() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert_ne!(socket.read(&mut request).await.unwrap(), 0);
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-").await.unwrap();
            drop(socket);
        });
        let broken = failure(&url).await;
        answer.await.unwrap();
        assert!(broken.is_io() || broken.as_other() == Some(ErrorKind::TransientError), "{broken:?}");
        // Nobody listens any longer.
        let refused = failure(&url).await;
        assert!(refused.is_io(), "{refused:?}");
    }
}
