//! The one place where SDK clients are made.
//!
//! Lambda puts region and credentials into the environment, so nothing else is looked for: no profile, no metadata
//! service, no single sign-on, and none of the code that would look. TLS is rustls with ring; see
//! `docs/decisions/0001-tls.md`.

pub(crate) mod http_client;
pub(crate) mod json;
#[cfg(feature = "sdk")]
mod sdk;
pub(crate) mod transport;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region, retry::RetryConfig};

use crate::config::{ConfigError, optional, required};
use crate::delivery::{InvalidEndpoint, Management, Sockets};
use crate::events::EventBus;
use crate::lookout::Lookout;
use crate::presence::Presence;
use crate::protocol::{Protocol, Spoken};
use crate::queue::Queue;
use crate::registry::Registry;
use crate::secret::Secret;
use http_client::http_client;
use json::JsonClient;
use transport::FIRST_BACKOFF;

#[cfg(feature = "sdk")]
pub use sdk::*;

/// All attempts of one call to DynamoDB together: a function of ten seconds can still say what went wrong.
const DYNAMODB_DEADLINE: Duration = Duration::from_secs(5);

/// How calls to DynamoDB are repeated that fail for a passing reason: throttling, a failure of DynamoDB's own, a connection
/// that breaks. At most nine times, after random pauses of up to 50 ms, then twice that, up to a second: 2.8 s together on
/// average. Nothing else repeats them.
fn retries() -> RetryConfig {
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
    secrets_endpoint: Option<String>,
    events_endpoint: Option<String>,
}

impl Aws {
    /// Reads `AWS_REGION`, the credentials that Lambda sets, and the SDKs' own endpoint variables
    /// (`AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI`, `AWS_ENDPOINT_URL_SQS`,
    /// `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_EVENTBRIDGE`). `AWS_ENDPOINT_URL` stands for those that are not
    /// set, but never for API Gateway's: it has no stage, and the stack's own address does.
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
            secrets_endpoint: endpoint(),
            events_endpoint: endpoint(),
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
            secrets_endpoint: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"),
            events_endpoint: endpoint("AWS_ENDPOINT_URL_EVENTBRIDGE"),
        })
    }

    /// The registry in the table of this name. Each attempt of a call has two seconds, all of them together five.
    #[must_use]
    pub fn registry(&self, table: impl Into<String>) -> Registry {
        Registry::with_client(self.dynamodb_client(), table)
    }

    /// The registry that the environment names: `TABLE_NAME`, `PRESENCE`, and `EVENT_BUS_NAME`, for which it is kept who is
    /// online. Where either is set, `NOTIFICATION_QUEUE_URL` is how somebody is asked to look who is there, and `PROTOCOLS` says
    /// whether there are clients that follow single connections.
    ///
    /// # Errors
    /// When one is missing or not what it should be; the error names it.
    pub fn registry_from_env(&self) -> Result<Registry, ConfigError> {
        let registry = self.registry(required("TABLE_NAME", "it names the table of connections")?);
        let (presence, tells_users) = (Presence::from_env()?, tells_backend());
        if presence.is_empty() && !tells_users {
            return Ok(registry);
        }
        let queue = required("NOTIFICATION_QUEUE_URL", "with PRESENCE or EVENT_BUS_NAME looks are asked for there")?;
        let lookout = Lookout::new(presence, tells_users, self.queue(queue));
        Ok(registry.with_lookout(match Spoken::from_env()?.has(Protocol::Centrifuge) {
            true => lookout.with_connections(),
            false => lookout,
        }))
    }

    /// The queue at `url`. Each attempt of a call has five seconds; three are made where the failure may pass. Nothing is
    /// made for it before something is sent.
    #[must_use]
    pub fn queue(&self, url: impl Into<String>) -> Queue {
        let aws = self.clone();
        Queue::with_client(move || aws.json_client(json::SQS, aws.sqs_endpoint.clone()), url)
    }

    /// The secret of this ARN or name, with the same attempts.
    #[must_use]
    pub fn secret(&self, id: impl Into<String>) -> Secret {
        Secret::new(self.json_client(json::SECRETS_MANAGER, self.secrets_endpoint.clone()), id.into())
    }

    /// The event bus of this name or ARN; `default` is the account's own. Nothing is made for it before an event is put.
    #[must_use]
    pub fn bus(&self, name: impl Into<String>) -> EventBus {
        let aws = self.clone();
        EventBus::with_client(move || aws.json_client(json::EVENTS, aws.events_endpoint.clone()), name)
    }

    fn json_client(&self, service: json::Service, endpoint: Option<String>) -> JsonClient {
        let region = self.region.as_ref();
        let endpoint = endpoint.unwrap_or_else(|| json::endpoint(service, region));
        let transport = Box::new(http_client::shared(&endpoint));
        JsonClient::new(service, endpoint, region.to_owned(), self.credentials.clone(), transport)
    }

    fn dynamodb_client(&self) -> aws_sdk_dynamodb::Client {
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
            .retry_config(retries());
        config.set_endpoint_url(self.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// The API Gateway Management API at `endpoint`, unless the environment names another one. Nothing repeats its calls;
    /// each has `deadline` to succeed.
    #[must_use]
    pub fn management(&self, endpoint: &str, deadline: Duration) -> Management {
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
        Management::with_client(aws_sdk_apigatewaymanagement::Client::from_conf(config))
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
        let client = http_client::http_client_to(endpoint).map_err(SocketsError::Certificates)?;
        Ok(Sockets::through(endpoint, self.region.as_ref(), self.credentials.clone(), client, deadline)?)
    }
}

/// Why nothing can be posted to sockets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketsError {
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// TLS has nobody to trust.
    #[error("the system's certificates cannot be read; SSL_CERT_FILE can name a file with them")]
    Certificates(#[source] std::io::Error),
}

/// The SDK's defaults of this date; a later one is taken on purpose, here and nowhere else.
fn behavior_version() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

/// Whether a bus is told of what happens: `EVENT_BUS_NAME` says of which to those who put events on it, and `TELLS_BACKEND` is
/// set for those who only let others know.
#[must_use]
pub fn tells_backend() -> bool {
    optional("EVENT_BUS_NAME").or_else(|| optional("TELLS_BACKEND")).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
}
