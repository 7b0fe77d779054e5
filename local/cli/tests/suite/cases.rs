//! Forms of templates that are met in the field, run by `tidings dev` with real processes.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::project::{Program, Project, finish};
use crate::sqs;
use crate::support::test_function;

/// A project with a template, whose function `answer` is the one of the tests.
fn project(template: &str) -> Project {
    let project = Project::new();
    project.write("template.yaml", template);
    project.write("target/debug/.keep", "");
    std::fs::copy(test_function(), project.path().join("target/debug/answer")).unwrap();
    project
}

/// Two APIs of raw resources: one with the stages `$default` and `beta`, one with `beta` too.
const STAGES: &str = include_str!("../support/stages.yaml");

/// The first line of what a WebSocket handshake at a path is answered, and the rest.
async fn handshake(ready: &Value, path: &str) -> (String, String) {
    let address = ready["console"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: \
         13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the server closed early");
    }
    let mut more = [0; 1024];
    if !answer.starts_with(b"HTTP/1.1 101") && !answer.ends_with(b"}") {
        let read = stream.read(&mut more).await.unwrap();
        answer.extend_from_slice(&more[..read]);
    }
    let answer = String::from_utf8(answer).unwrap();
    let (first, rest) = answer.split_once("\r\n").unwrap();
    (first.to_owned(), rest.to_owned())
}

#[tokio::test]
async fn every_stage_of_every_api_is_served_and_told_and_the_root_is_none() {
    let project = project(STAGES);
    let mut dev = Program::start(project.dev(&["--no-build"]));
    let ready = dev.ready().await;
    let stages = ready["websockets"].as_object().unwrap();
    assert_eq!(stages.len(), 3, "{ready}");
    assert!(stages["Chat/$default"].as_str().unwrap().ends_with("/$default"), "{ready}");
    dev.says("(Chat/beta)").await;
    dev.says("(News/beta)").await;
    for (stage, url) in stages {
        let path = url.as_str().unwrap().splitn(4, '/').nth(3).unwrap();
        let (status, _) = handshake(&ready, &format!("/{path}")).await;
        assert_eq!(status, "HTTP/1.1 101 Switching Protocols", "{stage}");
    }
    let (status, rest) = handshake(&ready, "/").await;
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
    assert!(rest.ends_with(r#"{"message":"Forbidden"}"#), "{rest}");
}

#[tokio::test]
async fn a_template_runs_behind_an_endpoint_whatever_its_functions_are_made_of() {
    let project = project(include_str!("../support/behind.yaml"));
    let (status, _, stderr) = finish(project.dev(&["--no-build"])).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("`Fn::ImportValue` cannot be resolved locally"), "{stderr}");
    let mut dev = Program::start(project.dev(&["--lambda-endpoint", "http://127.0.0.1:1"]));
    dev.ready().await;
    assert!(!dev.stderr().contains("cannot run") && !dev.stderr().contains("note:"), "{}", dev.stderr());
}

#[tokio::test]
async fn a_message_that_is_dead_lettered_although_the_function_succeeded_is_said() {
    let template = include_str!("../support/sources.yaml")
        .replace("$EVENTS", "E: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, MaximumBatchingWindowInSeconds: 2}}")
        .replace("VisibilityTimeout: 3", "VisibilityTimeout: 1")
        .replace("maxReceiveCount: 2", "maxReceiveCount: 1")
        .replace("Runtime: provided.al2023", "Runtime: provided.al2023\n      Timeout: 1");
    let project = project(&template);
    let record = project.path().join("events.jsonl");
    project.write("template.yaml", &template.replace("$RECORD", &record.to_string_lossy()));
    let mut dev = Program::start(project.dev(&["--no-build"]));
    let ready = dev.ready().await;
    let root = ready["sqs"].as_str().unwrap();
    let url = format!("{root}/123456789012/Queue");
    sqs::client(root).send_message().queue_url(url).message_body("x").send().await.unwrap();
    dev.says("function answer has succeeded on the message").await;
    dev.says("it has gone to the dead-letter queue").await;
}
