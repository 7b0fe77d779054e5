//! `tidings dev --data`: what a killed process had acknowledged is there at the next start.

use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::project::{Program, Project, finish};
use crate::sqs;
use crate::support::{eventually, test_function};

const EVENTS: &str =
    "T: {Type: DynamoDB, Properties: {Stream: !GetAtt Things.StreamArn, StartingPosition: LATEST, BatchSize: 1}}";

const SECRET: &str = "  Key: {Type: AWS::SecretsManager::Secret, Properties: {Name: key, GenerateSecretString: {}}}\n";

/// A project with a table whose stream a function reads, queues, and a generated secret.
fn project() -> Project {
    let project = Project::new();
    let record = project.path().join("events.jsonl");
    let template = include_str!("../support/sources.yaml").replace("$EVENTS", EVENTS);
    project.write("template.yaml", &(template.replace("$RECORD", &record.to_string_lossy()) + SECRET));
    project.write("target/debug/.keep", "");
    std::fs::copy(test_function(), project.path().join("target/debug/answer")).unwrap();
    project
}

/// A start with the folder `data`.
struct Start {
    program: Program,
    ready: Value,
    record: PathBuf,
}

impl Start {
    async fn of(project: &Project) -> Self {
        let mut program = Program::start(project.dev(&["--no-build", "--data", "data"]));
        let ready = program.ready().await;
        Self { program, ready, record: project.path().join("events.jsonl") }
    }

    async fn kill(self) {
        self.program.signal("KILL").await;
        self.program.end().await;
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        sqs::client(self.ready["sqs"].as_str().unwrap())
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.ready["sqs"].as_str().unwrap())
    }

    async fn send(&self, queue: &str, body: &str, delay: i32) {
        let call = self.sqs().send_message().queue_url(self.url(queue)).message_body(body).delay_seconds(delay);
        call.send().await.unwrap();
    }

    /// Everything that can be received from a queue now.
    async fn bodies(&self, queue: &str) -> Vec<String> {
        let call = self.sqs().receive_message().queue_url(self.url(queue)).max_number_of_messages(10);
        let received = call.visibility_timeout(600).send().await.unwrap();
        received.messages().iter().map(|message| message.body().unwrap().to_owned()).collect()
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .endpoint_url(self.ready["dynamodb"].as_str().unwrap())
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("a", "b", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    async fn put(&self, key: &str) {
        let put = self.dynamodb().put_item().table_name("things").item("pk", AttributeValue::S(key.to_owned()));
        put.send().await.unwrap();
    }

    async fn items(&self) -> usize {
        self.dynamodb().scan().table_name("things").send().await.unwrap().items().len()
    }

    async fn secret(&self) -> String {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let request = Request::post(self.ready["sqs"].as_str().unwrap())
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "secretsmanager.GetSecretValue")
            .body(Body::from(r#"{"SecretId":"key"}"#));
        let answer = client.request(request.unwrap()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        answer["SecretString"].as_str().unwrap().to_owned()
    }

    /// How often the function was given the record of this key, over all starts.
    fn times(&self, key: &str) -> usize {
        let lines = std::fs::read_to_string(&self.record).unwrap_or_default();
        lines.lines().filter(|line| line.contains(&format!(r#"{{"S":"{key}"}}"#))).count()
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_that_it_acknowledged() {
    let project = project();
    let first = Start::of(&project).await;
    first.program.says("kept in data").await;
    first.put("a").await;
    eventually("the function is given a", || first.times("a") > 0).await;
    first.send("Dead", "at once", 0).await;
    first.send("Dead", "in flight", 0).await;
    first.send("Failed", "later", 900).await;
    first.sqs().create_queue().queue_name("Made").send().await.unwrap();
    first.send("Made", "in a queue of a call", 0).await;
    assert_eq!(first.bodies("Dead").await, ["at once", "in flight"]);
    first.send("Dead", "not received", 0).await;
    let secret = first.secret().await;
    let seen = first.times("a");
    first.kill().await;

    let again = Start::of(&project).await;
    assert_eq!(again.items().await, 1);
    assert_eq!(again.secret().await, secret);
    // Who had received them is gone.
    assert_eq!(again.bodies("Dead").await, ["at once", "in flight", "not received"]);
    assert_eq!(again.bodies("Failed").await, [""; 0], "it is still delayed");
    assert_eq!(again.bodies("Made").await, ["in a queue of a call"]);
    again.put("b").await;
    eventually("the function is given b", || again.times("b") > 0).await;
    // The kill may come before the place is noted, and then Lambda reads a record again as well.
    assert!(again.times("a") <= seen + 1, "the stream is not read from its beginning");
}

#[tokio::test]
async fn a_record_that_was_not_read_before_the_kill_is_read_after_it() {
    let project = project();
    let first = Start::of(&project).await;
    first.put("a").await;
    eventually("the function is given a", || first.times("a") > 0).await;
    first.put("unread").await;
    first.kill().await;
    let again = Start::of(&project).await;
    eventually("the record is read", || again.times("unread") > 0).await;
}

#[tokio::test]
async fn a_data_folder_is_for_one_process_and_for_nobody_elses_files() {
    let project = project();
    let first = Start::of(&project).await;
    let (status, _, stderr) = finish(project.dev(&["--no-build", "--data", "data"])).await;
    assert_eq!(status, Some(1));
    let expected =
        "error: the data folder data is in use: stop the other `tidings dev`, or choose another folder with --data\n";
    assert!(stderr.ends_with(expected), "{stderr}");
    first.kill().await;
    let (status, _, stderr) = finish(project.dev(&["--no-build", "--data", "answer"])).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("answer is not empty and no data folder of tidings"), "{stderr}");
}

#[tokio::test]
async fn a_table_with_other_keys_than_the_template_is_told_before_anything_runs() {
    let project = project();
    Start::of(&project).await.kill().await;
    let template = std::fs::read_to_string(project.path().join("template.yaml")).unwrap();
    project.write("template.yaml", &template.replace("AttributeName: pk", "AttributeName: id"));
    let (status, _, stderr) = finish(project.dev(&["--no-build", "--data", "data"])).await;
    assert_eq!(status, Some(1));
    assert!(stderr.contains("the table things has other keys or indexes than the template"), "{stderr}");
}
