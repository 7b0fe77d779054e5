//! `tidings-client` against the gateway and the functions' own binaries, over a network that can fail.

mod recovery;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::proxy::Proxy;
use tests::stack::Stack;
use tidings_client::{Builder, Client, Event, Events, Log, Reason};
use tokio::time::timeout;

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// A client that comes back at once.
fn client(url: &str) -> Builder {
    Client::builder(url).backoff(Duration::from_millis(20), Duration::from_millis(200))
}

async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.expect("an event should come").expect("the client should go on")
}

/// Waits for a connection; attempts in vain may come before it, and nothing else.
async fn connected(events: &mut Events) {
    loop {
        match next(events).await {
            Event::Connected => return,
            Event::Disconnected { .. } => {}
            event => panic!("a connection should be made, not {event:?}"),
        }
    }
}

/// The data of the next message; nothing may come before it.
async fn message(events: &mut Events) -> Value {
    match next(events).await {
        Event::Message(message) => message.data,
        event => panic!("a message should come, not {event:?}"),
    }
}

/// Notifies a topic. Returns when it was pushed.
async fn notify(stack: &Stack, topic: &str, data: Value) {
    let report = stack.notify(json!({"to": {"topic": topic}, "data": data})).await;
    assert_eq!(report["failed"], 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_and_commands_are_answered() {
    let stack = Stack::start(&[]).await;
    let (ada, mut events) = client(stack.url()).query("user", "ada").topic("orders/42").connect().unwrap();
    connected(&mut events).await;
    notify(&stack, "orders/42", json!({"n": 1})).await;
    let Event::Message(message) = next(&mut events).await else { panic!("a message should come") };
    assert_eq!((message.topic(), &message.data), (Some("orders/42"), &json!({"n": 1})));
    assert!(!message.id.is_empty() && message.at > 1_700_000_000_000);

    ada.subscribe(Log::topic("chat")).await.unwrap();
    ada.publish("chat", "hello").await.unwrap();
    let Event::Message(message) = next(&mut events).await else { panic!("a message should come") };
    assert_eq!((message.topic(), &message.data), (Some("chat"), &json!("hello")));
    assert_eq!(message.from.unwrap().user.as_deref(), Some("ada"));

    ada.unsubscribe(Log::topic("chat")).await.unwrap();
    let who = ada.call("whoami", json!({})).await.unwrap();
    assert_eq!((&who["user"], &who["topics"]), (&json!("ada"), &json!(["orders/42"])), "{who}");
    assert_eq!(
        ada.call("nothing-of-the-kind", json!({})).await.unwrap_err().to_string().split(':').next(),
        Some("UnknownAction")
    );
    ada.close().await;
    assert!(events.next().await.is_none());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_is_made_again_with_all_that_was_subscribed_to() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    let (client, mut events) = client(&proxy.url(stack.url())).topic("a").connect().unwrap();
    connected(&mut events).await;
    client.subscribe(Log::topic("b")).await.unwrap();
    for number in 0..3 {
        proxy.cut();
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Disconnected { .. }), "{event:?}");
        connected(&mut events).await;
        for topic in ["a", "b"] {
            notify(&stack, topic, json!(number)).await;
            assert_eq!(message(&mut events).await, json!(number));
        }
    }
    assert_eq!(proxy.connections(), 4);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_down_for_a_while_is_waited_for() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    proxy.delay(Duration::from_millis(20));
    let (_client, mut events) = client(&proxy.url(stack.url())).topic("a").connect().unwrap();
    connected(&mut events).await;
    proxy.refuse(true);
    proxy.cut();
    for _ in 0..4 {
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
    proxy.refuse(false);
    connected(&mut events).await;
    notify(&stack, "a", json!(1)).await;
    assert_eq!(message(&mut events).await, 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_dead_without_a_word_is_noticed() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    let patience = Duration::from_secs(1);
    let builder = client(&proxy.url(stack.url())).topic("a").ping_after(patience).pong_within(patience);
    let (_client, mut events) = builder.connect().unwrap();
    connected(&mut events).await;
    // Pings of API Gateway's own are answered for as long as it is alive.
    timeout(patience * 3, events.next()).await.expect_err("nothing should happen");
    proxy.freeze();
    let event = next(&mut events).await;
    assert!(matches!(event, Event::Disconnected { reason: Reason::Silent, .. }), "{event:?}");
    connected(&mut events).await;
    notify(&stack, "a", json!(1)).await;
    assert_eq!(message(&mut events).await, 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_shows_a_fresh_token_and_a_bad_one_ends_the_client() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let proxy = Proxy::start(stack.url()).await;
    let tokens = ["ada", "bob"].map(|user| stack.token(user, &["subscribe:orders/*"]));
    let (_client, mut events) = client(stack.url()).token(&tokens[0]).token_in_query().connect().unwrap();
    connected(&mut events).await;
    let count = Arc::new(AtomicU32::new(0));
    let fetch = move || {
        let token = tokens[count.fetch_add(1, Ordering::Relaxed) as usize % 2].clone();
        async move { Ok::<_, String>(token) }
    };
    let builder = client(&proxy.url(stack.url())).token_with(fetch).topic("orders/1").topic("news");
    let (client_of_both, mut events) = builder.connect().unwrap();
    let event = next(&mut events).await;
    assert!(matches!(&event, Event::Refused { log, .. } if *log == Log::topic("news")), "{event:?}");
    connected(&mut events).await;
    assert_eq!(client_of_both.call("whoami", json!({})).await.unwrap()["user"], "ada");
    proxy.cut();
    connected(&mut events).await;
    assert_eq!(client_of_both.call("whoami", json!({})).await.unwrap()["user"], "bob");

    for builder in [client(stack.url()).token("a.b.c"), client(stack.url()).token("a.b.c").token_in_query()] {
        let (_client, mut events) = builder.connect().unwrap();
        let event = next(&mut events).await;
        assert!(matches!(event, Event::Failed(Reason::Status(403))), "{event:?}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_renewed_without_a_message_lost_or_doubled() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    let age = Duration::from_millis(300);
    let (_client, mut events) = client(&proxy.url(stack.url())).topic("a").renew_at(age..age * 2).connect().unwrap();
    connected(&mut events).await;
    let mut sent = 0;
    while proxy.connections() < 5 {
        notify(&stack, "a", json!(sent)).await;
        sent += 1;
    }
    for number in 0..sent {
        assert_eq!(message(&mut events).await, json!(number));
    }
    stack.stop().await;
}
