//! From any service: what is published, put, scheduled and triggered by hand reaches subscribers, with AWS's own SDK.

use std::process::Output;

use serde_json::{Value, json};
use tests::stack::{Stack, root, tidings};
use tidings_test::Client;
use tokio::process::Command;

use crate::centrifuge::{for_aws, has};

async fn start() -> Stack {
    Stack::start_at(&root().join("tests/templates/any-service.yaml"), &[], &[]).await
}

async fn client(stack: &Stack, query: &str) -> Client {
    Client::connect(&format!("{}?{query}", stack.url())).await
}

/// A program that calls AWS, and finds the gateway by the variables of every SDK.
fn with_endpoints(mut command: Command, stack: &Stack) -> Command {
    let addresses = &stack.running().addresses;
    command
        .envs([("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local"), ("AWS_DEFAULT_REGION", "us-east-1")])
        .env("AWS_ENDPOINT_URL_SNS", &addresses.sns)
        .env("AWS_ENDPOINT_URL_EVENTBRIDGE", &addresses.eventbridge)
        .env("AWS_ENDPOINT_URL_SQS", &addresses.sqs);
    command
}

async fn trigger(stack: &Stack, args: &[&str]) -> Output {
    let mut command = Command::new(tidings());
    command.arg("trigger").args(args).args(["--endpoint-url", &stack.running().addresses.lambda]);
    command.output().await.unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_own_sdk_publishes_and_puts_events_and_subscribers_get_them_by_default_topic_and_by_rule() {
    if !has("python3").await {
        return;
    }
    let folder = for_aws().await;
    let stack = start().await;
    let mut news = client(&stack, "topic=aws/sns/news").await;
    let mut ada = client(&stack, "user=ada").await;
    let mut order = client(&stack, "topic=orders/42").await;
    let account = "123456789012";
    let queue = |name: &str| format!("{}/{account}/{name}", stack.running().addresses.sqs);
    let mut command = Command::new(folder.join("venv/bin/python"));
    let topic = format!("arn:aws:sns:us-east-1:{account}:news");
    command.args(["publish.py", &topic, &queue("raw"), &queue("filtered")]).current_dir(&folder);
    let output = with_endpoints(command, &stack).output().await.unwrap();
    assert!(output.status.success(), "{}", said(&output));

    let message = news.json().await;
    let attributes = json!({"kind": "news", "raw": "AAE="});
    let data = json!({"message": "hello & <good> morning", "subject": "Greeting", "attributes": attributes});
    assert_eq!((&message["topic"], &message["data"]), (&json!("aws/sns/news"), &data));
    let first = news.json().await;
    assert_eq!(first["data"], json!({"message": "first", "attributes": {"kind": "other"}}));
    let shipped = ada.json().await;
    assert_eq!((&shipped["event"], &shipped["data"]), (&json!("order.shipped"), &json!({"order": 42})));
    let made = order.json().await;
    assert_eq!(made["data"]["text"], "ada gets 42");
    assert!(made["data"]["rule"].as_str().unwrap().contains("Transformed"), "{made}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_matches_is_published_to_a_topic() {
    let stack = start().await;
    let mut listener = client(&stack, "topic=aws/sns/published").await;
    let entry = json!({"Source": "relay", "DetailType": "x", "Detail": "{\"n\":7}"});
    let body = json!({"Entries": [entry]}).to_string();
    let target = "X-Amz-Target: AWSEvents.PutEvents";
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--header", target, "--data", &body, &stack.running().addresses.eventbridge]);
    assert!(curl.output().await.unwrap().status.success());
    let message = listener.json().await;
    assert_eq!(message["data"], json!({"message": {"n": 7}}), "{message}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_by_hand_goes_through_the_notifier_and_a_wrong_one_says_what_there_is() {
    let stack = start().await;
    let topics = "topic=aws/s3/photos&topic=aws/kinesis/clicks&topic=aws/sns/news&topic=aws/events/aws.events";
    let mut listener = client(&stack, topics).await;
    for (args, topic, check) in [
        (&["s3", "photos", "a b/beach.jpg"][..], "aws/s3/photos", json!("ObjectCreated:Put")),
        (&["kinesis", "clicks", "{\"page\":1}"], "aws/kinesis/clicks", Value::Null),
        (&["sns", "News", "Good morning"], "aws/sns/news", Value::Null),
        (&["schedule", "Nightly"], "aws/events/aws.events", json!("Scheduled Event")),
    ] {
        let output = trigger(&stack, args).await;
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        let message = listener.json().await;
        assert_eq!(
            (&message["topic"], message.get("event").unwrap_or(&Value::Null)),
            (&json!(topic), &check),
            "{message}"
        );
    }
    for (args, words) in [
        (&["schedule", "Daily"][..], "error: this stack has no schedule Daily: it has Nightly"),
        (&["sns", "Olds", "x"], "error: this stack has no topic Olds: it has News, Published"),
        (&["s3", "photos", "k", "--function", "none"], "error: this stack has no function none: it has "),
        (&["s3", "photos", "k", "--event", "ObjectCreated:*"], "error: the event must be one, as ObjectCreated:Put"),
    ] {
        let output = trigger(&stack, args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(said(&output).starts_with(words), "{}", said(&output));
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_gateway_a_trigger_says_how_to_start_one() {
    let mut command = Command::new(tidings());
    command.args(["trigger", "schedule", "x", "--endpoint-url", "http://127.0.0.1:9"]);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("start `tidings dev` in another shell"), "{}", said(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_and_a_schedule_that_eventbridge_refuses_are_told_at_the_start_with_their_line() {
    let template = std::fs::read_to_string(root().join("tests/templates/any-service.yaml")).unwrap();
    let template = template.replace("../../template.yaml", &root().join("template.yaml").to_string_lossy());
    for (right, wrong, words) in [
        (
            "{ source: [shop], detail-type: [{ prefix: Order }] }",
            "{ source: shop }",
            "`EventPattern` of `Shipped` is no pattern of EventBridge: `\"shop\"` stands where a list must",
        ),
        (
            "cron(0 3 ? * MON-FRI *)",
            "cron(0 3 * * MON-FRI *)",
            "`ScheduleExpression` of `Nightly` is `cron(0 3 * * MON-FRI *)`: one of day-of-month and day-of-week must be `?`, as \
             in `0 12 * * ? *`",
        ),
        (
            "FilterPolicy: { kind: [other] }",
            "FilterPolicy: { kind: other }",
            "`FilterPolicy` of `FilteredSubscription` is no filter policy of SNS: `\"other\"` stands where a list must",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("template.yaml");
        assert!(template.contains(right), "{right}");
        std::fs::write(&path, template.replace(right, wrong)).unwrap();
        let line = template.lines().position(|line| line.contains(right)).unwrap() + 1;
        let mut options = tidings_local_dev::DevOptions::new(path.clone());
        options.port = 0;
        let error = tidings_local_dev::start(options).await.map(|_| ()).unwrap_err();
        assert_eq!(tidings::describe(&error), format!("{}:{line}: {words}", path.display()));
    }
}
