//! Queues: poll, invoke, delete what is done.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{Mapping, pause};
use tidings_local_services::sqs::{Attribute, Content, Deletion, Received, Refusal, Take, md5_of, md5_of_attributes};
use tidings_local_stack::filter;

/// Pollers of a queue without `MaximumConcurrency`: Lambda begins with five.
const POLLERS: usize = 5;

/// Most pollers of a queue: a function has no more processes here.
const MOST_POLLERS: usize = 10;

/// How long one poll waits for messages.
const WAIT: Duration = Duration::from_secs(20);

/// Most bytes of the bodies of one event, which Lambda limits to 6 MB as a whole.
const EVENT_BYTES: usize = 4 * 1024 * 1024;

/// How many pollers a queue has, and so how many batches are worked on at once.
pub(super) fn pollers(maximum_concurrency: Option<usize>, reserved_concurrency: Option<usize>) -> usize {
    let wanted = maximum_concurrency.unwrap_or(POLLERS).min(MOST_POLLERS);
    // A function that may not run at all is still tried, and says so.
    wanted.min(reserved_concurrency.unwrap_or(wanted)).max(1)
}

/// Polls for as long as the task lives.
pub(super) async fn poll(mapping: Arc<Mapping>, queue: String, arn: String) {
    let mut failures = 0;
    loop {
        let worked = match gather(&mapping, &queue).await {
            Ok(batch) => work(&mapping, &queue, &arn, batch).await,
            Err(error) => {
                if failures == 0 {
                    mapping.logs.warn(&format!("the queue {queue} cannot be read: {error}"));
                }
                false
            }
        };
        if worked {
            failures = 0;
        } else {
            failures += 1;
            tokio::time::sleep(pause(failures)).await;
        }
    }
}

/// Waits for messages, and then for as long as the batching window says until the batch is full.
async fn gather(mapping: &Mapping, queue: &str) -> Result<Vec<Received>, Refusal> {
    let size = mapping.source.batch_size;
    let take = |count, bytes| Take { count, bytes, visibility: None };
    let mut batch = mapping.sqs.receive(queue, &take(size, EVENT_BYTES), Some(WAIT)).await?;
    let end = Instant::now() + Duration::from_secs(mapping.source.batching_window);
    while !batch.is_empty() && batch.len() < size {
        let bytes = EVENT_BYTES.saturating_sub(batch.iter().map(|received| received.message.body.len()).sum());
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || bytes == 0 {
            break;
        }
        batch.extend(mapping.sqs.receive(queue, &take(size - batch.len(), bytes), Some(left)).await?);
    }
    Ok(batch)
}

/// Invokes the function with what passes the filters, and deletes what is done; whether the function worked.
async fn work(mapping: &Mapping, queue: &str, arn: &str, batch: Vec<Received>) -> bool {
    let (wanted, unwanted): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|received| (record(&received, arn, &mapping.region), received))
        .partition(|(record, _)| filter::passes(&mapping.source.filters, &with_parsed_body(record)));
    delete(mapping, queue, unwanted.iter().map(|(_, received)| received));
    if wanted.is_empty() {
        return true;
    }
    let (records, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
    let outcome = mapping.invoke(&records).await;
    let ids: Vec<&str> = wanted.iter().map(|received| received.message.id.as_str()).collect();
    match mapping.failed_items(&outcome, &ids) {
        Ok(failed) => {
            let failed: HashSet<&str> = failed.iter().map(String::as_str).collect();
            delete(mapping, queue, wanted.iter().filter(|received| !failed.contains(received.message.id.as_str())));
            true
        }
        Err(reason) => {
            let count = wanted.len();
            let messages = if count == 1 { "a message" } else { &format!("{count} messages") };
            let label = &mapping.label;
            mapping.logs.warn(&format!("function {label} failed on {messages} of {queue}: {reason}"));
            false
        }
    }
}

fn delete<'a>(mapping: &Mapping, queue: &str, messages: impl Iterator<Item = &'a Received>) {
    for received in messages {
        let id = &received.message.id;
        match mapping.sqs.delete(queue, &received.receipt) {
            Ok(Deletion::Deleted) => {}
            Ok(Deletion::ReceivedAgain) => mapping.logs.warn(&too_late(mapping, queue, id, "it is received again")),
            Ok(Deletion::Gone) => {
                mapping.logs.warn(&too_late(
                    mapping,
                    queue,
                    id,
                    "it has gone to the dead-letter queue, or was deleted",
                ));
            }
            Err(error) => {
                mapping.logs.warn(&format!("the message {id} of {queue} is done, but cannot be deleted: {error}"));
            }
        }
    }
}

/// What to say of a message that came back while the function worked on it, or waited for the batch to fill.
fn too_late(mapping: &Mapping, queue: &str, id: &str, what: &str) -> String {
    let window = match mapping.source.batching_window {
        0 => String::new(),
        seconds => format!(" and the batching window of {seconds} s"),
    };
    format!(
        "function {} has succeeded on the message {id} of {queue}, but its visibility timeout was over before: {what}. Make \
         the queue's VisibilityTimeout longer than the function's Timeout{window} together",
        mapping.label
    )
}

/// A message as Lambda's event has it.
fn record(received: &Received, arn: &str, region: &str) -> Value {
    let message = &received.message;
    let attributes = message.attributes.iter().map(|(name, attribute)| (name.clone(), event_attribute(attribute)));
    let mut record = json!({
        "messageId": message.id,
        "receiptHandle": received.receipt,
        "body": message.body,
        "attributes": received.system_attributes(),
        "messageAttributes": attributes.collect::<Map<_, _>>(),
        "md5OfBody": md5_of(&message.body),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": region,
    });
    if let Some(checksum) = md5_of_attributes(&message.attributes) {
        record["md5OfMessageAttributes"] = checksum.into();
    }
    record
}

fn event_attribute(attribute: &Attribute) -> Value {
    let (key, value) = match &attribute.content {
        Content::Text(text) => ("stringValue", text.clone()),
        Content::Binary(bytes) => ("binaryValue", BASE64_STANDARD.encode(bytes)),
    };
    json!({key: value, "stringListValues": [], "binaryListValues": [], "dataType": attribute.data_type})
}

/// Filters look into a body that is JSON.
fn with_parsed_body(record: &Value) -> Value {
    let mut record = record.clone();
    if let Some(body) = record["body"].as_str().and_then(|body| serde_json::from_str(body).ok()) {
        record["body"] = body;
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_as_many_pollers_as_batches_may_run() {
        assert_eq!(pollers(None, None), 5);
        assert_eq!(pollers(Some(2), None), 2);
        assert_eq!(pollers(Some(1000), None), 10);
        assert_eq!(pollers(Some(7), Some(3)), 3);
        assert_eq!(pollers(None, Some(0)), 1);
    }
}
