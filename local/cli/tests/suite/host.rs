//! Functions as processes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tidings_local_lambda::InvokeError;

use crate::support::{TestHost, eventually, is_running};

#[tokio::test]
async fn a_function_answers_and_stays_warm() {
    let host = TestHost::start(|_| {}).await;
    let (invocation, payload) = host.invoke(json!({"hello": "wörld"})).await;
    assert_eq!(payload, json!({"hello": "wörld"}));
    assert_eq!(invocation.function_error, None);
    assert_eq!(host.pid().await, host.pid().await);
}

#[tokio::test]
async fn parallel_events_get_processes_of_their_own() {
    let host = TestHost::start(|_| {}).await;
    let events = (0..4).map(|_| host.invoke(json!({"do": "sleep", "ms": 300})));
    let answers = join_all(events).await;
    let mut pids: Vec<u64> = answers.iter().map(|(_, payload)| payload["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
}

#[tokio::test]
async fn events_beyond_the_limit_wait_for_their_turn() {
    let host = TestHost::start(|function| function.reserved_concurrency = Some(1)).await;
    let answers = join_all((0..3).map(|_| host.invoke(json!({"do": "sleep", "ms": 50})))).await;
    let pids: Vec<_> = answers.iter().map(|(_, payload)| payload["pid"].as_u64()).collect();
    assert!(pids.windows(2).all(|pair| pair[0] == pair[1]), "{pids:?}");
}

#[tokio::test]
async fn a_function_without_concurrency_is_throttled() {
    let host = TestHost::start(|function| function.reserved_concurrency = Some(0)).await;
    let error = host.invoker.invoke("Echo", Bytes::from_static(b"{}")).await.unwrap_err();
    assert!(matches!(error, InvokeError::Throttled { .. }), "{error}");
}

#[tokio::test]
async fn a_process_is_killed_at_its_timeout_and_replaced() {
    let host = TestHost::start(|function| function.timeout_seconds = 1).await;
    let pid = host.pid().await;
    let started = Instant::now();
    let (invocation, payload) = host.invoke(json!({"do": "sleep", "ms": 60_000})).await;
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(invocation.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(payload["errorType"], "Sandbox.Timedout");
    let message = payload["errorMessage"].as_str().unwrap();
    assert!(message.ends_with(&format!("Z {} Task timed out after 1.00 seconds", invocation.request_id)), "{message}");
    assert!(!is_running(pid));
    assert_ne!(host.pid().await, pid);
}

#[tokio::test]
async fn a_process_that_ends_in_the_middle_is_an_error_and_replaced() {
    let host = TestHost::start(|_| {}).await;
    let pid = host.pid().await;
    let (invocation, payload) = host.invoke(json!({"do": "exit", "status": 3})).await;
    let id = &invocation.request_id;
    assert_eq!(
        payload,
        json!({
            "errorType": "Runtime.ExitError",
            "errorMessage": format!("RequestId: {id} Error: Runtime exited with error: exit status 3"),
        })
    );
    assert_ne!(host.pid().await, pid);
}

#[tokio::test]
async fn an_error_of_the_function_is_passed_on() {
    let host = TestHost::start(|_| {}).await;
    let (invocation, payload) = host.invoke(json!({"do": "error"})).await;
    assert_eq!(invocation.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(payload, json!({"errorType": "Broken", "errorMessage": "as asked"}));
}

#[tokio::test]
async fn a_function_that_dies_at_start_is_reported_once_and_left_alone_for_a_while() {
    let host = TestHost::start(|function| {
        function.environment.insert("TEST_INIT".into(), "exit".into());
    })
    .await;
    host.invoke(json!({})).await;
    let answers = join_all((0..20).map(|_| host.invoke(json!({})))).await;
    for (invocation, payload) in answers {
        assert_eq!(invocation.function_error.as_deref(), Some("Unhandled"));
        assert_eq!(payload["errorType"], "Runtime.ExitError");
    }
    let log = host.captured.text();
    let report = "error: function Echo ended before it asked for an event (exit status 7); its last lines were:\n  \
                  cannot find the moon\n";
    assert_eq!(log.matches(report).count(), 1, "{log}");
    assert_eq!(log.matches("Echo  cannot find the moon").count(), 1, "one start: {log}");
}

#[tokio::test]
async fn an_error_that_the_runtime_reports_at_start_is_told() {
    let host = TestHost::start(|function| {
        function.environment.insert("TEST_INIT".into(), "error".into());
    })
    .await;
    let error = host.host.warm().await.unwrap_err().to_string();
    assert_eq!(error, "function Echo reported an error at start: TABLE is not set");
    assert_eq!(host.captured.text(), "", "telling it is up to the caller");
    let (_, payload) = host.invoke(json!({})).await;
    assert_eq!(payload, json!({"errorType": "Config", "errorMessage": "TABLE is not set"}));
}

#[tokio::test]
async fn the_environment_is_lambdas_and_the_templates() {
    let host = TestHost::start(|_| {}).await;
    let (_, variables) = host.invoke(json!({"do": "environment"})).await;
    for (name, value) in [
        ("TABLE", "t"),
        ("AWS_LAMBDA_FUNCTION_NAME", "prod-echo"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("_HANDLER", "bootstrap"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert_eq!(variables["PATH"], std::env::var("PATH").unwrap());
    assert!(variables.get("CARGO_MANIFEST_DIR").is_none(), "the developer's shell shows through");
}

#[tokio::test]
async fn the_deadline_is_in_epoch_milliseconds() {
    let host = TestHost::start(|function| function.timeout_seconds = 30).await;
    let (invocation, context) = host.invoke(json!({"do": "context"})).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = Duration::from_millis(context["deadline_ms"].as_u64().unwrap()).checked_sub(now).unwrap();
    assert!(left > Duration::from_secs(10) && left <= Duration::from_secs(30), "{left:?}");
    assert_eq!(context["request_id"], json!(invocation.request_id));
}

#[tokio::test]
async fn a_response_above_six_megabytes_is_refused() {
    let host = TestHost::start(|_| {}).await;
    let (_, payload) = host.invoke(json!({"do": "large", "bytes": 6 * 1024 * 1024})).await;
    assert_eq!(payload.as_str().map(str::len), Some(6 * 1024 * 1024));
    let (invocation, payload) = host.invoke(json!({"do": "large", "bytes": 6 * 1024 * 1024 + 99})).await;
    assert_eq!(invocation.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(payload["errorType"], "Function.ResponseSizeTooLarge");
}

#[tokio::test]
async fn an_answer_with_a_wrong_request_id_is_refused() {
    let host = TestHost::start(|_| {}).await;
    let (_, payload) = host.invoke(json!({"do": "wrong id"})).await;
    assert_eq!(payload, json!({"status": 400}));
}

#[tokio::test]
async fn log_lines_carry_the_functions_name() {
    let host = TestHost::start(|_| {}).await;
    let line = r#"{"level":"INFO","fields":{"message":"connected","connection.id":"abc="}}"#;
    let (invocation, _) = host.invoke(json!({"do": "log", "line": line})).await;
    let log = host.captured.text();
    assert!(log.contains("INFO  Echo  connected connection.id=abc=\n"), "{log}");
    assert!(log.contains("      Echo  and to standard error\n"), "{log}");
    let (id, log) = (invocation.request_id, invocation.log);
    assert!(log.starts_with(&format!("START RequestId: {id} Version: $LATEST\n")), "{log}");
    assert!(log.contains(line) && log.contains("and to standard error"), "{log}");
}

#[tokio::test]
async fn giving_up_on_an_answer_does_not_stop_the_function() {
    let host = TestHost::start(|_| {}).await;
    let pid = host.pid().await;
    let slow = host.invoke(json!({"do": "sleep", "ms": 300}));
    assert!(tokio::time::timeout(Duration::from_millis(100), slow).await.is_err());
    eventually("the process is free again", || is_running(pid)).await;
    let (_, answer) = host.invoke(json!({"do": "sleep", "ms": 0})).await;
    assert!(answer["pid"].is_u64());
    assert!(is_running(pid));
}

#[tokio::test]
async fn shutdown_ends_idle_and_busy_processes() {
    let host = TestHost::start(|_| {}).await;
    let idle = host.pid().await;
    let slow = host.invoker.clone();
    let busy =
        tokio::spawn(async move { slow.invoke("Echo", Bytes::from_static(br#"{"do":"sleep","ms":60000}"#)).await });
    let sleeper = || {
        let log = host.captured.text();
        let (_, rest) = log.split_once("sleeping as ")?;
        rest.lines().next()?.parse::<u64>().ok()
    };
    eventually("the event is being worked on", || sleeper().is_some()).await;
    let sleeper = sleeper().unwrap();
    host.host.shutdown().await;
    eventually("no process is left", || !is_running(idle) && !is_running(sleeper)).await;
    assert!(matches!(busy.await.unwrap(), Err(InvokeError::Unavailable { .. })));
    assert!(host.invoker.invoke("Echo", Bytes::from_static(b"{}")).await.is_err());
}
