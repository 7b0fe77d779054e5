//! What `tidings dev` does with a template's event sources and asynchronous invocations, with real processes and SDKs.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use serde_json::{Value, json};
use tidings::UserId;
use tidings::aws::Aws;
use tidings::events::Event;

use crate::project::{Program, Project};
use crate::sqs;
use crate::support::{eventually, test_function};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// `tidings dev` with one function that records its events, three queues and a table.
struct Dev {
    project: Project,
    program: Program,
    ready: Value,
}

impl Dev {
    async fn start(events: &str) -> Self {
        let template = include_str!("../support/sources.yaml").replace("$EVENTS", events);
        Self::with_templates(&[("template.yaml", &template)]).await
    }

    async fn with_templates(templates: &[(&str, &str)]) -> Self {
        let project = Project::new();
        let record = project.path().join("events.jsonl");
        for (path, text) in templates {
            project.write(path, &text.replace("$RECORD", &record.to_string_lossy()));
        }
        project.write("target/debug/.keep", "");
        std::fs::copy(test_function(), project.path().join("target/debug/answer")).unwrap();
        let mut program = Program::start(project.dev(&["--no-build"]));
        let ready = program.ready().await;
        Self { project, program, ready }
    }

    fn sqs(&self) -> aws_sdk_sqs::Client {
        sqs::client(self.ready["sqs"].as_str().unwrap())
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/123456789012/{queue}", self.ready["sqs"].as_str().unwrap())
    }

    async fn send(&self, bodies: &[&str]) {
        let entries = bodies.iter().enumerate().map(|(n, body)| {
            let entry = aws_sdk_sqs::types::SendMessageBatchRequestEntry::builder().id(n.to_string());
            entry.message_body(*body).build().unwrap()
        });
        let call = self.sqs().send_message_batch().queue_url(self.url("Queue")).set_entries(Some(entries.collect()));
        assert!(call.send().await.unwrap().failed().is_empty());
    }

    /// Waits for a message in a queue; its body.
    async fn receive(&self, queue: &str) -> String {
        let call = self.sqs().receive_message().queue_url(self.url(queue)).wait_time_seconds(20);
        let received = call.send().await.unwrap();
        let message = received.messages().first();
        message
            .unwrap_or_else(|| panic!("nothing; standard error has:\n{}", self.program.stderr()))
            .body()
            .unwrap()
            .into()
    }

    async fn put(&self, keys: &[&str]) {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .endpoint_url(self.ready["dynamodb"].as_str().unwrap())
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("a", "b", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = aws_sdk_dynamodb::Client::from_conf(config);
        for key in keys {
            let put = client.put_item().table_name("things").item("pk", AttributeValue::S((*key).to_owned()));
            put.send().await.unwrap();
        }
    }

    async fn invoke_later(&self, event: Value) -> String {
        use aws_sdk_lambda::operation::RequestId as _;
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(aws_sdk_lambda::config::BehaviorVersion::latest())
            .region(aws_sdk_lambda::config::Region::new("us-east-1"))
            .endpoint_url(self.ready["lambda"].as_str().unwrap())
            .credentials_provider(aws_sdk_lambda::config::Credentials::new("a", "b", None, None, "test"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let call = aws_sdk_lambda::Client::from_conf(config).invoke().function_name("answer");
        let call = call.invocation_type(InvocationType::Event).payload(Blob::new(event.to_string()));
        call.send().await.unwrap().request_id().unwrap().to_owned()
    }

    /// What the function was invoked with so far.
    fn invocations(&self) -> Vec<Value> {
        let lines = std::fs::read_to_string(self.project.path().join("events.jsonl")).unwrap_or_default();
        // The last line may be half written.
        lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The texts of the records of each invocation.
    fn batches(&self) -> Vec<Vec<String>> {
        let text = |record: &Value| {
            let text = record["body"].as_str().or_else(|| record["dynamodb"]["Keys"]["pk"]["S"].as_str());
            text.unwrap_or_default().to_owned()
        };
        let records =
            |invocation: &Value| invocation["event"]["Records"].as_array().unwrap().iter().map(text).collect();
        self.invocations().iter().map(records).collect()
    }

    async fn eventually(&self, what: &str, condition: impl Fn(&[Vec<String>]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let batches = self.batches();
            if condition(&batches) {
                return;
            }
            let log = self.program.stderr();
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {batches:?}, standard error:\n{log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// How often a record was brought to the function.
fn times(batches: &[Vec<String>], text: &str) -> usize {
    batches.iter().flatten().filter(|record| *record == text).count()
}

#[tokio::test]
async fn a_put_into_a_table_reaches_the_function_of_a_nested_stack() {
    let dev = Dev::with_templates(&[
        ("template.yaml", include_str!("../support/nesting.yaml")),
        ("stack/template.yaml", include_str!("../support/nested.yaml")),
    ])
    .await;
    dev.put(&["hello"]).await;
    dev.eventually("the put", |batches| times(batches, "hello") == 1).await;
    assert_eq!(dev.invocations()[0]["event"]["Records"][0]["eventName"], "INSERT");
    let log = dev.program.stderr();
    assert!(log.contains("parameters for local runs, from the template's Metadata: Nested/Colour=blue"), "{log}");
    assert!(log.contains("the stream of things invokes answer"), "{log}");
    assert!(log.contains("note: stack/template.yaml:3: the macro"), "{log}");
}

const QUEUE: &str = "Q: {Type: SQS, Properties: {Queue: !GetAtt Queue.Arn, FunctionResponseTypes: \
                     [ReportBatchItemFailures], FilterCriteria: {Filters: [{Pattern: '{\"body\": [{\"anything-but\": \
                     \"unwanted\"}]}'}]}}}";

#[tokio::test]
async fn a_message_reaches_its_function_as_lambda_would_bring_it() {
    let dev = Dev::start(QUEUE).await;
    let text = aws_sdk_sqs::types::MessageAttributeValue::builder().data_type("String").string_value("v");
    let sent = dev.sqs().send_message().queue_url(dev.url("Queue")).message_body("hello");
    let sent = sent.message_attributes("name", text.build().unwrap()).send().await.unwrap();
    dev.eventually("the message", |batches| times(batches, "hello") == 1).await;

    let mut record = dev.invocations()[0]["event"]["Records"][0].clone();
    let record = record.as_object_mut().unwrap();
    assert!(record.remove("receiptHandle").unwrap().is_string());
    let attributes = record.remove("attributes").unwrap();
    assert_eq!(attributes["ApproximateReceiveCount"], "1");
    assert!(attributes["SentTimestamp"].is_string() && attributes["SenderId"].is_string(), "{attributes}");
    let attribute = json!({"stringValue": "v", "stringListValues": [], "binaryListValues": [], "dataType": "String"});
    let expected = json!({
        "messageId": sent.message_id(),
        "body": "hello",
        "messageAttributes": {"name": attribute},
        "md5OfBody": sent.md5_of_message_body(),
        "md5OfMessageAttributes": sent.md5_of_message_attributes(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:Queue",
        "awsRegion": "us-east-1",
    });
    assert_eq!(Value::from(record.clone()), expected);
}

#[tokio::test]
async fn exactly_the_reported_messages_come_back() {
    let dev = Dev::start(QUEUE).await;
    dev.send(&["1", "2", "bad a", "3", "unwanted", "bad b", "4"]).await;
    dev.eventually("the reported ones twice", |batches| times(batches, "bad a") >= 2 && times(batches, "bad b") >= 2)
        .await;
    // After two receives they are dead.
    let mut dead = [dev.receive("Dead").await, dev.receive("Dead").await];
    dead.sort();
    assert_eq!(dead, ["bad a", "bad b"]);
    let batches = dev.batches();
    for text in ["1", "2", "3", "4"] {
        assert_eq!(times(&batches, text), 1, "{text}");
    }
    for text in ["bad a", "bad b"] {
        assert_eq!(times(&batches, text), 2, "{text}");
    }
    assert_eq!(times(&batches, "unwanted"), 0);
}

#[tokio::test]
async fn a_poison_message_and_a_response_that_nobody_understands_end_in_the_dead_letter_queue() {
    let dev = Dev::start(QUEUE).await;
    for (text, told) in [("poison", "Poison: as asked"), ("nonsense", "is of no record of this batch")] {
        dev.send(&[text]).await;
        assert_eq!(dev.receive("Dead").await, text);
        assert_eq!(times(&dev.batches(), text), 2);
        dev.program.says(told).await;
    }
}

#[tokio::test]
async fn the_address_of_a_queue_is_what_the_function_sees() {
    let dev = Dev::start(QUEUE).await;
    dev.invoke_later(json!({"do": "log", "line": "x"})).await;
    dev.program.says("and to standard error").await;
    let invoker = tidings_local_lambda::Endpoint::new(dev.ready["lambda"].as_str().unwrap());
    let invoker = tidings_local_lambda::Invoker::Endpoint(invoker.into());
    let answer = invoker.invoke("answer", r#"{"do":"environment"}"#.into()).await.unwrap();
    let environment: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(environment["QUEUE_URL"], dev.url("Queue"));
    assert_eq!(environment["AWS_ENDPOINT_URL_SQS"], dev.ready["sqs"]);
}

#[tokio::test]
async fn a_change_in_a_table_reaches_its_function_as_lambda_would_bring_it() {
    let dev = Dev::start(
        "T: {Type: DynamoDB, Properties: {Stream: !GetAtt Things.StreamArn, StartingPosition: LATEST, BatchSize: 2}}",
    )
    .await;
    dev.put(&["a", "b", "c"]).await;
    dev.eventually("three changes", |batches| batches.iter().flatten().count() == 3).await;
    assert_eq!(dev.batches().concat(), ["a", "b", "c"]);
    let mut record = dev.invocations()[0]["event"]["Records"][0].clone();
    for part in ["ApproximateCreationDateTime", "SequenceNumber", "SizeBytes"] {
        assert!(record["dynamodb"].as_object_mut().unwrap().remove(part).is_some(), "{part}");
    }
    assert!(record.as_object_mut().unwrap().remove("eventID").is_some());
    let image = json!({"pk": {"S": "a"}});
    let expected = json!({
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {"Keys": image, "NewImage": image, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/things/stream/2000-01-01T00:00:00.000",
    });
    assert_eq!(record, expected);
}

#[tokio::test]
async fn a_stream_goes_on_from_the_reported_record_and_gives_it_up_to_its_queue() {
    let dev = Dev::start(
        "T: {Type: DynamoDB, Properties: {Stream: !GetAtt Things.StreamArn, StartingPosition: TRIM_HORIZON, \
         MaximumRetryAttempts: 1, MaximumBatchingWindowInSeconds: 1, BatchSize: 3, FunctionResponseTypes: \
         [ReportBatchItemFailures], DestinationConfig: {OnFailure: {Destination: !GetAtt Failed.Arn}}}}",
    )
    .await;
    dev.put(&["1", "2", "bad"]).await;
    let told: Value = serde_json::from_str(&dev.receive("Failed").await).unwrap();
    assert_eq!(told["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(told["requestContext"]["functionArn"], "arn:aws:lambda:us-east-1:123456789012:function:Answer");
    assert_eq!(told["DDBStreamBatchInfo"]["batchSize"], 1);
    dev.put(&["3"]).await;
    dev.eventually("what comes after", |batches| times(batches, "3") == 1).await;
    let batches = dev.batches();
    assert_eq!((times(&batches, "1"), times(&batches, "2"), times(&batches, "bad")), (1, 1, 2));
}

#[tokio::test]
async fn a_failing_event_is_tried_three_times_under_one_id_and_then_told_to_its_queue() {
    let dev = Dev::start("{}").await;
    let id = dev.invoke_later(json!({"do": "error"})).await;
    let mut told: Value = serde_json::from_str(&dev.receive("Failed").await).unwrap();
    assert!(told.as_object_mut().unwrap().remove("timestamp").unwrap().is_string());
    let expected = json!({
        "version": "1.0",
        "requestContext": {
            "requestId": id,
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:Answer:$LATEST",
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": {"do": "error"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "Broken", "errorMessage": "as asked"},
    });
    assert_eq!(told, expected);
    let ids: Vec<_> = dev.invocations().iter().map(|invocation| invocation["request_id"].clone()).collect();
    assert_eq!(ids, [id.as_str(), id.as_str(), id.as_str()]);
}

/// What rules bring: of users who begin with `a`; and of `bad`, on which the function fails.
const RULES: &str = "{E: {Type: EventBridgeRule, Properties: {Pattern: {source: [tidings], detail: {user: [{prefix: \
                     a}]}}}}, F: {Type: EventBridgeRule, Properties: {Pattern: {detail: {user: [bad]}}, Input: \
                     '{\"do\":\"error\"}'}}}";

/// Puts an event about each of these users on the account's bus.
async fn put_events(dev: &Dev, users: &[&str]) {
    let users: Vec<_> = users.iter().map(|user| UserId::parse(*user).unwrap()).collect();
    let events: Vec<_> = users.iter().map(|user| Event::UserOnline { user, at: 5 }).collect();
    Aws::local(dev.ready["sqs"].as_str().unwrap()).bus("default").put(&events).await.unwrap();
}

#[tokio::test]
async fn an_event_on_a_bus_reaches_the_function_whose_rule_it_matches() {
    let dev = Dev::start(RULES).await;
    put_events(&dev, &["bob", "ada"]).await;
    eventually("the event", || !dev.invocations().is_empty()).await;
    let mut event = dev.invocations()[0]["event"].clone();
    for part in ["id", "time"] {
        assert!(event.as_object_mut().unwrap().remove(part).unwrap().is_string(), "{part}");
    }
    let expected = json!({"version": "0", "detail-type": "User Online", "source": "tidings", "account": "123456789012",
        "region": "us-east-1", "resources": [], "detail": {"id": "user-online-ada-5", "user": "ada", "at": 5}});
    assert_eq!(event, expected);
    for line in [
        "the rule AnswerE invokes answer (events of the bus default)",
        "the event User Online of tidings on the bus default matches no rule",
        "on the bus default matches AnswerE (invokes answer)",
    ] {
        dev.program.says(line).await;
    }
}

#[tokio::test]
async fn a_target_that_fails_is_tried_three_times_and_told_to_its_functions_queue() {
    let dev = Dev::start(RULES).await;
    put_events(&dev, &["bad"]).await;
    let told: Value = serde_json::from_str(&dev.receive("Failed").await).unwrap();
    assert_eq!(told["requestContext"]["condition"], "RetriesExhausted");
    assert_eq!(told["requestPayload"], json!({"do": "error"}));
    assert_eq!(dev.invocations().len(), 3);
}

#[tokio::test]
async fn pollers_and_retries_do_not_keep_it_from_ending() {
    let dev = Dev::start(QUEUE).await;
    dev.send(&["poison"]).await;
    dev.invoke_later(json!({"do": "error"})).await;
    dev.program.says("Poison: as asked").await;
    let started = Instant::now();
    dev.program.signal("TERM").await;
    assert_eq!(dev.program.end().await.0.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}
