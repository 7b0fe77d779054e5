//! Frames of a connection that overtake one another, as on AWS: what the client asked for last is so.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tests::eventually;
use tests::stack::Stack;
use tidings_test::Client;
use tokio::time::sleep;

/// Frames of one millisecond have no order.
const APART: Duration = Duration::from_millis(2);

/// A client sends these commands for a topic, waiting for nothing but that each has left it; whether it is subscribed once all
/// are answered.
async fn sends(stack: &Stack, actions: &[&str]) -> bool {
    let mut client = Client::connect(stack.url()).await;
    let whoami = client.ask(json!({"action": "whoami"})).await;
    let id = whoami["connection"].as_str().unwrap();
    for (number, action) in actions.iter().enumerate() {
        client.send(json!({"action": action, "topic": "t", "id": number}).to_string()).await;
        arrived(stack, id, number as u64 + 2).await;
        sleep(APART).await;
    }
    for _ in actions {
        let answer = client.json().await;
        assert_eq!(answer["type"], "ack", "{answer}");
    }
    let whoami = client.ask(json!({"action": "whoami"})).await;
    client.close().await;
    whoami["topics"] == json!(["t"])
}

/// Waits until so many frames of a connection have reached the gateway, which may be later than they were sent.
async fn arrived(stack: &Stack, id: &str, count: u64) {
    eventually("the frame at the gateway", Duration::from_secs(10), async || {
        let connections = stack.running().gateway().connections();
        connections.iter().any(|one| one.id == id && one.received >= count).then_some(())
    })
    .await;
}

// On one thread, so that a frame that has been counted has its time too.
#[tokio::test]
async fn in_ten_seeds_whoever_subscribes_last_is_subscribed_and_whoever_unsubscribes_last_is_not() {
    let joins_last = ["subscribe", "unsubscribe", "subscribe"];
    let leaves_last = ["subscribe", "unsubscribe", "subscribe", "unsubscribe"];
    for seed in 1..=10 {
        let stack = Stack::start_with(|options| options.shuffle = Some(seed)).await;
        assert!(stack.log().contains(&format!("frames are shuffled with seed {seed}")), "{}", stack.log());
        let joins = join_all((0..5).map(|_| sends(&stack, &joins_last)));
        let leaves = join_all((0..5).map(|_| sends(&stack, &leaves_last)));
        let (joins, leaves) = tokio::join!(joins, leaves);
        assert_eq!((joins, leaves), (vec![true; 5], vec![false; 5]), "seed {seed}");
        stack.stop().await;
    }
}

#[tokio::test]
async fn shuffled_frames_are_answered_in_another_order_than_they_were_sent_in() {
    let stack = Stack::start_with(|options| options.shuffle = Some(1)).await;
    let mut client = Client::connect(stack.url()).await;
    for id in 0..20 {
        client.send(json!({"action": "whoami", "id": id}).to_string()).await;
    }
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(client.json().await["id"].as_u64().unwrap());
    }
    assert!(!ids.is_sorted(), "{ids:?}");
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..20), "each is answered once");
    stack.stop().await;
}
