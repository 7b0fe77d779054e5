//! Queues: what is handed to other invocations, and what ends in the dead-letter queue. Nothing else knows SQS.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};

use crate::metrics::Trigger;

/// The attribute that says what brought a message of ours, for the metrics alone.
pub const TRIGGER_ATTRIBUTE: &str = "trigger";

/// Longest delay of a message.
const LONGEST_DELAY: Duration = Duration::from_secs(900);
/// Longest reason that travels with a dead letter; SQS counts attributes to the message's size.
const LONGEST_REASON: usize = 1_024;

/// Why a message is not in a queue.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// SQS refused, or could not be reached.
    #[error("{operation} failed in SQS")]
    Sqs {
        /// The operation.
        operation: &'static str,
        /// What SQS said.
        source: Box<aws_sdk_sqs::Error>,
    },
    /// SQS took some messages of a batch and not others.
    #[error("SQS did not take {count} messages of a batch: {reason}")]
    Partly {
        /// How many it left.
        count: usize,
        /// What it said of the first.
        reason: String,
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

/// One queue.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
    trigger: Option<Trigger>,
}

impl Queue {
    /// The queue at `url`.
    #[must_use]
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self { client, url: url.into(), trigger: None }
    }

    /// Marks what is sent, so that the notifier counts it under this trigger and not as a message of any producer.
    #[must_use]
    pub fn marked(self, trigger: Trigger) -> Self {
        Self { trigger: Some(trigger), ..self }
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
        Self { client: self.client.clone(), url: format!("{base}/{name}"), trigger: None }
    }

    /// Sends messages, at most ten, all of one group: a fair queue lets no group hold up another.
    ///
    /// # Errors
    /// When SQS does not take all of them.
    pub async fn send(&self, bodies: Vec<String>, group: &str, delay: Duration) -> Result<(), QueueError> {
        let operation = "SendMessageBatch";
        let delay = i32::try_from(delay.min(LONGEST_DELAY).as_secs()).unwrap_or_default();
        let group = group_id(group);
        let entries = bodies.into_iter().enumerate().map(|(index, body)| {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
            let entry = match self.trigger {
                Some(trigger) => entry.message_attributes(TRIGGER_ATTRIBUTE, text(trigger.name())?),
                None => entry,
            };
            entry.message_group_id(&group).delay_seconds(delay).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|error| failed(operation, error.into()))?;
        let request = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = request.send().await.map_err(|error| failed(operation, error.into()))?;
        match answer.failed.as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let reason = first.message().unwrap_or(first.code()).to_owned();
                Err(QueueError::Partly { count: answer.failed.len(), reason })
            }
        }
    }

    /// Keeps a record that can never succeed.
    ///
    /// # Errors
    /// When SQS does not take it.
    pub async fn dead_letter(&self, letter: DeadLetter<'_>) -> Result<(), QueueError> {
        let operation = "SendMessage";
        let mut request = self.client.send_message().queue_url(&self.url).message_body(letter.body);
        let attributes = [
            ("reason", Some(letter.reason)),
            ("source", Some(letter.source)),
            ("notification_id", letter.notification),
        ];
        for (name, value) in attributes {
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let value = text(&shortened(value)).map_err(|error| failed(operation, error.into()))?;
            request = request.message_attributes(name, value);
        }
        request.send().await.map_err(|error| failed(operation, error.into()))?;
        Ok(())
    }

    /// Lets a message that was received come again after `delay`.
    ///
    /// # Errors
    /// When SQS refuses.
    pub async fn put_back(&self, receipt: &str, delay: Duration) -> Result<(), QueueError> {
        let seconds = i32::try_from(delay.as_secs()).unwrap_or(i32::MAX);
        let request = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        let request = request.visibility_timeout(seconds.min(43_200));
        request.send().await.map_err(|error| failed("ChangeMessageVisibility", error.into()))?;
        Ok(())
    }
}

fn text(value: &str) -> Result<MessageAttributeValue, BuildError> {
    MessageAttributeValue::builder().data_type("String").string_value(value).build()
}

fn failed(operation: &'static str, error: aws_sdk_sqs::Error) -> QueueError {
    QueueError::Sqs { operation, source: Box::new(error) }
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
