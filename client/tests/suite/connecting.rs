//! Tokens, refusals, attempts, silence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tidings_client::{Client, Event, Log, Reason};

use crate::server::{Server, connected, disconnected, messages, next};

#[tokio::test]
async fn each_connection_gets_a_token_of_its_own() {
    let server = Server::start().await;
    let count = Arc::new(AtomicU32::new(0));
    let fetch = move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move {
            match number {
                1 => Err("the issuer is out for lunch"),
                number => Ok(format!("token-{number}")),
            }
        }
    };
    let builder = server.client().token_with(fetch).header("x-api-key", "k").query("user", "u");
    let (_client, mut events) = builder.connect().unwrap();
    let peer = server.accept().await;
    assert_eq!(
        (&peer.headers["authorization"], &peer.headers["x-api-key"]),
        (&"Bearer token-0".parse().unwrap(), &"k".parse().unwrap())
    );
    assert_eq!(peer.query, "user=u");
    connected(&mut events).await;
    peer.close().await;
    assert_eq!(disconnected(&mut events).await, "closed by the server");
    let Event::Disconnected { reason: Reason::Token(cause), .. } = next(&mut events).await else {
        panic!("the token should be missing")
    };
    assert_eq!(cause.to_string(), "the issuer is out for lunch");
    assert_eq!(server.accept().await.headers["authorization"], "Bearer token-2");
    connected(&mut events).await;
}

#[tokio::test]
async fn a_token_can_stand_in_the_query() {
    let server = Server::start().await;
    let (_client, _events) = server.client().token("a/b").token_in_query().connect().unwrap();
    let peer = server.accept().await;
    assert_eq!(peer.query, "access_token=a%2Fb");
    assert!(!peer.headers.contains_key("authorization"));
}

#[tokio::test]
async fn what_the_same_token_cannot_heal_ends_the_client() {
    let server = Server::start().await;
    let (client, mut events) = server.client().token("t").connect().unwrap();
    server.refuse("403 Forbidden").await;
    let event = next(&mut events).await;
    assert!(matches!(event, Event::Failed(Reason::Status(403))), "{event:?}");
    assert!(events.next().await.is_none());
    assert_eq!(client.ping().await.unwrap_err().to_string(), "the client has ended");
}

#[tokio::test]
async fn a_refused_token_is_followed_by_a_fresh_one() {
    let server = Server::start().await;
    let count = Arc::new(AtomicU32::new(0));
    let fetch = move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok::<_, String>(number.to_string()) }
    };
    let (_client, mut events) = server.client().token_with(fetch).connect().unwrap();
    server.refuse("401 Unauthorized").await;
    assert_eq!(disconnected(&mut events).await, "the handshake is answered with status 401");
    assert_eq!(server.accept().await.headers["authorization"], "Bearer 1");
    connected(&mut events).await;
}

#[tokio::test]
async fn a_server_that_is_busy_or_broken_is_tried_again() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().connect().unwrap();
    for status in ["429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable"] {
        server.refuse(status).await;
        assert_eq!(disconnected(&mut events).await, format!("the handshake is answered with status {}", &status[..3]));
    }
    server.accept().await;
    connected(&mut events).await;
}

#[tokio::test]
async fn a_server_of_another_protocol_is_not_tried_again() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().connect().unwrap();
    let accepted = tokio::spawn(async move { server.accept_as(None).await });
    let event = next(&mut events).await;
    assert!(matches!(event, Event::Failed(Reason::Protocol(_))), "{event:?}");
    accepted.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_told_and_tried_again() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("ws://127.0.0.1:{port}");
    let (_client, mut events) = Client::builder(url).backoff(Duration::ZERO, Duration::ZERO).connect().unwrap();
    for _ in 0..3 {
        assert_eq!(disconnected(&mut events).await, "cannot connect");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_after_a_ping_is_given_up() {
    let server = Server::start().await;
    let patience = Duration::from_millis(200);
    let (_client, mut events) = server.client().ping_after(patience).pong_within(patience).connect().unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    for _ in 0..2 {
        assert_eq!(peer.next().await, json!({"action": "ping"}));
        peer.send(json!({"type": "pong"})).await;
    }
    assert_eq!(peer.next().await, json!({"action": "ping"}));
    assert_eq!(disconnected(&mut events).await, "the connection is silent, and a ping is not answered");
    server.accept().await;
    connected(&mut events).await;
}

#[tokio::test]
async fn a_handshake_that_is_not_answered_is_given_up() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().connect_within(Duration::from_millis(200)).connect().unwrap();
    assert_eq!(disconnected(&mut events).await, "the handshake took longer than 200ms");
}

#[tokio::test]
async fn whoever_closes_says_goodbye_and_the_events_end() {
    let server = Server::start().await;
    let (client, mut events) = server.client().topic("a").connect().unwrap();
    let mut peer = server.accept().await;
    peer.subscribed(json!({"a": {"offset": 0, "epoch": "e"}})).await;
    connected(&mut events).await;
    let closing = tokio::spawn(client.close());
    assert_eq!(peer.close_code().await, 1000);
    closing.await.unwrap();
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_client_whose_events_nobody_wants_leaves() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().connect().unwrap();
    let mut peer = server.accept().await;
    connected(&mut events).await;
    drop(events);
    assert_eq!(peer.close_code().await, 1000);
}

#[tokio::test]
async fn a_subscription_that_is_refused_is_told_and_the_others_go_on() {
    let server = Server::start().await;
    let (client, mut events) = server.client().topic("a").topic("b").connect().unwrap();
    let mut peer = server.accept().await;
    let error = |id: &serde_json::Value| json!({"type": "error", "id": id, "code": "Forbidden", "message": "not b"});
    let both = peer.next().await;
    peer.send(error(&both["id"])).await;
    assert_eq!(peer.subscribed(json!({})).await["topics"], json!(["a"]));
    let second = peer.next().await;
    peer.send(error(&second["id"])).await;
    match next(&mut events).await {
        Event::Refused { log, refusal, .. } => assert_eq!((log, &*refusal.code), (Log::topic("b"), "Forbidden")),
        event => panic!("{event:?}"),
    }
    connected(&mut events).await;
    peer.send(json!({"type": "message", "id": "n", "topic": "a", "data": 1})).await;
    assert_eq!(messages(&mut events).await, [1]);
    let (refused, ()) = tokio::join!(client.subscribe(Log::topic("b")), async {
        let command = peer.next().await;
        peer.send(error(&command["id"])).await;
    });
    assert_eq!(refused.unwrap_err().to_string(), "Forbidden: not b");
}
