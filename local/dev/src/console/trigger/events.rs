//! Events as S3 and Kinesis bring them to a function.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::Refusal;

/// An object of which a bucket tells (S3 User Guide, "Event message structure").
pub(super) struct Object<'a> {
    pub(super) region: &'a str,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    /// For example `ObjectCreated:Put`.
    pub(super) event: &'a str,
    /// In bytes.
    pub(super) size: u64,
}

/// A record of a stream (Lambda Developer Guide, "Using Lambda with Kinesis").
pub(super) struct Record<'a> {
    pub(super) region: &'a str,
    pub(super) stream: &'a str,
    pub(super) data: &'a str,
    pub(super) partition: &'a str,
}

/// Keys come as forms have them, but for their slashes.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b'/').remove(b' ');

impl Object<'_> {
    pub(super) fn event(&self) -> Result<Value, Refusal> {
        let Self { region, bucket, event, size, .. } = self;
        // In notifications the prefix that templates have is not there.
        let event = event.strip_prefix("s3:").unwrap_or(event);
        if !event.contains(':') || event.contains('*') {
            let text = format!("the event must be one, as ObjectCreated:Put or ObjectRemoved:Delete, not {event}");
            return Err(Refusal(StatusCode::BAD_REQUEST, text));
        }
        let now = now();
        let key = utf8_percent_encode(self.key, KEY).to_string().replace(' ', "+");
        let mut object = json!({"key": key, "sequencer": format!("{:016X}", now.as_nanos())});
        if event.starts_with("ObjectCreated:") {
            object["size"] = (*size).into();
            object["eTag"] = "d41d8cd98f00b204e9800998ecf8427e".into();
        }
        Ok(json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": region,
            "eventTime": timestamp(),
            "eventName": event,
            "userIdentity": {"principalId": "EXAMPLE"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": "EXAMPLE123456789", "x-amz-id-2": "EXAMPLE"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "tidings-trigger",
                "bucket": {
                    "name": bucket,
                    "ownerIdentity": {"principalId": "EXAMPLE"},
                    "arn": format!("arn:aws:s3:::{bucket}"),
                },
                "object": object,
            },
        }]}))
    }
}

impl Record<'_> {
    pub(super) fn event(&self) -> Value {
        let Self { region, stream, data, partition } = self;
        let now = now();
        let number = format!("4959{:052}", now.as_nanos());
        json!({"Records": [{
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": partition,
                "sequenceNumber": number,
                "data": BASE64_STANDARD.encode(data),
                "approximateArrivalTimestamp": now.as_millis() as f64 / 1000.0,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": format!("shardId-000000000000:{number}"),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/local",
            "awsRegion": region,
            "eventSourceARN": format!("arn:aws:kinesis:{region}:123456789012:stream/{stream}"),
        }]})
    }
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn timestamp() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // It fails only for years that have more than four digits.
    OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &'static str, event: &'static str) -> Object<'static> {
        Object { region: "eu-west-1", bucket: "photos", key, event, size: 7 }
    }

    #[test]
    fn an_object_is_told_of_as_s3_does() {
        let event = object("a b/ü+1.png", "s3:ObjectCreated:Put").event().ok().unwrap();
        let record = &event["Records"][0];
        assert_eq!((&record["eventSource"], &record["eventName"]), (&json!("aws:s3"), &json!("ObjectCreated:Put")));
        let s3 = &record["s3"];
        assert_eq!((&s3["bucket"]["arn"], &s3["object"]["size"]), (&json!("arn:aws:s3:::photos"), &json!(7)));
        assert_eq!(s3["object"]["key"], "a+b/%C3%BC%2B1.png");
        assert_eq!(record["eventTime"].as_str().unwrap().len(), "1970-01-01T00:00:00.000Z".len());
        let removed = object("k", "ObjectRemoved:Delete").event().ok().unwrap();
        assert_eq!(removed["Records"][0]["s3"]["object"].get("size"), None);
        let Err(Refusal(_, text)) = object("k", "ObjectCreated:*").event() else { panic!("a pattern is no event") };
        assert!(text.ends_with("not ObjectCreated:*"), "{text}");
    }

    #[test]
    fn a_record_has_its_data_in_base64_and_a_number_of_its_own() {
        let record = Record { region: "eu-west-1", stream: "clicks", data: "hi", partition: "p" };
        let event = record.event();
        let [kinesis, arn] = [&event["Records"][0]["kinesis"], &event["Records"][0]["eventSourceARN"]];
        assert_eq!((&kinesis["data"], &kinesis["partitionKey"]), (&json!("aGk="), &json!("p")));
        assert_eq!(kinesis["sequenceNumber"].as_str().unwrap().len(), 56);
        assert_eq!(*arn, "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks");
    }
}
