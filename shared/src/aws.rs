//! The one place where SDK clients are made.
//!
//! Lambda puts region and credentials into the environment, so nothing else is looked for: no profile, no metadata
//! service, no single sign-on, and none of the code that would look. TLS is rustls with ring; see
//! `docs/decisions/0001-tls.md`.

use std::sync::LazyLock;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, retry::RetryConfig};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedCredentialsProvider;
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

#[cfg(feature = "sdk")]
pub use aws_sdk_dynamodb as dynamodb;

use crate::config::{ConfigError, optional};
use crate::delivery::{InvalidEndpoint, Sockets};

/// DynamoDB and SQS answer within milliseconds, so the SDK's first pause of a second would be most of a client's wait.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// All attempts of one call to DynamoDB together: a function of ten seconds can still say what went wrong.
const DYNAMODB_DEADLINE: Duration = Duration::from_secs(5);

/// How calls to DynamoDB are repeated that fail for a passing reason: throttling, a failure of DynamoDB's own, a connection
/// that breaks. At most nine times, after random pauses of up to 50 ms, then twice that, up to a second: 2.8 s together on
/// average. Nothing else repeats them.
#[must_use]
pub fn dynamodb_retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(10)
        .with_initial_backoff(FIRST_BACKOFF)
        .with_max_backoff(Duration::from_secs(1))
}

/// Where AWS is, and as whom we call it.
#[derive(Debug, Clone)]
pub struct Aws {
    region: Region,
    credentials: Credentials,
    dynamodb_endpoint: Option<String>,
    management_endpoint: Option<String>,
    sqs_endpoint: Option<String>,
}

impl Aws {
    /// Reads `AWS_REGION`, the credentials that Lambda sets, and the SDKs' own endpoint variables
    /// (`AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`, `AWS_ENDPOINT_URL_SQS`). `AWS_ENDPOINT_URL`
    /// stands for those that are not set, but never for API Gateway's: it has no stage, and the stack's own address does.
    ///
    /// # Errors
    /// When region or credentials are missing; the error names the variable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(optional)
    }

    /// All services at one address of this machine, under the region and the keys of `tidings dev`: for tests, and for
    /// programs that play a part beside it.
    #[must_use]
    pub fn local(endpoint: &str) -> Self {
        let endpoint = || Some(endpoint.to_owned());
        Self {
            region: Region::from_static("us-east-1"),
            credentials: Credentials::new("local", "local", None, None, "local"),
            dynamodb_endpoint: endpoint(),
            management_endpoint: endpoint(),
            sqs_endpoint: endpoint(),
        }
    }

    fn from_variables(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let purpose = "Lambda sets it; elsewhere export it";
        let required = |name| variable(name).ok_or(ConfigError::Missing { name, purpose });
        let endpoint = |name| variable(name).or_else(|| variable("AWS_ENDPOINT_URL"));
        Ok(Self {
            region: Region::new(required("AWS_REGION")?),
            credentials: Credentials::new(
                required("AWS_ACCESS_KEY_ID")?,
                required("AWS_SECRET_ACCESS_KEY")?,
                variable("AWS_SESSION_TOKEN"),
                None,
                "environment",
            ),
            dynamodb_endpoint: endpoint("AWS_ENDPOINT_URL_DYNAMODB"),
            management_endpoint: variable("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI"),
            sqs_endpoint: endpoint("AWS_ENDPOINT_URL_SQS"),
        })
    }

    /// A DynamoDB client. Each attempt of a call has two seconds, all of them together five; see [`dynamodb_retries`].
    #[must_use]
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(2))
            .operation_timeout(DYNAMODB_DEADLINE)
            .build();
        let mut config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(behavior_version())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(http_client(self.dynamodb_endpoint.as_deref()))
            .timeout_config(timeouts)
            .retry_config(dynamodb_retries());
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// An SQS client with the SDK's own retries.
    #[must_use]
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::Config::builder()
            .behavior_version(behavior_version())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(http_client(self.sqs_endpoint.as_deref()))
            .retry_config(RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF));
        config.set_endpoint_url(self.sqs_endpoint.clone());
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// What a client of another service is made from. `variable` is the SDKs' endpoint variable of that service.
    #[must_use]
    pub fn config(&self, variable: &'static str) -> SdkConfig {
        let endpoint = optional(variable).or_else(|| optional("AWS_ENDPOINT_URL"));
        let mut config = SdkConfig::builder()
            .behavior_version(behavior_version())
            .region(self.region.clone())
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(http_client(endpoint.as_deref()))
            .retry_config(RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF));
        config.set_endpoint_url(endpoint);
        config.build()
    }

    /// A client of the API Gateway Management API at `endpoint`, unless the environment names another one. Its retries
    /// are off, so that delivery sees what happens; each post has `deadline` to succeed.
    #[must_use]
    pub fn management(&self, endpoint: &str, deadline: Duration) -> aws_sdk_apigatewaymanagement::Client {
        let endpoint = self.sockets_at(endpoint);
        let config = aws_sdk_apigatewaymanagement::Config::builder()
            .behavior_version(behavior_version())
            .region(self.region.clone())
            .credentials_provider(self.credentials.clone())
            .http_client(http_client(Some(endpoint)))
            .endpoint_url(endpoint)
            .timeout_config(TimeoutConfig::builder().operation_timeout(deadline).build())
            .retry_config(RetryConfig::disabled())
            .build();
        aws_sdk_apigatewaymanagement::Client::from_conf(config)
    }

    /// Where sockets are posted to, in a stack that says `endpoint`.
    fn sockets_at<'a>(&'a self, endpoint: &'a str) -> &'a str {
        self.management_endpoint.as_deref().unwrap_or(endpoint)
    }

    /// The same API for delivery, which posts a lot: without what the SDK does anew for each call.
    ///
    /// # Errors
    /// When the endpoint is not a URL, or the system has no certificates to check it with.
    pub fn sockets(&self, endpoint: &str, deadline: Duration) -> Result<Sockets, SocketsError> {
        let endpoint = self.sockets_at(endpoint);
        let client = http_client_to(endpoint).map_err(SocketsError::Certificates)?;
        Ok(Sockets::new(endpoint, self.region.as_ref(), self.credentials.clone(), client, deadline)?)
    }
}

/// Why nothing can be posted to sockets.
#[derive(Debug, thiserror::Error)]
pub enum SocketsError {
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// TLS has nobody to trust.
    #[error("the system's certificates cannot be read; SSL_CERT_FILE can name a file with them")]
    Certificates(#[source] std::io::Error),
}

/// An HTTP client without anything of AWS in it, for posts to sockets.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The SDK's defaults of this date; a later one is taken on purpose, here and nowhere else.
fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// The SDK's own HTTP stack for what is not AWS: HTTP and HTTPS, no redirects, no timeout.
#[must_use]
pub fn connector() -> Connector {
    Connector::builder().tls_provider(TLS).build()
}

const TLS: Provider = Provider::Rustls(CryptoMode::Ring);

/// How long to wait for a connection to a service of AWS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to a service. The SDK's own client would read the system's certificates once for each client that is made and
/// once more at its first call.
fn http_client(endpoint: Option<&str>) -> SharedHttpClient {
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
    use std::collections::HashMap;

    use http::Request;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    fn aws(more: &[(&'static str, &str)]) -> Aws {
        let keys = [("AWS_REGION", "eu-west-1"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let variables: HashMap<_, _> = keys.iter().chain(more).copied().collect();
        Aws::from_variables(|name| variables.get(name).map(|value| (*value).to_owned())).unwrap()
    }

    const GLOBAL: (&str, &str) = ("AWS_ENDPOINT_URL", "http://127.0.0.1:4566");
    const STACK: &str = "https://api.execute-api.eu-west-1.amazonaws.com/dev";

    #[test]
    fn the_global_endpoint_stands_for_every_service_but_not_for_the_sockets_of_the_stack() {
        let aws = aws(&[GLOBAL]);
        assert_eq!(aws.dynamodb_endpoint.as_deref(), Some(GLOBAL.1));
        assert_eq!(aws.sqs_endpoint.as_deref(), Some(GLOBAL.1));
        assert_eq!(aws.sockets_at(STACK), STACK);
    }

    #[test]
    fn the_own_variable_of_the_management_api_outranks_the_address_of_the_stack() {
        let own = ("AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI", "http://127.0.0.1:3030/dev");
        assert_eq!(aws(&[GLOBAL, own]).sockets_at(STACK), own.1);
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = Aws::from_variables(|_| None).unwrap_err();
        assert!(error.to_string().contains("AWS_REGION"), "{error}");
    }

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
