//! What the functions' own binaries count, against what really happened.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::stack::{Stack, root};
use tidings::metrics::{DIMENSION, Metric, NAMESPACE, Unit};
use tidings_test::Client;

/// The metrics of a log: sums of counts, and the number of times that were noted.
fn counted(log: &str) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(directives) = line["_aws"]["CloudWatchMetrics"].as_array() else { continue };
        assert_eq!(directives.len(), 1, "{line}");
        assert_eq!(
            (&directives[0]["Namespace"], &directives[0]["Dimensions"]),
            (&json!(NAMESPACE), &json!([[DIMENSION]]))
        );
        assert!(line[DIMENSION].as_str().is_some_and(|stack| !stack.is_empty()), "{line}");
        for defined in directives[0]["Metrics"].as_array().unwrap() {
            let metric = metric(defined["Name"].as_str().unwrap());
            assert_eq!(defined["Unit"], metric.unit().name());
            let value = &line[metric.name()];
            *sums.entry(metric.name()).or_default() += match metric.unit() {
                Unit::Count => value.as_u64().unwrap(),
                Unit::Milliseconds => value.as_array().unwrap().len() as u64,
            };
        }
    }
    sums
}

fn metric(name: &str) -> Metric {
    let found = Metric::ALL.iter().find(|metric| metric.name() == name);
    *found.unwrap_or_else(|| panic!("{name} is not in the list"))
}

/// Waits until a stack has counted so much of everything named.
pub(crate) async fn until(stack: &Stack, expected: &[(Metric, u64)]) -> BTreeMap<&'static str, u64> {
    let what = format!("{expected:?}");
    eventually(&what, Duration::from_secs(60), async || {
        let sums = counted(&stack.log());
        let is_there = |(metric, count): &(Metric, u64)| sums.get(metric.name()).copied().unwrap_or(0) >= *count;
        expected.iter().all(is_there).then_some(sums)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_number_of_the_notifiers_reply_is_a_metric_with_the_same_value() {
    let stack = Stack::start(&[]).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&format!("{}?topic=t", stack.url())).await);
    }
    let mut replies = BTreeMap::<String, u64>::new();
    let expired = json!({"to": {"topic": "t"}, "data": 1, "at": 1_700_000_000_000_i64, "ttl": 1});
    let list = json!([{"to": {"topic": "t"}, "data": 1}, {"to": "everyone", "data": 2}, expired]);
    let answer = stack.invoke("notifier", &list.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
    let mut names = Vec::new();
    for report in answer.payload.as_array().unwrap() {
        for (name, number) in report.as_object().unwrap().iter().filter(|(_, value)| value.is_number()) {
            *replies.entry(name.clone()).or_default() += number.as_u64().unwrap();
            names.push(name.clone());
        }
    }
    assert_eq!((replies["delivered"], replies["expired"]), (6, 1), "{replies:?}");

    let sums = until(&stack, &[(Metric::DirectNotifications, 3), (Metric::FanOutLag, 2)]).await;
    for name in names {
        let mut chars = name.chars();
        let title: String = chars.next().unwrap().to_uppercase().chain(chars).collect();
        let metric = metric(&title);
        assert_eq!(sums.get(metric.name()).copied().unwrap_or(0), replies[&name], "{name}");
    }
    assert_eq!((sums["DirectNotifications"], sums["FanOutLag"], sums["PickUpLag"]), (3, 2, 3));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_commands_are_counted_where_they_happen() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    client.ask(json!({"action": "subscribe", "topics": ["a", "b"], "id": 1})).await;
    client.ask(json!({"action": "unsubscribe", "topic": "a", "id": 2})).await;
    client.ask(json!({"action": "nonsense", "id": 3})).await;
    client.ask(json!({"action": "publish", "topic": "c", "data": 1, "id": 4})).await;
    client.ask(json!({"action": "ping"})).await;
    client.close().await;
    assert!(Client::offer(&format!("{}?topic=%20&protocol=nope", stack.url()), &[]).await.is_err());
    assert!(Client::offer(&format!("{}?user=a%0Ab", stack.url()), &[]).await.is_err());
    let expected = [
        (Metric::AuthorizerAllowed, 2),
        (Metric::AuthorizerDenied, 1),
        (Metric::DeniedInvalid, 1),
        (Metric::ConnectionsOpened, 1),
        (Metric::ConnectionsRefused, 1),
        (Metric::ConnectionsClosed, 1),
        (Metric::Subscriptions, 2),
        (Metric::Unsubscriptions, 1),
        (Metric::CommandsRefused, 1),
        (Metric::PublishedByClients, 1),
        (Metric::ClientNotifications, 1),
    ];
    let sums = until(&stack, &expected).await;
    for (metric, count) in expected {
        assert_eq!(sums[metric.name()], count, "{metric:?}");
    }
    assert_eq!(sums.get(Metric::SqsNotifications.name()), None, "a client's message is not a producer's");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_logs_took_in_gave_back_and_had_no_longer_is_counted_and_who_was_not_reached() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    let topics = client.ask(json!({"action": "subscribe", "topics": ["a", "b"], "id": 1})).await["topics"].clone();
    for to in [json!({"topic": "a"}), json!([{"topic": "a"}, {"topic": "b"}]), json!({"user": "nobody"})] {
        assert!(!stack.invoke("notifier", &json!({"to": to, "data": 1}).to_string()).await.failed);
    }
    let mut client = Client::connect(stack.url()).await;
    let mut position = topics["a"].clone();
    let came_back = |since: &Value| json!({"action": "subscribe", "topic": "a", "since": since, "id": 2});
    let reply = client.ask(came_back(&position)).await["topics"]["a"].clone();
    assert_eq!((&reply["recovered"], &reply["offset"]), (&json!(true), &json!(2)), "{reply}");
    position["epoch"] = json!("another1");
    let reply = client.ask(came_back(&position)).await["topics"]["a"].clone();
    assert_eq!(reply["recovered"], json!(false), "{reply}");
    let expected =
        [(Metric::Appended, 4), (Metric::Recovered, 1), (Metric::MissedBeyondLog, 1), (Metric::Undelivered, 1)];
    let sums = until(&stack, &expected).await;
    for (metric, count) in expected {
        assert_eq!(sums[metric.name()], count, "{metric:?}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trigger_counts_its_own_notifications() {
    let stack = Stack::start(&[]).await;
    let mut expected = Vec::new();
    for (file, metric, records) in [
        ("sqs.json", Metric::SqsNotifications, 1),
        ("sns.json", Metric::SnsNotifications, 1),
        ("eventbridge.json", Metric::EventBridgeNotifications, 1),
        ("dynamodb.json", Metric::DynamoDbNotifications, 3),
        ("kinesis.json", Metric::KinesisNotifications, 1),
        ("s3.json", Metric::S3Notifications, 1),
    ] {
        let event = std::fs::read_to_string(root().join("tests/events/triggers").join(file)).unwrap();
        assert!(!stack.invoke("notifier", &event).await.failed, "{file}");
        expected.push((metric, records));
    }
    let sums = until(&stack, &expected).await;
    let of_triggers: BTreeMap<_, _> = sums.into_iter().filter(|(name, _)| name.ends_with("Notifications")).collect();
    assert_eq!(of_triggers, expected.iter().map(|(metric, count)| (metric.name(), *count)).collect());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_counted_and_carries_the_trace_of_the_invocation_that_sent_it() {
    let stack = Stack::start(&[]).await;
    stack.send("NotificationQueue", r#"{"to":{"topic":""},"data":1}"#).await;
    let letter = eventually("the dead letter", Duration::from_secs(20), async || {
        stack.receive("DeadLetterQueue").await.into_iter().next()
    })
    .await;
    let trace = aws_sdk_sqs::types::MessageSystemAttributeName::AwsTraceHeader;
    let trace = letter.attributes.unwrap_or_default().remove(&trace);
    let trace = trace.unwrap();
    assert!(trace.starts_with("Root=1-"), "{trace}");
    until(&stack, &[(Metric::DeadLetters, 1)]).await;
    let log = stack.log();
    let line = log.lines().find(|line| line.contains("kept a record that cannot succeed")).unwrap();
    assert!(line.contains(&trace), "{trace} is not the trace of {line}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_fails_half_way_is_counted_up_to_there() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    // The second is too large for API Gateway, which only its delivery finds out.
    let large = "x".repeat(130 * 1_024);
    let list = json!([{"to": {"topic": "t"}, "data": 1}, {"to": {"topic": "t"}, "data": large}]);
    let answer = stack.invoke("notifier", &list.to_string()).await;
    assert!(answer.failed && answer.payload["errorType"] == "PayloadTooLarge", "{answer:?}");
    client.json().await;
    let sums = until(&stack, &[(Metric::DirectNotifications, 2)]).await;
    assert_eq!((sums["Delivered"], sums["FanOutLag"]), (1, 1));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_turned_off() {
    let stack = Stack::start(&[("Metrics", "false")]).await;
    let client = Client::connect(stack.url()).await;
    client.close().await;
    let log = eventually("the end of the connection", Duration::from_secs(20), async || {
        Some(stack.log()).filter(|log| log.contains("disconnected"))
    })
    .await;
    assert_eq!(counted(&log), BTreeMap::new());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_that_a_function_logs_has_the_level_and_the_time_that_lambda_filters_by() {
    let stack = Stack::start(&[]).await;
    Client::connect(stack.url()).await.close().await;
    until(&stack, &[(Metric::ConnectionsClosed, 1)]).await;
    let log = stack.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(lines.iter().any(|line| line["fields"]["message"] == "connected"), "{log}");
    for line in lines {
        assert!(line["level"].is_string(), "{line}");
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    }
    stack.stop().await;
}
