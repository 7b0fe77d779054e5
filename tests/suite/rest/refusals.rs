//! What is not done, and how it is told.

use serde_json::{Value, json};
use tests::stack::Stack;
use tests::wire::{self, Url};
use tidings::aws::Aws;

use super::{Document, JSON, Rest, deps};

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_a_problem_that_names_the_field_and_the_fix() {
    let rest = Rest::start().await;
    for (method, target, status, field, words) in [
        ("GET", "/connections?user=a&topic=b", 400, json!("topic"), "give one of them"),
        ("GET", "/connections?limit=0", 400, json!("limit"), "from 1 to 1000"),
        ("GET", "/connections?next=zz", 400, json!("next"), "take `next` of the last page"),
        ("GET", "/connections?usr=a", 400, json!("usr"), "use user, topic, limit, next"),
        ("GET", "/connections/count?estimate=maybe", 400, json!("estimate"), "neither true nor false"),
        ("GET", "/connections/a%23b", 400, json!("id"), "a connection id has a character"),
        ("PUT", "/users/alice/topics", 400, json!("topic"), "give ?topic="),
        ("PUT", "/users/-/topics?topic=t", 400, json!("user"), "give ?user="),
        ("GET", "/users/a%0Ab/topics", 400, json!("user"), "without control characters"),
        ("GET", "/", 404, Value::Null, "/openapi.json"),
        ("GET", "/connections/", 404, Value::Null, "/openapi.json"),
        ("POST", "/connections", 405, Value::Null, "use GET, OPTIONS"),
        ("PATCH", "/users/alice/topics", 405, Value::Null, "use GET, PUT, DELETE, OPTIONS"),
    ] {
        let problem = rest.call(method, target, status).await;
        assert_eq!(problem.get("field").cloned().unwrap_or_default(), field, "{target}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{target}: {problem}");
    }
    for (headers, body, status) in [
        (vec![JSON], "{", 400),
        (vec![JSON], "", 400),
        (vec![JSON], "[]", 400),
        (vec![JSON], r#"{"to":{"topic":""},"data":1}"#, 400),
        (vec![JSON], r#"{"to":"everyone","data":1,"at":1795520783}"#, 400),
        (vec![JSON, ("Idempotency-Key", "a"), ("Accept", "*/*")], r#"{"id":"b","to":"everyone","data":1}"#, 400),
        (vec![("Content-Type", "text/plain")], r#"{"to":"everyone","data":1}"#, 415),
        (vec![("Content-Type", "application/x-www-form-urlencoded")], "a=b", 415),
        (vec![], r#"{"to":"everyone","data":1}"#, 415),
        (vec![JSON, ("Accept", "text/html")], r#"{"to":"everyone","data":1}"#, 406),
    ] {
        let answer = rest.send("POST", "/notifications", &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{headers:?} {body}: {}", answer.body);
    }
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_options_say_what_there_is() {
    let rest = Rest::start().await;
    let options = rest.send("OPTIONS", "/connections/abc", &[], b"").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, DELETE, OPTIONS")));
    assert!(options.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("access-control")));
    let url = Url::parse(&format!("{}/connections", rest.stack.api()));
    let head = wire::request("HEAD", &url, &[], b"").await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET, OPTIONS")));
    let description = rest.get("/openapi.json").await;
    assert_eq!(description, serde_json::from_str::<Value>(tidings_api::OPENAPI).unwrap());
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_gateway_refuses_unsigned_calls_and_pages_never_get_in() {
    let stack = Stack::start_with(|options| options.strict = true).await;
    let answer = wire::request("GET", &Url::parse(&format!("{}/connections", stack.api())), &[], b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"message":"Forbidden"}"#));
    stack.stop().await;
    let rest = Rest::start().await;
    let page = [JSON, ("Origin", "https://example.org")];
    let answer = rest.send("POST", "/notifications", &page, br#"{"to":"everyone","data":1}"#).await;
    assert_eq!(answer.status, 403);
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_failure_is_told_without_its_cause() {
    // Nobody listens there.
    let nowhere = "http://127.0.0.1:1";
    let deps = deps(Aws::local(nowhere).queue(format!("{nowhere}/123456789012/q"))).await;
    for (key, headers, body) in [
        ("GET /connections", json!({}), Value::Null),
        ("POST /notifications", json!({"content-type": "application/json"}), json!(r#"{"to":"everyone","data":1}"#)),
        ("GET /messages?topic=a", json!({}), Value::Null),
    ] {
        let (key, query) = key.split_once('?').unwrap_or((key, ""));
        let context = json!({"requestId": "r"});
        let event = json!({"routeKey": key, "rawQueryString": query, "headers": headers, "body": body, "requestContext": context});
        let Ok(response) = tidings_api::handle(&deps, serde_json::from_value(event).unwrap()).await;
        let (method, path) = key.split_once(' ').unwrap();
        let answer = wire::Answer {
            status: response.status(),
            headers: vec![("content-type".to_owned(), response.header("content-type").unwrap().to_owned())],
            body: response.body().to_owned(),
        };
        assert_eq!(answer.status, 500, "{answer:?}");
        Document::read().check(method, path, &answer);
        assert!(!answer.body.contains("127.0.0.1") && !answer.body.contains("DynamoDB"), "{}", answer.body);
    }
}
