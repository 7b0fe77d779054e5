//! Commands while the client runs.

use std::time::Duration;

use serde_json::json;
use tidings_client::{CallError, History, Log};

use crate::server::{Server, connected, disconnected, message, messages};

#[tokio::test]
async fn commands_are_answered_by_id_and_refusals_are_errors() {
    let server = Server::start().await;
    let (client, mut events) = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    let answering = tokio::spawn(async move {
        let (publish, action) = (peer.next().await, peer.next().await);
        assert_eq!((&publish["topic"], &publish["data"]), (&json!("chat"), &json!({"n": 1})));
        peer.send(json!({"type": "error", "id": action["id"], "code": "RoomIsFull", "message": "take another"})).await;
        peer.send(json!({"type": "ack", "id": publish["id"]})).await;
        let whoami = peer.next().await;
        peer.send(json!({"type": "whoami", "id": whoami["id"], "user": "u"})).await;
        let unsubscribe = peer.next().await;
        assert_eq!((&unsubscribe["action"], &unsubscribe["topic"]), (&json!("unsubscribe"), &json!("a")));
        peer.send(json!({"type": "ack", "id": unsubscribe["id"]})).await;
        peer
    });
    let action = async {
        tokio::task::yield_now().await;
        client.call("chat.join", json!({"room": 7})).await
    };
    let (published, refused) = tokio::join!(client.publish("chat", json!({"n": 1})), action);
    published.unwrap();
    assert_eq!(refused.unwrap_err().to_string(), "RoomIsFull: take another");
    assert_eq!(client.call("whoami", json!({})).await.unwrap(), json!({"user": "u"}));
    client.unsubscribe(Log::topic("a")).await.unwrap();
    assert!(matches!(client.call("whoami", json!(7)).await, Err(CallError::Body(None))));
    drop(answering.await.unwrap());
}

#[tokio::test]
async fn a_command_without_a_connection_waits_and_one_whose_answer_is_lost_says_so() {
    let server = Server::start().await;
    let (client, mut events) = server.client().connect().unwrap();
    let pinging = tokio::spawn({
        let client = client.clone();
        async move { client.ping().await }
    });
    let mut peer = server.accept().await;
    let ping = peer.next().await;
    peer.send(json!({"type": "pong", "id": ping["id"]})).await;
    pinging.await.unwrap().unwrap();
    connected(&mut events).await;
    let (lost, ()) = tokio::join!(client.publish("t", 1), async {
        peer.next().await;
        peer.close().await;
    });
    assert!(matches!(lost, Err(CallError::Disconnected)), "{lost:?}");
    disconnected(&mut events).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let server = Server::start().await;
    let (client, mut events) = server.client().call_within(Duration::from_millis(100)).connect().unwrap();
    let _peer = server.accept().await;
    connected(&mut events).await;
    assert!(matches!(client.ping().await, Err(CallError::TimedOut(_))));
}

#[tokio::test]
async fn topics_come_and_go_while_the_client_runs() {
    let server = Server::start().await;
    let (client, mut events) = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    let position = serde_json::from_value(json!({"offset": 2, "epoch": "e"})).unwrap();
    let (subscribed, command) = tokio::join!(client.subscribe_since(Log::topic("a"), position), async {
        let messages = [message(3)];
        peer.subscribed(
            json!({"a": {"offset": 3, "epoch": "e", "recovered": true, "messages": messages, "more": false}}),
        )
        .await
    });
    subscribed.unwrap();
    assert_eq!(command["since"], json!({"a": {"offset": 2, "epoch": "e"}}));
    assert_eq!(messages(&mut events).await, [3]);
    peer.close().await;
    disconnected(&mut events).await;
    client.unsubscribe(Log::topic("a")).await.unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    let (pinged, command) = tokio::join!(client.ping(), async {
        let command = peer.next().await;
        peer.send(json!({"type": "pong", "id": command["id"]})).await;
        command
    });
    pinged.unwrap();
    assert_eq!(command["action"], "ping", "the topic is left");
}

#[tokio::test]
async fn a_log_is_read_without_being_subscribed_to() {
    let server = Server::start().await;
    let (client, mut events) = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    let log = Log::topic("a");
    let (page, command) = tokio::join!(client.history(&log, History::newest(2)), async {
        let command = peer.next().await;
        let messages = [message(9), message(8)];
        let page = json!({"type": "history", "id": command["id"], "topic": "a", "offset": 9, "epoch": "e", "messages": messages, "more": true});
        peer.send(page).await;
        command
    });
    assert_eq!(command, json!({"action": "history", "topic": "a", "limit": 2, "reverse": true, "id": 1}));
    let page = page.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.read().unwrap()).collect::<Vec<u64>>(), [8, 9]);
    assert_eq!((page.position.unwrap().to_string(), page.more), ("9/e".to_owned(), true));
}

#[tokio::test]
async fn events_that_nobody_takes_hold_up_the_server_but_no_answer() {
    let server = Server::start().await;
    let (client, mut events) = server.client().topic("a").connect().unwrap();
    let mut peer = server.accept().await;
    peer.subscribed(json!({"a": {"offset": 0, "epoch": "e"}})).await;
    // More than is taken in, and less than the sockets have room for.
    for offset in 1..=1_200 {
        peer.send(message(offset)).await;
    }
    let (pinged, ()) = tokio::join!(client.ping(), async {
        let command = peer.next().await;
        peer.send(json!({"type": "pong", "id": command["id"]})).await;
    });
    pinged.unwrap();
    connected(&mut events).await;
    for offset in 1..=1_200 {
        assert_eq!(messages(&mut events).await, [offset]);
    }
}
