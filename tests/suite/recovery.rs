//! Nothing is missed: messages have a place in a log, and who was away gets what was said meanwhile.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::stack::Stack;
use tidings_test::Client;

async fn notify(stack: &Stack, notification: Value) -> Value {
    let answer = stack.invoke("notifier", &notification.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
    answer.payload
}

async fn say(stack: &Stack, topic: &str, data: Value) {
    notify(stack, json!({"to": {"topic": topic}, "data": data})).await;
}

fn place(message: &Value) -> Value {
    json!({"offset": message["offset"], "epoch": message["epoch"]})
}

fn offsets(messages: &Value) -> Vec<u64> {
    messages.as_array().unwrap().iter().map(|message| message["offset"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_was_said_meanwhile_and_then_what_is_pushed() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    let reply = client.ask(json!({"action": "subscribe", "topics": ["a", "b"], "id": 1})).await;
    assert_eq!((&reply["topics"]["a"]["offset"], &reply["topics"]["b"]["offset"]), (&json!(0), &json!(0)), "{reply}");
    say(&stack, "a", json!(1)).await;
    let first = client.json().await;
    assert_eq!((&first["offset"], &first["epoch"]), (&json!(1), &reply["topics"]["a"]["epoch"]), "{first}");
    client.close().await;
    for data in 2..=4 {
        say(&stack, "a", json!(data)).await;
    }

    let mut client = Client::connect(stack.url()).await;
    let since = json!({"a": place(&first), "b": {"offset": 0, "epoch": "another"}});
    let reply = client.ask(json!({"action": "subscribe", "topics": ["a", "b"], "since": since, "id": 1})).await;
    let (a, b) = (&reply["topics"]["a"], &reply["topics"]["b"]);
    assert_eq!((&a["recovered"], &a["more"], &a["offset"]), (&json!(true), &json!(false), &json!(4)), "{reply}");
    assert_eq!(offsets(&a["messages"]), [2, 3, 4]);
    assert_eq!((&a["messages"][0]["type"], &a["messages"][2]["data"]), (&json!("message"), &json!(4)));
    assert_eq!((&b["recovered"], &b["messages"]), (&json!(false), &json!([])), "another epoch is another log");
    say(&stack, "a", json!(5)).await;
    assert_eq!(client.json().await["offset"], 5);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_recovers_and_reads_history_like_a_topic() {
    let stack = Stack::start(&[]).await;
    for data in 1..=3 {
        notify(&stack, json!({"to": {"user": "u1"}, "data": data})).await;
    }
    let mut client = Client::connect(&format!("{}?user=u1", stack.url())).await;
    let history = client.ask(json!({"action": "history", "user": true, "limit": 2, "reverse": true, "id": 1})).await;
    assert_eq!((&history["type"], &history["user"], &history["more"]), (&json!("history"), &json!(true), &json!(true)));
    assert_eq!(offsets(&history["messages"]), [3, 2]);
    let since = json!({"offset": 1, "epoch": history["epoch"]});
    let reply = client.ask(json!({"action": "subscribe", "user": true, "since": since, "id": 2})).await;
    assert_eq!((&reply["user"]["recovered"], &reply["user"]["offset"]), (&json!(true), &json!(3)), "{reply}");
    assert_eq!(offsets(&reply["user"]["messages"]), [2, 3]);
    notify(&stack, json!({"to": {"user": "u1"}, "data": 4})).await;
    let pushed = client.json().await;
    assert_eq!((&pushed["user"], &pushed["offset"], &pushed["topic"]), (&json!(true), &json!(4), &Value::Null));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_audience_with_a_log_gets_the_message_in_its_own_under_one_id() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?user=u1&topic=a", stack.url())).await;
    let report = notify(&stack, json!({"to": [{"topic": "a"}, {"user": "u1"}, "everyone"], "data": 1})).await;
    assert_eq!((&report["audience"], &report["delivered"]), (&json!(3), &json!(3)), "{report}");
    let mut got = Vec::new();
    for _ in 0..3 {
        let message = client.json().await;
        assert_eq!(message["id"], report["id"]);
        got.push((message["topic"].clone(), message["user"].clone(), message["offset"].clone()));
    }
    assert!(got.contains(&(json!("a"), Value::Null, json!(1))), "{got:?}");
    assert!(got.contains(&(Value::Null, json!(true), json!(1))), "{got:?}");
    assert!(got.contains(&(Value::Null, Value::Null, Value::Null)), "{got:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_invoke_with_an_id_of_its_own_is_appended_and_pushed_once() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=a", stack.url())).await;
    for delivered in [1, 0] {
        let report = notify(&stack, json!({"to": {"topic": "a"}, "data": 1, "id": "mine"})).await;
        assert_eq!(report["delivered"], delivered, "{report}");
    }
    assert_eq!(client.json().await["offset"], 1);
    client.hears_nothing().await;
    say(&stack, "a", json!(2)).await;
    assert_eq!(client.json().await["offset"], 2, "nothing was appended in between");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_queue_are_appended_once_and_keep_their_place_when_they_come_again() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=a", stack.url())).await;
    let body = json!({"to": {"topic": "a"}, "data": 1, "id": "queued"}).to_string();
    let done = async || (stack.waiting("NotificationQueue").await == 0).then_some(());
    for _ in 0..2 {
        stack.send("NotificationQueue", &body).await;
        eventually("an empty queue", Duration::from_secs(20), done).await;
    }
    assert_eq!(client.json().await["offset"], 1);
    say(&stack, "a", json!(2)).await;
    assert_eq!(client.json().await["offset"], 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_left_out_is_told_that_there_is_no_gap() {
    let stack = Stack::start(&[]).await;
    let mut left_out = Client::connect(&format!("{}?topic=a", stack.url())).await;
    let mut raw = Client::offer(&format!("{}?topic=a", stack.url()), &["raw"]).await.unwrap();
    let own = left_out.ask(json!({"action": "whoami", "id": 1})).await["connection"].clone();
    let of_raw = raw.ask(json!({"action": "whoami", "id": 1})).await["connection"].clone();
    let report = notify(&stack, json!({"to": {"topic": "a"}, "data": 1, "except": [own.clone(), of_raw]})).await;
    assert_eq!((&report["audience"], &report["delivered"]), (&json!(0), &json!(0)), "{report}");
    let skip = left_out.json().await;
    assert_eq!((&skip["type"], &skip["topic"], &skip["offset"]), (&json!("skip"), &json!("a"), &json!(1)), "{skip}");
    raw.hears_nothing().await;
    // On its next connection it is left out as well, if it says which one it had.
    let mut again = Client::connect(stack.url()).await;
    let since = json!({"offset": 0, "epoch": skip["epoch"], "connection": own});
    let reply = again.ask(json!({"action": "subscribe", "topic": "a", "since": since, "id": 1})).await;
    let log = &reply["topics"]["a"];
    assert_eq!((&log["recovered"], &log["messages"], &log["offset"]), (&json!(true), &json!([]), &json!(1)), "{reply}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_absence_is_made_up_for_in_pages_of_one_message_of_the_largest_size() {
    let stack = Stack::start(&[]).await;
    let large = "x".repeat(125 * 1_024);
    for _ in 0..2 {
        say(&stack, "a", json!(large)).await;
    }
    let mut client = Client::connect(stack.url()).await;
    let begin = client.ask(json!({"action": "history", "topic": "a", "limit": 1, "id": 1})).await;
    let mut since = json!({"offset": 0, "epoch": begin["epoch"]});
    for more in [true, false] {
        let reply = client.ask(json!({"action": "history", "topic": "a", "since": since, "id": 2})).await;
        assert_eq!((&reply["more"], offsets(&reply["messages"]).len()), (&json!(more), 1));
        since = place(&reply["messages"][0]);
    }
    assert_eq!(since["offset"], 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recovered_is_refused_with_its_field_and_the_fix() {
    let stack =
        Stack::start(&[("Authentication", "anonymous"), ("AnonymousPermissions", "subscribe:a subscribe:b")]).await;
    let mut client = Client::connect(stack.url()).await;
    let begin = client.ask(json!({"action": "subscribe", "topic": "a", "id": 1})).await;
    let epoch = &begin["topics"]["a"]["epoch"];
    for (command, code, start) in [
        (
            json!({"action": "subscribe", "topic": "a", "since": {"offset": 9, "epoch": epoch}}),
            "BadRequest",
            "`since` is 9",
        ),
        (json!({"action": "subscribe", "topic": "a", "since": {"offset": "9"}}), "BadRequest", "`since.offset` is not"),
        (json!({"action": "history", "topic": "c"}), "Forbidden", "you may not subscribe to the topic \"c\""),
        (json!({"action": "history", "user": true}), "Forbidden", "this connection has no user"),
        (json!({"action": "history", "topic": "a", "limit": 0}), "BadRequest", "`limit` is out of range"),
    ] {
        let mut command = command;
        command["id"] = json!(2);
        let reply = client.ask(command.clone()).await;
        assert_eq!(reply["code"], code, "{command}: {reply}");
        assert!(reply["message"].as_str().unwrap().starts_with(start), "{command}: {reply}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rules_there_are_no_logs_and_messages_are_as_they_were() {
    let stack = Stack::start(&[("History", "[]")]).await;
    let mut client = Client::connect(stack.url()).await;
    let reply = client.ask(json!({"action": "subscribe", "topic": "a", "id": 1})).await;
    assert_eq!(reply, json!({"type": "ack", "id": 1, "topics": {"a": {}}}));
    say(&stack, "a", json!(1)).await;
    let message = client.json().await;
    assert_eq!((&message["offset"], &message["epoch"], &message["data"]), (&Value::Null, &Value::Null, &json!(1)));
    let history = client.ask(json!({"action": "history", "topic": "a", "id": 2})).await;
    assert!(history["message"].as_str().unwrap().starts_with("nothing is kept of it"), "{history}");
    stack.stop().await;
}
