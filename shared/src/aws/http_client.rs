//! The ways to services: which connections, which TLS.

use std::sync::LazyLock;
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// An HTTP client without anything of AWS in it, for posts to sockets.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The SDK's own HTTP stack for what is not AWS: HTTP and HTTPS, no redirects, no timeout.
#[cfg(feature = "sdk")]
#[must_use]
pub fn connector() -> Connector {
    Connector::builder().tls_provider(TLS).build()
}

const TLS: Provider = Provider::Rustls(CryptoMode::Ring);

/// How long to wait for a connection to a service of AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to a service. The SDK's own client would read the system's certificates once for each client that is made and
/// once more at its first call.
pub(super) fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
    let connector = shared_connector(endpoint.unwrap_or_default());
    http_client_fn(move |_, _| connector.clone())
}

/// Connections that all clients share which speak TLS, or all that do not.
fn shared_connector(endpoint: &str) -> SharedHttpConnector {
    static PLAIN: LazyLock<SharedHttpConnector> = LazyLock::new(|| connector_to("http://"));
    static SECRET: LazyLock<SharedHttpConnector> = LazyLock::new(|| connector_to("https://"));
    if endpoint.starts_with("http://") { PLAIN.clone() } else { SECRET.clone() }
}

/// Connections to services such as the one at `endpoint`. Only local endpoints speak plain HTTP, and then nothing of TLS
/// is loaded.
#[must_use]
pub fn connector_to(endpoint: &str) -> SharedHttpConnector {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let builder = Connector::builder().connector_settings(settings);
    SharedHttpConnector::new(match endpoint.starts_with("http://") {
        true => builder.build_http(),
        false => builder.tls_provider(TLS).build(),
    })
}

/// A client for posts to the endpoint, over HTTP/1.1: with HTTP/2 all posts of a worker would share one connection, and so
/// wait for one another. As with [`connector_to`], plain HTTP reads no certificates.
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
    use http::Request;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn posts_do_not_offer_http_2() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let client = http_client_to(&url).unwrap();
        let post = tokio::spawn(client.request(Request::post(url).body(Full::default()).unwrap()));
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
}
