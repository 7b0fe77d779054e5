//! An application's own rules, as it writes them.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::time::Duration;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::queues::{Served, nowhere};
use tests::standin::{Behaviour, Standin};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Queues};
use tidings::lambda::Request;
use tidings::metrics::Metrics;
use tidings::registry::{Connection, Registry};
use tidings::{ConnectionId, Topic, UserId};
use tidings_notifier::{Deps, Event, Function, Notification, Notifier, Rules};

/// Tells who watches an order and who bought; says nothing of drafts.
fn order(event: &Event) -> Vec<Notification> {
    let data = &event.data;
    match (data["order"].as_str(), data["buyer"].as_str()) {
        (Some(order), Some(buyer)) => vec![
            Notification::to_topic(format!("orders/{order}"), data["state"].clone()).with_type("order.changed"),
            Notification::to_user(buyer, order).with_type("order.yours").with_ttl(60),
        ],
        _ => vec![],
    }
}

/// The notifier with these JSON rules, one client that listens to `orders/42` and is bob, its socket, and the dead letters.
async fn notifier(function: Function, rules: &str) -> (Notifier, Standin, Served) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let mut bob = Connection::new(ConnectionId::parse("c").unwrap());
    bob.connected_at = tests::now() - 3_600_000;
    (bob.user, bob.topics) = (Some(UserId::parse("bob").unwrap()), vec![Topic::parse("orders/42").unwrap()]);
    registry.connect(&bob).await.unwrap();
    let (standin, letters) = (Standin::start().await, Served::start().await);
    standin.add("c", Behaviour::Takes);
    let limits = Limits { pushes_per_second: 8_000.0, workers: 8 };
    let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry, limits, Clock::System);
    let queues = Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters: letters.queue() };
    let (rules, metrics) = (Rules::parse(rules).unwrap(), Metrics::default());
    let deps = Deps { fan_out: FanOut::new(delivery, queues), rules, metrics, clock: Clock::System };
    (function.core(deps), standin, letters)
}

/// A message of the queue `orders`.
fn message(body: &Value) -> Box<RawValue> {
    let record = json!({"messageId": "m1", "receiptHandle": "r", "body": body.to_string(), "attributes": {},
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders"});
    to_raw_value(&json!({"Records": [record]})).unwrap()
}

async fn handle(notifier: &Notifier, body: &Value) {
    let deadline = u64::try_from(tests::now()).unwrap() + 20_000;
    let answer = notifier.handle(&message(body), &Request::new("r".to_owned(), deadline)).await.unwrap();
    assert_eq!(answer.get(), r#"{"batchItemFailures":[]}"#);
}

/// What the client got, as id, type and data.
fn got(standin: &Standin) -> Vec<[Value; 3]> {
    let messages = standin.used("c").messages;
    let messages = messages.iter().map(|message| serde_json::from_slice::<Value>(message).unwrap());
    messages.map(|message| [message["id"].clone(), message["event"].clone(), message["data"].clone()]).collect()
}

#[test]
fn a_rule_is_a_function() {
    let notifications = order(&Event::new("aws/sqs/orders", json!({"order": "42", "buyer": "bob", "state": "paid"})));
    assert_eq!(notifications[0], Notification::to_topic("orders/42", "paid").with_type("order.changed"));
    assert_eq!(order(&Event::new("aws/sqs/orders", json!({}))), []);
}

#[tokio::test]
async fn one_event_becomes_several_notifications_whose_ids_are_known_when_it_comes_again() {
    let (notifier, standin, letters) = notifier(Function::new().rule("aws/sqs/orders", order), "[]").await;
    let body = json!({"order": "42", "buyer": "bob", "state": "paid"});
    handle(&notifier, &body).await;
    let expected =
        [[json!("m1"), json!("order.changed"), json!("paid")], [json!("m1-2"), json!("order.yours"), json!("42")]];
    assert_eq!(got(&standin), expected);
    handle(&notifier, &body).await;
    assert_eq!(got(&standin), expected, "what was delivered is not delivered again");
    assert_eq!(letters.bodies().await, [] as [&str; 0]);
}

#[tokio::test]
async fn rules_in_code_come_first_and_an_empty_list_is_an_answer() {
    let json_rules = r#"[{"source":"aws/sqs/*","to":{"topic":"orders/42"},"type":"json"}]"#;
    let function = Function::new().rule("aws/sqs/orders", order).rule("aws/*", |_| vec![Notification::from(json!(1))]);
    let (with_code, standin, letters) = notifier(function, json_rules).await;
    handle(&with_code, &json!({"draft": true})).await;
    assert_eq!((got(&standin).len(), letters.bodies().await.len()), (0, 0));

    let function = Function::new().rule("aws/s3/*", order);
    let (others, standin, _) = notifier(function, json_rules).await;
    handle(&others, &json!({"draft": true})).await;
    assert_eq!(got(&standin), [[json!("m1"), json!("json"), json!({"draft": true})]]);
}

#[tokio::test]
async fn what_is_a_notification_already_is_for_no_rule() {
    let (notifier, standin, _) = notifier(Function::new().rule("*", order), "[]").await;
    handle(&notifier, &json!({"to": {"user": "bob"}, "data": 1})).await;
    assert_eq!(got(&standin), [[json!("m1"), Value::Null, json!(1)]]);
}

#[tokio::test]
async fn an_invalid_result_is_kept_as_a_dead_letter_with_rule_field_and_fix_and_nothing_of_it_is_sent() {
    let good = || Notification::to_user("bob", 1);
    let cases: [(Notification, &str); 4] = [
        (Notification::to_topic("", 1), "`to.topic` is not valid; a topic is empty"),
        (good().with_ttl(0), "`ttl` is out of range; give whole seconds from 1 to 1209600"),
        (json!("bob").into(), "`notification` is not a JSON object"),
        (Notification::to_user("bob", "x".repeat(131_073)), "the message would be 131"),
    ];
    for (bad, problem) in cases {
        let rule = move |_: &Event| vec![good(), bad.clone()];
        let (notifier, standin, letters) = notifier(Function::new().rule("aws/sqs/*", rule), "[]").await;
        handle(&notifier, &json!({"n": 1})).await;
        let letters = letters.take().await;
        let reason = letters[0].message_attributes().unwrap()["reason"].string_value().unwrap();
        let start = format!("the rule in code for `aws/sqs/*`: its notification 2 is not valid: {problem}");
        assert!(reason.starts_with(&start), "{reason}");
        assert!(letters[0].body().unwrap().contains(r#"\"n\":1"#), "the record as it came");
        assert_eq!(got(&standin).len(), 0);
    }
}
