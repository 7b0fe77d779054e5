//! How long what a letter asks for is worth delivering, and how it is made to last longer.

use std::collections::BTreeMap;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tidings::notification::{DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS};

use crate::command::Failure;

type Fields = BTreeMap<String, Box<RawValue>>;

/// When the first of what `text` asks for is not to be delivered any more, in milliseconds since the epoch; `None` where
/// that counts from its sending. Without a time to live of its own it is the default: rules may say otherwise, and only
/// the notifier knows them.
pub(super) fn end(text: &str, now: i64) -> Option<i64> {
    let value: Value = serde_json::from_str(text).ok()?;
    if let Value::Array(list) = &value {
        return list.iter().filter_map(notifications_end).min();
    }
    if let Value::Array(records) = &value["Records"] {
        return records.iter().filter_map(|record| record_end(record, now)).min();
    }
    if is_segment(&value) {
        let ttl = value["segment"]["ttl"].as_i64().or_else(|| value["notification"]["ttl"].as_i64());
        return Some(after(segment_at(&value)?, ttl));
    }
    if is_bus_event(&value) {
        return carried(value["time"].as_str().and_then(iso), &value["detail"], now);
    }
    match is_envelope(&value) {
        true => notice_end(&value, now),
        false => notifications_end(&value),
    }
}

/// `text`, made to last until then at least. A segment also gets a new beginning: it was not handed on yet, and whatever
/// held it up is over.
///
/// # Errors
/// When no time to live is long enough.
pub(super) fn lasting(text: &str, until: Option<i64>, now: i64) -> Result<String, Failure> {
    if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(text) {
        let list: Result<Vec<_>, _> = list.iter().map(|one| lasting(one.get(), until, now)).collect();
        return Ok(format!("[{}]", list?.join(",")));
    }
    let (Ok(value), Ok(mut fields)) = (serde_json::from_str::<Value>(text), serde_json::from_str::<Fields>(text))
    else {
        return Ok(text.to_owned());
    };
    if is_segment(&value) {
        let mut segment = value["segment"].clone();
        if let (Some(until), Some(at)) = (until, segment_at(&value)) {
            segment["ttl"] = json!(seconds(at, until, segment["ttl"].as_i64())?);
            // Where the notification travels with its segment, it is what the notifier looks at first.
            if let Some(notification) = fields.remove("notification") {
                let notification = lasting(notification.get(), Some(until), now)?;
                fields.insert(
                    "notification".to_owned(),
                    RawValue::from_string(notification).map_err(|error| Failure::new(&error))?,
                );
            }
        }
        if let Some(place) = segment.as_object_mut() {
            place.retain(|name, _| !matches!(name.as_str(), "hops" | "waits" | "retry" | "overloaded"));
        }
        fields.insert("segment".to_owned(), raw(&segment)?);
    } else if let Some(until) = until {
        if value["Records"].is_array() || is_bus_event(&value) || is_envelope(&value) {
            fields.insert("until".to_owned(), raw(&until)?);
        } else if is_notification(&value) {
            let ttl = seconds(value["at"].as_i64().unwrap_or(now), until, value["ttl"].as_i64())?;
            fields.insert("ttl".to_owned(), raw(&ttl)?);
        }
    }
    Ok(raw(&fields)?.get().to_owned())
}

/// A time as people and programs read it.
pub(super) fn shown(milliseconds: i64) -> String {
    DateTime::from_millis(milliseconds).fmt(Format::DateTime).unwrap_or_else(|_| milliseconds.to_string())
}

/// From `at` until then, in whole seconds, and no less than it was.
fn seconds(at: i64, until: i64, before: Option<i64>) -> Result<i64, Failure> {
    let seconds = (until.saturating_sub(at).saturating_add(999) / 1_000).max(before.unwrap_or(1));
    if seconds > i64::from(MAX_TTL_SECONDS) {
        let most = at.saturating_add(i64::from(MAX_TTL_SECONDS) * 1_000);
        let reason = format!("its `at` is {}, and no notification lasts longer than until {}", shown(at), shown(most));
        return Err(Failure(format!("{reason}; give a shorter --ttl, or send it anew")));
    }
    Ok(seconds)
}

fn raw<T: serde::Serialize>(value: &T) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value).map_err(|error| Failure::new(&error))
}

fn after(at: i64, ttl: Option<i64>) -> i64 {
    at.saturating_add(ttl.unwrap_or_else(|| DEFAULT_TTL_SECONDS.into()).saturating_mul(1_000))
}

fn is_notification(value: &Value) -> bool {
    value.get("to").is_some() && value.get("data").is_some()
}

fn is_segment(value: &Value) -> bool {
    value["segment"].is_object() && value.get("notification").is_some()
}

fn is_bus_event(value: &Value) -> bool {
    value.get("detail-type").is_some() && value.get("detail").is_some()
}

/// What SNS puts around its messages in a queue.
fn is_envelope(value: &Value) -> bool {
    value["Type"] == "Notification" && value["TopicArn"].is_string()
}

fn notifications_end(value: &Value) -> Option<i64> {
    Some(after(value["at"].as_i64().filter(|_| is_notification(value))?, value["ttl"].as_i64()))
}

/// When a segment's notification happened.
fn segment_at(value: &Value) -> Option<i64> {
    [&value["notification"]["at"], &value["segment"]["at"]].into_iter().find_map(Value::as_i64)
}

fn record_end(record: &Value, now: i64) -> Option<i64> {
    let nothing = Value::Null;
    match record["eventSource"].as_str().or_else(|| record["EventSource"].as_str())? {
        "aws:sns" => notice_end(&record["Sns"], now),
        "aws:s3" => carried(record["eventTime"].as_str().and_then(iso), &nothing, now),
        "aws:dynamodb" => carried(epoch(&record["dynamodb"]["ApproximateCreationDateTime"]), &nothing, now),
        "aws:kinesis" => {
            let bytes = BASE64_STANDARD.decode(record["kinesis"]["data"].as_str().unwrap_or_default());
            let data = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
            carried(epoch(&record["kinesis"]["approximateArrivalTimestamp"]), &data, now)
        }
        "aws:sqs" => end(record["body"].as_str()?, now),
        _ => None,
    }
}

fn notice_end(notice: &Value, now: i64) -> Option<i64> {
    let message = notice["Message"].as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    carried(notice["Timestamp"].as_str().and_then(iso), &message, now)
}

/// The end of what an event carries that happened at `at`. The notifier takes an older event than any queue can hold for
/// one of now.
fn carried(at: Option<i64>, data: &Value, now: i64) -> Option<i64> {
    let oldest = now - i64::from(MAX_TTL_SECONDS) * 1_000;
    let at = at.filter(|at| (oldest..=now).contains(at));
    let notification = Some(data).filter(|data| is_notification(data));
    let own = notification.and_then(|data| data["at"].as_i64());
    Some(after(own.or(at)?, notification.and_then(|data| data["ttl"].as_i64())))
}

fn iso(text: &str) -> Option<i64> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok()
}

fn epoch(seconds: &Value) -> Option<i64> {
    Some((seconds.as_f64()? * 1_000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24T11:46:23Z
    const AT: i64 = 1_795_520_783_000;
    const DAY: i64 = 86_400_000;
    /// A day later.
    const NOW: i64 = AT + DAY;

    fn sns(message: &str) -> Value {
        json!({"Type": "Notification", "TopicArn": "arn", "Timestamp": "2026-11-24T11:46:23.000Z", "Message": message})
    }

    #[test]
    fn the_end_of_every_kind_of_letter_is_found() {
        let hour = AT + 3_600_000;
        let notification = |ttl: i64| json!({"to": "everyone", "data": 1, "at": AT, "ttl": ttl});
        let records = |record: Value| json!({"Records": [record]});
        let kinesis = |data: &str| {
            let data = BASE64_STANDARD.encode(data);
            let arrived = 1_795_520_783.0;
            records(
                json!({"eventSource": "aws:kinesis", "kinesis": {"data": data, "approximateArrivalTimestamp": arrived}}),
            )
        };
        let s3 = |time: &str| records(json!({"eventSource": "aws:s3", "eventTime": time}));
        let created = json!({"ApproximateCreationDateTime": 1_795_520_783});
        let segment = json!({"id": "0", "at": AT, "hops": 1});
        for (value, expected) in [
            (notification(60), Some(AT + 60_000)),
            (json!({"to": "everyone", "data": 1, "at": AT}), Some(hour)),
            (json!({"to": "everyone", "data": 1, "ttl": 60}), None),
            (json!([notification(60), notification(30), {"to": "everyone", "data": 1}]), Some(AT + 30_000)),
            (json!({"notification": notification(60), "segment": segment}), Some(AT + 60_000)),
            (json!({"notification": "n", "segment": segment}), Some(hour)),
            (json!({"notification": "n", "segment": {"at": AT, "ttl": 60}}), Some(AT + 60_000)),
            (sns("hello"), Some(hour)),
            (sns(&notification(60).to_string()), Some(AT + 60_000)),
            (records(json!({"EventSource": "aws:sns", "Sns": sns("hello")})), Some(hour)),
            (records(json!({"eventSource": "aws:sqs", "body": notification(60).to_string()})), Some(AT + 60_000)),
            (s3("2026-11-24T11:46:23.000Z"), Some(hour)),
            (s3("1970-01-01T00:00:00.000Z"), None),
            (records(json!({"eventSource": "aws:dynamodb", "dynamodb": created})), Some(hour)),
            (kinesis("hello"), Some(hour)),
            (kinesis(&notification(60).to_string()), Some(AT + 60_000)),
            (json!({"detail-type": "t", "detail": {}, "time": "2026-11-24T11:46:23Z"}), Some(hour)),
            (json!({"order": 42}), None),
            (json!("hello"), None),
        ] {
            assert_eq!(end(&value.to_string(), NOW), expected, "{value}");
        }
    }

    /// That a letter lasts until two days after it happened.
    fn check(text: &str, expected: &str) {
        let until = AT + 2 * DAY;
        let lasting = lasting(text, Some(until), NOW).unwrap();
        assert_eq!(lasting, expected);
        assert!(end(&lasting, NOW).is_none_or(|end| end >= until || lasting.contains("\"until\"")), "{lasting}");
    }

    #[test]
    fn a_notification_keeps_its_time_and_lives_longer_and_its_data_stays_letter_by_letter() {
        check(
            r#"{"to":"everyone","data":{"b": 1.0, "a":12345678901234567890123},"at":1795520783000,"ttl":60}"#,
            r#"{"at":1795520783000,"data":{"b": 1.0, "a":12345678901234567890123},"to":"everyone","ttl":172800}"#,
        );
        check(
            r#"[{"to":"everyone","data":1}, {"to":"everyone","data":2,"at":1795520783000}]"#,
            concat!(
                r#"[{"data":1,"to":"everyone","ttl":86400},"#,
                r#"{"at":1795520783000,"data":2,"to":"everyone","ttl":172800}]"#
            ),
        );
        let long = r#"{"at":1795520783000,"data":1,"to":"everyone","ttl":1209600}"#;
        check(long, long);
    }

    #[test]
    fn a_segment_begins_again_and_knows_when_its_notification_happened() {
        check(
            concat!(
                r#"{"notification":"n","scope":"s","segment":{"id":"0.2","after":"40","at":1795520783000,"hops":1,"waits":3,"#,
                r#""retry":{"throttled":{"since":1}},"overloaded":true}}"#
            ),
            concat!(
                r#"{"notification":"n","scope":"s","segment":{"after":"40","at":1795520783000,"id":"0.2","#,
                r#""ttl":172800}}"#
            ),
        );
        let whole =
            r#"{"notification":{"to":"everyone","data":1.0,"at":1795520783000},"segment":{"hops":200,"id":"0"}}"#;
        let begun = lasting(whole, None, NOW).unwrap();
        assert_eq!(begun, whole.replace(r#""hops":200,"#, ""));
        check(
            whole,
            concat!(
                r#"{"notification":{"at":1795520783000,"data":1.0,"to":"everyone","ttl":172800},"#,
                r#""segment":{"id":"0","ttl":172800}}"#
            ),
        );
    }

    #[test]
    fn events_of_services_say_until_when_they_are_to_last() {
        for event in [
            r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
            r#"{"detail":{},"detail-type":"t"}"#,
            r#"{"Message":"m","TopicArn":"arn","Type":"Notification"}"#,
        ] {
            let expected = event.strip_suffix('}').unwrap().to_owned() + r#","until":1795693583000}"#;
            check(event, &expected);
        }
        check("hello", "hello");
        check(r#"{"order":42}"#, r#"{"order":42}"#);
    }

    #[test]
    fn what_no_time_to_live_can_save_is_told_so() {
        let old = r#"{"to":"everyone","data":1,"at":1795520783000}"#;
        let Failure(reason) = lasting(old, Some(AT + 15 * DAY), AT + 14 * DAY).unwrap_err();
        assert_eq!(
            reason,
            "its `at` is 2026-11-24T11:46:23Z, and no notification lasts longer than until 2026-12-08T11:46:23Z; give a \
             shorter --ttl, or send it anew"
        );
    }
}
