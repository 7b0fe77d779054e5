//! The AWS SDK's types, with the feature `sdk`: the one place where they stand in what is public. Their versions are the
//! SDK's, not ours.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::sdk_config::SharedCredentialsProvider;

use super::http_client::http_client;
use super::json::{JsonClient, SQS};
use super::transport::FIRST_BACKOFF;
use super::{Aws, behavior_version, retries};
use crate::config::optional;
use crate::delivery::{InvalidEndpoint, Management, Sockets};
use crate::queue::Queue;
use crate::registry::Registry;

pub use super::http_client::{HttpClient, connector_to, http_client_to};
pub use super::transport::{Exchange, Transport, TransportError};
pub use aws_sdk_dynamodb as dynamodb;

/// How the registry has calls of DynamoDB repeated.
#[must_use]
pub fn dynamodb_retries() -> RetryConfig {
    retries()
}

impl Aws {
    /// A client for tables of an application's own, which shares HTTP and TLS with ours. Each attempt of a call has two
    /// seconds, all of them together five; see [`dynamodb_retries`].
    #[must_use]
    pub fn dynamodb(&self) -> dynamodb::Client {
        self.dynamodb_client()
    }

    /// What a client of another service is made from. `variable` is the SDKs' endpoint variable of that service, such as
    /// `AWS_ENDPOINT_URL_S3`.
    #[must_use]
    pub fn sdk_config(&self, variable: &'static str) -> SdkConfig {
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
}

impl Registry {
    /// The registry in the table of this name. Needs the feature `sdk`.
    #[must_use]
    pub fn new(client: aws_sdk_dynamodb::Client, table: impl Into<String>) -> Self {
        Self::with_client(client, table)
    }
}

impl Queue {
    /// The queue at `url`, reached through `transport`: for a simulation. Needs the feature `sdk`.
    #[must_use]
    pub fn through(transport: impl Transport + 'static, url: impl Into<String>) -> Self {
        let credentials = Credentials::new("local", "local", None, None, "local");
        let transport = Box::new(transport);
        let client =
            move || JsonClient::new(SQS, "http://sqs.local".to_owned(), "us-east-1".to_owned(), credentials, transport);
        Self::with_client(client, url)
    }
}

impl Management {
    /// The stack that the client has for its endpoint. Needs the feature `sdk`.
    #[must_use]
    pub fn new(client: aws_sdk_apigatewaymanagement::Client) -> Self {
        Self::with_client(client)
    }
}

impl Sockets {
    /// Posts to `endpoint` (`https://…/<stage>`) through `transport`; each post has `deadline` to succeed. Needs the feature
    /// `sdk`.
    ///
    /// # Errors
    /// When the endpoint is not a URL.
    pub fn new(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        transport: impl Transport + 'static,
        deadline: Duration,
    ) -> Result<Self, InvalidEndpoint> {
        Self::through(endpoint, region, credentials, transport, deadline)
    }
}
