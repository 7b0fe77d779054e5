//! Test support: a Lambda function whose behaviour its events choose. No part of the product.
#![expect(
    clippy::unwrap_used,
    clippy::exit,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test function that misbehaves on purpose, and dies loudly where it cannot go on"
)]

mod runtime;

use std::io::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

fn main() {
    match std::env::var("TEST_INIT").as_deref() {
        Ok("exit") => {
            eprintln!("cannot find the moon");
            std::process::exit(7);
        }
        Ok("error") => {
            let report = json!({"errorType": "Config", "errorMessage": "TABLE is not set"}).to_string();
            runtime::call("POST", "/2018-06-01/runtime/init/error", &report);
            return;
        }
        _ => {}
    }
    loop {
        let event = runtime::next();
        let body = serde_json::from_str(&event.body).unwrap_or(Value::Null);
        handle(&event, &body);
    }
}

fn handle(event: &runtime::Event, body: &Value) {
    let respond = |response: Value| runtime::answer(&event.request_id, "response", &response.to_string());
    record(event, body);
    if let Some(records) = body["Records"].as_array() {
        handle_records(event, records);
        return;
    }
    match body["do"].as_str().unwrap_or("echo") {
        "sleep" => {
            println!("sleeping as {}", std::process::id());
            std::thread::sleep(Duration::from_millis(body["ms"].as_u64().unwrap()));
            respond(json!({"pid": std::process::id()}))
        }
        "exit" => std::process::exit(i32::try_from(body["status"].as_i64().unwrap()).unwrap()),
        "error" => {
            let error = json!({"errorType": "Broken", "errorMessage": "as asked"}).to_string();
            runtime::answer(&event.request_id, "error", &error)
        }
        "pid" => respond(json!({"pid": std::process::id()})),
        "environment" => respond(json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>())),
        "context" => respond(json!({"deadline_ms": event.deadline_ms, "request_id": event.request_id})),
        "large" => respond(json!("x".repeat(usize::try_from(body["bytes"].as_u64().unwrap()).unwrap()))),
        "log" => {
            println!("{}", body["line"].as_str().unwrap());
            eprintln!("and to standard error");
            respond(Value::Null)
        }
        "wrong id" => {
            let status = runtime::answer("00000000-0000-0000-0000-000000000000", "response", "{}");
            respond(json!({"status": status}))
        }
        _ => respond(body.clone()),
    };
}

/// Appends the event to the file that `RECORD` names.
fn record(event: &runtime::Event, body: &Value) {
    let Ok(path) = std::env::var("RECORD") else { return };
    let line = json!({"request_id": event.request_id, "event": body}).to_string() + "\n";
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// Records of a queue by their body, of a table by the key `pk`: `poison` fails the whole batch, `bad` is reported as
/// failed, `nonsense` makes a response that nobody understands.
fn handle_records(event: &runtime::Event, records: &[Value]) {
    let text = |record: &Value| {
        let text = record["body"].as_str().or_else(|| record["dynamodb"]["Keys"]["pk"]["S"].as_str());
        text.unwrap_or_default().to_owned()
    };
    if records.iter().any(|record| text(record).contains("poison")) {
        let error = json!({"errorType": "Poison", "errorMessage": "as asked"}).to_string();
        runtime::answer(&event.request_id, "error", &error);
        return;
    }
    let id = |record: &Value| match text(record) {
        text if text.contains("nonsense") => Some("nobody".to_owned()),
        text if text.contains("bad") => {
            let id = record["messageId"].as_str().or_else(|| record["dynamodb"]["SequenceNumber"].as_str());
            id.map(str::to_owned)
        }
        _ => None,
    };
    let failures: Vec<_> = records.iter().filter_map(id).map(|id| json!({"itemIdentifier": id})).collect();
    runtime::answer(&event.request_id, "response", &json!({"batchItemFailures": failures}).to_string());
}
