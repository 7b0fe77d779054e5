//! A connection is replaced before API Gateway ends it.

use std::time::Duration;

use serde_json::json;
use tidings_client::Event;

use crate::server::{Server, connected, message, messages, next};

/// Soon, and the one after it never.
const SOON: std::ops::Range<Duration> = Duration::from_millis(300)..Duration::from_millis(400);

#[tokio::test]
async fn the_new_connection_is_subscribed_before_the_old_one_ends_and_nothing_comes_twice() {
    let server = Server::start().await;
    let (client, mut events) = server.client().topic("a").renew_at(SOON).connect().unwrap();
    let mut old = server.accept().await;
    old.subscribed(json!({"a": {"offset": 4, "epoch": "e"}})).await;
    connected(&mut events).await;
    old.send(message(5)).await;
    assert_eq!(messages(&mut events).await, [5]);
    let calling = tokio::spawn({
        let client = client.clone();
        async move { client.call("slow", json!({})).await }
    });
    let call = old.next().await;

    let mut new = server.accept().await;
    let command = new.next().await;
    assert_eq!(command["since"], json!({"a": {"offset": 5, "epoch": "e"}}));
    // Between the two: both bring it, and so does the answer.
    old.send(message(6)).await;
    new.send(message(6)).await;
    let missed = json!({"offset": 6, "epoch": "e", "recovered": true, "messages": [message(6)], "more": false});
    new.send(json!({"type": "ack", "id": command["id"], "topics": {"a": missed}})).await;
    let plain = json!({"type": "message", "id": "n", "data": 7});
    old.send(plain.clone()).await;
    new.send(plain).await;
    assert_eq!(messages(&mut events).await, [6, 7]);
    // An answer on the old one is still waited for; then it is left.
    old.send(json!({"type": "reply", "id": call["id"], "data": "done"})).await;
    assert_eq!(calling.await.unwrap().unwrap(), "done");
    assert_eq!(old.close_code().await, 1000);
    new.send(message(7)).await;
    assert_eq!(messages(&mut events).await, [7], "and no word of a disconnection");
}

#[tokio::test]
async fn a_new_connection_that_cannot_be_made_leaves_the_old_one_alone() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().topic("a").renew_at(SOON).connect().unwrap();
    let mut old = server.accept().await;
    old.subscribed(json!({"a": {}})).await;
    connected(&mut events).await;
    for status in ["502 Bad Gateway", "403 Forbidden"] {
        server.refuse(status).await;
    }
    old.send(json!({"type": "message", "id": "n", "topic": "a", "data": 1})).await;
    assert_eq!(messages(&mut events).await, [1]);
    let mut new = server.accept().await;
    old.close().await;
    let event = next(&mut events).await;
    assert!(matches!(event, Event::Disconnected { retry_in: Duration::ZERO, .. }), "it is being made: {event:?}");
    new.subscribed(json!({"a": {}})).await;
    connected(&mut events).await;
}
