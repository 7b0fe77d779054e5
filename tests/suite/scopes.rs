//! Idempotency keys belong to whoever gave them: the same one of somebody else is another notification.

use serde_json::{Value, json};
use tests::stack::{Stack, root};
use tests::wire::{self, Url};
use tidings_test::Client;

/// A call of the REST API that looks signed with this access key.
async fn notify(stack: &Stack, access_key: &str, key: &str, body: &Value) {
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential={access_key}/20261124/us-east-1/execute-api/aws4_request, SignedHeaders=host, \
         Signature={}",
        "0".repeat(64)
    );
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key), ("Authorization", &signed)];
    let url = Url::parse(&format!("{}/notifications", stack.api()));
    let answer = wire::request("POST", &url, &headers, body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_with_the_same_idempotency_key_are_both_delivered_and_each_only_once() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let body = |data: &str| json!({"to": {"topic": "t"}, "data": data});
    for (caller, data) in [("AKIASHOP", "shop"), ("AKIABANK", "bank")] {
        notify(&stack, caller, "1", &body(data)).await;
        let message = client.json().await;
        assert_eq!((&message["id"], &message["data"]), (&json!("1"), &json!(data)));
    }
    notify(&stack, "AKIASHOP", "1", &body("shop")).await;
    notify(&stack, "AKIASHOP", "2", &body("another")).await;
    assert_eq!(client.json().await["data"], "another", "what is repeated is delivered once");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_of_two_queues_and_a_topic_names_three_notifications() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let notification = json!({"id": "1", "to": {"topic": "t"}, "data": 1}).to_string();
    let event = |file: &str| -> Value {
        let text = std::fs::read_to_string(root().join("tests/events/triggers").join(file)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let queue = |name: &str| {
        let mut event = event("sqs.json");
        event["Records"][0]["eventSourceARN"] = json!(format!("arn:aws:sqs:us-east-1:123456789012:{name}"));
        event["Records"][0]["body"] = json!(notification);
        event
    };
    let mut topic = event("sns.json");
    topic["Records"][0]["Sns"]["Message"] = json!(notification);
    for event in [queue("a"), queue("b"), topic] {
        assert!(!stack.invoke("notifier", &event.to_string()).await.failed);
        assert_eq!(client.json().await["id"], "1", "{event}");
        assert!(!stack.invoke("notifier", &event.to_string()).await.failed);
        client.hears_nothing().await;
    }
    stack.stop().await;
}
