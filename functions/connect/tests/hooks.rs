//! An application's own hook, as it writes it: no event of Lambda anywhere.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::convert::Infallible;
use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::queues::Served;
use tidings::aws::Aws;
use tidings::context::Notifications;
use tidings::metrics::Metrics;
use tidings::registry::Registry;
use tidings::{Caller, ConnectionId, Context, Handshake, Refusal, Topic};
use tidings_connect::{Connect, Function, Outcome, Welcome};

struct Tenants {
    expired: &'static str,
}

async fn tenants() -> Result<Tenants, Infallible> {
    Ok(Tenants { expired: "acme" })
}

async fn welcome(cx: Context<Tenants>, handshake: Handshake) -> Result<Welcome, Refusal> {
    if handshake.query("tenant").is_some_and(|tenant| tenant == cx.state().expired) {
        return Err(Refusal::new(402, "the trial of this tenant is over"));
    }
    if handshake.query("tenant") == Some("wrong") {
        return Err(Refusal::new(200, "this refuses nobody"));
    }
    if let Some(room) = handshake.query("tells") {
        let told = cx.notify(json!({"to": {"topic": room}, "data": {"came": cx.user()}})).await;
        told.map_err(|error| Refusal::new(503, error.to_string()))?;
    }
    let mut welcome = Welcome::new();
    if let Some(name) = handshake.query("name") {
        welcome = welcome.attribute("name", name)?;
    }
    if let Some(field) = handshake.query("field") {
        welcome = welcome.attribute(field, cx.attributes().await.unwrap().is_empty())?;
    }
    match cx.claims().get("role") {
        Some(role) if role == "agent" => welcome.topic("agents"),
        _ => Ok(welcome),
    }
}

async fn connect() -> (Connect<Tenants>, Registry) {
    connect_with(Notifications::none()).await
}

async fn connect_with(notifications: Notifications) -> (Connect<Tenants>, Registry) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let function = Function::with_state(tenants).on_connect(welcome);
    (function.core(registry.clone(), notifications, Metrics::default()).await.unwrap(), registry)
}

fn id() -> ConnectionId {
    ConnectionId::parse("c").unwrap()
}

fn agent() -> Caller {
    let said = |name: &str| match name {
        "principalId" => Some("alice"),
        "permissions" => Some("subscribe:news"),
        "claims" => Some(r#"{"role":"agent"}"#),
        _ => None,
    };
    Caller::read(id(), said).unwrap()
}

#[tokio::test]
async fn a_hook_refuses_with_a_status_of_its_own_and_nobody_is_registered() {
    let (connect, registry) = connect().await;
    for (tenant, status) in [("acme", 402), ("wrong", 500)] {
        let handshake = Handshake::new(id()).with_query("tenant", tenant);
        let Outcome::Refused(refusal) = connect.handle(handshake, Ok(agent())).await.unwrap() else {
            panic!("{tenant} should be refused")
        };
        assert_eq!(refusal.status(), status, "{refusal}");
    }
    assert_eq!(registry.connection(&id()).await.unwrap(), None);
}

#[tokio::test]
async fn a_hook_gives_topics_that_the_client_could_not_take_itself() {
    let (connect, registry) = connect().await;
    let handshake = Handshake::new(id()).with_query("topic", "news").with_header("Sec-WebSocket-Protocol", "raw");
    let outcome = connect.handle(handshake, Ok(agent())).await.unwrap();
    assert_eq!(outcome, Outcome::Accepted { subprotocol: Some("raw") });
    let topics = registry.connection(&id()).await.unwrap().unwrap().topics;
    assert_eq!(topics, ["agents", "news"].map(|topic| Topic::parse(topic).unwrap()));
}

#[tokio::test]
async fn what_the_client_may_not_is_refused_before_the_hook() {
    let (connect, _) = connect().await;
    let handshake = Handshake::new(id()).with_query("topic", "agents").with_query("tenant", "acme");
    let Outcome::Refused(refusal) = connect.handle(handshake, Ok(agent())).await.unwrap() else {
        panic!("it should be refused")
    };
    assert_eq!(refusal, Refusal::forbidden("you may not subscribe to the topic \"agents\""));
}

/// What is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refusal_is_logged_with_its_reason_and_one_that_refuses_nobody_as_an_error() {
    let (connect, _) = connect().await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    for tenant in ["acme", "wrong"] {
        connect.handle(Handshake::new(id()).with_query("tenant", tenant), Ok(agent())).await.unwrap();
    }
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let [refused, error, again] = lines[..] else { panic!("three lines expected: {text}") };
    for (line, level, parts) in [
        (refused, "INFO", ["refused a handshake", "reason=the trial of this tenant is over status=402"]),
        (error, "ERROR", ["the hook refused with a status outside 400 to 599; the client gets 500", "connection.id=c"]),
        (again, "INFO", ["refused a handshake", "reason=this refuses nobody status=500"]),
    ] {
        assert!(line.contains(level) && parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[tokio::test]
async fn a_hook_keeps_attributes_with_the_connection_and_there_are_none_before() {
    let (connect, registry) = connect().await;
    let handshake = Handshake::new(id()).with_query("name", "Ada").with_query("field", "first");
    connect.handle(handshake, Ok(agent())).await.unwrap();
    let kept = registry.connection(&id()).await.unwrap().unwrap().attributes;
    assert_eq!(kept.iter().collect::<Vec<_>>(), [("first", &json!(true)), ("name", &json!("Ada"))]);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_by_whose_doing_it_is() {
    let (connect, registry) = connect().await;
    let long = "x".repeat(1_024);
    for (query, value, status, reason) in [
        ("name", long.as_str(), 400, "with `name` the connection's attributes would have 1035 bytes as JSON, and 1024"),
        ("field", "no name", 500, "the attribute's name \"no name\" is not valid; use 1 to 64 letters, digits"),
    ] {
        let handshake = Handshake::new(id()).with_query(query, value);
        let Outcome::Refused(refusal) = connect.handle(handshake, Ok(agent())).await.unwrap() else {
            panic!("{query} should be refused")
        };
        assert_eq!(refusal.status(), status);
        assert!(refusal.to_string().starts_with(reason), "{refusal}");
    }
    assert_eq!(registry.connection(&id()).await.unwrap(), None);
}

#[tokio::test]
async fn a_hook_notifies_and_is_told_where_it_cannot() {
    let queue = Served::start().await;
    let (connect, _) = connect_with(queue.queue().into()).await;
    let mut handshake = Handshake::new(id()).with_query("tells", "lobby");
    handshake.connected_at = 1_795_520_783_000;
    let mut caller = agent();
    (caller.user, caller.request_id) = (Some(tidings::UserId::parse("alice").unwrap()), "r1".to_owned());
    let outcome = connect.handle(handshake.clone(), Ok(caller)).await.unwrap();
    assert_eq!(outcome, Outcome::Accepted { subprotocol: None });
    let sent: Value = serde_json::from_str(&queue.bodies().await[0]).unwrap();
    assert_eq!((&sent["id"], &sent["data"]), (&json!("client-r1-1"), &json!({"came": "alice"})), "{sent}");
    assert_eq!((&sent["to"], &sent["at"]), (&json!({"topic": "lobby"}), &json!(1_795_520_783_000_i64)));

    let (nowhere, _) = connect_with(Notifications::none()).await;
    let Outcome::Refused(refusal) = nowhere.handle(handshake, Ok(agent())).await.unwrap() else {
        panic!("it should be refused")
    };
    assert_eq!(refusal.to_string(), "this function cannot notify: NOTIFICATION_QUEUE_URL is not set for it");
}

#[tokio::test]
async fn a_client_gets_in_although_nobody_can_be_told() {
    let (connect, registry) = connect().await;
    let connect = connect.with_bus(Aws::local("http://127.0.0.1:9").bus("default"));
    let outcome = connect.handle(Handshake::new(id()), Ok(agent())).await.unwrap();
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    assert!(registry.connection(&id()).await.unwrap().is_some());
}
