//! Section 5: limits and ends of connections.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tests::wire::{self, Frame, Url, frame};
use tidings_test::Client;

use super::bench::{Bench, IDLE, LIFETIME, PATIENCE, patiently};
use super::facts::Grade::{Cap, Doc, Unsure, User};
use super::facts::{Check, Fact, anywhere, fact, hasty, here};

const ELSEWHERE: &str = "a limit of AWS's control plane or account, which a template meets when it is deployed";

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "5.1",
        Doc,
        "Quotas",
        "A frame may have 32 KB; a larger one closes the connection with 1009.",
        anywhere!(frames_have_a_limit),
    ),
    fact(
        "5.2",
        Doc,
        "Quotas",
        "A message may have 128 KB in several frames; a larger one closes the connection with 1009.",
        anywhere!(messages_have_a_limit),
    ),
    fact(
        "5.3",
        Doc,
        "Quotas; DG: status codes",
        "A connection without data for ten minutes is closed with 1001.",
        hasty!(idle_connections_end),
    ),
    fact(
        "5.4",
        Doc,
        "Quotas; DG: status codes",
        "A connection is closed with 1001 after two hours, busy or not.",
        hasty!(old_connections_end),
    ),
    fact(
        "5.5",
        Doc,
        "Quotas",
        "An account and region takes 500 new connections a second.",
        Check::None(
            "flooding an account would disturb others; the gateway's own tests check the limit with a small number",
        ),
    ),
    fact(
        "5.6",
        Doc,
        "Quotas",
        "There is no quota on connections at once.",
        Check::None("`cargo run --example soak` opens thousands; no suite can show that there is no limit"),
    ),
    fact(
        "5.7",
        Doc,
        "DG: quotas",
        "All APIs and @connections calls of an account share 10,000 requests a second, with a bucket of 5,000.",
        Check::None("not emulated: it is the account's, and no laptop reaches it; routes' own limits are 5.11"),
    ),
    fact(
        "5.8",
        Doc,
        "Quotas",
        "An API has at most 300 routes, 300 integrations, 10 stages and 10 authorizers.",
        Check::None(ELSEWHERE),
    ),
    fact("5.9", Doc, "Quotas", "A URL has at most 4,096 bytes.", anywhere!(urls_have_a_limit)),
    fact("5.10", Doc, "Quotas", "Mapping templates and access log formats have limits too.", Check::None(ELSEWHERE)),
    fact(
        "5.11",
        Doc,
        "DG: protecting a WebSocket API",
        "A route of a stage takes a burst and then a rate: a token bucket that fills again.",
        anywhere!(a_bucket_fills_again),
    ),
    fact(
        "5.12",
        Doc,
        "DG: binary media types; DG: status codes",
        "A binary frame closes the connection with 1003.",
        anywhere!(binary_frames_end_it),
    ),
    fact(
        "5.13",
        Doc,
        "DG: status codes",
        "A client that closes without a code is reported as 1005.",
        anywhere!(closing_without_a_code_is_1005),
    ),
    fact(
        "5.14",
        Doc,
        "DG: status codes",
        "A TCP connection that is dropped is reported as 1006.",
        anywhere!(a_dropped_connection_is_1006),
    ),
    fact(
        "5.15",
        Doc,
        "DG: status codes",
        "1008 means that one client sends too much.",
        Check::None("never sent here: when AWS does is not known, and throttled routes answer with a frame"),
    ),
    fact(
        "5.16",
        Doc,
        "DG: status codes",
        "1011 and 1012 mean faults and restarts of API Gateway itself.",
        Check::None("the local gateway has no such faults; stopping it closes with 1001"),
    ),
    fact(
        "5.17",
        Cap,
        "a published $disconnect event",
        "$disconnect reports an idle connection as 1001, `Going away`.",
        hasty!(idle_is_reported_as_going_away),
    ),
    fact(
        "5.18",
        Cap,
        "a captured event of a closed browser tab",
        "$disconnect reports a client's 1001 without a reason as 1001 with an empty reason.",
        anywhere!(a_tab_that_closes_has_no_reason),
    ),
    fact(
        "5.19",
        Cap,
        "Powertools' captures and more",
        "The reason of 1005 is `Client-side close frame status not set`.",
        anywhere!(the_reason_of_1005),
    ),
    fact(
        "5.20",
        Cap,
        "chalice#2060",
        "$disconnect reports DELETE @connections as 1000, `Connection Closed Normally`.",
        anywhere!(deleting_is_reported_as_1000),
    ),
    fact(
        "5.21",
        Unsure,
        "no capture",
        "$disconnect reports a client's own code and reason.",
        anywhere!(a_clients_code_is_reported),
    ),
    fact(
        "5.22",
        Unsure,
        "no capture",
        "The reason of 1006 is empty.",
        here!(the_reason_of_1006, "what AWS says is not known"),
    ),
    fact(
        "5.23",
        Unsure,
        "no capture",
        "The end of the lifetime is reported as 1001, `Going away`, too.",
        hasty!(age_is_reported_as_going_away),
    ),
    fact(
        "5.24",
        Doc,
        "DG: status codes",
        "$disconnect reports 1009 for what was too large and 1003 for a binary frame.",
        anywhere!(bad_frames_are_reported),
    ),
    fact(
        "5.25",
        Unsure,
        "no capture",
        "The reasons of 1003 and 1009 are empty.",
        here!(bad_frames_have_no_reason, "what AWS says is not known"),
    ),
    fact(
        "5.26",
        User,
        "hotsock.io: keep alive",
        "Data in either direction keeps a connection from being idle.",
        hasty!(data_keeps_a_connection),
    ),
    fact(
        "5.27",
        User,
        "compiler-explorer/infra#2229",
        "Pings are answered with pongs and reach no function.",
        anywhere!(pings_are_answered),
    ),
    fact(
        "5.28",
        Unsure,
        "AWS speaks of idleness only",
        "A ping does not keep a connection from being idle.",
        hasty!(pings_do_not_keep_a_connection),
    ),
    fact(
        "5.29",
        Doc,
        "DG: binary media types",
        "contentHandlingStrategy converts base64 text.",
        Check::None("not emulated; a template that sets it gets a note"),
    ),
    fact(
        "5.30",
        Unsure,
        "all captures are of text",
        "What @connections sends is a text frame; bytes that are no UTF-8 are refused with 400.",
        anywhere!(posts_are_text_frames),
    ),
    fact(
        "5.31",
        Unsure,
        "the standard's codes; AWS lists neither",
        "Frames that break the protocol close with 1002, text that is no UTF-8 with 1007.",
        here!(broken_frames_end_it, "what AWS sends is not known"),
    ),
    fact(
        "5.32",
        Unsure,
        "Quotas name the limit, not the answer",
        "A handshake whose URL is too long is answered 414.",
        here!(a_long_url_is_414, "what AWS answers is not known"),
    ),
];

/// Sends bytes after which the connection must be closed with a code; what `$disconnect` was told.
async fn closed_by(bench: &Bench, bytes: &[u8], code: u16) -> (u64, String) {
    let (mut socket, id) = bench.raw().await;
    socket.send(bytes).await;
    let close = socket.next().await.expect("a close frame");
    assert_eq!(close.close_code(), Some(code), "{close:?}");
    // As clients do then; some gateways wait for it.
    drop(socket);
    bench.reported(&id).await
}

const TOO_LARGE: usize = 32 * 1024 + 1;

/// A message of so many bytes that asks how long it is.
fn measured(length: usize) -> Vec<u8> {
    let mut text = br#"{"action":"twoway","do":"length"}"#.to_vec();
    // White space at the end is JSON too.
    text.resize(length, b' ');
    text
}

async fn frames_have_a_limit(bench: Arc<Bench>) {
    let (mut socket, _) = bench.raw().await;
    socket.send(&frame(Frame::TEXT, &measured(32 * 1024))).await;
    assert_eq!(socket.text().await, r#"{"length":32768}"#);
    closed_by(&bench, &frame(Frame::TEXT, &[b'x'; TOO_LARGE]), 1009).await;
}

/// The frames of one text message.
fn in_frames(text: &[u8]) -> Vec<u8> {
    let chunks: Vec<_> = text.chunks(32 * 1024).collect();
    let last = chunks.len() - 1;
    let first = |index: usize| (if index == 0 { 1 } else { 0 }) | (if index == last { 0x80 } else { 0 });
    chunks.iter().enumerate().flat_map(|(index, chunk)| frame(first(index), chunk)).collect()
}

async fn messages_have_a_limit(bench: Arc<Bench>) {
    let (mut socket, _) = bench.raw().await;
    socket.send(&in_frames(&measured(128 * 1024))).await;
    assert_eq!(socket.text().await, r#"{"length":131072}"#);
    closed_by(&bench, &in_frames(&[b'x'; 128 * 1024 + 1]), 1009).await;
}

/// Connects to the gateway with short limits. How long the connection lasts while `keep` is sent again and again.
async fn lasts(bench: &Bench, keep: Option<&str>) -> (u16, String, std::time::Duration) {
    let started = Instant::now();
    let (_, mut socket) = wire::handshake(&bench.hasty().url, &[]).await;
    loop {
        if let Some(text) = keep {
            // Fails once the connection is closed, which is about to be read.
            let first = if text.is_empty() { Frame::PING } else { Frame::TEXT };
            let _ = tokio::io::AsyncWriteExt::write_all(&mut socket.0, &frame(first, text.as_bytes())).await;
        }
        let next = tokio::time::timeout(IDLE / 5, socket.next()).await;
        if let Ok(Some(found)) = next
            && let Some(code) = found.close_code()
        {
            return (code, String::from_utf8(found.payload[2..].to_vec()).unwrap(), started.elapsed());
        }
    }
}

async fn idle_connections_end(bench: Arc<Bench>) {
    let (code, _, time) = lasts(&bench, None).await;
    assert_eq!(code, 1001);
    assert!(time >= IDLE && time < LIFETIME, "{time:?}");
}

async fn old_connections_end(bench: Arc<Bench>) {
    let (code, _, time) = lasts(&bench, Some("busy")).await;
    assert_eq!(code, 1001);
    assert!(time >= LIFETIME, "{time:?}");
}

async fn idle_is_reported_as_going_away(bench: Arc<Bench>) {
    let (code, reason, _) = lasts(&bench, None).await;
    assert_eq!((code, reason.as_str()), (1001, "Going away"));
}

async fn age_is_reported_as_going_away(bench: Arc<Bench>) {
    let (code, reason, _) = lasts(&bench, Some("busy")).await;
    assert_eq!((code, reason.as_str()), (1001, "Going away"));
}

async fn data_keeps_a_connection(bench: Arc<Bench>) {
    let (_, _, time) = lasts(&bench, Some("busy")).await;
    assert!(time >= LIFETIME, "{time:?}");
}

async fn pings_do_not_keep_a_connection(bench: Arc<Bench>) {
    let (code, _, time) = lasts(&bench, Some("")).await;
    assert_eq!(code, 1001);
    assert!(time < LIFETIME, "{time:?}");
}

async fn urls_have_a_limit(bench: Arc<Bench>) {
    let path = Url::parse(&bench.main).target.len();
    let url = |length: usize| format!("{}?{}", bench.main, "x".repeat(length - path - 1));
    Client::open(&url(4_000), &[]).await.unwrap().close().await;
    assert!(wire::handshake(&url(9_000), &[]).await.0.status >= 400);
}

async fn a_long_url_is_414(bench: Arc<Bench>) {
    let url = format!("{}?{}", bench.main, "x".repeat(4_096));
    assert_eq!(wire::handshake(&url, &[]).await.0.status, 414);
}

async fn a_bucket_fills_again(bench: Arc<Bench>) {
    let mut client = patiently(&bench.limited).await;
    let message = json!({"action": "twoway", "body": "taken"}).to_string();
    loop {
        client.send(message.as_str()).await;
        if client.text().await != "taken" {
            break;
        }
    }
    tests::eventually("a token", PATIENCE, async || {
        client.send(message.as_str()).await;
        (client.text().await == "taken").then_some(())
    })
    .await;
}

async fn binary_frames_end_it(bench: Arc<Bench>) {
    closed_by(&bench, &frame(Frame::BINARY, &[1, 2, 3]), 1003).await;
}

async fn closing_without_a_code_is_1005(bench: Arc<Bench>) {
    let (mut socket, id) = bench.raw().await;
    socket.send(&frame(Frame::CLOSE, b"")).await;
    assert_eq!(socket.next().await.map(|found| found.first), Some(Frame::CLOSE));
    drop(socket);
    assert_eq!(bench.reported(&id).await.0, 1005);
}

async fn a_dropped_connection_is_1006(bench: Arc<Bench>) {
    let (socket, id) = bench.raw().await;
    drop(socket);
    assert_eq!(bench.reported(&id).await.0, 1006);
}

async fn a_tab_that_closes_has_no_reason(bench: Arc<Bench>) {
    let (client, id) = bench.connect_with_id().await;
    client.leave(1001, "").await;
    assert_eq!(bench.reported(&id).await, (1001, String::new()));
}

async fn the_reason_of_1005(bench: Arc<Bench>) {
    let (mut socket, id) = bench.raw().await;
    socket.send(&frame(Frame::CLOSE, b"")).await;
    socket.next().await;
    drop(socket);
    assert_eq!(bench.reported(&id).await, (1005, "Client-side close frame status not set".to_owned()));
}

async fn the_reason_of_1006(bench: Arc<Bench>) {
    let (socket, id) = bench.raw().await;
    drop(socket);
    assert_eq!(bench.reported(&id).await, (1006, String::new()));
}

async fn deleting_is_reported_as_1000(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    assert_eq!(bench.manage("DELETE", &id, b"").await.status, 204);
    client.closed().await;
    drop(client);
    assert_eq!(bench.reported(&id).await, (1000, "Connection Closed Normally".to_owned()));
}

async fn a_clients_code_is_reported(bench: Arc<Bench>) {
    for (code, reason) in [(1000, "done"), (4321, "my own reason")] {
        let (client, id) = bench.connect_with_id().await;
        client.leave(code, reason).await;
        assert_eq!(bench.reported(&id).await, (u64::from(code), reason.to_owned()));
    }
}

async fn bad_frames_are_reported(bench: Arc<Bench>) {
    assert_eq!(closed_by(&bench, &frame(Frame::TEXT, &[b'x'; TOO_LARGE]), 1009).await.0, 1009);
    assert_eq!(closed_by(&bench, &frame(Frame::BINARY, b"x"), 1003).await.0, 1003);
}

async fn bad_frames_have_no_reason(bench: Arc<Bench>) {
    assert_eq!(closed_by(&bench, &frame(Frame::TEXT, &[b'x'; TOO_LARGE]), 1009).await.1, "");
    assert_eq!(closed_by(&bench, &frame(Frame::BINARY, b"x"), 1003).await.1, "");
}

async fn broken_frames_end_it(bench: Arc<Bench>) {
    closed_by(&bench, &frame(Frame::TEXT, &[0xff, 0xfe]), 1007).await;
    // Reserved bits, an unknown kind, no mask, a ping in several frames, the end of nothing.
    for bytes in [frame(0xc1, b"x"), frame(0x83, b"x"), vec![0x81, 1, b'x'], frame(0x09, b"x"), frame(0x80, b"x")] {
        closed_by(&bench, &bytes, 1002).await;
    }
}

async fn pings_are_answered(bench: Arc<Bench>) {
    let (mut socket, id) = bench.raw().await;
    socket.send(&frame(Frame::PING, b"payload")).await;
    assert_eq!(socket.next().await, Some(Frame { first: Frame::PONG, payload: b"payload".to_vec() }));
    socket.send(&frame(Frame::PONG, b"")).await;
    socket.send(&frame(Frame::TEXT, b"still here")).await;
    assert_eq!(socket.text().await, "still here", "{id}");
}

async fn posts_are_text_frames(bench: Arc<Bench>) {
    let (mut socket, id) = bench.raw().await;
    assert_eq!(bench.manage("POST", &id, &[0xff, 0xfe]).await.status, 400);
    assert_eq!(bench.manage("POST", &id, b"{\"a\":1}").await.status, 200);
    assert_eq!(socket.next().await, Some(Frame { first: Frame::TEXT, payload: b"{\"a\":1}".to_vec() }));
}
