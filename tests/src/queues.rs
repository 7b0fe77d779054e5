//! Queues to test with.

use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use tidings::queue::Queue;

/// An SQS client of the server at `endpoint`.
#[must_use]
pub fn client(endpoint: &str) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .http_client(crate::engine::http());
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// A queue for what must not send anything: there is nothing at its address.
#[must_use]
pub fn nowhere() -> Queue {
    Queue::new(client("http://127.0.0.1:9"), "http://127.0.0.1:9/123456789012/nowhere")
}
