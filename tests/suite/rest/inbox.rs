//! A user's inbox over REST.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;

use super::{JSON, Rest};

async fn say(rest: &Rest, more: Value) {
    let mut notification = json!({"to": {"user": "u1"}, "data": 1});
    notification.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = rest.stack.invoke("notifier", &notification.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
}

async fn mark(rest: &Rest, body: Value, status: u16) -> Value {
    let answer = rest.send("PUT", "/users/u1/read", &[JSON], body.to_string().as_bytes()).await;
    assert_eq!(answer.status, status, "{body}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn unread(count: u64, offset: u64, read: u64) -> Value {
    json!({"count": count, "offset": offset, "read": read})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_says_how_far_a_user_has_read_and_only_rises() {
    let rest = Rest::start().await;
    assert_eq!(rest.get("/users/u1/unread").await, unread(0, 0, 0));
    for _ in 0..3 {
        say(&rest, json!({})).await;
    }
    assert_eq!(rest.get("/users/u1/unread").await, unread(3, 3, 0));
    assert_eq!(mark(&rest, json!({"offset": 2}), 200).await, unread(1, 3, 2));
    assert_eq!(mark(&rest, json!({"offset": 1}), 200).await, unread(1, 3, 2), "a mark only rises");
    let epoch = rest.get("/messages?user=u1").await["epoch"].clone();
    assert_eq!(mark(&rest, json!({"offset": 3, "epoch": "another"}), 200).await, unread(1, 3, 2));
    assert_eq!(mark(&rest, json!({"offset": 3, "epoch": epoch}), 200).await, unread(0, 3, 3));
    assert_eq!(rest.get("/users/-/unread?user=u1").await, unread(0, 3, 3));
    let problem = mark(&rest, json!({"offset": 4}), 400).await;
    assert_eq!(problem["field"], "offset");
    assert_eq!(
        problem["detail"],
        "`offset`: 4 is beyond the log, which ends at 3; give the offset of a message that came"
    );
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_hides_a_message_from_recovery_and_never_from_the_count() {
    let rest = Rest::start().await;
    say(&rest, json!({"ttl": 1})).await;
    say(&rest, json!({})).await;
    let hidden = async || {
        let messages = rest.get("/messages?user=u1").await;
        (messages["messages"].as_array().unwrap().len() == 1).then_some(())
    };
    eventually("the message of one second", Duration::from_secs(10), hidden).await;
    assert_eq!(rest.get("/users/u1/unread").await, unread(2, 2, 0));
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_connections_are_told_when_the_mark_rises() {
    let rest = Rest::start().await;
    say(&rest, json!({})).await;
    let (mut phone, _) = rest.connect("?user=u1").await;
    let (mut other, _) = rest.connect("?user=u2").await;
    mark(&rest, json!({"offset": 1}), 200).await;
    assert_eq!(phone.json().await, json!({"type": "unread", "count": 0, "offset": 1, "read": 1}));
    mark(&rest, json!({"offset": 1}), 200).await;
    phone.hears_nothing().await;
    other.hears_nothing().await;
    rest.stack.stop().await;
}
