//! Stream records, from the Streams API to Lambda's event.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodbstreams::types::{AttributeValue, Record};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// A record, ready for the event.
#[derive(Debug, Clone)]
pub(super) struct StreamRecord {
    /// As the event has it.
    pub(super) json: Value,
    pub(super) sequence_number: String,
    pub(super) arrival: OffsetDateTime,
}

impl StreamRecord {
    pub(super) fn new(record: Record, arn: &str, region: &str) -> Self {
        let change = record.dynamodb.unwrap_or_else(|| aws_sdk_dynamodbstreams::types::StreamRecord::builder().build());
        let seconds = change.approximate_creation_date_time.map_or(0.0, |time| time.as_secs_f64());
        let sequence_number = change.sequence_number.unwrap_or_default();
        let mut image = Map::new();
        let mut put = |name: &str, value: Option<Value>| image.extend(value.map(|value| (name.to_owned(), value)));
        put("ApproximateCreationDateTime", Some(number(seconds)));
        put("Keys", change.keys.as_ref().map(item));
        put("NewImage", change.new_image.as_ref().map(item));
        put("OldImage", change.old_image.as_ref().map(item));
        put("SequenceNumber", Some(sequence_number.as_str().into()));
        put("SizeBytes", change.size_bytes.map(Into::into));
        put("StreamViewType", change.stream_view_type.map(|view| view.as_str().into()));
        let mut json = json!({
            "eventID": record.event_id,
            "eventName": record.event_name.map(|name| name.as_str().to_owned()),
            "eventVersion": record.event_version,
            "eventSource": "aws:dynamodb",
            "awsRegion": region,
            "dynamodb": image,
            "eventSourceARN": arn,
        });
        if record.user_identity.is_some() {
            // Only deletions by TTL have one, and always this.
            json["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
        }
        let arrival = OffsetDateTime::UNIX_EPOCH + Duration::from_secs_f64(seconds.clamp(0.0, 1e11));
        Self { json, sequence_number, arrival }
    }
}

/// Whole seconds without a fraction, as AWS sends them.
fn number(seconds: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is far from the limit")]
    if seconds.fract() == 0.0 { (seconds as i64).into() } else { seconds.into() }
}

fn item(item: &HashMap<String, AttributeValue>) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect())
}

fn attribute(value: &AttributeValue) -> Value {
    let binary = |blob: &aws_sdk_dynamodbstreams::primitives::Blob| BASE64_STANDARD.encode(blob.as_ref());
    match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(flag) => json!({"BOOL": flag}),
        AttributeValue::Null(_) => json!({"NULL": true}),
        AttributeValue::M(map) => json!({"M": item(map)}),
        AttributeValue::L(list) => json!({"L": list.iter().map(attribute).collect::<Vec<_>>()}),
        AttributeValue::B(blob) => json!({"B": binary(blob)}),
        AttributeValue::Ss(texts) => json!({"SS": texts}),
        AttributeValue::Ns(numbers) => json!({"NS": numbers}),
        AttributeValue::Bs(blobs) => json!({"BS": blobs.iter().map(binary).collect::<Vec<_>>()}),
        // The SDK is told of a type that it does not know; nothing can be said about its value.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::primitives::{Blob, DateTime};
    use aws_sdk_dynamodbstreams::types::{self, Identity, OperationType, StreamViewType};

    use super::*;

    #[test]
    fn a_record_becomes_what_lambda_sends() {
        let change = types::StreamRecord::builder()
            .approximate_creation_date_time(DateTime::from_secs(1_479_499_740))
            .keys("pk", AttributeValue::S("a".into()))
            .new_image("pk", AttributeValue::S("a".into()))
            .new_image("bytes", AttributeValue::B(Blob::new([0, 1])))
            .new_image("list", AttributeValue::L(vec![AttributeValue::N("1".into()), AttributeValue::Null(true)]))
            .sequence_number("111")
            .size_bytes(26)
            .stream_view_type(StreamViewType::NewImage)
            .build();
        let record = Record::builder()
            .event_id("e")
            .event_name(OperationType::Insert)
            .event_version("1.1")
            .dynamodb(change)
            .user_identity(Identity::builder().build())
            .build();
        let record = StreamRecord::new(record, "arn:stream", "eu-west-1");
        let expected = json!({
            "eventID": "e",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_479_499_740,
                "Keys": {"pk": {"S": "a"}},
                "NewImage": {"pk": {"S": "a"}, "bytes": {"B": "AAE="}, "list": {"L": [{"N": "1"}, {"NULL": true}]}},
                "SequenceNumber": "111",
                "SizeBytes": 26,
                "StreamViewType": "NEW_IMAGE",
            },
            "eventSourceARN": "arn:stream",
            "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
        });
        assert_eq!(record.json, expected);
        assert_eq!((record.sequence_number.as_str(), record.arrival.unix_timestamp()), ("111", 1_479_499_740));
    }
}
