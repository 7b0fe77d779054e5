//! The API's calls. Messages are those of AWS.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Events, timestamp};
use tidings_local_stack::{DEFAULT_BUS, filter};

/// Most entries of a request.
const MOST_ENTRIES: usize = 10;
/// Most bytes of a request's entries.
const MOST_BYTES: usize = 1_048_576;

/// Why a call fails: the error's name and one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

/// Carries out a call.
pub(crate) fn call(events: &Events, action: &str, input: &Value) -> Result<Value, Refusal> {
    match action {
        "PutEvents" => put(events, input),
        "TestEventPattern" => test_pattern(input),
        _ => Err(refusal("UnknownOperationException", format!("{action} is not served here"))),
    }
}

fn put(events: &Events, input: &Value) -> Result<Value, Refusal> {
    let entries = input["Entries"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.is_empty() || entries.len() > MOST_ENTRIES {
        let text = "1 validation error detected: Value at 'entries' failed to satisfy constraint: Member must have length less \
                    than or equal to 10 and greater than or equal to 1";
        return Err(refusal("ValidationException", text));
    }
    if entries.iter().map(bytes).sum::<usize>() > MOST_BYTES {
        let text = "Total size of the entries in the request is over the limit.";
        return Err(refusal("ValidationException", text));
    }
    let results: Vec<_> = entries.iter().map(|entry| put_entry(events, entry)).collect();
    let failed = results.iter().filter(|result| result.is_err()).count();
    let results = results.into_iter().map(|result| match result {
        Ok(id) => json!({"EventId": id}),
        Err(refusal) => json!({"ErrorCode": refusal.code, "ErrorMessage": refusal.message}),
    });
    Ok(json!({"FailedEntryCount": failed, "Entries": results.collect::<Vec<_>>()}))
}

/// What counts of an entry (EventBridge User Guide, "Calculating PutEvents event entry size").
fn bytes(entry: &Value) -> usize {
    let texts = ["Source", "DetailType", "Detail"].iter().filter_map(|name| entry[name].as_str());
    let resources = entry["Resources"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let time = if entry["Time"].is_null() { 0 } else { 14 };
    time + texts.chain(resources).map(str::len).sum::<usize>()
}

/// Takes one entry; its id, or why it is not taken.
fn put_entry(events: &Events, entry: &Value) -> Result<String, Refusal> {
    let required = |name: &str| {
        let text = entry[name].as_str().filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| {
            let text = format!("Parameter {name} is not valid. Reason: {name} is a required argument.");
            refusal("InvalidArgument", text)
        })?;
        Ok::<_, Refusal>(text)
    };
    let (source, detail_type, detail) = (required("Source")?, required("DetailType")?, required("Detail")?);
    if source.starts_with("aws.") {
        return Err(refusal("NotAuthorizedForSourceException", "Not authorized for the source."));
    }
    let detail: Value = serde_json::from_str(detail).unwrap_or(Value::Null);
    if !detail.is_object() {
        return Err(refusal("MalformedDetail", "Detail is malformed."));
    }
    let time = entry["Time"].as_f64().map_or_else(|| DateTime::from(SystemTime::now()), DateTime::from_secs_f64);
    let id = Uuid::new_v4().to_string();
    let event = json!({
        "version": "0",
        "id": id,
        "detail-type": detail_type,
        "source": source,
        "account": events.0.account,
        "time": timestamp(time),
        "region": events.0.region,
        "resources": entry["Resources"].as_array().cloned().unwrap_or_default(),
        "detail": detail,
    });
    events.accept(bus(entry["EventBusName"].as_str()), event);
    Ok(id)
}

/// The name of a bus that was given by name, by ARN, or not at all.
fn bus(given: Option<&str>) -> &str {
    let given = given.filter(|given| !given.is_empty()).unwrap_or(DEFAULT_BUS);
    given.split_once(":event-bus/").map_or(given, |(_, name)| name)
}

fn test_pattern(input: &Value) -> Result<Value, Refusal> {
    let parsed = |name: &str| input[name].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let invalid =
        |why: String| refusal("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {why}"));
    let pattern = parsed("EventPattern").ok_or_else(|| invalid("it is no JSON".to_owned()))?;
    filter::check(&pattern).map_err(invalid)?;
    let event = parsed("Event").ok_or_else(|| refusal("ValidationException", "Parameter Event is not valid."))?;
    Ok(json!({"Result": filter::matches(&pattern, &event)}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_one(entry: Value) -> (Value, Option<Value>) {
        let (events, mut matched) = Events::new("eu-west-1", "123456789012", [], []);
        let answer = call(&events, "PutEvents", &json!({"Entries": [entry]})).unwrap();
        (answer, matched.try_recv().ok().map(|matched| json!({"bus": matched.bus, "event": matched.event})))
    }

    #[test]
    fn an_entry_becomes_an_event_on_its_bus() {
        let entry = json!({"Source": "shop", "DetailType": "Sold", "Detail": r#"{"n":1}"#, "Time": 1_795_520_783.5,
            "Resources": ["r"], "EventBusName": "arn:aws:events:eu-west-1:123456789012:event-bus/orders"});
        let (answer, put) = put_one(entry);
        let id = &answer["Entries"][0]["EventId"];
        let event = json!({"version": "0", "id": id, "detail-type": "Sold", "source": "shop", "account": "123456789012",
            "time": "2026-11-24T11:46:23Z", "region": "eu-west-1", "resources": ["r"], "detail": {"n": 1}});
        assert_eq!(answer["FailedEntryCount"], 0);
        assert_eq!(put, Some(json!({"bus": "orders", "event": event})));
        let (_, put) = put_one(json!({"Source": "shop", "DetailType": "Sold", "Detail": "{}"}));
        assert_eq!(put.unwrap()["bus"], "default");
    }

    #[test]
    fn a_wrong_entry_fails_by_itself() {
        for (entry, code) in [
            (json!({"DetailType": "d", "Detail": "{}"}), "InvalidArgument"),
            (json!({"Source": "s", "Detail": "{}"}), "InvalidArgument"),
            (json!({"Source": "s", "DetailType": "d"}), "InvalidArgument"),
            (json!({"Source": "s", "DetailType": "d", "Detail": "[1]"}), "MalformedDetail"),
            (json!({"Source": "s", "DetailType": "d", "Detail": "{"}), "MalformedDetail"),
            (json!({"Source": "aws.ec2", "DetailType": "d", "Detail": "{}"}), "NotAuthorizedForSourceException"),
        ] {
            let (answer, put) = put_one(entry.clone());
            assert_eq!(
                (&answer["FailedEntryCount"], &answer["Entries"][0]["ErrorCode"]),
                (&json!(1), &json!(code)),
                "{entry}"
            );
            assert_eq!(put, None, "{entry}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_whole_request_is_told() {
        let (events, _matched) = Events::new("eu-west-1", "123456789012", [], []);
        let large =
            json!({"Source": "s", "DetailType": "d", "Detail": format!(r#"{{"x":"{}"}}"#, "x".repeat(MOST_BYTES))});
        for (action, input, code) in [
            ("PutEvents", json!({"Entries": []}), "ValidationException"),
            ("PutEvents", json!({"Entries": vec![json!({}); 11]}), "ValidationException"),
            ("PutEvents", json!({"Entries": [large]}), "ValidationException"),
            ("TestEventPattern", json!({"EventPattern": "{}", "Event": "{}"}), "InvalidEventPatternException"),
            ("PutRule", json!({}), "UnknownOperationException"),
        ] {
            assert_eq!(call(&events, action, &input).unwrap_err().code, code, "{action}");
        }
    }

    #[test]
    fn a_pattern_can_be_tried() {
        let (events, _matched) = Events::new("eu-west-1", "123456789012", [], []);
        let tried =
            |event: &str| call(&events, "TestEventPattern", &json!({"EventPattern": r#"{"a":[1]}"#, "Event": event}));
        assert_eq!(tried(r#"{"a":1}"#), Ok(json!({"Result": true})));
        assert_eq!(tried(r#"{"a":2}"#), Ok(json!({"Result": false})));
    }
}
