//! Sending to queues, against an SQS that has SQS's limits.

use std::time::Duration;

use aws_sdk_sqs::types::Message;
use tests::queues::{Served, nowhere};
use tidings::queue::{QueueError, SCOPE_ATTRIBUTE, TRIGGER_ATTRIBUTE};
use tidings::trigger::Trigger;

const LIMIT: usize = 1_048_576;
const SCOPE: &str = "rest-0";

fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes()?.get(name)?.string_value()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_messages_of_any_size_arrives_with_its_marks() {
    let served = Served::start().await;
    let queue = served.queue().marked(Trigger::Rest).scoped(SCOPE);
    // More than ten, and more than a mebibyte.
    let bodies: Vec<_> = (0..25).map(|number| number.to_string() + &"x".repeat(100_000)).collect();
    queue.send(bodies.clone(), "g", Duration::ZERO).await.unwrap();
    let messages = served.take().await;
    let mut arrived: Vec<_> = messages.iter().filter_map(|message| message.body.clone()).collect();
    arrived.sort_unstable();
    let mut sent = bodies;
    sent.sort_unstable();
    assert_eq!(arrived, sent);
    for message in &messages {
        let marks = (attribute(message, TRIGGER_ATTRIBUTE), attribute(message, SCOPE_ATTRIBUTE));
        assert_eq!(marks, (Some("rest"), Some(SCOPE)));
    }
    queue.send(Vec::new(), "g", Duration::ZERO).await.unwrap();
    assert!(served.take().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_be_as_large_as_sqs_takes_with_its_attributes_and_no_larger() {
    let served = Served::start().await;
    let queue = served.queue().marked(Trigger::Rest).scoped(SCOPE);
    let marks = "trigger".len() + "rest".len() + "scope".len() + SCOPE.len() + 2 * "String".len();
    let largest = "x".repeat(LIMIT - marks);
    queue.send(vec!["small".to_owned(), largest.clone()], "g", Duration::ZERO).await.unwrap();
    assert_eq!(served.take().await.len(), 2);
    let refused = queue.send(vec!["small".to_owned(), largest + "x"], "g", Duration::ZERO).await.unwrap_err();
    assert!(matches!(refused, QueueError::TooLarge { bytes } if bytes == LIMIT + 1), "{refused}");
    assert!(served.take().await.is_empty(), "nothing of it is sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sqs_does_not_take_is_counted_and_holds_up_no_other() {
    let served = Served::start().await;
    served.limit(1_024).await;
    let bodies: Vec<_> = (0..25).map(|number| "x".repeat(if number % 10 == 0 { 2_000 } else { 10 })).collect();
    let error = served.queue().send(bodies, "g", Duration::ZERO).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, QueueError::Partly { count: 3, total: 25, .. }), "{text}");
    assert!(text.starts_with("SQS did not take 3 of 25 messages: ") && text.contains("1024 bytes"), "{text}");
    assert_eq!(served.take().await.len(), 22);
}

#[tokio::test]
async fn a_queue_that_cannot_be_reached_is_told_with_its_cause() {
    let error = nowhere().send(vec!["x".to_owned()], "g", Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, QueueError::Sqs { operation: "SendMessageBatch", .. }), "{error}");
}
