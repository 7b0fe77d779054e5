//! Section 2: the REQUEST authorizer.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_test::Client;

use super::bench::Bench;
use super::facts::Grade::{Cap, Doc, Unsure, User};
use super::facts::{Check, Fact, anywhere, fact};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "2.1",
        Doc,
        "DG: Lambda authorizers; CloudFormation",
        "Only $connect is authorized: the authorizer runs once for a connection, not for its messages or its end.",
        anywhere!(the_authorizer_runs_once),
    ),
    fact(
        "2.2",
        Doc,
        "DG: Lambda authorizers; localstack#7191",
        "The authorizer's event has type REQUEST, methodArn, headers, query, stageVariables and requestContext; no body, no isBase64Encoded and no path parameters.",
        anywhere!(the_event_has_its_shape),
    ),
    fact(
        "2.3",
        Doc,
        "DG: Lambda authorizers",
        "methodArn is arn:aws:execute-api:{region}:{account}:{api}/{stage}/$connect.",
        anywhere!(the_arn_names_connect),
    ),
    fact(
        "2.4",
        Cap,
        "localstack#7191; DG: Lambda authorizers",
        "The authorizer's headers include Connection: upgrade, Upgrade: websocket and content-length: 0.",
        anywhere!(the_headers_have_the_upgrade),
    ),
    fact(
        "2.5",
        Cap,
        "DG: Lambda authorizers; localstack#8893",
        "connectionId and connectedAt are assigned before the authorizer runs, and are those of $connect.",
        anywhere!(the_connection_is_known),
    ),
    fact(
        "2.6",
        Doc,
        "DG: authorizer output",
        "A policy that allows methodArn lets the client in, and one that allows {stage}/* too.",
        anywhere!(an_allow_lets_in),
    ),
    fact(
        "2.7",
        Doc,
        "DG: authorizer output",
        "context may not hold lists or objects: the client stays out.",
        anywhere!(a_nested_context_keeps_out),
    ),
    fact("2.8", Doc, "Quotas", "A result of more than 8 KB is refused.", anywhere!(a_huge_result_keeps_out)),
    fact(
        "2.9",
        Doc,
        "DG: authorizer output",
        "A policy's resource may have at most 512 characters.",
        anywhere!(a_long_resource_keeps_out),
    ),
    fact(
        "2.10",
        User,
        "powertools-lambda-python#5800",
        "A REST-style resource, {stage}/*/*, does not match: 403.",
        anywhere!(a_rest_policy_keeps_out),
    ),
    fact(
        "2.11",
        Doc,
        "DG: Lambda authorizers",
        "A missing identity source is answered 401, and the authorizer is not asked.",
        anywhere!(a_missing_identity_is_401),
    ),
    fact(
        "2.12",
        Doc,
        "DG: Lambda authorizers",
        "An authorizer that fails with exactly `Unauthorized` is answered 401.",
        anywhere!(unauthorized_is_401),
    ),
    fact(
        "2.13",
        Doc,
        "DG: Lambda authorizers",
        "A Deny, or no Allow that matches, is answered 403.",
        anywhere!(a_deny_is_403),
    ),
    fact(
        "2.14",
        Unsure,
        "DG: gateway responses (500), not shown for WebSocket APIs",
        "An authorizer that fails otherwise or answers something else is answered 500.",
        anywhere!(a_failure_is_500),
    ),
    fact(
        "2.15",
        Doc,
        "API reference of AuthorizerResultTtlInSeconds",
        "Nothing is cached: the same identity is asked about for each connection.",
        anywhere!(nothing_is_cached),
    ),
    fact(
        "2.16",
        Doc,
        "DG: Lambda authorizers",
        "Changing the authorizer does not touch connections that are open.",
        Check::None("a stack cannot be changed while it runs; that the authorizer runs once is 2.1"),
    ),
    fact(
        "2.17",
        Cap,
        "a capture of a CONNECT event behind an authorizer",
        "CONNECT carries the context, principalId and integrationLatency, a number.",
        anywhere!(connect_has_the_context),
    ),
    fact(
        "2.18",
        Cap,
        "chalice#2060",
        "DISCONNECT carries the authorizer's principalId.",
        anywhere!(disconnect_has_the_principal),
    ),
    fact(
        "2.19",
        User,
        "serverless-offline#1379",
        "MESSAGE carries the authorizer's context.",
        anywhere!(messages_have_the_context),
    ),
    fact(
        "2.20",
        Unsure,
        "DG: mapping template reference says \"stringified\"",
        "Numbers and booleans of the context arrive as texts.",
        anywhere!(values_arrive_as_texts),
    ),
    fact("2.21", Unsure, "no capture", "Only CONNECT has integrationLatency.", anywhere!(only_connect_has_the_latency)),
    fact(
        "2.22",
        Doc,
        "DG: authorizer output",
        "usageIdentifierKey chooses an API key.",
        Check::None("API keys and usage plans are not emulated; the key in the answer is accepted and ignored"),
    ),
    fact(
        "2.23",
        Doc,
        "CloudFormation: AWS::ApiGatewayV2::Authorizer",
        "Only REQUEST authorizers exist for WebSocket APIs; JWT is for HTTP APIs.",
        Check::None("the template reader refuses AuthorizationType: JWT, and its tests check that"),
    ),
];

/// Tries to connect; the authorizer is asked for this answer, and its event is kept under the key.
async fn open(bench: &Bench, auth: &str, key: &str) -> Result<Client, u16> {
    Client::open(&format!("{}?auth={auth}&key={key}", bench.guarded), &[]).await
}

/// The status of a handshake that must be refused before `$connect`.
async fn refused(bench: &Bench, auth: &str) -> u16 {
    let key = bench.key();
    let status = open(bench, auth, &key).await.expect_err(auth);
    assert!(bench.events(&key, "connect").await.is_empty(), "$connect must not run");
    status
}

/// The authorizer's event.
async fn asked(bench: &Bench) -> Value {
    let key = bench.key();
    open(bench, "allow", &key).await.unwrap().close().await;
    bench.event(&key, "authorizer").await
}

async fn message_event(client: &mut Client) -> Value {
    client.ask(json!({"do": "event"})).await
}

async fn the_authorizer_runs_once(bench: Arc<Bench>) {
    let key = bench.key();
    let mut client = open(&bench, "allow", &key).await.unwrap();
    let id = message_event(&mut client).await["requestContext"]["connectionId"].as_str().unwrap().to_owned();
    message_event(&mut client).await;
    client.close().await;
    bench.event(&id, "disconnect").await;
    assert_eq!(bench.events(&key, "authorizer").await.len(), 1);
}

async fn the_event_has_its_shape(bench: Arc<Bench>) {
    let event = asked(&bench).await;
    let mut keys: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected = [
        "headers",
        "methodArn",
        "multiValueHeaders",
        "multiValueQueryStringParameters",
        "queryStringParameters",
        "requestContext",
        "stageVariables",
        "type",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&event["type"], &event["stageVariables"]), (&json!("REQUEST"), &json!({})));
    assert_eq!(event["queryStringParameters"]["auth"], "allow");
    assert_eq!(event["requestContext"]["routeKey"], "$connect");
    assert_eq!(event["requestContext"]["eventType"], "CONNECT");
}

async fn the_arn_names_connect(bench: Arc<Bench>) {
    let event = asked(&bench).await;
    let arn = event["methodArn"].as_str().unwrap();
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    assert_eq!(parts[..3], ["arn", "aws", "execute-api"], "{arn}");
    assert!(parts[4].len() == 12 && parts[4].bytes().all(|byte| byte.is_ascii_digit()), "{arn}");
    let context = &event["requestContext"];
    let (api, stage) = (context["apiId"].as_str().unwrap(), context["stage"].as_str().unwrap());
    assert_eq!(parts[5], format!("{api}/{stage}/$connect"));
}

async fn the_headers_have_the_upgrade(bench: Arc<Bench>) {
    let headers = asked(&bench).await["headers"].clone();
    assert_eq!(headers["Connection"], "upgrade");
    assert_eq!(headers["Upgrade"], "websocket");
    assert_eq!(headers["content-length"], "0");
}

async fn the_connection_is_known(bench: Arc<Bench>) {
    let key = bench.key();
    open(&bench, "allow", &key).await.unwrap().close().await;
    let (asked, connect) = (bench.event(&key, "authorizer").await, bench.event(&key, "connect").await);
    for field in ["connectionId", "connectedAt"] {
        assert_eq!(asked["requestContext"][field], connect["requestContext"][field]);
        assert!(!asked["requestContext"][field].is_null());
    }
}

async fn an_allow_lets_in(bench: Arc<Bench>) {
    for auth in ["allow", "stage"] {
        open(&bench, auth, &bench.key()).await.unwrap().close().await;
    }
}

async fn a_nested_context_keeps_out(bench: Arc<Bench>) {
    assert!(refused(&bench, "nested").await >= 400);
}

async fn a_huge_result_keeps_out(bench: Arc<Bench>) {
    assert!(refused(&bench, "huge").await >= 400);
}

async fn a_long_resource_keeps_out(bench: Arc<Bench>) {
    assert!(refused(&bench, "long").await >= 400);
}

async fn a_rest_policy_keeps_out(bench: Arc<Bench>) {
    assert_eq!(refused(&bench, "rest").await, 403);
}

async fn a_missing_identity_is_401(bench: Arc<Bench>) {
    let key = bench.key();
    let status = Client::open(&format!("{}?key={key}", bench.guarded), &[]).await.unwrap_err();
    assert_eq!(status, 401);
    assert!(bench.events(&key, "authorizer").await.is_empty(), "the authorizer must not be asked");
}

async fn unauthorized_is_401(bench: Arc<Bench>) {
    assert_eq!(refused(&bench, "unauthorized").await, 401);
}

async fn a_deny_is_403(bench: Arc<Bench>) {
    assert_eq!(refused(&bench, "deny").await, 403);
    assert_eq!(refused(&bench, "other").await, 403);
}

async fn a_failure_is_500(bench: Arc<Bench>) {
    assert_eq!(refused(&bench, "fail").await, 500);
    assert_eq!(refused(&bench, "nonsense").await, 500);
}

async fn nothing_is_cached(bench: Arc<Bench>) {
    let key = bench.key();
    for _ in 0..2 {
        open(&bench, "allow", &key).await.unwrap().close().await;
    }
    assert_eq!(bench.events(&key, "authorizer").await.len(), 2);
}

async fn connect_has_the_context(bench: Arc<Bench>) {
    let event = bench.connected(&format!("{}?auth=allow", bench.guarded), &[]).await;
    let context = &event["requestContext"]["authorizer"];
    assert_eq!((&context["principalId"], &context["text"]), (&json!("conformance"), &json!("Ann")));
    assert!(context["integrationLatency"].is_u64(), "{context}");
}

/// The authorizer's part of a MESSAGE and of the DISCONNECT event of one connection.
async fn later_contexts(bench: &Bench) -> [Value; 2] {
    let mut client = open(bench, "allow", &bench.key()).await.unwrap();
    let message = message_event(&mut client).await;
    let id = message["requestContext"]["connectionId"].as_str().unwrap().to_owned();
    client.close().await;
    let disconnect = bench.event(&id, "disconnect").await;
    [message, disconnect].map(|event| event["requestContext"]["authorizer"].clone())
}

async fn disconnect_has_the_principal(bench: Arc<Bench>) {
    let [_, disconnect] = later_contexts(&bench).await;
    assert_eq!(disconnect["principalId"], "conformance");
}

async fn messages_have_the_context(bench: Arc<Bench>) {
    let [message, _] = later_contexts(&bench).await;
    assert_eq!((&message["principalId"], &message["text"]), (&json!("conformance"), &json!("Ann")));
}

async fn values_arrive_as_texts(bench: Arc<Bench>) {
    let connect = bench.connected(&format!("{}?auth=allow", bench.guarded), &[]).await;
    let [message, disconnect] = later_contexts(&bench).await;
    for context in [&connect["requestContext"]["authorizer"], &message, &disconnect] {
        assert_eq!((&context["number"], &context["flag"]), (&json!("7"), &json!("true")), "{context}");
    }
}

async fn only_connect_has_the_latency(bench: Arc<Bench>) {
    for context in later_contexts(&bench).await {
        assert_eq!(context.get("integrationLatency"), None);
    }
}
