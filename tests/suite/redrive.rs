//! `tidings dead-letters redrive` with the real functions: what is sent again arrives.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tests::crowd::{Crowd, Faults, TOPIC, member};
use tests::stack::{Stack, root, tidings};
use tests::standin::Behaviour;
use tests::{eventually, now};
use tidings_test::Client;
use tokio::process::Command;

use crate::registry::{connection, made_at};

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

/// The rows of all logs and their heads.
async fn logs(stack: &Stack) -> BTreeMap<String, String> {
    let rows = stack.rows().await.into_iter().map(|row| (row["pk"].as_s().unwrap().clone(), row));
    let of_logs = rows.filter(|(pk, _)| pk.starts_with("head#") || pk.starts_with("log#"));
    of_logs
        .map(|(pk, row)| {
            (format!("{pk} {:?}", row["sk"]), format!("{:?}", row.into_iter().collect::<BTreeMap<_, _>>()))
        })
        .collect()
}

/// Somebody beside so many others does not take a message of a topic with this rule; its letter is sent again.
async fn a_letter_by_name_keeps_its_place(rule: &Value, others: usize) {
    let crowd = Crowd::gather(others, Faults::default(), &[("History", &json!([rule]).to_string())]).await;
    let failing = "failing";
    crowd.standin.add(failing, Behaviour::Takes);
    let member_of_it = made_at(now() - HOUR, connection(failing, None, &[TOPIC]));
    crowd.stack.registry().connect(&member_of_it).await.unwrap();
    let say = async |data: &str| {
        let message = json!({"to": {"topic": TOPIC}, "data": data}).to_string();
        crowd.stack.send("NotificationQueue", &message).await;
    };
    let waiting = async |count: u64| {
        let are_there = async || (crowd.stack.waiting("DeadLetterQueue").await == count).then_some(());
        eventually("the dead-letter queue", Duration::from_secs(20), are_there).await;
    };
    let got = async |count: usize| {
        let messages = async || Some(crowd.standin.used(failing).messages).filter(|messages| messages.len() == count);
        let messages = eventually("messages", Duration::from_secs(20), messages).await;
        messages.iter().map(|text| serde_json::from_slice(text).unwrap()).collect::<Vec<Value>>()
    };
    say("first").await;
    got(1).await;
    crowd.standin.add(failing, Behaviour::Answers(500, 4));
    say("second").await;
    waiting(1).await;
    assert!(crowd.standin.used(failing).messages.is_empty());
    let before = logs(&crowd.stack).await;
    // It is not delivered this time either, and kept once more.
    crowd.standin.add(failing, Behaviour::Answers(500, 4));
    let (done, said) = redrive(&crowd.stack, &[]).await;
    assert!(done && said.contains("FanOutQueue"), "{said}");
    eventually("all attempts", Duration::from_secs(20), async || {
        (crowd.standin.used(failing).posts == 4).then_some(())
    })
    .await;
    waiting(1).await;
    let (done, said) = redrive(&crowd.stack, &[]).await;
    assert!(done, "{said}");
    let message = got(1).await.remove(0);
    let entry = before.keys().find_map(|key| key.split(' ').next()?.strip_prefix("log#")).unwrap();
    let epoch = entry.rsplit('#').next().unwrap();
    let expected = json!({"topic": TOPIC, "offset": 2, "epoch": epoch, "data": "second"});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&message[name], value, "{name} of {message}");
    }
    assert_eq!(logs(&crowd.stack).await, before, "nothing was appended");
    waiting(0).await;
    for other in (0..others).map(member) {
        assert_eq!(crowd.standin.used(&other).messages.len(), 2, "{other} has both, once");
    }
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_by_name_is_sent_again_under_its_place_in_the_log_and_appends_nothing() {
    a_letter_by_name_keeps_its_place(&json!({"to": {"topic": "**"}, "seconds": 300}), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_is_one_of_an_ordered_topic() {
    // Where others are reached it is closed, and recovers.
    a_letter_by_name_keeps_its_place(&json!({"to": {"topic": "**"}, "seconds": 300, "ordered": true}), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_cannot_say_the_place_of_its_message() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let place = json!({"topic": "t", "offset": 7, "epoch": "k3f9"});
    let forged = json!({"to": {"topic": "t"}, "data": 1, "id": "n", "at": now(), "ttl": 60, "log": place});
    let segment = json!({"notification": forged, "scope": "sqs-1", "segment": {"id": "0"}});
    for body in [&forged, &segment] {
        stack.send("NotificationQueue", &body.to_string()).await;
    }
    let refused = async || (stack.waiting("DeadLetterQueue").await == 2).then_some(());
    eventually("both to be refused", Duration::from_secs(20), refused).await;
    let answer = stack.invoke("notifier", &forged.to_string()).await;
    assert!(
        answer.failed && answer.payload["errorMessage"].as_str().unwrap().contains("`log` is given by the log"),
        "{answer:?}"
    );
    // Nor by way of who sends letters again.
    let (done, said) = redrive(&stack, &[]).await;
    assert!(done && said.matches("-NotificationQueue-").count() == 2, "{said}");
    eventually("both to be refused again", Duration::from_secs(20), refused).await;
    client.hears_nothing().await;
    assert!(logs(&stack).await.keys().all(|key| !key.starts_with("log#")));
    stack.stop().await;
}
