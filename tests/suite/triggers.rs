//! Events of AWS's services, through the notifier's own binary, to a real client.

use std::time::Duration;

use serde_json::{Value, json};
use tests::stack::{Stack, root};
use tests::{eventually, now};
use tidings_test::Client;

fn event(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/events/triggers").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_reaches_the_topic_named_after_it() {
    let stack = Stack::start(&[]).await;
    let none = Value::Null;
    for (file, topic, records, kind, data) in [
        ("sqs.json", "aws/sqs/MyQueue", 1, &none, json!("Hello from SQS!")),
        (
            "sns.json",
            "aws/sns/ExampleTopic",
            1,
            &none,
            json!({"message": "example message", "subject": "example subject"}),
        ),
        (
            "eventbridge.json",
            "aws/events/aws.ec2",
            1,
            &json!("EC2 Instance State-change Notification"),
            json!({"state": "pending"}),
        ),
        ("s3-eventbridge.json", "aws/events/aws.s3", 1, &json!("Object Created"), json!({"reason": "PutObject"})),
        ("scheduled.json", "aws/events/aws.events", 1, &json!("Scheduled Event"), json!({})),
        (
            "dynamodb.json",
            "aws/dynamodb/ExampleTableWithStream",
            3,
            &json!("INSERT"),
            json!({"keys": {"Id": 101}, "old": null}),
        ),
        ("kinesis.json", "aws/kinesis/EXAMPLE", 1, &none, json!("Hello, this is a test 123.")),
        ("s3.json", "aws/s3/example-bucket", 1, &json!("ObjectCreated:Put"), json!({"awsRegion": "us-east-1"})),
    ] {
        let mut client = Client::connect(&format!("{}?topic={topic}", stack.url())).await;
        let answer = stack.invoke("notifier", &event(file).to_string()).await;
        assert!(!answer.failed, "{file}: {answer:?}");
        let message = client.json().await;
        assert_eq!(
            (&message["topic"], message.get("event").unwrap_or(&none)),
            (&json!(topic), kind),
            "{file}: {message}"
        );
        check(&message["data"], &data);
        for _ in 1..records {
            client.json().await;
        }
        // The same event once more: a redelivery.
        assert!(!stack.invoke("notifier", &event(file).to_string()).await.failed);
        client.hears_nothing().await;
    }
    stack.stop().await;
}

/// Whether data is as expected; of an object, the fields that are named.
fn check(data: &Value, expected: &Value) {
    match expected {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| assert_eq!(&data[name], value, "{data}")),
        whole => assert_eq!(data, whole),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_send_events_where_they_say() {
    let rules = json!([
        {"source": "aws/s3/*", "to": {"topic": "files/{data.s3.bucket.name}"}, "type": "file.new", "data": {"key": "{data.s3.object.key}"}},
        {"source": "aws/dynamodb/*", "to": {"user": "user-{data.keys.Id}"}, "data": "{data.keys}"},
        {"source": "aws/events/aws.ec2", "to": "everyone", "data": {"text": "{data.instance-id} is {data.state}"}},
    ]);
    let stack = Stack::start(&[("Rules", &rules.to_string())]).await;
    let mut client = Client::connect(&format!("{}?user=user-101&topic=files/example-bucket", stack.url())).await;
    for (file, kind, expected) in [
        ("s3.json", json!("file.new"), json!({"key": "test/key"})),
        ("dynamodb.json", json!("INSERT"), json!({"Id": 101})),
        ("eventbridge.json", json!("EC2 Instance State-change Notification"), json!({"text": "i-abcd1111 is pending"})),
    ] {
        assert!(!stack.invoke("notifier", &event(file).to_string()).await.failed, "{file}");
        let message = client.json().await;
        assert_eq!((&message["event"], &message["data"]), (&kind, &expected), "{file}: {message}");
        for _ in 1..event(file)["Records"].as_array().map_or(1, Vec::len) {
            client.json().await;
        }
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_through_sns_and_a_queue_is_what_was_published() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=aws/sns/news&topic=t", stack.url())).await;
    let envelope = |id: &str, message: &str| {
        json!({"Type": "Notification", "MessageId": id, "TopicArn": "arn:aws:sns:us-east-1:123456789012:news",
            "Message": message,
            "MessageAttributes": {"kind": {"Type": "String", "Value": "a"}}})
    };
    let record = |body: &Value| {
        let mut event = event("sqs.json");
        event["Records"][0]["body"] = json!(body.to_string());
        event["Records"][0]["messageId"] = json!("of the queue");
        event.to_string()
    };
    stack.invoke("notifier", &record(&envelope("m1", "hello"))).await;
    let message = client.json().await;
    assert_eq!(
        (&message["id"], &message["data"]),
        (&json!("m1"), &json!({"message": "hello", "attributes": {"kind": "a"}}))
    );
    let notification = json!({"to": {"topic": "t"}, "data": 7}).to_string();
    stack.invoke("notifier", &record(&envelope("m2", &notification))).await;
    let message = client.json().await;
    assert_eq!((&message["topic"], &message["data"]), (&json!("t"), &json!(7)), "{message}");
    // Raw delivery: the message and nothing around it.
    stack.invoke("notifier", &record(&json!({"to": {"topic": "t"}, "data": 8}))).await;
    assert_eq!(client.json().await["data"], 8);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_notification_queue_ends_in_a_clients_hands() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    stack.send("NotificationQueue", r#"{"to":{"topic":"t"},"data":{"n":1}}"#).await;
    assert_eq!(client.json().await["data"], json!({"n": 1}));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_publishes_reaches_the_others_as_its_own() {
    let stack = Stack::start(&[]).await;
    let mut alice = Client::connect(&format!("{}?user=alice", stack.url())).await;
    let mut bob = Client::connect(&format!("{}?topic=chat", stack.url())).await;
    for _ in 0..2 {
        let reply = alice
            .ask(json!({"action": "publish", "topic": "chat", "data": "hi", "type": "said", "key": "1", "id": 1}))
            .await;
        assert_eq!(reply, json!({"type": "ack", "id": 1}));
    }
    let message = bob.json().await;
    assert_eq!((&message["from"], &message["data"]), (&json!({"user": "alice"}), &json!("hi")), "{message}");
    let reply = alice.ask(json!({"action": "publish", "topic": "chat", "data": "bye"})).await;
    assert_eq!(reply["type"], "ack");
    assert_eq!(bob.json().await["data"], "bye", "the same key is delivered once");
    let reply = alice.ask(json!({"action": "publish", "user": "bob", "data": 1})).await;
    assert_eq!(reply["code"], "Forbidden", "{reply}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_may_not_publish_they_are_told_so() {
    let stack = Stack::start(&[("AnonymousPermissions", "subscribe:**")]).await;
    let mut client = Client::connect(stack.url()).await;
    let reply = client.ask(json!({"action": "publish", "topic": "chat", "data": "hi", "id": 1})).await;
    assert_eq!((&reply["code"], &reply["id"]), (&json!("Forbidden"), &json!(1)), "{reply}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_messages_are_kept_with_their_reason_and_hold_up_no_other() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let mut batch = event("sqs.json");
    let pattern = batch["Records"][0].clone();
    let records = (0..10).map(|number| {
        let mut record = pattern.clone();
        record["messageId"] = json!(format!("m{number}"));
        record["eventSourceARN"] =
            json!(format!("arn:aws:sqs:us-east-1:123456789012:{}", stack.queue_name("NotificationQueue")));
        record["body"] = match number {
            2 => json!("hello"),
            5 => json!(r#"{"data":1}"#),
            7 => json!(r#"{"to":{"topic":""},"data":1}"#),
            _ => json!(json!({"to": {"topic": "t"}, "data": number, "at": now()}).to_string()),
        };
        record
    });
    batch["Records"] = records.collect();
    let answer = stack.invoke("notifier", &batch.to_string()).await;
    assert_eq!(answer.payload, json!({"batchItemFailures": []}), "{answer:?}");
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(client.json().await["data"].as_i64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 3, 4, 6, 8, 9]);
    let letters = eventually("three dead letters", Duration::from_secs(20), async || {
        let letters = stack.receive("DeadLetterQueue").await;
        (letters.len() == 3).then_some(letters)
    })
    .await;
    for letter in letters {
        let attributes = letter.message_attributes.unwrap();
        let reason = attributes["reason"].string_value().unwrap();
        assert!(reason.starts_with("`notification` is not") || reason.starts_with("`to"), "{reason}");
        assert_eq!(
            attributes["source"].string_value().unwrap(),
            format!("aws/sqs/{}", stack.queue_name("NotificationQueue"))
        );
        let record: Value = serde_json::from_str(letter.body.as_deref().unwrap()).unwrap();
        assert_eq!(record["eventSource"], "aws:sqs");
    }
    stack.stop().await;
}
