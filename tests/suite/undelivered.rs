//! The backend is told: the example of `docs/events.md`, with the functions' own binaries, buses and rules.

mod telling;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::stack::{Stack, root};
use tidings_test::Client;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(parameters: &[(&str, &str)]) -> Stack {
    Stack::start_at(&root().join("tests/undelivered/template.yaml"), parameters, &[]).await
}

/// What is in a queue, once there is so much.
async fn received(stack: &Stack, queue: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} messages in {queue}"), PATIENCE, async || {
        let messages = stack.receive(queue).await;
        let bodies = messages.iter().map(|message| serde_json::from_str(message.body.as_deref().unwrap()).unwrap());
        (messages.len() == count).then(|| bodies.collect::<Vec<Value>>())
    })
    .await
}

/// What was told of one kind, once there is so much. An event may come twice, under its id.
async fn told(stack: &Stack, kind: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} events {kind}"), PATIENCE, async || {
        let messages = stack.receive("Told").await;
        let events = messages.iter().map(|message| serde_json::from_str(message.body.as_deref().unwrap()).unwrap());
        let details = events.filter(|event: &Value| event["detail-type"] == kind).map(|event| event["detail"].clone());
        let mut ids = BTreeSet::new();
        let details: Vec<_> = details.filter(|detail: &Value| ids.insert(detail["id"].to_string())).collect();
        (details.len() == count).then_some(details)
    })
    .await
}

async fn notify(stack: &Stack, notification: &Value) -> Value {
    let answer = stack.invoke("notifier", &notification.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
    answer.payload
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_gets_a_mail_and_who_is_does_not() {
    let stack = start(&[]).await;
    let report = notify(&stack, &json!({"id": "n1", "to": {"user": "u1"}, "data": {"text": "hello"}})).await;
    assert_eq!(report["audience"], 0, "{report}");
    let mails = received(&stack, "Outbox", 1).await;
    assert_eq!((&mails[0]["to"], &mails[0]["text"]), (&json!("u1@example.com"), &json!({"text": "hello"})));

    let mut client = Client::connect(&format!("{}?user=u1", stack.url())).await;
    let report = notify(&stack, &json!({"id": "n2", "to": {"user": "u1"}, "data": {"text": "again"}})).await;
    assert_eq!(report["delivered"], 1, "{report}");
    assert_eq!(client.json().await["data"], json!({"text": "again"}));
    // What came later has gone all the way, so what would have come before has too.
    notify(&stack, &json!({"id": "n3", "to": {"user": "u2"}, "data": {"text": "later"}})).await;
    let mails = received(&stack, "Outbox", 2).await;
    let to: Vec<_> = mails.iter().map(|mail| mail["to"].as_str().unwrap()).collect();
    assert_eq!(to, ["u1@example.com", "u2@example.com"]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_told_from_their_beginning_to_their_end() {
    let stack = start(&[("BusName", "shop")]).await;
    let client = Client::connect(&format!("{}?user=ada", stack.url())).await;
    let connected = told(&stack, "Connected", 1).await.remove(0);
    client.close().await;
    let disconnected = told(&stack, "Disconnected", 1).await.remove(0);
    let connection = connected["connection"].as_str().unwrap();
    let expected = json!({"id": format!("connected-{connection}"), "connection": connection, "user": "ada",
        "protocol": "tidings.v1.json", "at": connected["at"]});
    assert_eq!(connected, expected);
    assert_eq!(disconnected["id"], format!("disconnected-{connection}"));
    assert_eq!((&disconnected["user"], &disconnected["status"]), (&json!("ada"), &json!(1005)), "{disconnected}");
    let duration = disconnected["at"].as_i64().unwrap() - connected["at"].as_i64().unwrap();
    assert_eq!(disconnected["duration"], duration, "{disconnected}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_who_it_is_in_a_frame_is_told_once_it_has_said_so_and_its_user_is_online() {
    let stack = start(&[("BusName", "shop")]).await;
    let mut client = Client::connect(&format!("{}?user=ada&protocol=centrifuge", stack.url())).await;
    told(&stack, "Connected", 0).await;
    client.send(json!({"id": 1, "connect": {}}).to_string()).await;
    let id = client.json().await["connect"]["client"].as_str().unwrap().to_owned();
    let connected = told(&stack, "Connected", 1).await.remove(0);
    let expected = json!({"id": format!("connected-{id}"), "connection": id, "user": "ada", "protocol": "centrifuge",
        "at": connected["at"]});
    assert_eq!(connected, expected);
    assert_eq!(told(&stack, "User Online", 1).await[0]["user"], "ada");
    client.close().await;
    told(&stack, "Disconnected", 1).await;
    told(&stack, "User Offline", 1).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_of_a_queue_is_told_once_for_each_user_who_was_not_reached() {
    let stack = start(&[]).await;
    let mut client = Client::connect(&format!("{}?user=here", stack.url())).await;
    told(&stack, "Connected", 1).await;
    let to = json!([{"user": "gone"}, {"user": "here"}]);
    let notification = json!({"id": "n", "to": to, "type": "hi", "data": 1}).to_string();
    stack.send("Tidings/NotificationQueue", &notification).await;
    assert_eq!(client.json().await["data"], 1);
    let undelivered = told(&stack, "Undelivered", 1).await.remove(0);
    assert_eq!((&undelivered["user"], &undelivered["reason"]), (&json!("gone"), &json!("absent")));
    let said = &undelivered["notification"];
    assert_eq!(
        (&said["to"], &said["type"], &said["log"]["offset"]),
        (&json!({"user": "gone"}), &json!("hi"), &json!(1))
    );
    // The same once more is known, and nobody is told of it; what is sent behind it, and expired, is.
    stack.send("Tidings/NotificationQueue", &notification).await;
    let expired = json!({"id": "e", "to": {"user": "late"}, "data": 1, "at": tests::now() - 60_000, "ttl": 1});
    stack.send("Tidings/NotificationQueue", &expired.to_string()).await;
    let events = told(&stack, "Undelivered", 2).await;
    let late = events.iter().find(|event| event["user"] == "late").unwrap();
    assert_eq!(late["reason"], "expired");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_online_from_its_first_connection_to_its_last() {
    let stack = start(&[]).await;
    let url = format!("{}?user=ada", stack.url());
    let (one, other) = (Client::connect(&url).await, Client::connect(&url).await);
    let online = told(&stack, "User Online", 1).await.remove(0);
    assert_eq!((&online["user"], online["at"].as_i64() > Some(0)), (&json!("ada"), true), "{online}");
    one.close().await;
    told(&stack, "Disconnected", 1).await;
    eventually("an end of all looks", PATIENCE, async || {
        (stack.waiting("Tidings/NotificationQueue").await == 0).then_some(())
    })
    .await;
    told(&stack, "User Offline", 0).await;
    other.close().await;
    let offline = told(&stack, "User Offline", 1).await.remove(0);
    assert_eq!(offline["id"], format!("user-offline-ada-{}", offline["at"]), "{offline}");
    assert!(offline["at"].as_i64() > online["at"].as_i64());
    told(&stack, "User Online", 1).await;
    stack.stop().await;
}
