//! Section 3: the handshake and what `$connect` makes of it.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tests::wire::{self, ACCEPT, Url};
use tidings_test::Client;

use super::bench::{Bench, assert_quiet, with_stage};
use super::facts::Grade::{Cap, Code, Doc, Infer, Unsure, User};
use super::facts::{Fact, anywhere, fact, here};
use super::hello::{self, Version};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "3.1",
        Cap,
        "an experiment with wscat",
        "A $connect that answers 200 or 201 lets the client in.",
        anywhere!(success_lets_in),
    ),
    fact(
        "3.2",
        Cap,
        "an experiment with wscat; DG: subprotocols (400)",
        "Any other status is the handshake's: 301, 400, 401, 501.",
        anywhere!(other_statuses_are_passed_on),
    ),
    fact(
        "3.3",
        Cap,
        "an experiment with wscat; Lambda guide: errors behind an API; aws-lambda-graphql#107",
        "A $connect that fails or answers something malformed is answered 502.",
        anywhere!(a_failure_is_502),
    ),
    fact(
        "3.4",
        Doc,
        "Lambda guide: errors behind an API",
        "Where Lambda refuses to invoke $connect, the client gets 500.",
        anywhere!(a_refusal_is_500),
    ),
    fact(
        "3.5",
        Unsure,
        "DG: gateway responses (INTEGRATION_TIMEOUT, 504)",
        "A $connect that takes longer than its timeout is answered 504.",
        anywhere!(a_timeout_is_504),
    ),
    fact(
        "3.6",
        Doc,
        "DG: connect and disconnect routes",
        "An API without $connect lets everyone in.",
        anywhere!(connect_is_optional),
    ),
    fact(
        "3.7",
        Doc,
        "DG: protecting a WebSocket API; ServerlessNetworkingClients#3",
        "New connections above the limit are answered 429.",
        anywhere!(too_many_are_429),
    ),
    fact(
        "3.8",
        Unsure,
        "captured for @connections only",
        "A handshake to a stage that is not there, or to a longer path, is answered 403 with {\"message\":\"Forbidden\"}.",
        anywhere!(unknown_stages_are_403),
    ),
    fact(
        "3.9",
        Code,
        "serverless-offline's tests against AWS (2019)",
        "A plain GET of a stage is answered 426.",
        anywhere!(plain_requests_are_426),
    ),
    fact(
        "3.10",
        Doc,
        "DG: connect and disconnect routes",
        "The handshake is held until $connect has answered.",
        anywhere!(the_handshake_is_held),
    ),
    fact(
        "3.11",
        Doc,
        "re:Post: 410 Gone from API Gateway",
        "@connections answers 410 for a connection whose $connect has not answered yet.",
        anywhere!(the_connection_is_gone_until_then),
    ),
    fact(
        "3.12",
        Cap,
        "websockets#1065",
        "The answer has status 101 with Connection: upgrade, upgrade: websocket and the right sec-websocket-accept.",
        anywhere!(the_switch_is_right),
    ),
    fact(
        "3.13",
        Unsure,
        "websockets#1065 shows a deflate answer for another offer",
        "An offer of permessage-deflate is declined by silence.",
        anywhere!(compression_is_declined),
    ),
    fact(
        "3.14",
        Doc,
        "DG: subprotocols",
        "The client's offer arrives as one header, and the answer names the subprotocol that $connect returns as a header.",
        anywhere!(the_subprotocol_is_the_functions),
    ),
    fact(
        "3.15",
        User,
        "aws-lambda-graphql#65, #79",
        "Where $connect returns no subprotocol, the answer has none.",
        anywhere!(no_subprotocol_without_the_function),
    ),
    fact(
        "3.16",
        Unsure,
        "no capture",
        "A subprotocol that the client did not offer is passed on too.",
        anywhere!(other_subprotocols_are_passed_on),
    ),
    fact(
        "3.17",
        User,
        "chalice#1768, by AWS",
        "No other header and no body of $connect reaches the client.",
        anywhere!(nothing_else_reaches_the_client),
    ),
    fact(
        "3.18",
        Doc,
        "Creating WebSocket APIs",
        "Only TLS 1.2 and 1.3 are spoken.",
        anywhere!(only_new_versions_of_tls_are_spoken),
    ),
    fact("3.19", Infer, "the header is only passed through", "Origin is not checked.", anywhere!(any_origin_may_come)),
    fact(
        "3.20",
        Unsure,
        "no capture",
        "The body of a handshake that $connect refused is empty.",
        here!(a_refused_handshake_has_no_body, "what AWS sends is not known, so there is nothing to compare"),
    ),
    fact(
        "3.21",
        Unsure,
        "CDK Local says never; serverless#5942 (2019) otherwise",
        "$disconnect does not run for a handshake that was refused.",
        anywhere!(no_disconnect_after_a_refusal),
    ),
    fact("3.22", Cap, "websockets#1065", "The answer has a Date.", anywhere!(the_answer_has_a_date)),
];

async fn open(bench: &Bench, query: &str) -> Result<Client, u16> {
    Client::open(&format!("{}?{query}", bench.main), &[]).await
}

async fn success_lets_in(bench: Arc<Bench>) {
    for status in [200, 201, 204] {
        assert_quiet(&mut open(&bench, &format!("status={status}")).await.unwrap()).await;
    }
}

async fn other_statuses_are_passed_on(bench: Arc<Bench>) {
    for status in [301, 400, 401, 403, 500, 501] {
        assert_eq!(open(&bench, &format!("status={status}")).await.unwrap_err(), status);
    }
}

async fn a_failure_is_502(bench: Arc<Bench>) {
    assert_eq!(open(&bench, "do=fail").await.unwrap_err(), 502);
    for raw in ["null", "\"ok\"", "{}", r#"{"body":"no status"}"#] {
        let raw = utf8_percent_encode(raw, NON_ALPHANUMERIC);
        assert_eq!(open(&bench, &format!("do=raw&raw={raw}")).await.unwrap_err(), 502, "{raw}");
    }
}

async fn a_refusal_is_500(bench: Arc<Bench>) {
    assert_eq!(Client::open(&bench.closed, &[]).await.unwrap_err(), 500);
}

async fn a_timeout_is_504(bench: Arc<Bench>) {
    let url = format!("{}?do=sleep&ms=5000", bench.hurried);
    assert_eq!(Client::open(&url, &[]).await.unwrap_err(), 504);
}

async fn connect_is_optional(bench: Arc<Bench>) {
    Client::connect(&bench.bare).await.close().await;
}

async fn too_many_are_429(bench: Arc<Bench>) {
    let attempts = (0..40).map(|_| Client::open(&bench.limited, &[]));
    let outcomes = futures_util::future::join_all(attempts).await;
    let statuses: Vec<u16> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().copied()).collect();
    assert!(!statuses.is_empty() && statuses.iter().all(|status| *status == 429), "{statuses:?}");
}

async fn unknown_stages_are_403(bench: Arc<Bench>) {
    for url in [with_stage(&bench.main, "nowhere"), format!("{}/more", bench.main)] {
        let (answer, _) = wire::handshake(&url, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"message":"Forbidden"}"#), "{url}");
    }
}

async fn plain_requests_are_426(bench: Arc<Bench>) {
    assert_eq!(wire::request("GET", &Url::parse(&bench.main), &[], b"").await.status, 426);
}

async fn the_handshake_is_held(bench: Arc<Bench>) {
    let key = bench.key();
    let url = format!("{}?do=wait&key={key}", bench.main);
    let opening = tokio::spawn(async move { Client::connect(&url).await });
    bench.event(&key, "connect").await;
    assert!(!opening.is_finished());
    bench.open_door(&key).await;
    assert_quiet(&mut opening.await.unwrap()).await;
}

async fn the_connection_is_gone_until_then(bench: Arc<Bench>) {
    let key = bench.key();
    let url = format!("{}?do=wait&key={key}", bench.main);
    let opening = tokio::spawn(async move { Client::connect(&url).await });
    let event = bench.event(&key, "connect").await;
    let id = event["requestContext"]["connectionId"].as_str().unwrap();
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(bench.manage(method, id, b"x").await.status, 410, "{method}");
    }
    bench.open_door(&key).await;
    let mut client = opening.await.unwrap();
    assert_eq!(bench.manage("POST", id, b"now").await.status, 200);
    assert_eq!(client.text().await, "now");
}

async fn the_switch_is_right(bench: Arc<Bench>) {
    let (answer, _socket) = wire::handshake(&bench.main, &[]).await;
    assert_eq!(answer.status, 101);
    assert!(answer.header("connection").unwrap().eq_ignore_ascii_case("upgrade"));
    assert!(answer.header("upgrade").unwrap().eq_ignore_ascii_case("websocket"));
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
}

async fn the_answer_has_a_date(bench: Arc<Bench>) {
    let (answer, _socket) = wire::handshake(&bench.main, &[]).await;
    assert!(answer.status == 101 && answer.header("date").is_some());
}

async fn compression_is_declined(bench: Arc<Bench>) {
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let (answer, mut socket) = wire::handshake(&bench.main, &offer).await;
    assert_eq!((answer.status, answer.header("sec-websocket-extensions")), (101, None));
    socket.send(&wire::frame(wire::Frame::TEXT, b"plain")).await;
    assert_eq!(socket.text().await, "plain");
}

async fn the_subprotocol_is_the_functions(bench: Arc<Bench>) {
    let key = bench.key();
    let url = format!("{}?protocol=two&key={key}", bench.main);
    let client = Client::offer(&url, &["one", "two"]).await.unwrap();
    assert_eq!(client.subprotocol.as_deref(), Some("two"));
    assert_eq!(bench.event(&key, "connect").await["headers"]["Sec-WebSocket-Protocol"], "one, two");
}

async fn no_subprotocol_without_the_function(bench: Arc<Bench>) {
    let offer = [("Sec-WebSocket-Protocol", "one, two")];
    let (answer, _socket) = wire::handshake(&bench.main, &offer).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
}

async fn other_subprotocols_are_passed_on(bench: Arc<Bench>) {
    let offer = [("Sec-WebSocket-Protocol", "one")];
    let (answer, _socket) = wire::handshake(&format!("{}?protocol=three", bench.main), &offer).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("three")));
}

async fn nothing_else_reaches_the_client(bench: Arc<Bench>) {
    // The function sets X-Other beside every subprotocol.
    let url = format!("{}?protocol=one&body=hello", bench.main);
    let (answer, mut socket) = wire::handshake(&url, &[("Sec-WebSocket-Protocol", "one")]).await;
    assert_eq!((answer.status, answer.header("x-other")), (101, None));
    socket.send(&wire::frame(wire::Frame::TEXT, b"first")).await;
    assert_eq!(socket.text().await, "first", "the body of $connect is no message");
    let (answer, _) = wire::handshake(&format!("{}?status=400&body=secret&protocol=one", bench.main), &[]).await;
    assert_eq!((answer.status == 101, answer.header("x-other")), (false, None));
    assert!(!answer.body.contains("secret"), "{}", answer.body);
}

async fn only_new_versions_of_tls_are_spoken(bench: Arc<Bench>) {
    let url = Url::parse(&bench.main);
    for (version, is_spoken) in
        [(Version::Tls10, false), (Version::Tls11, false), (Version::Tls12, true), (Version::Tls13, true)]
    {
        assert_eq!(hello::is_spoken(&url, version).await, is_spoken, "{version:?}");
    }
}

async fn any_origin_may_come(bench: Arc<Bench>) {
    Client::open(&bench.main, &[("Origin", "https://elsewhere.example")]).await.unwrap().close().await;
}

async fn a_refused_handshake_has_no_body(bench: Arc<Bench>) {
    let (answer, _) = wire::handshake(&format!("{}?status=400", bench.main), &[]).await;
    assert_eq!((answer.status == 101, answer.body.as_str()), (false, ""));
}

async fn no_disconnect_after_a_refusal(bench: Arc<Bench>) {
    let key = bench.key();
    assert_eq!(open(&bench, &format!("status=403&key={key}")).await.unwrap_err(), 403);
    let event = bench.event(&key, "connect").await;
    // Somebody else's `$disconnect` has run by then.
    let (client, id) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&id, "disconnect").await;
    let refused = event["requestContext"]["connectionId"].as_str().unwrap();
    assert!(bench.events(refused, "disconnect").await.is_empty());
}
