//! The Streams API of DynamoDB: streams, their shards and the records in them.

use std::time::Duration;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::retry::RetryConfig;
use aws_sdk_dynamodbstreams::config::timeout::TimeoutConfig;
use aws_sdk_dynamodbstreams::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodbstreams::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::types::{Record, Shard, ShardIteratorType};

use crate::Services;

/// One table's stream.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    client: Client,
    table: String,
}

/// Where reading begins.
#[derive(Debug, Clone)]
pub(super) enum Start {
    /// At the oldest record.
    Oldest,
    /// After the newest record.
    Newest,
    /// After the record with this sequence number.
    After(String),
}

/// Why records cannot be had.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The place in the shard is no longer known: find it again.
    Lost,
    /// Anything else.
    Other(String),
}

impl Streams {
    pub(super) fn new(services: &Services, table: &str) -> Self {
        let keys = &services.keys;
        let token = keys.session_token.clone();
        let credentials = Credentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "tidings");
        let dynamodb = services.dynamodb.as_deref().unwrap_or_default();
        let config = aws_sdk_dynamodbstreams::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(services.region.clone()))
            .endpoint_url(endpoint(dynamodb))
            .credentials_provider(credentials)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build())
            .http_client(tidings_local_services::net::http_client(Some(dynamodb)))
            .build();
        Self { client: Client::from_conf(config), table: table.to_owned() }
    }

    /// The ARN of the table's stream.
    pub(super) async fn arn(&self) -> Result<String, String> {
        let listed = self.client.list_streams().table_name(&self.table).send().await.map_err(|error| said(&error))?;
        let stream = listed.streams.unwrap_or_default().pop().and_then(|stream| stream.stream_arn);
        stream.ok_or_else(|| "the table has no stream".to_owned())
    }

    /// All shards of a stream.
    pub(super) async fn shards(&self, stream: &str) -> Result<Vec<Shard>, String> {
        let mut shards = Vec::new();
        let mut after = None;
        loop {
            let call = self.client.describe_stream().stream_arn(stream).set_exclusive_start_shard_id(after);
            let described = call.send().await.map_err(|error| said(&error))?;
            let Some(description) = described.stream_description else { return Ok(shards) };
            shards.extend(description.shards.unwrap_or_default());
            after = description.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(shards);
            }
        }
    }

    /// A place in a shard.
    pub(super) async fn iterator(&self, stream: &str, shard: &str, start: &Start) -> Result<Option<String>, String> {
        let call = self.client.get_shard_iterator().stream_arn(stream).shard_id(shard);
        let call = match start {
            Start::Oldest => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::Newest => call.shard_iterator_type(ShardIteratorType::Latest),
            Start::After(number) => {
                call.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(number)
            }
        };
        call.send().await.map(|found| found.shard_iterator).map_err(|error| said(&error))
    }

    /// The records from a place on, and the next place; none where the shard ends.
    pub(super) async fn records(
        &self,
        iterator: &str,
        limit: usize,
    ) -> Result<(Vec<Record>, Option<String>), ReadError> {
        // The API's own limit.
        let limit = i32::try_from(limit.min(1000)).unwrap_or(1000);
        match self.client.get_records().shard_iterator(iterator).limit(limit).send().await {
            Ok(read) => Ok((read.records.unwrap_or_default(), read.next_shard_iterator)),
            Err(error) => {
                let lost = error.as_service_error().is_some_and(|error| {
                    error.is_expired_iterator_exception() || error.is_trimmed_data_access_exception()
                });
                Err(if lost { ReadError::Lost } else { ReadError::Other(said(&error)) })
            }
        }
    }
}

/// DynamoDB in AWS has its streams at an address of their own; local engines have one for both.
fn endpoint(dynamodb: &str) -> String {
    if tidings_local_services::net::is_aws(dynamodb) {
        dynamodb.replacen("://", "://streams.", 1)
    } else {
        dynamodb.to_owned()
    }
}

/// The service's own message where there is one.
fn said<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let message = error.as_service_error().and_then(|error| error.message());
    message.map_or_else(|| tidings::describe(error), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_in_aws_have_an_address_of_their_own() {
        let aws = "https://dynamodb.eu-west-1.amazonaws.com";
        assert_eq!(endpoint(aws), "https://streams.dynamodb.eu-west-1.amazonaws.com");
        assert_eq!(endpoint("http://127.0.0.1:8000"), "http://127.0.0.1:8000");
    }
}
