//! The Lambda Invoke API, called with the AWS SDK and with plain HTTP.

use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::routing::post;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tidings_local_lambda::{Endpoint, Invoker};

use crate::support::TestHost;

struct Api {
    url: String,
    test: TestHost,
}

impl Api {
    async fn start() -> Self {
        let test = TestHost::start(|function| function.code = Some("/nowhere/functions/echo".into())).await;
        let router = test.router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, test }
    }

    fn sdk(&self) -> aws_sdk_lambda::Client {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(aws_sdk_lambda::config::BehaviorVersion::latest())
            .region(aws_sdk_lambda::config::Region::new("us-east-1"))
            .endpoint_url(&self.url)
            .credentials_provider(aws_sdk_lambda::config::Credentials::new("a", "b", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_lambda::Client::from_conf(config)
    }

    async fn post(&self, name: &str, kind: &str, body: impl Into<Body>) -> (u16, axum::http::HeaderMap, Value) {
        let request = Request::post(format!("{}/2015-03-31/functions/{name}/invocations", self.url))
            .header("x-amz-invocation-type", kind)
            .body(body.into())
            .unwrap();
        let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

#[tokio::test]
async fn the_sdk_invokes_by_every_name() {
    let api = Api::start().await;
    for name in ["Echo", "prod-echo", "echo", "echo:live", "arn:aws:lambda:us-east-1:123456789012:function:Echo"] {
        let answer = api.sdk().invoke().function_name(name).payload(Blob::new(br#"{"n":1}"#)).send().await.unwrap();
        assert_eq!(answer.status_code(), 200, "{name}");
        assert_eq!(answer.executed_version(), Some("$LATEST"));
        assert_eq!(answer.payload().unwrap().as_ref(), br#"{"n":1}"#, "{name}");
        assert_eq!(answer.function_error(), None);
    }
}

#[tokio::test]
async fn a_function_error_is_a_success_with_a_header() {
    let api = Api::start().await;
    let event = Blob::new(json!({"do": "error"}).to_string());
    let answer = api.sdk().invoke().function_name("echo").payload(event).send().await.unwrap();
    assert_eq!((answer.status_code(), answer.function_error()), (200, Some("Unhandled")));
    let payload: Value = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    assert_eq!(payload["errorType"], "Broken");
}

#[tokio::test]
async fn the_log_comes_back_on_request() {
    let api = Api::start().await;
    let event = Blob::new(json!({"do": "log", "line": "here I am"}).to_string());
    let call = api.sdk().invoke().function_name("echo").log_type(LogType::Tail).payload(event);
    let log = call.send().await.unwrap().log_result.unwrap();
    let log = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, log).unwrap();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("here I am") && log.contains("END RequestId"), "{log}");
}

#[tokio::test]
async fn an_event_is_accepted_and_a_failing_one_retried_twice() {
    let api = Api::start().await;
    let call = api.sdk().invoke().function_name("echo").invocation_type(InvocationType::Event);
    let event = Blob::new(json!({"do": "exit", "status": 1}).to_string());
    let answer = call.payload(event).send().await.unwrap();
    assert_eq!(answer.status_code(), 202);
    crate::support::eventually("three attempts", || {
        api.test.captured.text().matches("ended in the middle of an event").count() == 3
    })
    .await;
    crate::support::eventually("it is given up", || {
        api.test.captured.text().contains("function echo failed three times, its event is dropped")
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_runs_nothing() {
    let api = Api::start().await;
    let (status, _, _) = api.post("echo", "DryRun", r#"{"do":"log","line":"ran"}"#).await;
    assert_eq!(status, 204);
    assert_eq!(api.post("echo", "RequestResponse", "").await.2, json!({}));
    assert!(!api.test.captured.text().contains("ran"));
}

#[tokio::test]
async fn refusals_are_lambdas_own() {
    let api = Api::start().await;
    let (status, headers, body) = api.post("nobody", "RequestResponse", "{}").await;
    assert_eq!((status, &headers["x-amzn-errortype"]), (404, &"ResourceNotFoundException".parse().unwrap()));
    let message = "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nobody";
    assert_eq!(body, json!({"Type": "User", "Message": message}));

    let (status, headers, _) = api.post("echo", "RequestResponse", "{nonsense").await;
    assert_eq!((status, &headers["x-amzn-errortype"]), (400, &"InvalidRequestContentException".parse().unwrap()));

    let large = json!("x".repeat(6 * 1024 * 1024)).to_string();
    assert_eq!(api.post("echo", "RequestResponse", large).await.0, 413);
    assert_eq!(api.post("echo", "Sometimes", "{}").await.0, 400);
}

#[tokio::test]
async fn another_gateways_invoke_api_serves_as_an_endpoint() {
    let api = Api::start().await;
    let endpoint = Invoker::Endpoint(Endpoint::new(&api.url).for_stack(&api.test.stack).into());
    let invocation = endpoint.invoke("Echo", r#"{"n":2}"#.into()).await.unwrap();
    assert_eq!(&invocation.payload[..], br#"{"n":2}"#);
    let invocation = endpoint.invoke("Echo", r#"{"do":"error"}"#.into()).await.unwrap();
    assert_eq!(invocation.function_error.as_deref(), Some("Unhandled"));

    let started = Instant::now();
    let nobody = Invoker::Endpoint(Endpoint::new("http://127.0.0.1:1").into());
    let error = nobody.invoke("Echo", "{}".into()).await.unwrap_err().to_string();
    assert_eq!(error, "cannot invoke Echo: nothing answers at http://127.0.0.1:1: is it running?");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// `cargo lambda watch` tells that a function failed by status 500, and that it has none by 404.
#[tokio::test]
async fn what_cargo_lambda_answers_is_a_functions_error_or_no_answer_at_all() {
    async fn answer(Path(name): Path<String>) -> (StatusCode, &'static str) {
        match name.as_str() {
            "failing" => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"errorType":"Broken","errorMessage":"as asked"}"#),
            "broken" => (StatusCode::INTERNAL_SERVER_ERROR, "the compiler says no"),
            _ => (StatusCode::NOT_FOUND, "{}"),
        }
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/2015-03-31/functions/{name}/invocations", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let endpoint = Invoker::Endpoint(Endpoint::new(&url).into());
    let failed = endpoint.invoke("failing", "{}".into()).await.unwrap();
    assert_eq!(
        (failed.function_error.as_deref(), failed.error()),
        (Some("Unhandled"), Some("Broken: as asked".into()))
    );
    let check = async |name: &str, expected: String| {
        let error = endpoint.invoke(name, "{}".into()).await.unwrap_err().to_string();
        assert_eq!(error, format!("cannot invoke {name}: {expected}"));
    };
    check("broken", format!("{url} answered 500 Internal Server Error: the compiler says no")).await;
    check("unknown", format!("{url} knows no function of this name")).await;
}
