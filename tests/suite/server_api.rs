//! Centrifugo's server API on the wire: who gets in, what is answered where, and what is said once.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::stack::Stack;
use tests::wire::{self, Answer, Url};
use tidings_test::Client;

const KEY: &str = "tidings-dev/server-key";

fn key(stack: &Stack) -> String {
    stack.running().secrets().text(KEY).unwrap()
}

async fn send(stack: &Stack, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let url = Url::parse(&format!("{}{target}", stack.api()));
    wire::request("POST", &url, headers, body).await
}

/// A call with the key; its status and body.
async fn call(stack: &Stack, method: &str, body: &str) -> (u16, String) {
    let answer = send(stack, &format!("/api/{method}"), &[("X-API-Key", &key(stack))], body.as_bytes()).await;
    (answer.status, answer.body)
}

/// What a call is answered with that is understood.
async fn result(stack: &Stack, method: &str, body: Value) -> Value {
    let (status, answer) = call(stack, method, &body.to_string()).await;
    assert_eq!(status, 200, "{method} {body}: {answer}");
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_key_lets_in_and_it_opens_no_other_door() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let (key, body) = (key(&stack), b"{}");
    // Where its clients connect is said at the start.
    assert!(stack.log().contains(&format!("  centrifuge  {}?protocol=centrifuge", stack.url())), "{}", stack.log());
    let secret = String::from_utf8(stack.secret().await).unwrap();
    let token = stack.token("u1", &["subscribe:**", "publish:**"]);
    let bearer = format!("Bearer {token}");
    let (own, other) = (format!("apikey {key}"), format!("apikey {secret}"));
    for headers in [
        &[][..],
        &[("X-API-Key", "")],
        &[("X-API-Key", "wrong")],
        &[("X-API-Key", &key[..63])],
        &[("X-API-Key", &secret)],
        &[("X-API-Key", &token)],
        // The header of its own comes first.
        &[("X-API-Key", "wrong"), ("Authorization", &own)],
        &[("Authorization", &key)],
        &[("Authorization", &bearer)],
        &[("Authorization", &other)],
    ] {
        for target in ["/api/info", "/api/publish", "/api/nothing"] {
            let answer = send(&stack, target, headers, body).await;
            assert_eq!((answer.status, answer.body.as_str()), (401, ""), "{target} {headers:?}");
        }
    }
    // It would be in logs.
    assert_eq!(send(&stack, &format!("/api/info?api_key={key}"), &[], body).await.status, 401);
    for headers in [
        &[("X-API-Key", key.as_str())][..],
        &[("authorization", &own.to_uppercase().replace(&key.to_uppercase(), &key))],
    ] {
        assert_eq!(send(&stack, "/api/info", headers, body).await.status, 200, "{headers:?}");
    }
    let claims = json!({"sub": "u1", "exp": 4_102_444_800_i64});
    let forged = tidings_local_services::token::sign(key.as_bytes(), &claims);
    let url = Url::parse(&format!("{}/messages?topic=a", stack.api()));
    for authorization in [format!("Bearer {key}"), format!("Bearer {forged}"), own] {
        let answer = wire::request("GET", &url, &[("Authorization", &authorization)], b"").await;
        assert_eq!(answer.status, 401, "{authorization}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_counts_as_long_as_its_successor_is_new() {
    let stack = Stack::start(&[]).await;
    let old = key(&stack);
    let is_let_in = async |key: &str| send(&stack, "/api/info", &[("X-API-Key", key)], b"{}").await.status == 200;
    assert!(is_let_in(&old).await);
    let new = "n".repeat(64);
    assert!(stack.running().secrets().put_text(KEY, new.as_str()).unwrap());
    assert!(is_let_in(&new).await && is_let_in(&old).await);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_protocol_there_is_no_such_path_and_no_key() {
    let stack = Stack::start(&[("Protocols", "")]).await;
    assert_eq!(stack.running().secrets().text(KEY), None);
    assert!(!stack.log().contains("?protocol=centrifuge"), "{}", stack.log());
    let answer = send(&stack, "/api/info", &[("X-API-Key", "undefined")], b"{}").await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_answered_as_centrifugo_does() {
    let stack = Stack::start(&[("History", r#"[{"to":{"topic":"log/*"},"seconds":60}]"#)]).await;
    for body in ["", "{", "[]", "1", "text", r#"{"channel":1}"#, r#"{"channel":"a","data":1"#] {
        assert_eq!(call(&stack, "publish", body).await, (400, "Bad Request\n".to_owned()), "{body}");
    }
    assert_eq!(call(&stack, "batch", r#"{"commands":7}"#).await.0, 400);
    for method in ["connections", "Publish", "map_publish", "history_remove2"] {
        assert_eq!(call(&stack, method, "{}").await, (404, "404 page not found\n".to_owned()), "{method}");
    }
    let long = "x".repeat(2_000);
    let large = "x".repeat(130 * 1_024);
    for (method, body, code) in [
        ("publish", json!({}), 107),
        ("publish", json!({"channel": "a"}), 107),
        ("publish", json!({"channel": long, "data": 1}), 107),
        ("publish", json!({"channel": "a\nb", "data": 1}), 107),
        ("publish", json!({"channel": "a", "data": large}), 107),
        ("publish", json!({"channel": "a", "b64data": "?"}), 107),
        ("publish", json!({"channel": "a", "data": 1, "version": 3}), 108),
        ("broadcast", json!({"channels": vec!["a"; 1_001], "data": 1}), 107),
        ("history", json!({"channel": ""}), 107),
        ("history", json!({"channel": "plain"}), 108),
        ("history", json!({"channel": "log/a", "limit": 1, "since": {"offset": 0, "epoch": "zz"}}), 112),
        ("presence", json!({"channel": ""}), 107),
        ("presence_stats", json!({"channel": "log/a"}), 108),
        ("channels", json!({"pattern": "log/*"}), 108),
        ("subscribe", json!({"user": "u", "channel": "c", "session": "s"}), 108),
        ("disconnect", json!({}), 107),
        ("disconnect", json!({"user": "u", "client": "a\u{1}"}), 107),
        ("refresh", json!({"user": ""}), 107),
        ("rpc", json!({}), 107),
        ("rpc", json!({"method": "m"}), 104),
    ] {
        let answer = result(&stack, method, body.clone()).await;
        assert_eq!(answer["error"]["code"], code, "{method} {body}: {answer}");
        assert!(answer.get("result").is_none(), "{answer}");
    }
    let headers = [("X-API-Key", key(&stack)), ("X-Centrifugo-Error-Mode", "transport".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = send(&stack, "/api/rpc", &headers, br#"{"method":"m"}"#).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"code":104,"message":"not found"}"#));
    let commands = json!([null, {}, {"batch": {"commands": []}}, {"publish": {"channel": 1}}, {"info": {}}]);
    let answer = result(&stack, "batch", json!({"commands": commands})).await;
    let codes: Vec<_> =
        answer["replies"].as_array().unwrap().iter().map(|reply| reply["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(107), json!(104), json!(104), json!(107), Value::Null], "{answer}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_said_once_however_many_say_it_at_once_and_all_are_told_the_same() {
    let rules = r#"[{"to":{"topic":"loose/*"},"seconds":300},{"to":{"topic":"*"},"seconds":300,"ordered":true}]"#;
    let stack = Stack::start(&[("History", rules)]).await;
    let mut client = Client::connect(&format!("{}?topic=strict&topic=loose%2Fa&topic=last", stack.url())).await;
    for channel in ["strict", "loose/a"] {
        let said = json!({"channel": channel, "data": {"to": channel}, "idempotency_key": "k"});
        let answers = join_all((0..10).map(|_| result(&stack, "publish", said.clone()))).await;
        for answer in &answers {
            assert_eq!(answer, &answers[0]);
            assert_eq!(answer["result"]["offset"], 1, "{answer}");
        }
        let message = client.json().await;
        assert_eq!((&message["topic"], &message["offset"]), (&json!(channel), &json!(1)), "{message}");
        assert_eq!(message["epoch"], answers[0]["result"]["epoch"]);
    }
    for number in 2..=4 {
        let answer = result(&stack, "publish", json!({"channel": "loose/a", "data": number})).await;
        assert_eq!(answer["result"]["offset"], number, "{answer}");
        assert_eq!(client.json().await["offset"], number);
    }
    result(&stack, "publish", json!({"channel": "last", "data": null})).await;
    let message = client.json().await;
    assert_eq!((&message["topic"], &message["data"]), (&json!("last"), &Value::Null), "nothing came twice: {message}");
    stack.stop().await;
}
