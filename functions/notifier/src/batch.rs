//! Records of a service: each is delivered, kept as a dead letter, or comes again.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tidings::NotificationId;
use tidings::fanout::{FanOutError, Invocation, Segment};
use tidings::metrics::Metric;
use tidings::queue::{DeadLetter, QueueError};

use crate::trigger::{Answer, Batch, Message, Record, Unreadable};
use crate::{Deps, Error, Notifier, Undelivered};

/// Groups of records side by side: a whole batch of a queue, and as many keys of a stream.
const SIDE_BY_SIDE: usize = 100;
/// First pause before a message comes again; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Why a record is to come again, and when.
struct Again {
    reason: String,
    after: Option<Duration>,
}

/// Serves a batch, and says what is to come again in the words of its service.
pub(crate) async fn serve(
    notifier: &Notifier,
    batch: Batch,
    unreadable: Vec<Unreadable>,
    invocation: &Invocation,
) -> Result<Value, Error> {
    for record in &unreadable {
        let reason = record.to_string();
        dead_letter(&notifier.deps, invocation, record.raw.get(), &reason, record.service, None)
            .await
            .map_err(Error::DeadLetter)?;
    }
    let failed = side_by_side(notifier, &batch, invocation).await;
    if batch.answer == Answer::Whole && !failed.is_empty() {
        return Err(Error::Again { count: failed.len(), total: batch.records.len() });
    }
    let failures: Vec<_> = failed.iter().map(|index| json!({"itemIdentifier": batch.records[*index].item})).collect();
    Ok(json!({"batchItemFailures": failures}))
}

/// Serves all records of a batch, those that keep an order one after the other. Which are to come again, in their order.
async fn side_by_side(notifier: &Notifier, batch: &Batch, invocation: &Invocation) -> Vec<usize> {
    // One reservation for all of them: most notifications are for one user.
    notifier.deps.fan_out.delivery().expect(batch.records.len());
    let groups = stream::iter(groups(&batch.records)).map(|group| in_order(notifier, batch, group, invocation));
    let mut failed: Vec<usize> = groups.buffer_unordered(SIDE_BY_SIDE).flat_map(stream::iter).collect().await;
    failed.sort_unstable();
    failed
}

/// The records that are served one after the other, by their places.
fn groups(records: &[Record]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut places = HashMap::new();
    for (index, record) in records.iter().enumerate() {
        let place = record.order.as_ref().map(|order| *places.entry(order).or_insert(groups.len()));
        match place.filter(|place| *place < groups.len()) {
            Some(place) => groups[place].push(index),
            None => groups.push(vec![index]),
        }
    }
    groups
}

/// Everything from the first failure on is to come again: what comes after it must not overtake it.
async fn in_order(notifier: &Notifier, batch: &Batch, group: Vec<usize>, invocation: &Invocation) -> Vec<usize> {
    for (place, index) in group.iter().enumerate() {
        let invocation = Invocation { owner: format!("{}/{index}", invocation.owner), ..invocation.clone() };
        if serve_one(notifier, &batch.records[*index], batch.answer, &invocation).await {
            return group[place..].to_vec();
        }
    }
    Vec::new()
}

/// Serves one record; whether it is to come again.
async fn serve_one(notifier: &Notifier, record: &Record, answer: Answer, invocation: &Invocation) -> bool {
    let Err(undelivered) = notifier.deliver(record, answer, invocation).await else { return false };
    let Err(again) = settle(&notifier.deps, invocation, record, undelivered).await else { return false };
    tracing::warn!(source = record.source, item = record.item, reason = again.reason, "comes again");
    if let Some(message) = &record.message {
        put_back(&notifier.deps, message, again.after).await;
    }
    true
}

/// Keeps what can never succeed; anything else comes again.
async fn settle(deps: &Deps, invocation: &Invocation, record: &Record, undelivered: Undelivered) -> Result<(), Again> {
    let (error, segment) = match undelivered {
        Undelivered::Invalid(reason) => return keep(deps, invocation, record, record.raw.get(), &reason, None).await,
        Undelivered::Failed(error, segment) => (error, segment),
    };
    let reason = tidings::describe(&error);
    match error {
        FanOutError::Held { for_another } => {
            Err(Again { reason: "another worker has it".to_owned(), after: Some(for_another) })
        }
        error if error.is_permanent() => {
            let id = segment.as_ref().map(|segment| &segment.notification.id);
            let letter = segment.as_ref().and_then(|segment| with_notification(record, segment));
            let body = letter.as_deref().unwrap_or(record.raw.get());
            keep(deps, invocation, record, body, &reason, id).await
        }
        _ => Err(Again { reason, after: None }),
    }
}

/// The record of a segment with its notification in it, which the queue's message only refers to.
fn with_notification(record: &Record, segment: &Segment) -> Option<String> {
    let mut raw: Value = serde_json::from_str(record.raw.get()).ok().filter(|_| segment.is_stored)?;
    *raw.get_mut("body")? = segment.to_letter().ok()?.into();
    Some(raw.to_string())
}

/// Keeps what can never succeed; it then counts as handled.
async fn keep(
    deps: &Deps,
    invocation: &Invocation,
    record: &Record,
    body: &str,
    reason: &str,
    id: Option<&NotificationId>,
) -> Result<(), Again> {
    let kept = dead_letter(deps, invocation, body, reason, &record.source, id).await;
    kept.map_err(|error| Again { reason: tidings::describe(&error), after: None })
}

async fn dead_letter(
    deps: &Deps,
    invocation: &Invocation,
    body: &str,
    reason: &str,
    source: &str,
    id: Option<&NotificationId>,
) -> Result<(), QueueError> {
    let letter = DeadLetter { body, reason, source, notification: id.map(NotificationId::as_str) };
    deps.fan_out.queues().dead_letters.dead_letter(letter).await?;
    invocation.recorder.add(Metric::DeadLetters, 1);
    tracing::error!(source, reason, "kept a record that cannot succeed in the dead-letter queue");
    Ok(())
}

/// Sets when a message comes again. Without it, it comes when its visibility ends, so a failure here only costs time.
async fn put_back(deps: &Deps, message: &Message, after: Option<Duration>) {
    let pause = after.unwrap_or_else(|| {
        let pause = FIRST_PAUSE.saturating_mul(1 << message.receives.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    });
    let queue = deps.fan_out.queues().fan_out.sibling(&message.queue);
    if let Err(error) = queue.put_back(&message.receipt, pause.max(Duration::from_secs(1))).await {
        tracing::warn!(error = tidings::describe(&error), "could not set when a message comes again");
    }
}
