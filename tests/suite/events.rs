//! The events in `tests/events`, as AWS sends them, through the functions' own binaries.

use serde_json::{Value, json};
use tests::stack::{Stack, root};

fn event(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/events").join(name)).unwrap()
}

/// Each event with its function and what is expected of the answer. A client's life from beginning to end.
#[tokio::test(flavor = "multi_thread")]
async fn every_golden_event_is_served_by_its_function() {
    let stack = Stack::start(&[]).await;
    let mut served = Vec::new();
    for (function, name, expected) in [
        ("authorizer", "authorize.json", json!({"principalId": "alice"})),
        ("connect", "connect.json", json!({"statusCode": 200})),
        ("connect", "connect-with-topics.json", json!({"statusCode": 200})),
        ("connect", "connect-anonymous.json", json!({"statusCode": 200})),
        ("default", "subscribe.json", json!({"statusCode": 200})),
        ("default", "unsubscribe.json", json!({"statusCode": 200, "body": r#"{"type":"ack","id":2}"#})),
        ("default", "ping.json", json!({"statusCode": 200, "body": r#"{"type":"pong","id":3}"#})),
        ("notifier", "notify-topic.json", json!({"failed": 0})),
        ("notifier", "notify-everyone.json", json!({"failed": 0})),
        ("disconnect", "disconnect.json", json!({"statusCode": 200})),
        ("disconnect", "disconnect-idle.json", json!({"statusCode": 200})),
    ] {
        let answer = stack.invoke(function, &event(name)).await;
        assert!(!answer.failed, "{name}: {answer:?}");
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&answer.payload[field], value, "{name}: {answer:?}");
        }
        served.push(name.to_owned());
    }
    let files = std::fs::read_dir(root().join("tests/events")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.filter(|name| name.ends_with(".json")).collect();
    files.sort();
    served.sort();
    assert_eq!(files, served, "every event in the folder is served here");
    stack.stop().await;
}

/// What a deployed stack's events have and the typed bindings need.
#[test]
fn golden_events_of_sockets_carry_both_times() {
    for name in ["authorize.json", "connect.json", "subscribe.json", "disconnect.json"] {
        let event: Value = serde_json::from_str(&event(name)).unwrap();
        let context = &event["requestContext"];
        assert!(context["connectedAt"].is_i64() && context["requestTimeEpoch"].is_i64(), "{name}");
    }
}
