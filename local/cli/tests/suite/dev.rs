//! `tidings dev` as a real process, with functions that cargo really builds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tidings_local_lambda::{Endpoint, Invoker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::project::{Program, Project, finish, tidings};
use crate::support::{eventually, is_running};

async fn answer(ready: &Value) -> Value {
    let invoker = Invoker::Endpoint(Endpoint::new(ready["lambda"].as_str().unwrap()).into());
    let invocation = invoker.invoke("answer", Bytes::from_static(b"{}")).await.unwrap();
    serde_json::from_slice(&invocation.payload).unwrap()
}

/// Polls until the function answers with a text; that answer.
async fn answers(ready: &Value, text: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let answer = answer(ready).await;
        if answer["text"] == text {
            return answer;
        }
        assert!(Instant::now() < deadline, "still {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn page(ready: &Value) -> String {
    exchange(ready, "GET / HTTP/1.1\r\n", "").await
}

/// What a request with a body is answered on the gateway's port.
async fn exchange(ready: &Value, head: &str, body: &str) -> String {
    let address = ready["console"].as_str().unwrap().trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!("{head}host: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test]
async fn one_line_says_where_everything_is_and_ctrl_c_ends_it() {
    let project = Project::new();
    let mut dev = Program::start(project.dev(&[]));
    let ready = dev.ready().await;
    let port = ready["lambda"].as_str().unwrap().rsplit_once(':').unwrap().1;
    assert_eq!(ready["websocket"], format!("ws://127.0.0.1:{port}/dev"));
    assert_eq!(ready["management"], format!("http://127.0.0.1:{port}/dev"));
    assert_eq!(ready["console"], format!("http://127.0.0.1:{port}/"));
    assert!(ready["dynamodb"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{ready}");
    let page = page(&ready).await;
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains(ready["websocket"].as_str().unwrap()), "{page}");

    let pid = answer(&ready).await["pid"].as_u64().unwrap();
    assert!(is_running(pid));
    dev.signal("INT").await;
    let (status, rest) = dev.end().await;
    assert_eq!((status.code(), rest), (Some(0), Vec::new()));
    eventually("the function's process is gone", || !is_running(pid)).await;
}

#[tokio::test]
async fn pages_of_other_sites_can_use_neither_functions_nor_queues() {
    let project = Project::new();
    let mut dev = Program::start(project.dev(&[]));
    let ready = dev.ready().await;
    let invoke = "POST /2015-03-31/functions/answer/invocations HTTP/1.1\r\n";
    let list = "POST / HTTP/1.1\r\nx-amz-target: AmazonSQS.ListQueues\r\n";
    for (head, origin, status) in [
        (invoke, "https://example.org", "403"),
        (list, "https://example.org", "403"),
        (invoke, ready["lambda"].as_str().unwrap(), "200"),
        (list, ready["lambda"].as_str().unwrap(), "200"),
    ] {
        let answer = exchange(&ready, &format!("{head}origin: {origin}\r\n"), "{}").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{head}{origin}: {answer}");
    }
    dev.signal("INT").await;
    dev.end().await;
}

#[tokio::test]
async fn a_termination_request_ends_it_too() {
    let project = Project::new();
    let mut dev = Program::start(project.dev(&["--json"]));
    let ready = dev.ready().await;
    let pid = answer(&ready).await["pid"].as_u64().unwrap();
    dev.says("Ctrl-C ends it").await;
    for line in dev.stderr().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(line["message"].is_string(), "{line}");
    }
    dev.signal("TERM").await;
    assert_eq!(dev.end().await.0.code(), Some(0));
    eventually("the function's process is gone", || !is_running(pid)).await;
}

#[tokio::test]
async fn a_changed_source_is_live_again_and_a_broken_one_changes_nothing() {
    let project = Project::new();
    let mut dev = Program::start(project.dev(&[]));
    let ready = dev.ready().await;
    let first = answers(&ready, "v1").await;

    project.answer("v2");
    let second = answers(&ready, "v2").await;
    assert_ne!(second["pid"], first["pid"]);
    dev.says("live again after").await;
    eventually("the old process is gone", || !is_running(first["pid"].as_u64().unwrap())).await;

    project.main("fn main() { nonsense }");
    dev.says("do not build").await;
    assert_eq!(answer(&ready).await["text"], "v2");

    project.answer("v3");
    answers(&ready, "v3").await;

    project.write("template.yaml", "{}");
    dev.says("the template has changed: restart").await;
}

#[tokio::test]
async fn packages_elsewhere_that_come_by_path_are_watched_too() {
    let elsewhere = tempfile::tempdir().unwrap();
    let elsewhere = elsewhere.path().canonicalize().unwrap();
    let library = |name: &str, dependency: &str, source: &str| {
        std::fs::create_dir_all(elsewhere.join(name).join("src")).unwrap();
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[dependencies]\n{dependency}\n");
        std::fs::write(elsewhere.join(name).join("Cargo.toml"), manifest).unwrap();
        std::fs::write(elsewhere.join(name).join("src/lib.rs"), source).unwrap();
    };
    library("inner", "", "pub const TEXT: &str = \"v1\";");
    library("outer", "inner = { path = \"../inner\" }", "pub use inner::TEXT;");
    let project = Project::new();
    let manifest = "[package]\nname = \"answer\"\nedition = \"2024\"\n[dependencies]\n";
    project.write("answer/Cargo.toml", &format!("{manifest}outer = {{ path = {:?} }}\n", elsewhere.join("outer")));
    project.main(
        r#"mod runtime;
        fn main() {
            loop {
                let event = runtime::next();
                let body = format!("{{\"text\":\"{}\"}}", outer::TEXT);
                runtime::answer(&event.request_id, "response", &body);
            }
        }"#,
    );
    let mut dev = Program::start(project.dev(&[]));
    let ready = dev.ready().await;
    answers(&ready, "v1").await;
    library("inner", "", "pub const TEXT: &str = \"v2\";");
    answers(&ready, "v2").await;
    dev.says("live again after").await;
}

#[tokio::test]
async fn a_nested_stack_is_built_from_its_own_folder_and_its_template_is_watched() {
    let project = Project::new();
    let nested = include_str!("../support/template.yaml").replace("CodeUri: answer", "CodeUri: ../answer");
    project.write("deep/nested.yaml", &nested);
    let middle =
        "Resources:\n  Deep: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: deep/nested.yaml}}\n";
    project.write("middle.yaml", middle);
    let main = "Resources:\n  Middle: {Type: AWS::Serverless::Application, Properties: {Location: ./middle.yaml}}\n";
    project.write("template.yaml", main);
    let mut dev = Program::start(project.dev(&[]));
    let ready = dev.ready().await;
    assert_eq!(answer(&ready).await["text"], "v1");
    for (file, said) in
        [("template.yaml", ""), ("middle.yaml", " middle.yaml"), ("deep/nested.yaml", " deep/nested.yaml")]
    {
        project.write(file, "{}");
        dev.says(&format!("the template{said} has changed: restart")).await;
    }
}

#[tokio::test]
async fn what_is_built_already_runs_without_building() {
    let project = Project::new();
    let (status, _, stderr) = finish(project.dev(&["--no-build"])).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("does not exist; run without --no-build"), "{stderr}");

    let mut dev = Program::start(project.dev(&[]));
    dev.ready().await;
    dev.signal("TERM").await;
    dev.end().await;

    let mut dev = Program::start(project.dev(&["--no-build"]));
    let ready = dev.ready().await;
    assert_eq!(answer(&ready).await["text"], "v1");
}

/// Runs a command that cannot succeed; its last line on standard error.
async fn failure(command: tokio::process::Command, code: i32) -> String {
    let (status, stdout, stderr) = finish(command).await;
    assert_eq!((status, stdout.as_str()), (Some(code), ""), "{stderr}");
    stderr
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_option() {
    let project = Project::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    for option in ["--port", "--dynamodb-port"] {
        let mut command = tidings(&["dev", "--dynamodb-port", "0"]);
        command.current_dir(project.path());
        if option == "--port" {
            command.args(["--port", &port.to_string()]);
        } else {
            command = project.dev(&["--dynamodb-port", &port.to_string()]);
        }
        let stderr = failure(command, 1).await;
        let expected = format!(
            "error: port {port} of 127.0.0.1 is in use: stop what uses it, or choose another with {option} (0 picks a \
             free one)\n"
        );
        assert!(stderr.ends_with(&expected), "{stderr}");
    }
}

#[tokio::test]
async fn a_missing_template_is_one_sentence() {
    let project = Project::new();
    let stderr = failure(project.dev(&["--template", "other.yaml"]), 1).await;
    assert_eq!(stderr, "error: there is no template at `other.yaml`; name one with `--template PATH`\n");
}

#[tokio::test]
async fn a_function_that_does_not_build_is_one_sentence_below_cargos() {
    let project = Project::new();
    project.main("fn main() { nonsense }");
    let stderr = failure(project.dev(&[]), 1).await;
    assert!(stderr.contains("cannot find value `nonsense`"), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("error: the functions in ") && last.ends_with("cargo's messages are above"), "{stderr}");
}

#[tokio::test]
async fn a_function_that_dies_at_start_is_named_with_its_last_lines() {
    let project = Project::new();
    project.main(r#"fn main() { eprintln!("no moon tonight"); std::process::exit(9) }"#);
    let stderr = failure(project.dev(&[]), 1).await;
    let expected = "error: function answer ended before it asked for an event (exit status 9); its last lines were:\n  \
                    no moon tonight\n";
    assert!(stderr.ends_with(expected), "{stderr}");
    assert_eq!(stderr.matches("ended before").count(), 1, "{stderr}");
}

#[tokio::test]
async fn a_dynamodb_that_is_not_there_is_one_sentence() {
    let project = Project::new();
    let stderr = failure(project.dev(&["--dynamodb-endpoint", "http://127.0.0.1:1"]), 1).await;
    assert!(stderr.contains("error: DynamoDB does not answer at http://127.0.0.1:1: is it running"), "{stderr}");
}

#[tokio::test]
async fn dynamodb_in_aws_without_credentials_is_one_sentence_that_says_what_to_set() {
    let project = Project::new();
    let mut command = project.dev(&["--dynamodb-endpoint", "https://dynamodb.us-east-1.amazonaws.com"]);
    command.env("HOME", project.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONFIG_FILE"] {
        command.env_remove(name);
    }
    let stderr = failure(command, 1).await;
    assert!(stderr.contains("needs AWS credentials; set AWS_PROFILE, or run `aws configure`"), "{stderr}");
    assert!(!stderr.contains('{'), "it shows what is inside the SDK: {stderr}");
}

#[tokio::test]
async fn a_missing_cargo_is_one_sentence() {
    let project = Project::new();
    let mut command = project.dev(&[]);
    command.env_remove("CARGO").env("PATH", project.path());
    let stderr = failure(command, 1).await;
    assert!(stderr.contains("error: cargo was not found: install Rust from https://rustup.rs"), "{stderr}");
}

#[tokio::test]
async fn wrong_usage_ends_with_two() {
    let project = Project::new();
    let stderr = failure(project.dev(&["--parameter", "Stage"]), 2).await;
    assert!(stderr.contains("write NAME=VALUE"), "{stderr}");
    failure(tidings(&["nonsense"]), 2).await;
}

#[tokio::test]
async fn a_lambda_endpoint_takes_the_place_of_building() {
    let project = Project::new();
    let mut first = Program::start(project.dev(&[]));
    let functions = first.ready().await;
    let endpoint = functions["lambda"].as_str().unwrap();
    let mut second = Program::start(project.dev(&["--lambda-endpoint", endpoint]));
    let ready = second.ready().await;
    assert_eq!(answer(&ready).await, answer(&functions).await);
    first.signal("TERM").await;
    first.end().await;
    let error = Invoker::Endpoint(Endpoint::new(ready["lambda"].as_str().unwrap()).into());
    let error = error.invoke("answer", Bytes::from_static(b"{}")).await.unwrap_err().to_string();
    assert!(error.contains(&format!("nothing answers at {endpoint}")), "{error}");
    assert_eq!(json!(second.stderr().contains("building")), json!(false));
}
