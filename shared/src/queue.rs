//! Queues: what is handed to other invocations, and what ends in the dead-letter queue. Nothing else knows SQS.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use crate::aws::json::{CallError, JsonClient};
use crate::function::BoxError;
use crate::trigger::Trigger;

/// The attribute that says what brought a message of ours, for the metrics alone.
pub const TRIGGER_ATTRIBUTE: &str = "trigger";
/// The attribute that says what the idempotency key of a message of ours is unique in: a
/// [`scope`](crate::notification::scope).
pub const SCOPE_ATTRIBUTE: &str = "scope";

/// Most messages that SQS takes at once.
const BATCH_MESSAGES: usize = 10;
/// Most bytes that SQS takes at once, in one message or in a batch of them, attributes included.
const BATCH_BYTES: usize = 1_048_576;
/// The type of our attributes, which counts to their size.
const TEXT: &str = "String";

/// Operations are named whole: `tests/suite/roles.rs` reads in the programs what they can call.
const SEND_BATCH: &str = "AmazonSQS.SendMessageBatch";
/// Longest delay of a message.
const LONGEST_DELAY: Duration = Duration::from_secs(900);
/// Longest time that a message can be hidden, in seconds.
const LONGEST_VISIBILITY: u64 = 43_200;
/// Longest reason that travels with a dead letter; SQS counts attributes to the message's size.
const LONGEST_REASON: usize = 1_024;

/// Why a message is not in a queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// SQS refused, or could not be reached.
    #[error("{operation} failed in SQS")]
    Sqs {
        /// The operation.
        operation: &'static str,
        /// What SQS said.
        source: BoxError,
    },
    /// SQS took some messages and not others.
    #[error("SQS did not take {count} of {total} messages: {reason}")]
    Partly {
        /// How many it left, those that it was not asked to take any more included.
        count: usize,
        /// Of how many.
        total: usize,
        /// What it said of the first.
        reason: String,
        /// The failure, where it could not be reached any more.
        source: Option<BoxError>,
    },
    /// A message is larger than SQS takes. None was sent.
    #[error("a message would be {bytes} bytes, and SQS takes {BATCH_BYTES}; make it smaller")]
    TooLarge {
        /// Its size with its attributes.
        bytes: usize,
    },
}

/// Why something is in the dead-letter queue.
#[derive(Debug, Clone, Copy)]
pub struct DeadLetter<'a> {
    /// The original record.
    pub body: &'a str,
    /// What is wrong with it.
    pub reason: &'a str,
    /// Where it came from, such as `aws/sqs/orders`.
    pub source: &'a str,
    /// The notification, where there is one.
    pub notification: Option<&'a str>,
}

type LazyClient = LazyLock<JsonClient, Box<dyn FnOnce() -> JsonClient + Send>>;

/// One queue; [`Aws::queue`](crate::aws::Aws::queue) makes one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Arc<LazyClient>,
    url: String,
    trigger: Option<Trigger>,
    scope: Option<String>,
}

impl Queue {
    /// The queue at `url`. The client is made once it is needed: a start that may never send does not wait for it.
    pub(crate) fn with_client(client: impl FnOnce() -> JsonClient + Send + 'static, url: impl Into<String>) -> Self {
        let client: Arc<LazyClient> = Arc::new(LazyLock::new(Box::new(client)));
        Self { client, url: url.into(), trigger: None, scope: None }
    }

    /// Marks what is sent, so that the notifier counts it under this trigger and not as a message of any producer.
    #[must_use]
    pub fn marked(self, trigger: Trigger) -> Self {
        Self { trigger: Some(trigger), ..self }
    }

    /// The same queue for notifications whose ids are unique in this [`scope`](crate::notification::scope).
    #[must_use]
    pub fn scoped(&self, scope: impl Into<String>) -> Self {
        Self { scope: Some(scope.into()), ..self.clone() }
    }

    /// The queue's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Another queue of the same account and region.
    #[must_use]
    pub fn sibling(&self, name: &str) -> Self {
        let base = self.url.rsplit_once('/').map_or("", |(base, _)| base);
        Self { client: Arc::clone(&self.client), url: format!("{base}/{name}"), trigger: None, scope: None }
    }

    /// Sends messages, all of one group: a fair queue lets no group hold up another. They go in as few requests as SQS
    /// allows, and can be received after `delay` (at most 15 minutes).
    ///
    /// # Errors
    /// When SQS does not take all of them.
    pub async fn send(&self, bodies: Vec<String>, group: &str, delay: Duration) -> Result<(), QueueError> {
        let (total, marks) = (bodies.len(), self.marks());
        let batches = batches(bodies, marks.iter().map(|(name, value)| name.len() + TEXT.len() + value.len()).sum())?;
        let (mut sent, mut left, mut reason) = (0, 0, String::new());
        for batch in batches {
            let size = batch.len();
            match self.send_batch(batch, &marks, &group_id(group), delay).await {
                Ok(failed) => {
                    (left, sent) = (left + failed.len(), sent + size - failed.len());
                    reason = failed.into_iter().next().map_or(reason, Untaken::reason);
                }
                Err(error) if sent == 0 && left == 0 => return Err(failed(SEND_BATCH, error)),
                Err(error) => {
                    let (count, reason) = (total - sent, crate::describe(&error));
                    return Err(QueueError::Partly { count, total, reason, source: Some(Box::new(error)) });
                }
            }
        }
        match left {
            0 => Ok(()),
            count => Err(QueueError::Partly { count, total, reason, source: None }),
        }
    }

    /// What each message carries beside its body.
    fn marks(&self) -> Vec<(&'static str, &str)> {
        let trigger = self.trigger.map(|trigger| (TRIGGER_ATTRIBUTE, trigger.name()));
        let scope = self.scope.as_deref().map(|scope| (SCOPE_ATTRIBUTE, scope));
        trigger.into_iter().chain(scope).collect()
    }

    /// Sends what fits into one request; what SQS did not take of it.
    async fn send_batch(
        &self,
        bodies: Vec<String>,
        marks: &[(&'static str, &str)],
        group: &str,
        delay: Duration,
    ) -> Result<Vec<Untaken>, CallError> {
        let delay = delay.min(LONGEST_DELAY).as_secs();
        let attributes = attributes(marks.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let entries = bodies.into_iter().enumerate().map(|(index, body)| {
            json!({
                "Id": index.to_string(),
                "MessageBody": body,
                "MessageAttributes": &attributes,
                "MessageGroupId": group,
                "DelaySeconds": delay,
            })
        });
        let batch = json!({"QueueUrl": self.url, "Entries": entries.collect::<Vec<_>>()});
        let answer: Sent = self.client.call(SEND_BATCH, &batch).await?;
        Ok(answer.failed)
    }

    /// Keeps a record that can never succeed.
    ///
    /// # Errors
    /// When SQS does not take it.
    pub async fn dead_letter(&self, letter: DeadLetter<'_>) -> Result<(), QueueError> {
        let found = [
            ("reason", Some(letter.reason)),
            ("source", Some(letter.source)),
            ("notification_id", letter.notification),
        ];
        let found = found.into_iter().filter_map(|(name, value)| Some((name, shortened(value?))));
        let attributes = attributes(found.filter(|(_, value)| !value.is_empty()));
        let message = json!({"QueueUrl": self.url, "MessageBody": letter.body, "MessageAttributes": attributes});
        self.done("AmazonSQS.SendMessage", message).await
    }

    /// Lets a message that was received come again after `delay`.
    ///
    /// # Errors
    /// When SQS refuses.
    pub async fn put_back(&self, receipt: &str, delay: Duration) -> Result<(), QueueError> {
        let seconds = delay.as_secs().min(LONGEST_VISIBILITY);
        let change = json!({"QueueUrl": self.url, "ReceiptHandle": receipt, "VisibilityTimeout": seconds});
        self.done("AmazonSQS.ChangeMessageVisibility", change).await
    }

    /// Calls an operation whose answer says nothing.
    async fn done(&self, operation: &'static str, input: Value) -> Result<(), QueueError> {
        let IgnoredAny = self.client.call(operation, &input).await.map_err(|error| failed(operation, error))?;
        Ok(())
    }
}

/// Bodies in groups that SQS takes at once, in their order; each is sent with `beside` bytes of attributes.
fn batches(bodies: Vec<String>, beside: usize) -> Result<Vec<Vec<String>>, QueueError> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for body in bodies {
        let bytes = body.len() + beside;
        if bytes > BATCH_BYTES {
            return Err(QueueError::TooLarge { bytes });
        }
        match batches.last_mut().filter(|batch| bytes <= room && batch.len() < BATCH_MESSAGES) {
            Some(batch) => {
                room -= bytes;
                batch.push(body);
            }
            None => {
                room = BATCH_BYTES - bytes;
                batches.push(vec![body]);
            }
        }
    }
    Ok(batches)
}

/// SQS's answer to a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sent {
    #[serde(default)]
    failed: Vec<Untaken>,
}

/// A message of a batch that SQS did not take.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Untaken {
    code: String,
    message: Option<String>,
}

impl Untaken {
    fn reason(self) -> String {
        self.message.unwrap_or(self.code)
    }
}

fn attributes(found: impl Iterator<Item = (&'static str, String)>) -> Map<String, Value> {
    found.map(|(name, value)| (name.to_owned(), json!({"DataType": TEXT, "StringValue": value}))).collect()
}

fn failed(operation: &'static str, error: CallError) -> QueueError {
    QueueError::Sqs { operation: operation.rsplit('.').next().unwrap_or(operation), source: Box::new(error) }
}

/// SQS allows 128 printable ASCII characters in a group.
fn group_id(name: &str) -> String {
    let allowed = |character: char| if character.is_ascii_graphic() { character } else { '_' };
    name.chars().map(allowed).take(128).collect()
}

fn shortened(text: &str) -> String {
    let allowed = |character: &char| !character.is_control();
    text.chars().filter(allowed).take(LONGEST_REASON / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bodies: &[usize], beside: usize) -> Vec<Vec<usize>> {
        let bodies = bodies.iter().map(|length| "x".repeat(*length)).collect();
        batches(bodies, beside).unwrap().iter().map(|batch| batch.iter().map(String::len).collect()).collect()
    }

    #[test]
    fn a_batch_has_ten_messages_and_one_mebibyte_with_attributes_at_most() {
        assert_eq!(sizes(&[], 0), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(&[1; 21], 0), [vec![1; 10], vec![1; 10], vec![1]]);
        let half = BATCH_BYTES / 2;
        assert_eq!(sizes(&[half, half, 1], 0), [vec![half, half], vec![1]]);
        assert_eq!(sizes(&[half, half, 1], 1), [vec![half], vec![half, 1]]);
        assert_eq!(sizes(&[1, BATCH_BYTES, 1], 0), [vec![1], vec![BATCH_BYTES], vec![1]]);
    }

    #[test]
    fn a_message_that_sqs_never_takes_is_refused_with_its_size() {
        let error = batches(vec!["x".repeat(BATCH_BYTES - 9)], 10).unwrap_err();
        assert_eq!(error.to_string(), "a message would be 1048577 bytes, and SQS takes 1048576; make it smaller");
    }
}
