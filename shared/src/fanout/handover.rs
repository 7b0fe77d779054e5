//! What one invocation leaves to others: segments in the fan-out queue, dead letters, and the position in a segment's row.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{FanOutError, Queues, Segment};
use crate::clock::Clock;
use crate::delivery::{Failed, Progress, Retry, Why};
use crate::metrics::{Metric, Recorder};
use crate::notification::Target;
use crate::queue::DeadLetter;
use crate::registry::{Lease, Registry, connection_of};

/// When connections that were still in their handshake are tried again.
const PENDING_DELAY: Duration = Duration::from_secs(15);
/// Longest pause before what was throttled, overloaded or refused is tried again, in seconds.
const LONGEST_PAUSE: f64 = 60.0;
/// Members that one message names.
const NAMES_AT_ONCE: usize = 1_000;
/// Members that one letter names: a notification has no more targets.
const TARGETS_AT_ONCE: usize = 100;

/// Hands on what is left of one segment.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) queues: Queues,
    pub(super) registry: Registry,
    pub(super) segment: Segment,
    pub(super) recorder: Recorder,
    pub(super) clock: Clock,
    is_stored: AtomicBool,
}

impl Handover {
    pub(super) fn new(
        queues: &Queues,
        registry: &Registry,
        segment: &Segment,
        recorder: &Recorder,
        clock: Clock,
    ) -> Self {
        Self {
            queues: queues.clone(),
            registry: registry.clone(),
            is_stored: AtomicBool::new(segment.is_stored),
            segment: segment.clone(),
            recorder: recorder.clone(),
            clock,
        }
    }

    /// Writes progress down: the failed to the dead-letter queue, whoever is to be tried again to the fan-out queue, and
    /// the position into the segment's row, last of all, since it says that the rest is done.
    pub(super) async fn save(&self, progress: Progress, lease: Option<&Lease>) -> Result<(), FanOutError> {
        for failed in progress.failed.chunks(TARGETS_AT_ONCE) {
            self.dead_letter(failed).await?;
        }
        let segment = &self.segment;
        for pending in progress.pending.chunks(NAMES_AT_ONCE) {
            let again = segment.by_name(pending, Retry::Handshake, segment.waits);
            self.send(vec![again], PENDING_DELAY).await?;
        }
        for delayed in progress.delayed.chunks(NAMES_AT_ONCE) {
            let since = match segment.retry {
                Retry::Throttled { since } => since,
                _ => self.clock.milliseconds(),
            };
            let again = segment.by_name(delayed, Retry::Throttled { since }, segment.waits + 1);
            self.send(vec![again], pause(2.0_f64.powi(i32::try_from(segment.waits).unwrap_or(i32::MAX)))).await?;
        }
        if let (Some(lease), Some(position)) = (lease, &progress.position) {
            lease.save(position).await?;
        }
        Ok(())
    }

    /// Sends segments of the notification to the fan-out queue. They refer to it, so it is stored first.
    pub(super) async fn send(&self, segments: Vec<Segment>, delay: Duration) -> Result<(), FanOutError> {
        let notification = &self.segment.notification;
        if !self.is_stored.load(Ordering::Relaxed) {
            // A notification that was parsed can be written.
            let body = serde_json::to_string(notification).unwrap_or_default();
            let (key, hash) = (self.segment.key(), &self.segment.hash);
            if !self.registry.store(&key, hash, &body, self.clock.milliseconds()).await? {
                return Err(FanOutError::Reused { id: notification.id.clone() });
            }
            self.is_stored.store(true, Ordering::Relaxed);
        }
        let messages = segments.iter().filter_map(|segment| segment.to_message().ok()).collect();
        Ok(self.queues.fan_out.send(messages, notification.id.as_str(), delay).await?)
    }

    /// Hands the segment itself on, for a reason.
    pub(super) async fn again(&self, why: Why) -> Result<(), FanOutError> {
        let again = follow(&self.segment, why);
        self.send(vec![again], delay(why, self.clock.milliseconds())).await
    }

    /// Keeps what members were to get, by name.
    async fn dead_letter(&self, failed: &[Failed]) -> Result<(), FanOutError> {
        let to = failed.iter().map(|failed| Target::Connection(failed.connection.clone())).collect();
        let first = failed.first().map(|failed| failed.reason.as_str()).unwrap_or_default();
        self.keep(to, &format!("{} connections did not get it: {first}", failed.len())).await
    }

    /// Keeps the notification as a dead letter, for these targets alone.
    pub(super) async fn keep(&self, to: Vec<Target>, reason: &str) -> Result<(), FanOutError> {
        let segment = self.segment.kept_for(to, self.clock.milliseconds());
        let notification = &segment.notification;
        // A notification that was parsed can be written.
        let body = match &notification.log {
            None => serde_json::to_string(notification).unwrap_or_default(),
            // Its place is ours to say: as a notification it would be refused, or appended once more.
            Some(_) => self.as_handed_on(&segment.to_letter().unwrap_or_default()),
        };
        let letter = DeadLetter {
            body: &body,
            reason,
            source: "tidings/delivery",
            notification: Some(notification.id.as_str()),
        };
        self.queues.dead_letters.dead_letter(letter).await?;
        self.recorder.add(Metric::DeadLetters, 1);
        Ok(())
    }

    /// A message of the fan-out queue, as that queue's records look, so that whoever sends the letter again finds where to.
    fn as_handed_on(&self, message: &str) -> String {
        // Region and account are those of the dead-letter queue.
        let arn = format!("arn:aws:sqs:::{}", self.queues.fan_out.name());
        json!({"eventSource": "aws:sqs", "eventSourceARN": arn, "body": message}).to_string()
    }

    /// Keeps what members that were begun, or delayed by name, were to get, when the time to live is over before they could.
    pub(super) async fn expire_by_name(&self, keys: &BTreeSet<String>) -> Result<(), FanOutError> {
        let reason = "its time to live was over before API Gateway took it";
        let failed = |key: &String| Some(Failed { connection: connection_of(key)?, reason: reason.to_owned() });
        let failed: Vec<_> = keys.iter().filter_map(failed).collect();
        for some in failed.chunks(TARGETS_AT_ONCE) {
            self.dead_letter(some).await?;
        }
        Ok(())
    }
}

/// The segment as it goes on.
pub(super) fn follow(segment: &Segment, why: Why) -> Segment {
    let segment = segment.clone();
    match why {
        Why::TimeUp => Segment { hops: segment.hops + 1, is_overloaded: false, ..segment },
        // Waiting is no hop.
        Why::Overload { .. } => Segment { is_overloaded: true, ..segment },
        Why::Refused { since } => Segment { retry: Retry::Refused { since }, is_overloaded: false, ..segment },
    }
}

/// How long it waits in the queue: the older the trouble, the longer.
pub(super) fn delay(why: Why, now: i64) -> Duration {
    match why {
        Why::TimeUp => Duration::ZERO,
        Why::Overload { since } | Why::Refused { since } => pause((now - since) as f64 / 4_000.0),
    }
}

/// About so many seconds, 1 to 60: a quarter more or less, so that those who met once do not meet again.
fn pause(seconds: f64) -> Duration {
    let seconds = seconds.min(LONGEST_PAUSE) * (0.75 + fastrand::f64() / 2.0);
    Duration::from_secs(seconds.round().max(1.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_a_quarter_of_the_age_and_between_a_second_and_a_minute() {
        for (age, least, most) in [(0, 1, 1), (10_000, 2, 3), (100_000, 19, 31), (1_200_000, 45, 75)] {
            for why in [Why::Overload { since: 5 }, Why::Refused { since: 5 }] {
                let seconds = delay(why, 5 + age).as_secs();
                assert!((least..=most).contains(&seconds), "{age} ms: {seconds} s");
            }
        }
    }
}
