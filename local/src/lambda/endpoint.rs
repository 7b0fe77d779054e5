//! Functions behind a Lambda Invoke API: `sam local start-lambda`, `cargo lambda watch`.

use std::time::Instant;

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_lambda::error::DisplayErrorContext;
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::primitives::Blob;
use bytes::Bytes;

use super::{Invocation, InvokeError};

/// A client of one Invoke API.
#[derive(Debug, Clone)]
pub struct Endpoint {
    client: aws_sdk_lambda::Client,
    url: String,
}

impl Endpoint {
    /// A client for the API at `url`, for example `http://127.0.0.1:3001`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Self { client: aws_sdk_lambda::Client::from_conf(config), url: url.to_owned() }
    }

    pub(super) async fn invoke(&self, function: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        let started = Instant::now();
        let answer =
            self.client.invoke().function_name(function).payload(Blob::new(payload)).send().await.map_err(|error| {
                InvokeError::Unavailable {
                    function: function.to_owned(),
                    reason: format!("{} answered: {}", self.url, DisplayErrorContext(error)),
                }
            })?;
        Ok(Invocation {
            request_id: answer.request_id().unwrap_or_default().to_owned(),
            payload: answer.payload.map(|blob| Bytes::from(blob.into_inner())).unwrap_or_default(),
            function_error: answer.function_error,
            duration: started.elapsed(),
        })
    }
}
