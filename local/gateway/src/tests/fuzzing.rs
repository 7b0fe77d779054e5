//! Mutated input for everything that reads what others send.

use std::time::Duration;

use axum::extract::Request;
use fastrand::Rng;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::events::{Identity, Origin};
use super::super::head::{RawHead, Tap};
use super::super::integration::ProxyResponse;
use super::super::policy::Facts;
use super::super::request::Handshake;
use super::super::selection::Selection;
use super::super::validation::Validator;
use super::super::{authorizer, ids, management};
use super::harness::*;
use tidings_local_fuzz::{self as fuzz, Plan, mutate};
use tidings_local_stack::Validation;

const HANDSHAKE: &[u8] = b"GET /dev?topic=a%2Fb&topic=c+d&access_token=x HTTP/1.1\r\nHost: localhost:3030\r\n\
    Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: one, two\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
const POST: &[u8] =
    b"POST /dev/%40connections/BFHPhfCWIAMCKlQ%3D HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello\
    GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

/// The heads that are read from bytes that come in these pieces.
async fn heads(bytes: &[u8], pieces: &[usize]) -> Vec<RawHead> {
    let (mut sender, receiver) = tokio::io::duplex(64 * 1024);
    let (mut tap, heads) = Tap::new(receiver);
    let mut rest = bytes;
    for piece in pieces {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        sender.write_all(now).await.unwrap();
        let mut read = vec![0; now.len()];
        tap.read_exact(&mut read).await.unwrap();
        rest = later;
    }
    std::iter::from_fn(|| heads.next()).collect()
}

fn check_head(bytes: &[u8], rng: &mut Rng) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let bytes = &bytes[..bytes.len().min(32 * 1024)];
    let whole = runtime.block_on(heads(bytes, &[bytes.len()]));
    let pieces: Vec<_> = std::iter::repeat_with(|| rng.usize(1..200)).take(bytes.len()).collect();
    assert_eq!(runtime.block_on(heads(bytes, &pieces)), whole, "the pieces in which a head comes make a difference");
    for head in whole {
        check_events(head);
    }
}

/// Whatever a head says, events can be made of it.
fn check_events(head: RawHead) {
    let Ok(uri) = head.target.parse() else { return };
    let mut request = Request::new(axum::body::Body::empty());
    *request.uri_mut() = uri;
    request.extensions_mut().insert(head);
    let handshake = Handshake::new(&request);
    let origin = Origin {
        api_id: "abcdef1234".to_owned(),
        stage: "dev".to_owned(),
        stage_variables: Default::default(),
        connection_id: ids::connection(),
        connected_at: 1,
        domain_name: handshake.host(),
        identity: Identity { source_ip: handshake.source_ip(), user_agent: None, caller: None },
    };
    for event in [origin.connect(&handshake, None), origin.authorize(&handshake, "arn")] {
        assert!(serde_json::from_slice::<serde_json::Value>(&event.payload).unwrap().is_object());
    }
}

#[test]
fn fuzz_request_heads() {
    fuzz::run("heads", &[HANDSHAKE, POST, CHUNKED], check_head);
}

#[test]
fn fuzz_what_functions_and_clients_say() {
    let answer = br#"{"statusCode":200,"headers":{"Sec-WebSocket-Protocol":"a"},"multiValueHeaders":{},"body":"aGk=","isBase64Encoded":true}"#;
    let policy = br#"{"principalId":"u","policyDocument":{"Version":"2012-10-17","Statement":[{"Action":"execute-api:*","Effect":"Allow","Resource":["arn:aws:*","*"]}]},"context":{"a":1}}"#;
    let message = br#"{"action":"chat","list":[1,{"a":null}],"deep":{"kind":"x"},"text":"hi"}"#;
    let selections =
        ["$request.body.action", "${request.body.deep.kind}/${request.body.list[*].a}"].map(Selection::new);
    let models = [("$default".to_owned(), json!({"type": "object", "required": ["text"]}))].into();
    let validator = Validator::new(&Validation { selection: "$request.body.action".to_owned(), models });
    let facts = Facts { source_ip: "192.0.2.7".to_owned(), user_agent: None, referer: None, epoch_ms: 0 };
    fuzz::run("answers", &[answer, policy, message], |bytes, _| {
        let _ = ProxyResponse::parse(bytes);
        let _ = authorizer::decide(bytes, "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect", &facts);
        let text = String::from_utf8_lossy(bytes);
        for selection in &selections {
            selection.select(&text);
            Selection::new(&text).select("{}");
        }
        validator.accepts(&text);
        ids::is_well_formed(&text);
        if let Ok(value) = http::HeaderValue::from_bytes(bytes) {
            management::is_signed(&[(http::header::AUTHORIZATION, value)].into_iter().collect());
        }
    });
}

/// A client's frames: text, text in two frames, ping, close with a code, an empty close, a long text, a binary one.
const FRAMES: [&[u8]; 7] = [
    b"\x81\x85\x01\x02\x03\x04igomn",
    b"\x01\x82\0\0\0\0he\x80\x83\0\0\0\0llo",
    b"\x89\x84\0\0\0\0ping\x8a\x80\0\0\0\0",
    b"\x88\x86\0\0\0\0\x03\xe8done",
    b"\x88\x80\0\0\0\0",
    b"\x81\xfe\x00\x80\0\0\0\0xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    b"\x82\xff\0\0\0\0\0\0\0\x03\0\0\0\0\x01\x02\x03",
];

/// Opens a connection, sends bytes, hangs up, and reads until the gateway has hung up too.
async fn throw(app: &App, bytes: &[u8]) {
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(HANDSHAKE).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 101);
    // The gateway may hang up in the middle.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("the gateway hangs up");
}

#[tokio::test(flavor = "multi_thread")]
async fn fuzz_frames() {
    let mut app = App::start(usual(), friendly()).await;
    let mut thrown = 0;
    for seed in Plan::from_env().rounds(100) {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = Vec::new();
        for _ in 0..rng.usize(1..6) {
            bytes.extend(mutate(&FRAMES, &mut rng));
        }
        let told = format!("again with TIDINGS_FUZZ_SEED={seed}; the frames are {}", bytes.escape_ascii());
        if thrown == 200 {
            // The harness remembers every event.
            assert_quiet(&mut app.connect().await).await;
            (app, thrown) = (App::start(usual(), friendly()).await, 0);
        }
        throw(&app, &bytes).await;
        thrown += 1;
        // Whatever it was, the connection has come to its end, once.
        let ends = tokio::time::timeout(Duration::from_secs(20), app.functions.invoked("disconnect", thrown)).await;
        assert_eq!(ends.expect(&told).len(), thrown, "{told}");
    }
    assert_quiet(&mut app.connect().await).await;
}
