//! An application's own hook, as it writes it: no event of Lambda anywhere.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::convert::Infallible;

use tests::engine::Engine;
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
    match cx.claims().get("role") {
        Some(role) if role == "agent" => Welcome::new().topic("agents"),
        _ => Ok(Welcome::new()),
    }
}

async fn connect() -> (Connect<Tenants>, Registry) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let function = Function::with_state(tenants).on_connect(welcome);
    (function.core(registry.clone(), Metrics::default()).await.unwrap(), registry)
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
