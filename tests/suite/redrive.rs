//! `tidings dead-letters redrive` with the real functions: what is sent again arrives.

use std::time::Duration;

use serde_json::{Value, json};
use tests::stack::{Stack, root, tidings};
use tests::{eventually, now};
use tidings_test::Client;
use tokio::process::Command;

const HOUR: i64 = 3_600_000;

/// Runs the command; what it says, and whether it did what was asked.
pub(crate) async fn redrive(stack: &Stack, more: &[&str]) -> (bool, String) {
    let arguments = ["dead-letters", "redrive", "--endpoint-url", stack.root()];
    let output = Command::new(tidings()).args(arguments).args(more).output().await.unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

fn record(service: &str, file: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/events/triggers").join(file)).unwrap();
    let event: Value = serde_json::from_str(&text).unwrap();
    assert!(event["Records"][0].to_string().contains(service));
    event["Records"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_letter_is_delivered_once_it_is_given_time() {
    let rules = json!([{"source": "aws/sns/*", "to": {"topic": "t"}, "data": "{data.message}", "ttl": 60}]);
    let stack = Stack::start(&[("Rules", &rules.to_string())]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let at = now() - 2 * HOUR;
    let notification = |data: &str| json!({"id": data, "to": {"topic": "t"}, "data": data, "at": at, "ttl": 60});
    let queued = |queue: &str, body: &Value| {
        let mut letter = record("sqs", "sqs.json");
        letter["eventSourceARN"] = json!(format!("arn:aws:sqs:us-east-1:123456789012:{}", stack.queue_name(queue)));
        letter["body"] = json!(body.to_string());
        letter
    };
    // A day ago: no rule's time to live, nor the default, is as long.
    let mut sns = record("sns", "sns.json");
    sns["Sns"]["Message"] = json!("of sns");
    sns["Sns"]["Timestamp"] = json!(aws_smithy_types::DateTime::from_millis(now() - 24 * HOUR).to_string());
    let place = json!({"id": "0.2", "hops": 1});
    for letter in [
        notification("by name"),
        queued("NotificationQueue", &notification("of the queue")),
        queued("FanOutQueue", &json!({"notification": notification("a segment"), "scope": "sqs-1", "segment": place})),
        sns,
    ] {
        stack.send("DeadLetterQueue", &letter.to_string()).await;
    }
    let (done, said) = redrive(&stack, &[]).await;
    assert!(!done && said.matches("would be dropped again").count() == 4, "{said}");
    client.hears_nothing().await;

    let (done, said) = redrive(&stack, &["--ttl", "1h"]).await;
    assert!(done, "{said}");
    let mut arrived = Vec::new();
    for _ in 0..4 {
        let message = client.json().await;
        let end = message["at"].as_i64().unwrap() + message["ttl"].as_i64().unwrap() * 1_000;
        assert!(end > now() + HOUR - 60_000 && message["at"].as_i64().unwrap() <= at, "{message}");
        arrived.push(message["data"].as_str().unwrap().to_owned());
    }
    arrived.sort_unstable();
    assert_eq!(arrived, ["a segment", "by name", "of sns", "of the queue"]);
    eventually("the dead-letter queue to be empty", Duration::from_secs(10), async || {
        (stack.waiting("DeadLetterQueue").await == 0).then_some(())
    })
    .await;
    stack.stop().await;
}
