//! Where a letter came from, told by its body and by the queue that gave it up.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::command::Failure;

/// Where a letter is to go again. What is sent is kept letter by letter.
#[derive(Debug, PartialEq)]
pub(super) enum Origin {
    /// Into the queue that it was a message of.
    Queue(Box<Queued>),
    /// To the notifier, as this event.
    Event(String),
}

/// A message as it was in its queue.
#[derive(Debug, PartialEq)]
pub(super) struct Queued {
    /// The queue's name.
    pub(super) queue: String,
    /// The message's body.
    pub(super) body: String,
    /// Its attributes, which say who sent it.
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
    /// The group that it belonged to.
    pub(super) group: Option<String>,
}

/// A message of a queue as Lambda gives it to a function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    #[serde(rename = "eventSourceARN")]
    arn: String,
    body: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    message_attributes: BTreeMap<String, SqsAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsAttribute {
    data_type: String,
    string_value: Option<String>,
    binary_value: Option<String>,
}

/// Lambda's own words for an invocation that failed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    #[serde(borrow)]
    request_payload: &'a RawValue,
}

impl Origin {
    /// Tells it from the letter's body, and from the ARN of the queue that gave it up after too many tries, if one did.
    ///
    /// # Errors
    /// When the letter only says where records are, and has none.
    pub(super) fn of(letter: &Message) -> Result<Self, Failure> {
        let body = letter.body().unwrap_or_default();
        let system = |name| letter.attributes()?.get(&name).cloned();
        if let Some(arn) = system(MessageSystemAttributeName::DeadLetterQueueSourceArn) {
            let attributes = letter.message_attributes().cloned().unwrap_or_default();
            let group = system(MessageSystemAttributeName::MessageGroupId);
            return Ok(queued(&arn, body.to_owned(), attributes, group));
        }
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        let service = value["eventSource"].as_str().or_else(|| value["EventSource"].as_str());
        match service {
            Some("aws:sqs") => {
                let record: SqsRecord = serde_json::from_str(body)
                    .map_err(|error| Failure(format!("it is not as SQS sends its messages ({error})")))?;
                Ok(record.into_origin())
            }
            Some("aws:s3" | "aws:dynamodb" | "aws:kinesis" | "aws:sns") => {
                Ok(Self::Event(format!(r#"{{"Records":[{body}]}}"#)))
            }
            _ => of_invocation(body, &value),
        }
    }
}

/// What is no record: an event that was given to the notifier, by itself or with Lambda's report around it.
fn of_invocation(body: &str, value: &Value) -> Result<Origin, Failure> {
    for batch in ["DDBStreamBatchInfo", "KinesisBatchInfo"] {
        let Some(batch) = value.get(batch) else { continue };
        let number = |name: &str| batch[name].as_str().unwrap_or("?");
        return Err(Failure(format!(
            "it only says where its records are, in {} from {} to {} of {}: read them there while the stream has them",
            number("shardId"),
            number("startSequenceNumber"),
            number("endSequenceNumber"),
            number("streamArn"),
        )));
    }
    if let Ok(failed) = serde_json::from_str::<Failed<'_>>(body) {
        return Ok(Origin::Event(failed.request_payload.get().to_owned()));
    }
    match value {
        // No JSON at all: as a text it is at least an event.
        Value::Null => Ok(Origin::Event(Value::from(body).to_string())),
        _ => Ok(Origin::Event(body.to_owned())),
    }
}

fn queued(
    arn: &str,
    body: String,
    attributes: HashMap<String, MessageAttributeValue>,
    group: Option<String>,
) -> Origin {
    let queue = arn.rsplit(':').next().unwrap_or_default().to_owned();
    Origin::Queue(Box::new(Queued { queue, body, attributes, group }))
}

impl SqsRecord {
    fn into_origin(mut self) -> Origin {
        let attributes = self.message_attributes.into_iter().filter_map(|(name, attribute)| {
            let binary = attribute.binary_value.and_then(|text| BASE64_STANDARD.decode(text).ok()).map(Blob::new);
            let value = MessageAttributeValue::builder().data_type(attribute.data_type);
            let value = value.set_string_value(attribute.string_value).set_binary_value(binary);
            Some((name, value.build().ok()?))
        });
        queued(&self.arn, self.body, attributes.collect(), self.attributes.remove("MessageGroupId"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn letter(body: &str, source: Option<&str>) -> Message {
        let source = source.map(|arn| (MessageSystemAttributeName::DeadLetterQueueSourceArn, arn.to_owned()));
        Message::builder().body(body).set_attributes(Some(source.into_iter().collect())).build()
    }

    fn text(value: &str) -> MessageAttributeValue {
        MessageAttributeValue::builder().data_type("String").string_value(value).build().unwrap()
    }

    #[test]
    fn each_letter_goes_where_it_came_from() {
        let sqs = json!({"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:r:1:orders", "body": "{}"});
        let queue = |name: &str, body: &str| queued(name, body.to_owned(), HashMap::new(), None);
        let event = |value: Value| Origin::Event(value.to_string());
        let s3 = json!({"eventSource": "aws:s3", "s3": {}});
        let sns = json!({"EventSource": "aws:sns", "Sns": {}});
        let bus = json!({"detail-type": "t", "detail": {}});
        let failed = json!({"requestContext": {}, "requestPayload": {"data": 1, "to": "everyone"}});
        for (body, source, expected) in [
            (sqs, None, queue("orders", "{}")),
            (json!({"any": 1}), Some("arn:aws:sqs:r:1:fan-out"), queue("fan-out", r#"{"any":1}"#)),
            (s3.clone(), None, event(json!({"Records": [s3]}))),
            (sns.clone(), None, event(json!({"Records": [sns]}))),
            (bus.clone(), None, event(bus)),
            (failed, None, event(json!({"data": 1, "to": "everyone"}))),
        ] {
            assert_eq!(Origin::of(&letter(&body.to_string(), source)).unwrap(), expected, "{body}");
        }
        assert_eq!(Origin::of(&letter("hello", None)).unwrap(), Origin::Event("\"hello\"".to_owned()));
    }

    #[test]
    fn digits_that_json_readers_would_round_stay() {
        let body = r#"{"to":"everyone","data":12345678901234567890123}"#;
        let failed = format!(r#"{{"requestPayload":{body},"requestContext":{{}}}}"#);
        for letter in [letter(body, None), letter(&failed, None)] {
            assert_eq!(Origin::of(&letter).unwrap(), Origin::Event(body.to_owned()));
        }
    }

    #[test]
    fn a_message_keeps_its_attributes_and_its_group() {
        let record = json!({
            "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:r:1:a.fifo", "body": "b",
            "attributes": {"MessageGroupId": "g", "SentTimestamp": "1"},
            "messageAttributes": {
                "scope": {"stringValue": "rest-1", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
                "key": {"binaryValue": "AQID", "dataType": "Binary"},
            },
        });
        let binary = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([1, 2, 3]));
        let attributes =
            HashMap::from([("scope".to_owned(), text("rest-1")), ("key".to_owned(), binary.build().unwrap())]);
        let expected = queued("a.fifo", "b".to_owned(), attributes, Some("g".to_owned()));
        assert_eq!(Origin::of(&letter(&record.to_string(), None)).unwrap(), expected);

        let given_up = Message::builder().body("b").message_attributes("scope", text("rest-1"));
        let given_up = given_up.attributes(MessageSystemAttributeName::DeadLetterQueueSourceArn, "arn:aws:sqs:r:1:q");
        let expected = queued("q", "b".to_owned(), HashMap::from([("scope".to_owned(), text("rest-1"))]), None);
        assert_eq!(Origin::of(&given_up.build()).unwrap(), expected);
    }

    #[test]
    fn a_letter_without_its_records_says_where_they_are() {
        let batch = json!({"shardId": "s", "startSequenceNumber": "1", "endSequenceNumber": "2", "streamArn": "arn"});
        let body = json!({"requestContext": {}, "DDBStreamBatchInfo": batch}).to_string();
        let Failure(reason) = Origin::of(&letter(&body, None)).unwrap_err();
        assert!(reason.starts_with("it only says where its records are, in s from 1 to 2 of arn"), "{reason}");
    }
}
