//! HTTP APIs of somebody else's template, as a client and a function see them: SAM's, the one that SAM makes by itself, and
//! raw resources. The function runs behind a Lambda Invoke API and answers as a header of the request tells it.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::stack::root;
use tests::wire::{self, Answer, Url};
use tidings_local_dev::{self as dev, DevOptions, Running};
use tidings_local_lambda::Logs;
use tokio::net::TcpListener;

/// A Lambda Invoke API whose functions give their event back.
pub(crate) async fn function() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/2015-03-31/functions/{name}/invocations", post(invoke));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// Gives the event back, unless the request asks for something else.
async fn invoke(body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).unwrap();
    let answer = match event["headers"]["x-do"].as_str() {
        None => json!({"statusCode": 200, "headers": {"content-type": "application/json"}, "body": event.to_string()}),
        Some("fail") => {
            let error = json!({"errorType": "Error", "errorMessage": "no"});
            return (StatusCode::OK, [("x-amz-function-error", "Unhandled")], error.to_string()).into_response();
        }
        Some("sleep") => {
            // Longer than the integration waits; nobody gets the answer.
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            json!({"statusCode": 200})
        }
        Some(text) => serde_json::from_str(text).unwrap(),
    };
    answer.to_string().into_response()
}

struct Shop(Running);

impl Shop {
    async fn start() -> Self {
        let mut options = DevOptions::new(root().join("tests/templates/shop.yaml"));
        options.port = 0;
        options.lambda_endpoint = Some(function().await);
        options.logs = std::sync::Arc::new(Logs::to(Vec::new(), true));
        Self(dev::start(options).await.unwrap())
    }

    fn url(&self, api: &str) -> &str {
        &self.0.addresses.apis[api]
    }

    async fn send(&self, api: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        wire::request(method, &Url::parse(&format!("{}{target}", self.url(api))), headers, body).await
    }

    /// The event of a request.
    async fn event(&self, api: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let answer = self.send(api, method, target, headers, body).await;
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }
}

fn message(answer: &Answer) -> (u16, Value) {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(answer.header("apigw-requestid").is_some_and(|id| id.len() == 16), "{answer:?}");
    (answer.status, body["message"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_has_the_shape_that_aws_documents() {
    let shop = Shop::start().await;
    let headers =
        [("X-One", "a"), ("x-one", "b"), ("Cookie", "c=1; d=2"), ("User-Agent", "t"), ("Content-Type", "text/plain")];
    let target = "/items/s%C3%BC%C3%9F?p=1&p=2,3&q=%2F+x";
    let mut event = shop.event("Shop", "PUT", target, &headers, "süß".as_bytes()).await;
    let host = shop.url("Shop").trim_start_matches("http://").trim_end_matches("/prod").to_owned();
    let context = event["requestContext"].take();
    for (field, length) in [("requestId", 16), ("apiId", 10), ("time", 26)] {
        assert_eq!(context[field].as_str().unwrap().len(), length, "{field} {context}");
    }
    assert!(context["timeEpoch"].as_i64().unwrap() > 1_700_000_000_000);
    let fixed = json!({"method": "PUT", "path": "/prod/items/süß", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"});
    assert_eq!(
        (&context["http"], &context["stage"], &context["routeKey"], &context["accountId"], &context["domainName"]),
        (&fixed, &json!("prod"), &json!("PUT /items/{id}"), &json!("123456789012"), &json!(host))
    );
    assert_eq!(context.get("authorizer"), None);
    let headers = event["headers"].take();
    assert_eq!(
        (&headers["x-one"], &headers["content-length"], &headers["host"]),
        (&json!("a,b"), &json!("5"), &json!(host))
    );
    assert_eq!(headers.get("cookie"), None);
    assert_eq!(
        event,
        json!({
            "version": "2.0", "routeKey": "PUT /items/{id}", "rawPath": "/prod/items/süß",
            "rawQueryString": "p=1&p=2,3&q=%2F+x", "cookies": ["c=1", "d=2"], "headers": null, "requestContext": null,
            "queryStringParameters": {"p": "1,2,3", "q": "/ x"}, "pathParameters": {"id": "süß"},
            "stageVariables": {"colour": "blue"}, "body": "süß", "isBase64Encoded": false,
        })
    );
    shop.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_request_does_not_have_is_absent_and_bytes_are_encoded() {
    let shop = Shop::start().await;
    let bare = shop.event("Raw", "GET", "/", &[], b"").await;
    for key in ["cookies", "queryStringParameters", "pathParameters", "stageVariables", "body"] {
        assert_eq!(bare.get(key), None, "{key}");
    }
    assert_eq!((&bare["rawQueryString"], &bare["routeKey"]), (&json!(""), &json!("$default")));
    for (kind, body, encoded) in [
        ("application/json", &b"{}"[..], false),
        ("application/problem+json; charset=utf-8", b"{}", false),
        ("application/x-www-form-urlencoded", b"a=b", true),
        ("image/png", b"\x89PNG", true),
        ("text/plain", b"\xff", true),
    ] {
        let event = shop.event("Raw", "POST", "/x", &[("Content-Type", kind)], body).await;
        assert_eq!(event["isBase64Encoded"], encoded, "{kind}");
    }
    shop.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_to_the_stage_and_the_route_that_fit_best() {
    let shop = Shop::start().await;
    for (api, method, target, route) in [
        ("Shop", "GET", "/items/1", Ok("GET /items/{id}")),
        ("Shop", "DELETE", "/items/1", Err(404)),
        ("Shop", "GET", "/other", Err(404)),
        ("ServerlessHttpApi", "PATCH", "/a/b", Ok("ANY /{proxy+}")),
        ("ServerlessHttpApi", "GET", "/", Err(404)),
        ("Raw", "GET", "/anything", Ok("$default")),
    ] {
        let answer = shop.send(api, method, target, &[], b"").await;
        match route {
            Ok(key) => {
                assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["routeKey"], key, "{api} {target}")
            }
            Err(status) => assert_eq!(message(&answer), (status, json!("Not Found")), "{api} {target}"),
        }
    }
    // A path without the stage, where none is the default.
    let outside = Url::parse(&format!("{}/items/1", shop.url("Shop").trim_end_matches("/prod")));
    assert_eq!(message(&wire::request("GET", &outside, &[], b"").await), (404, json!("Not Found")));
    // The paths of the other port mean nothing here.
    let event = shop.event("Raw", "POST", "/2015-03-31/functions/Echo/invocations", &[], b"").await;
    assert_eq!(event["routeKey"], "$default");
    shop.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_taken_as_they_stand_or_inferred_and_failures_are_told_as_aws_does() {
    let shop = Shop::start().await;
    let ask = async |what: &str| shop.send("Raw", "GET", "/", &[("X-Do", what)], b"").await;
    let inferred = ask(r#"{"n":1}"#).await;
    assert_eq!(
        (inferred.status, inferred.header("content-type"), inferred.body.as_str()),
        (200, Some("application/json"), r#"{"n":1}"#)
    );
    let written =
        ask(r#"{"statusCode":201,"headers":{"X-A":"1"},"cookies":["a=1","b=2"],"body":"aGk=","isBase64Encoded":true}"#)
            .await;
    assert_eq!((written.status, written.header("x-a"), written.body.as_str()), (201, Some("1"), "hi"));
    assert_eq!(written.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).count(), 2);
    for bad in ["fail", r#"{"statusCode":"x"}"#, r#"{"statusCode":200,"body":1}"#] {
        assert_eq!(message(&ask(bad).await), (500, json!("Internal Server Error")), "{bad}");
    }
    assert_eq!(message(&ask("sleep").await), (503, json!("Service Unavailable")));
    assert_eq!(shop.send("Raw", "GET", "/limited", &[], b"").await.status, 200);
    assert_eq!(message(&shop.send("Raw", "GET", "/limited", &[], b"").await), (429, json!("Too Many Requests")));
    let large = vec![b'x'; 10 * 1024 * 1024 + 1];
    assert_eq!(message(&shop.send("Raw", "POST", "/", &[], &large).await), (413, json!("Request Entity Too Large")));
    let head = shop.0.addresses.apis["Raw"].clone();
    // The length is the answer's, the body is not sent.
    let mut stream = Url::parse(&head).open().await;
    let request = "HEAD / HTTP/1.1\r\nHost: x\r\nX-Do: {\"statusCode\":200}\r\nConnection: close\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut all = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut all).await.unwrap();
    assert!(all.starts_with("HTTP/1.1 200") && all.ends_with("\r\n\r\n"), "{all}");
    shop.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_signatures_say_who_calls() {
    let shop = Shop::start().await;
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let token = |audience: &str| {
        let claims =
            json!({"iss": "https://issuer.example", "aud": audience, "exp": 32_503_680_000_u64, "sub": "alice"});
        format!("Bearer {}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims))
    };
    let event = shop.event("Shop", "GET", "/mine", &[("Authorization", &token("shop"))], b"").await;
    assert_eq!(event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"], "alice");
    for headers in [vec![], vec![("Authorization", token("other"))], vec![("Authorization", "Bearer x".to_owned())]] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = shop.send("Shop", "GET", "/mine", &headers, b"").await;
        assert_eq!(message(&answer), (401, json!("Unauthorized")));
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    }
    let scope = "Credential=AKID/20250101/us-east-1/execute-api/aws4_request, SignedHeaders=host";
    let signature = format!("AWS4-HMAC-SHA256 {scope}, Signature={}", "0a".repeat(32));
    let event = shop.event("Raw", "GET", "/signed", &[("Authorization", &signature)], b"").await;
    assert_eq!(event["requestContext"]["authorizer"]["iam"]["accessKey"], "AKID");
    assert_eq!(shop.event("Raw", "GET", "/signed", &[], b"").await["requestContext"].get("authorizer"), None);
    shop.0.shutdown().await;
}
