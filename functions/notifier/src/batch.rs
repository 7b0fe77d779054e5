//! Records of a service: each is delivered, kept as a dead letter, or comes again.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tidings::NotificationId;
use tidings::delivery::Report;
use tidings::fanout::{FanOutError, Invocation, Segment};
use tidings::metrics::Metric;
use tidings::notification::{Defaults, MAX_TTL_SECONDS, Notification};
use tidings::queue::{DeadLetter, QueueError};

use crate::trigger::{Answer, Batch, Message, Record, Unreadable};
use crate::{Deps, Error, count, log, shape};

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
    deps: &Deps,
    batch: Batch,
    unreadable: Vec<Unreadable>,
    invocation: &Invocation,
) -> Result<Value, Error> {
    for record in &unreadable {
        let reason = record.to_string();
        dead_letter(deps, invocation, record.raw.get(), &reason, record.service, None)
            .await
            .map_err(Error::DeadLetter)?;
    }
    let failed = side_by_side(deps, &batch, invocation).await;
    if batch.answer == Answer::Whole && !failed.is_empty() {
        return Err(Error::Again { count: failed.len(), total: batch.records.len() });
    }
    let failures: Vec<_> = failed.iter().map(|index| json!({"itemIdentifier": batch.records[*index].item})).collect();
    Ok(json!({"batchItemFailures": failures}))
}

/// Serves all records of a batch, those that keep an order one after the other. Which are to come again, in their order.
async fn side_by_side(deps: &Deps, batch: &Batch, invocation: &Invocation) -> Vec<usize> {
    // One reservation for all of them: most notifications are for one user.
    deps.fan_out.delivery().expect(batch.records.len());
    let groups = stream::iter(groups(&batch.records)).map(|group| in_order(deps, batch, group, invocation));
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
async fn in_order(deps: &Deps, batch: &Batch, group: Vec<usize>, invocation: &Invocation) -> Vec<usize> {
    for (place, index) in group.iter().enumerate() {
        let invocation = Invocation { owner: format!("{}/{index}", invocation.owner), ..invocation.clone() };
        if serve_one(deps, &batch.records[*index], batch.answer, &invocation).await {
            return group[place..].to_vec();
        }
    }
    Vec::new()
}

/// Serves one record; whether it is to come again.
async fn serve_one(deps: &Deps, record: &Record, answer: Answer, invocation: &Invocation) -> bool {
    match deliver(deps, record, answer, invocation).await {
        Ok(()) => false,
        Err(again) => {
            tracing::warn!(source = record.source, item = record.item, reason = again.reason, "comes again");
            if let Some(message) = &record.message {
                put_back(deps, message, again.after).await;
            }
            true
        }
    }
}

async fn deliver(deps: &Deps, record: &Record, answer: Answer, invocation: &Invocation) -> Result<(), Again> {
    let fan_out = deps.fan_out.queues().fan_out.name();
    let message = record.message.as_ref().filter(|message| message.queue == fan_out);
    let segment = match message {
        Some(message) => deps.fan_out.read(&message.body).await,
        None => match notification(deps, record, invocation) {
            Ok(notification) => Ok(Segment::whole(notification, &record.scope)),
            Err(reason) => return keep(deps, invocation, record, record.raw.get(), &reason, None).await,
        },
    };
    let segment = match segment {
        Ok(segment) => segment,
        Err(error) => return failed(deps, invocation, record, None, error).await,
    };
    // Boxed, because the futures of a delivery nest deeper than the compiler likes to look.
    let served = match (message, answer) {
        (Some(_), _) => Box::pin(deps.fan_out.work(&segment, invocation)).await,
        (None, Answer::Whole) => Box::pin(deps.fan_out.take_up_event(&segment, record.trigger(), invocation)).await,
        (None, _) => Box::pin(deps.fan_out.take_up(&segment, invocation)).await,
    };
    match served {
        Ok(report) => {
            // What goes back on the notification queue is counted when it is taken up there.
            if message.is_none() && !(answer == Answer::Whole && is_passed_on(&report)) {
                count(invocation, record.trigger(), &segment.notification);
            }
            log(&report, crate::topic(&segment.notification).as_ref());
            Ok(())
        }
        Err(error) => failed(deps, invocation, record, Some(&segment), error).await,
    }
}

fn is_passed_on(report: &Report) -> bool {
    report.segments > 0 && report.audience == 0
}

/// Keeps what can never succeed; anything else comes again.
async fn failed(
    deps: &Deps,
    invocation: &Invocation,
    record: &Record,
    segment: Option<&Segment>,
    error: FanOutError,
) -> Result<(), Again> {
    let reason = tidings::describe(&error);
    match error {
        FanOutError::Held { for_another } => {
            Err(Again { reason: "another worker has it".to_owned(), after: Some(for_another) })
        }
        error if error.is_permanent() => {
            let id = segment.map(|segment| &segment.notification.id);
            let letter = segment.and_then(|segment| with_notification(record, segment));
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

/// What a record asks for; why it can never succeed, if it cannot.
fn notification(deps: &Deps, record: &Record, invocation: &Invocation) -> Result<Notification, String> {
    let id = NotificationId::parse(&record.id).map_err(|error| error.to_string())?;
    let defaults = Defaults { id, at: credible(record.at, invocation.now) };
    // Whoever writes to the notification queue means a notification, well formed or not.
    let queue = deps.fan_out.queues().notifications.name();
    let is_meant = record.message.as_ref().is_some_and(|message| message.queue == queue);
    let read = if is_meant || shape::is_notification(&record.data) {
        Notification::parse(record.data.get(), &defaults).map_err(|error| error.to_string())
    } else {
        deps.rules.shape(record, &defaults).map_err(|error| error.to_string())
    };
    Ok(record.lasting(read?))
}

/// The event's own time, unless no queue could have held it for so long: then it is a replay, or an example, and means now.
fn credible(at: Option<i64>, now: i64) -> i64 {
    let oldest = now - i64::from(MAX_TTL_SECONDS) * 1_000;
    at.filter(|at| (oldest..=now).contains(at)).unwrap_or(now)
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
