//! Section 6: the `@connections` API.

use std::sync::Arc;

use aws_sdk_apigatewaymanagement::primitives::Blob;
use serde_json::{Value, json};
use tests::wire::{self, Answer, Frame, Url};
use tidings_test::Client;

use super::bench::{Bench, Place, connection_id, with_stage};
use super::facts::Grade::{Cap, Doc, Infer, Model, Unsure, User};
use super::facts::{Check, Fact, anywhere, fact, here};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "6.1",
        Doc,
        "DG: @connections commands",
        "POST to {stage}/@connections/{id} sends the body to that client.",
        anywhere!(a_post_reaches_the_client),
    ),
    fact(
        "6.2",
        User,
        "simple-websockets-chat-app#40",
        "With a custom domain the path has the base path and no stage.",
        Check::None("AWS would need a domain of one's own; tests/suite/domains.rs asks the local gateway"),
    ),
    fact(
        "6.3",
        Doc,
        "DG: @connections commands",
        "@ and = may be percent-encoded in the path.",
        anywhere!(the_path_may_be_encoded),
    ),
    fact(
        "6.4",
        Cap,
        "aws-sdk-go-v2#889",
        "A call signed with the double-encoded path, as the SDKs do it, is accepted.",
        anywhere!(the_sdks_calls_are_accepted),
    ),
    fact(
        "6.5",
        Model,
        "apigatewaymanagementapi 2018-11-29",
        "POST answers 200 without a body.",
        anywhere!(a_post_is_200),
    ),
    fact("6.6", Model, "apigatewaymanagementapi 2018-11-29", "GET answers 200 with JSON.", anywhere!(a_get_is_200)),
    fact(
        "6.7",
        Model,
        "apigatewaymanagementapi 2018-11-29",
        "DELETE answers 204 without a body.",
        anywhere!(a_delete_is_204),
    ),
    fact(
        "6.8",
        Model,
        "apigatewaymanagementapi 2018-11-29",
        "The data of a POST may have 131,072 bytes.",
        anywhere!(a_post_may_have_128_kb),
    ),
    fact(
        "6.9",
        Model,
        "apigatewaymanagementapi 2018-11-29",
        "More is answered 413 with PayloadTooLargeException and a message.",
        anywhere!(more_is_413),
    ),
    fact(
        "6.10",
        Model,
        "apigatewaymanagementapi 2018-11-29; get-connection.rst",
        "GET tells connectedAt, identity (sourceIp, userAgent) and lastActiveAt, in lower camel case, times in ISO 8601 with milliseconds.",
        anywhere!(a_get_describes_the_connection),
    ),
    fact(
        "6.11",
        Model,
        "apigatewaymanagementapi 2018-11-29",
        "lastActiveAt moves with data in either direction.",
        anywhere!(activity_is_told),
    ),
    fact(
        "6.12",
        Cap,
        "errors of three SDKs; localstack#4694",
        "An id that is closed, or well-formed and never was, is answered 410 with the header x-amzn-ErrorType: GoneException and an empty body.",
        anywhere!(unknown_ids_are_gone),
    ),
    fact(
        "6.13",
        Cap,
        "serverless-offline#749; localstack#4694",
        "A malformed id is answered 400, BadRequestException, `Invalid connectionId: {id}`.",
        anywhere!(malformed_ids_are_400),
    ),
    fact(
        "6.14",
        Model,
        "apigatewaymanagementapi 2018-11-29; gchq/sleeper#7494",
        "A client whose send buffer is full is answered 429, LimitExceededException.",
        here!(a_slow_client_is_429, "how much AWS buffers is not known"),
    ),
    fact(
        "6.15",
        Cap,
        "aws-sdk-php#1955",
        "A wrong stage or path is answered 403, ForbiddenException, {\"message\":\"Forbidden\"}.",
        anywhere!(wrong_paths_are_403),
    ),
    fact(
        "6.16",
        Cap,
        "aws-cdk#18410",
        "A caller whom IAM does not allow is answered 403 with a text that names the action.",
        Check::None("there is no IAM here: whoever signs may call"),
    ),
    fact(
        "6.17",
        Unsure,
        "DG: gateway responses; no capture for WebSocket APIs",
        "An unsigned call is answered 403, MissingAuthenticationTokenException.",
        anywhere!(unsigned_calls_are_403),
    ),
    fact(
        "6.18",
        Doc,
        "DG: gateway responses",
        "A wrong or expired signature is answered 403.",
        anywhere!(wrong_signatures_are_403),
    ),
    fact(
        "6.19",
        Unsure,
        "Quotas speak of frames of 32 KB",
        "A POST of up to 128 KB reaches the client as one frame.",
        here!(a_large_post_is_one_frame, "what AWS sends is not known"),
    ),
    fact(
        "6.20",
        Unsure,
        "aws-sdk-js#3636: no code can be given",
        "A deleted client sees 1000, `Connection Closed Normally`.",
        here!(a_deleted_client_sees_1000, "what AWS sends is not known"),
    ),
    fact(
        "6.21",
        Unsure,
        "the model has no members",
        "The body of 429 is empty.",
        here!(a_slow_client_gets_no_body, "what AWS sends is not known"),
    ),
    fact(
        "6.22",
        User,
        "simple-websockets-chat-app#44",
        "A client can be posted to by any function of the stage, whoever it talked to before.",
        anywhere!(any_connection_can_be_posted_to),
    ),
    fact("6.23", Infer, "SDKs read it", "Answers carry an x-amzn-RequestId.", anywhere!(answers_have_a_request_id)),
];

const NEVER: &str = "BFHPhfCWIAMCKlQ=";

#[track_caller]
fn check(answer: &Answer, status: u16, error: &str, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert_eq!(answer.header("x-amzn-errortype"), Some(error));
}

/// With which status a post is answered is a fact of its own.
#[track_caller]
fn check_sent(answer: &Answer) {
    assert_eq!(answer.status / 100, 2, "{answer:?}");
}

async fn a_post_reaches_the_client(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    for text in ["hello", "ünï 😀", r#"{"a":1}"#] {
        check_sent(&bench.manage("POST", &id, text.as_bytes()).await);
        assert_eq!(client.text().await, text);
    }
}

async fn the_path_may_be_encoded(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let encoded = bench.connection_url(&id);
    for url in [encoded.clone(), encoded.replace("%40", "@"), encoded.replace("%3D", "=")] {
        check_sent(&bench.call("POST", &url, url.as_bytes()).await);
        assert_eq!(client.text().await, url);
    }
}

async fn the_sdks_calls_are_accepted(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let sdk = bench.sdk();
    sdk.post_to_connection().connection_id(&id).data(Blob::new("from the SDK")).send().await.unwrap();
    assert_eq!(client.text().await, "from the SDK");
    sdk.delete_connection().connection_id(&id).send().await.unwrap();
    client.closed().await;
}

async fn a_post_is_200(bench: Arc<Bench>) {
    let (_client, id) = bench.connect_with_id().await;
    let answer = bench.manage("POST", &id, b"x").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

async fn a_get_is_200(bench: Arc<Bench>) {
    let (_client, id) = bench.connect_with_id().await;
    let answer = bench.manage("GET", &id, b"").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("application/json"));
    assert!(serde_json::from_str::<Value>(&answer.body).unwrap().is_object());
}

async fn a_delete_is_204(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let answer = bench.manage("DELETE", &id, b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    client.closed().await;
}

async fn a_post_may_have_128_kb(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let text = "x".repeat(131_072);
    check_sent(&bench.manage("POST", &id, text.as_bytes()).await);
    assert_eq!(client.text().await.len(), text.len());
}

async fn more_is_413(bench: Arc<Bench>) {
    let (_client, id) = bench.connect_with_id().await;
    let answer = bench.manage("POST", &id, &vec![b'x'; 131_073]).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (413, Some("PayloadTooLargeException")));
    assert!(serde_json::from_str::<Value>(&answer.body).unwrap()["message"].is_string());
}

async fn describe(bench: &Bench, id: &str) -> Value {
    serde_json::from_str(&bench.manage("GET", id, b"").await.body).unwrap()
}

async fn a_get_describes_the_connection(bench: Arc<Bench>) {
    let mut client = Client::open(&bench.main, &[("User-Agent", "conformance/1")]).await.unwrap();
    let id = connection_id(&mut client).await;
    let described = describe(&bench, &id).await;
    let mut keys: Vec<_> = described.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["connectedAt", "identity", "lastActiveAt"]);
    assert_eq!(described["identity"]["userAgent"], "conformance/1");
    assert!(described["identity"]["sourceIp"].is_string());
    for field in ["connectedAt", "lastActiveAt"] {
        let time = described[field].as_str().unwrap();
        let digits: String = time.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
        assert_eq!(digits, "0000-00-00T00:00:00.000Z", "{time}");
    }
    let found = bench.sdk().get_connection().connection_id(&id).send().await.unwrap();
    assert!(found.connected_at().is_some() && found.last_active_at().is_some());
}

async fn activity_is_told(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    let active = async |bench: &Bench| describe(bench, &id).await["lastActiveAt"].as_str().unwrap().to_owned();
    let mut before = active(&bench).await;
    for inbound in [true, false] {
        // The clock has to move on.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        if inbound {
            connection_id(&mut client).await;
        } else {
            check_sent(&bench.manage("POST", &id, b"x").await);
            client.text().await;
        }
        let after = active(&bench).await;
        assert!(after > before, "{after} is not after {before}");
        before = after;
    }
}

async fn unknown_ids_are_gone(bench: Arc<Bench>) {
    let (client, id) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&id, "disconnect").await;
    for id in [NEVER, &id] {
        for method in ["POST", "GET", "DELETE"] {
            check(&bench.manage(method, id, b"").await, 410, "GoneException", "");
        }
    }
    let post = bench.sdk().post_to_connection().connection_id(&id).data(Blob::new("late"));
    assert!(post.send().await.unwrap_err().into_service_error().is_gone_exception());
}

async fn malformed_ids_are_400(bench: Arc<Bench>) {
    for id in ["ckv8d9nqk0000q8jz2v3h5g1a", "0b1d9c4e-6f0a-4a51-9d1f-5f3d2b8f2a11"] {
        for method in ["POST", "GET", "DELETE"] {
            let body = format!(r#"{{"message":"Invalid connectionId: {id}"}}"#);
            check(&bench.manage(method, id, b"").await, 400, "BadRequestException", &body);
        }
    }
}

/// Fills the send buffer of a client that does not read; the first answer that is no success.
async fn fill(bench: &Bench) -> Answer {
    let (_client, id) = bench.connect_with_id().await;
    let text = vec![b'x'; 131_072];
    for _ in 0..1_000 {
        let answer = bench.manage("POST", &id, &text).await;
        if answer.status / 100 != 2 {
            return answer;
        }
    }
    panic!("the send buffer has no end");
}

async fn a_slow_client_is_429(bench: Arc<Bench>) {
    let answer = fill(&bench).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (429, Some("LimitExceededException")));
}

async fn a_slow_client_gets_no_body(bench: Arc<Bench>) {
    assert_eq!(fill(&bench).await.body, "");
}

async fn wrong_paths_are_403(bench: Arc<Bench>) {
    let url = bench.connection_url(NEVER);
    let (stage, connection) = url.split_once("/%40connections/").unwrap();
    let nowhere = with_stage(stage, "nowhere");
    for url in [format!("{nowhere}/%40connections/{connection}"), format!("{stage}/connections/{connection}")] {
        check(&bench.call("POST", &url, b"x").await, 403, "ForbiddenException", r#"{"message":"Forbidden"}"#);
    }
}

/// A connection that never was, where signatures are demanded: here only by a gateway that was started with --strict.
fn demanding(bench: &Bench) -> String {
    match bench.place {
        Place::Ours => format!("{}/%40connections/BFHPhfCWIAMCKlQ%3D", bench.hasty().management),
        Place::Peer(_) | Place::Aws => bench.connection_url(NEVER),
    }
}

async fn unsigned_calls_are_403(bench: Arc<Bench>) {
    let url = demanding(&bench);
    let answer = wire::request("POST", &Url::parse(&url), &[], b"x").await;
    check(&answer, 403, "MissingAuthenticationTokenException", r#"{"message":"Missing Authentication Token"}"#);
    let signed = bench.call("POST", &url, b"x").await;
    assert_eq!(signed.status, 410);
}

async fn wrong_signatures_are_403(bench: Arc<Bench>) {
    let url = demanding(&bench);
    assert_eq!(bench.forged("POST", &url, b"x").await.status, 403);
    assert_eq!(bench.call("POST", &url, b"x").await.status, 410);
}

async fn a_large_post_is_one_frame(bench: Arc<Bench>) {
    let (mut socket, id) = bench.raw().await;
    check_sent(&bench.manage("POST", &id, &vec![b'x'; 131_072]).await);
    let frame = socket.next().await.unwrap();
    assert_eq!((frame.first, frame.payload.len()), (Frame::TEXT, 131_072));
}

async fn a_deleted_client_sees_1000(bench: Arc<Bench>) {
    let (mut client, id) = bench.connect_with_id().await;
    bench.manage("DELETE", &id, b"").await;
    let frame = client.closed().await.unwrap();
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1000, "Connection Closed Normally"));
}

async fn any_connection_can_be_posted_to(bench: Arc<Bench>) {
    let mut silent = bench.connect().await;
    let id = connection_id(&mut silent).await;
    let others = futures_util::future::join_all((0..5).map(|_| bench.connect())).await;
    check_sent(&bench.manage("POST", &id, &json!({"to": id}).to_string().into_bytes()).await);
    assert_eq!(silent.json().await, json!({"to": id}));
    for mut other in others {
        super::bench::assert_quiet(&mut other).await;
    }
}

async fn answers_have_a_request_id(bench: Arc<Bench>) {
    let answer = bench.manage("POST", NEVER, b"x").await;
    assert!(answer.header("x-amzn-requestid").is_some_and(|id| !id.is_empty()));
}
