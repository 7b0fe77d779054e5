//! Section 7: `$disconnect`.

use std::sync::Arc;

use serde_json::json;
use tests::wire;
use tidings_test::Client;

use super::bench::Bench;
use super::facts::Grade::{Doc, Infer, Unsure, User};
use super::facts::{Check, Fact, anywhere, fact, here};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "7.1",
        Doc,
        "DG: overview; DG: connect and disconnect routes",
        "$disconnect runs when a client closes.",
        anywhere!(a_client_that_leaves_is_reported),
    ),
    fact(
        "7.2",
        Doc,
        "DG: overview; chalice#2060",
        "$disconnect runs when the server closes, also by DELETE @connections.",
        anywhere!(deleting_runs_disconnect),
    ),
    fact(
        "7.3",
        Doc,
        "DG: overview",
        "$disconnect is best effort: it may not come.",
        Check::None("here it always comes; a handler that needs it is wrong all the same"),
    ),
    fact(
        "7.4",
        Infer,
        "DG: connect and disconnect routes",
        "Nobody sees what $disconnect returns, and one that fails is not run again.",
        anywhere!(a_failing_disconnect_runs_once),
    ),
    fact(
        "7.5",
        User,
        "serverless-offline's tests against AWS",
        "By the time of $disconnect the connection is gone: 410.",
        anywhere!(the_connection_is_gone_by_then),
    ),
    fact(
        "7.6",
        Infer,
        "the handshake is held until $connect has answered",
        "$disconnect comes after its $connect has answered.",
        anywhere!(disconnect_comes_after_connect),
    ),
    fact(
        "7.7",
        Unsure,
        "no capture",
        "A client that hangs up during $connect and would have been let in gets its $disconnect.",
        here!(hanging_up_during_connect_is_reported, "what AWS does is not known"),
    ),
    fact(
        "7.8",
        Infer,
        "Lambda does not cancel what it has begun",
        "A message's function runs on when its connection ends.",
        anywhere!(functions_run_on),
    ),
];

async fn a_client_that_leaves_is_reported(bench: Arc<Bench>) {
    let (client, id) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&id, "disconnect").await;
}

async fn deleting_runs_disconnect(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    assert_eq!(bench.manage("DELETE", &id, b"").await.status, 204);
    client.closed().await;
    // As clients do then; some gateways wait for it.
    drop(client);
    bench.event(&id, "disconnect").await;
}

async fn a_failing_disconnect_runs_once(bench: Arc<Bench>) {
    let (client, id) = bench.connect_with_id().await;
    client.leave(4000, "fail").await;
    bench.event(&id, "disconnect").await;
    // Long enough for a second one: another connection comes and goes.
    let (client, other) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&other, "disconnect").await;
    assert_eq!(bench.events(&id, "disconnect").await.len(), 1);
}

async fn the_connection_is_gone_by_then(bench: Arc<Bench>) {
    let (client, id) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&id, "disconnect").await;
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(bench.manage(method, &id, b"x").await.status, 410, "{method}");
    }
}

async fn disconnect_comes_after_connect(bench: Arc<Bench>) {
    let key = bench.key();
    Client::connect(&format!("{}?key={key}", bench.main)).await.close().await;
    let connect = bench.event(&key, "connect").await;
    let id = connect["requestContext"]["connectionId"].as_str().unwrap();
    let disconnect = bench.event(id, "disconnect").await;
    let time = |event: &serde_json::Value| event["requestContext"]["requestTimeEpoch"].as_i64().unwrap();
    assert!(time(&connect) <= time(&disconnect));
}

async fn hanging_up_during_connect_is_reported(bench: Arc<Bench>) {
    let key = bench.key();
    let url = format!("{}?do=wait&key={key}", bench.main);
    let opening = tokio::spawn(async move { wire::handshake(&url, &[]).await });
    let event = bench.event(&key, "connect").await;
    opening.abort();
    assert!(opening.await.is_err());
    bench.open_door(&key).await;
    bench.event(event["requestContext"]["connectionId"].as_str().unwrap(), "disconnect").await;
}

async fn functions_run_on(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let key = bench.key();
    client.send(json!({"action": "oneway", "do": "wait", "key": key}).to_string()).await;
    bench.event(&key, "message").await;
    client.close().await;
    bench.event(&id, "disconnect").await;
    bench.open_door(&key).await;
    bench.event(&key, "waited").await;
}
