//! DynamoDB Streams and Kinesis.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value, json};
use tidings::decode_base64;
use tidings::notification::scope;
use tidings::trigger::Trigger;

use super::{Read, Record, Unreadable, json_or_text, last_of_arn, parse, raw};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DynamoDbRecord {
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: String,
    dynamodb: Change,
    #[serde(rename = "eventSourceARN")]
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    sequence_number: String,
    approximate_creation_date_time: Option<f64>,
    #[serde(default)]
    keys: Map<String, Value>,
    old_image: Option<Map<String, Value>>,
    new_image: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct KinesisRecord {
    kinesis: Data,
    #[serde(rename = "eventID")]
    event_id: String,
    #[serde(rename = "eventSourceARN")]
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    sequence_number: String,
    data: String,
    partition_key: String,
    approximate_arrival_timestamp: Option<f64>,
}

pub(super) fn read_dynamodb(record: &RawValue) -> Read {
    let change: DynamoDbRecord = parse("DynamoDB", record)?;
    // arn:aws:dynamodb:<region>:<account>:table/<table>/stream/<label>
    let table = change.arn.split('/').nth(1).unwrap_or_default();
    let data = json!({
        "keys": plain_map(&change.dynamodb.keys),
        "old": change.dynamodb.old_image.as_ref().map(plain_map),
        "new": change.dynamodb.new_image.as_ref().map(plain_map),
    });
    let source = format!("aws/dynamodb/{table}");
    // Sorted, so that the same item always has the same text.
    let keys: BTreeMap<_, _> = change.dynamodb.keys.iter().collect();
    Ok(Record {
        item: change.dynamodb.sequence_number,
        message: None,
        id: format!("{table}-{}", change.event_id),
        scope: scope(Trigger::DynamoDb, &[&source]),
        order: Some(raw(&keys).get().to_owned()),
        until: None,
        source,
        at: change.dynamodb.approximate_creation_date_time.map(milliseconds),
        event: Some(change.event_name),
        data: raw(&data),
        raw: record.to_owned(),
    })
}

pub(super) fn read_kinesis(record: &RawValue) -> Read {
    let KinesisRecord { kinesis, event_id, arn } = parse("Kinesis", record)?;
    let refused =
        |problem: &str| Unreadable { service: "Kinesis", problem: problem.to_owned(), raw: record.to_owned() };
    let bytes = decode_base64(&kinesis.data).ok_or_else(|| refused("its data is not base64"))?;
    // What is not text reaches clients as Kinesis wrote it: in base64.
    let text = String::from_utf8(bytes).unwrap_or(kinesis.data);
    let stream = last_of_arn(&arn).trim_start_matches("stream/");
    let source = format!("aws/kinesis/{stream}");
    Ok(Record {
        item: kinesis.sequence_number,
        message: None,
        id: format!("{stream}-{event_id}"),
        scope: scope(Trigger::Kinesis, &[&source]),
        order: Some(kinesis.partition_key),
        until: None,
        source,
        at: kinesis.approximate_arrival_timestamp.map(milliseconds),
        event: None,
        data: json_or_text(&text),
        raw: record.to_owned(),
    })
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

fn plain_map(item: &Map<String, Value>) -> Value {
    Value::Object(item.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
}

/// DynamoDB's typed JSON as plain JSON; numbers keep their digits, sets become lists, binary stays base64.
fn plain(attribute: &Value) -> Value {
    let Some((kind, value)) = attribute.as_object().and_then(|typed| typed.iter().next()) else { return Value::Null };
    match (kind.as_str(), value) {
        ("N", Value::String(digits)) => number(digits),
        ("NS", Value::Array(numbers)) => numbers.iter().filter_map(Value::as_str).map(number).collect(),
        ("L", Value::Array(list)) => list.iter().map(plain).collect(),
        ("M", Value::Object(map)) => plain_map(map),
        ("NULL", _) => Value::Null,
        _ => value.clone(),
    }
}

/// A number that JSON's usual readers would round stays a string.
fn number(digits: &str) -> Value {
    let read: Option<Number> = serde_json::from_str(digits).ok();
    match read {
        Some(number) if number.to_string() == digits => Value::Number(number),
        _ => Value::String(digits.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_attributes_become_plain_json() {
        for (typed, expected) in [
            (json!({"S": "a"}), json!("a")),
            (json!({"N": "1.5"}), json!(1.5)),
            (json!({"N": "12345678901234567890123"}), json!("12345678901234567890123")),
            (json!({"BOOL": true}), json!(true)),
            (json!({"NULL": true}), Value::Null),
            (json!({"SS": ["a", "b"]}), json!(["a", "b"])),
            (json!({"NS": ["1", "2"]}), json!([1, 2])),
            (json!({"B": "AQID"}), json!("AQID")),
            (json!({"L": [{"N": "1"}, {"M": {"k": {"S": "v"}}}]}), json!([1, {"k": "v"}])),
        ] {
            assert_eq!(plain(&typed), expected, "{typed}");
        }
    }
}
