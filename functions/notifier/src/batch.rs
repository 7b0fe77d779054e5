//! Records of a service: each is delivered, kept as a dead letter, or comes again.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings::NotificationId;
use tidings::fanout::{FanOutError, Segment, Shift};
use tidings::metrics::Metric;
use tidings::notification::{Carrier, MAX_TTL_SECONDS, Notification};
use tidings::queue::{DeadLetter, QueueError};

use crate::trigger::{Answer, Batch, Message, Record, Unreadable};
use crate::{Deps, Error, count, log, shape};

/// Records side by side. Each may have as many posts under way as a function has file descriptors for, divided by this.
const SIDE_BY_SIDE: usize = 3;
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
    shift: &Shift,
) -> Result<Value, Error> {
    for record in &unreadable {
        let reason = record.to_string();
        bury(deps, shift, &record.raw, &reason, record.service, None).await.map_err(Error::DeadLetter)?;
    }
    let failed = match batch.answer {
        Answer::Items | Answer::Whole => side_by_side(deps, &batch.records, shift).await,
        Answer::FirstOn => one_by_one(deps, &batch.records, shift).await,
    };
    if batch.answer == Answer::Whole && !failed.is_empty() {
        return Err(Error::Again { count: failed.len(), total: batch.records.len() });
    }
    let failures: Vec<_> = failed.iter().map(|record| json!({"itemIdentifier": record.item})).collect();
    Ok(json!({"batchItemFailures": failures}))
}

async fn side_by_side<'a>(deps: &Deps, records: &'a [Record], shift: &Shift) -> Vec<&'a Record> {
    let served = stream::iter(records.iter().enumerate()).map(|(index, record)| async move {
        let failed = serve_one(deps, record, shift, index).await;
        failed.then_some(record)
    });
    served.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await
}

/// Everything from the first failure on: what comes after it must not overtake it.
async fn one_by_one<'a>(deps: &Deps, records: &'a [Record], shift: &Shift) -> Vec<&'a Record> {
    for (index, record) in records.iter().enumerate() {
        if serve_one(deps, record, shift, index).await {
            return records[index..].iter().collect();
        }
    }
    Vec::new()
}

/// Serves one record; whether it is to come again.
async fn serve_one(deps: &Deps, record: &Record, shift: &Shift, index: usize) -> bool {
    let shift = Shift { owner: format!("{}/{index}", shift.owner), ..shift.clone() };
    tracing::debug!(source = record.source, scope = record.scope, order = record.order, "takes up a record");
    match deliver(deps, record, &shift).await {
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

async fn deliver(deps: &Deps, record: &Record, shift: &Shift) -> Result<(), Again> {
    let segment = match segment(deps, record, shift) {
        Ok(segment) => segment,
        Err(reason) => return keep(deps, shift, record, &reason, None).await,
    };
    let id = segment.notification.id.clone();
    // Boxed, because the futures of a delivery nest deeper than the compiler likes to look.
    match Box::pin(deps.fan_out.work(&segment, shift)).await {
        Ok(report) => {
            log(&report, crate::topic(&segment.notification).as_ref());
            Ok(())
        }
        Err(error) if error.is_permanent() => keep(deps, shift, record, &tidings::describe(&error), Some(&id)).await,
        Err(FanOutError::Held { for_another }) => {
            Err(Again { reason: "another worker has it".to_owned(), after: Some(for_another) })
        }
        Err(error) => Err(Again { reason: tidings::describe(&error), after: None }),
    }
}

/// What a record asks for; why it can never succeed, if it cannot.
fn segment(deps: &Deps, record: &Record, shift: &Shift) -> Result<Segment, String> {
    let queues = deps.fan_out.queues();
    let queue = record.message.as_ref().map(|message| message.queue.as_str());
    if let Some(message) = record.message.as_ref().filter(|message| message.queue == queues.fan_out.name()) {
        return Segment::parse(&message.body).map_err(|error| tidings::describe(&error));
    }
    let id = NotificationId::parse(&record.id).map_err(|error| error.to_string())?;
    let carrier = Carrier { id, at: credible(record.at, shift.now) };
    // Whoever writes to the notification queue means a notification, well formed or not.
    let is_meant = queue.is_some_and(|queue| deps.notification_queue.as_deref() == Some(queue));
    let read = if is_meant || shape::is_notification(&record.data) {
        Notification::parse(record.data.get(), &carrier).map_err(|error| error.to_string())
    } else {
        deps.rules.shape(record, &carrier).map_err(|error| error.to_string())
    };
    let notification = record.lasting(read?);
    count(shift, record.trigger(), &notification);
    Ok(Segment::whole(notification, shift.now))
}

/// The event's own time, unless no queue could have held it for so long: then it is a replay, or an example, and means now.
fn credible(at: Option<i64>, now: i64) -> i64 {
    let oldest = now - i64::from(MAX_TTL_SECONDS) * 1_000;
    at.filter(|at| (oldest..=now).contains(at)).unwrap_or(now)
}

/// Keeps what can never succeed; it then counts as handled.
async fn keep(
    deps: &Deps,
    shift: &Shift,
    record: &Record,
    reason: &str,
    id: Option<&NotificationId>,
) -> Result<(), Again> {
    let kept = bury(deps, shift, &record.raw, reason, &record.source, id).await;
    kept.map_err(|error| Again { reason: tidings::describe(&error), after: None })
}

async fn bury(
    deps: &Deps,
    shift: &Shift,
    raw: &RawValue,
    reason: &str,
    source: &str,
    id: Option<&NotificationId>,
) -> Result<(), QueueError> {
    let letter = DeadLetter { body: raw.get(), reason, source, notification: id.map(NotificationId::as_str) };
    deps.fan_out.queues().dead_letters.dead_letter(letter).await?;
    shift.tally.add(Metric::DeadLetters, 1);
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
