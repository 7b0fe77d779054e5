//! The `@connections` API.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::Settings;
use super::authorizing::{by_header, keys, sign_call};
use super::harness::*;

const UNKNOWN: &str = "BFHPhfCWIAMCKlQ=";

#[track_caller]
fn check(answer: &Answer, status: u16, error_type: Option<&str>, body: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (status, body));
    assert_eq!(answer.header("x-amzn-errortype"), error_type);
    assert!(answer.header("x-amzn-requestid").is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn post_sends_a_text_frame() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let longest = "x".repeat(128 * 1024);
    for message in ["hello", "", "{\"a\":1}", "ünï \u{1F600}", &longest] {
        let headers = [("content-type", "application/octet-stream")];
        let answer = app.http("POST", &format!("/dev/@connections/{id}"), &headers, message.as_bytes()).await;
        check(&answer, 200, None, "");
        assert_eq!(receive_text(&mut client).await, message);
    }
}

#[tokio::test]
async fn the_path_may_be_encoded() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let encoded = id.replace('=', "%3D");
    let lower = id.replace('=', "%3d");
    for path in [
        format!("/dev/@connections/{id}"),
        format!("/dev/%40connections/{encoded}"),
        format!("/dev/%40connections/{id}"),
        format!("/dev/@connections/{lower}"),
        format!("/abcdef1234/dev/%40connections/{encoded}"),
        // Of an endpoint with a slash at its end.
        format!("/dev//@connections/{encoded}"),
    ] {
        assert_eq!(app.http("POST", &path, &[], path.as_bytes()).await.status, 200, "{path}");
        assert_eq!(receive_text(&mut client).await, path);
    }
}

#[tokio::test]
async fn get_describes_a_connection() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let connected_at = app.functions.events("connect")[0]["requestContext"]["connectedAt"].as_i64().unwrap();
    let describe = async || {
        let answer = app.manage("GET", &id, b"").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        serde_json::from_str::<Value>(&answer.body).unwrap()
    };
    let fresh = describe().await;
    let keys: Vec<_> = fresh.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["connectedAt", "identity", "lastActiveAt"]);
    assert_eq!(fresh["identity"], json!({"sourceIp": "127.0.0.1"}));
    let time = fresh["connectedAt"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with(&format!(".{:03}Z", connected_at % 1000)), "{time} of {connected_at}");

    let last_active = |value: &Value| value["lastActiveAt"].as_str().unwrap().to_owned();
    let mut before = last_active(&fresh);
    for inbound in [true, false, true] {
        // The clock has to move on for the time to differ.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        if inbound {
            assert_quiet(&mut client).await;
        } else {
            assert_eq!(app.manage("POST", &id, b"x").await.status, 200);
            receive_text(&mut client).await;
        }
        let after = last_active(&describe().await);
        assert!(after > before, "{after} is not after {before}");
        before = after;
    }
    assert_eq!(last_active(&describe().await), before, "looking is not traffic");
}

#[tokio::test]
async fn get_tells_the_user_agent() {
    let app = App::start(usual(), friendly()).await;
    let _client = app.open("/dev", &[("user-agent", "test/1")]).await.unwrap();
    let event = app.functions.invoked("connect", 1).await.remove(0);
    let answer = app.manage("GET", event["requestContext"]["connectionId"].as_str().unwrap(), b"").await;
    let described: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(described["identity"], json!({"sourceIp": "127.0.0.1", "userAgent": "test/1"}));
}

#[tokio::test]
async fn an_id_that_never_was_is_gone() {
    let app = App::start(usual(), friendly()).await;
    for method in ["POST", "GET", "DELETE"] {
        check(&app.manage(method, UNKNOWN, b"").await, 410, Some("GoneException"), "");
    }
}

#[tokio::test]
async fn a_malformed_id_is_a_bad_request() {
    let app = App::start(usual(), friendly()).await;
    for id in ["ckv8d9nqk0000q8jz2v3h5g1a", "0b1d9c4e-6f0a-4a51-9d1f-5f3d2b8f2a11", "x"] {
        for method in ["POST", "GET", "DELETE"] {
            let answer = app.manage(method, id, b"").await;
            let body = format!(r#"{{"message":"Invalid connectionId: {id}"}}"#);
            check(&answer, 400, Some("BadRequestException"), &body);
        }
    }
}

#[tokio::test]
async fn a_message_over_128_kb_is_too_large() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    for size in [128 * 1024 + 1, 4 * 1024 * 1024] {
        let answer = app.manage("POST", &id, &vec![b'x'; size]).await;
        check(&answer, 413, Some("PayloadTooLargeException"), r#"{"message":"Payload Too Large"}"#);
    }
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn bytes_that_are_not_text_are_a_bad_request() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let answer = app.manage("POST", &id, &[0xff, 0xfe]).await;
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (400, Some("BadRequestException")));
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_429_and_holds_up_nobody() {
    let app = App::start(usual(), friendly()).await;
    let (mut slow, slow_id) = app.connect_with_id().await;
    let (mut quick, quick_id) = app.connect_with_id().await;
    let message = "x".repeat(128 * 1024);
    let mut accepted = 0;
    let full = loop {
        let answer = app.manage("POST", &slow_id, message.as_bytes()).await;
        match answer.status {
            200 => accepted += 1,
            _ => break answer,
        }
        assert!(accepted < 1_000, "the send buffer has no end");
    };
    check(&full, 429, Some("LimitExceededException"), "");
    assert_eq!(app.manage("GET", &slow_id, b"").await.status, 200);
    assert_eq!(app.manage("POST", &quick_id, b"hello").await.status, 200);
    assert_eq!(receive_text(&mut quick).await, "hello");
    assert_quiet(&mut quick).await;
    for _ in 0..accepted {
        assert_eq!(receive_text(&mut slow).await.len(), message.len());
    }
    assert_quiet(&mut slow).await;
    assert_eq!(app.manage("POST", &slow_id, b"again").await.status, 200);
}

#[tokio::test]
async fn wrong_paths_and_methods_are_forbidden() {
    let app = App::start(usual(), friendly()).await;
    let (_client, id) = app.connect_with_id().await;
    for path in [
        format!("/prod/@connections/{id}"),
        format!("/@connections/{id}"),
        "/dev/@connections".to_owned(),
        format!("/dev/@connections/{id}/more"),
        format!("/zzzzzzzzzz/dev/@connections/{id}"),
        format!("/dev/connections/{id}"),
    ] {
        let answer = app.http("POST", &path, &[], b"x").await;
        check(&answer, 403, Some("ForbiddenException"), r#"{"message":"Forbidden"}"#);
    }
    check(&app.manage("PUT", &id, b"x").await, 403, Some("ForbiddenException"), r#"{"message":"Forbidden"}"#);
}

#[tokio::test]
async fn strict_refuses_calls_that_its_keys_did_not_sign() {
    let settings = Settings { strict: true, keys: keys(), ..Settings::default() };
    let app = App::with_settings([usual()], friendly(), settings).await;
    let (mut client, id) = app.connect_with_id().await;
    let path = format!("/dev/@connections/{id}");
    let missing = r#"{"message":"Missing Authentication Token"}"#;
    for headers in [&[][..], &[("authorization", "Bearer x")]] {
        let answer = app.http("POST", &path, headers, b"x").await;
        check(&answer, 403, Some("MissingAuthenticationTokenException"), missing);
    }
    let path = format!("/dev/%40connections/{}", id.replace('=', "%3D"));
    let url = format!("http://{}{path}", app.address);
    let now = SystemTime::now();
    let signed = |body, secret, at| sign_call(("POST", &url, body), secret, false, at);
    let hour = Duration::from_secs(3600);
    for (what, signature) in [
        ("other keys", signed(b"signed", "guessed", now)),
        ("another body", signed(b"other", "secret", now)),
        ("old", signed(b"signed", "secret", now - hour)),
        ("from the future", signed(b"signed", "secret", now + hour)),
    ] {
        let answer = app.http("POST", &path, &by_header(&signature), b"signed").await;
        assert_eq!(
            (answer.status, answer.header("x-amzn-errortype")),
            (403, Some("InvalidSignatureException")),
            "{what}"
        );
    }
    let answer = app.http("POST", &path, &by_header(&signed(b"signed", "secret", now)), b"signed").await;
    check(&answer, 200, None, "");
    assert_eq!(receive_text(&mut client).await, "signed");
}
