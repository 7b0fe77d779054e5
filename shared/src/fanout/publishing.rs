//! Messages whose producer is told where they stand: whoever answers it appends them, and has them pushed by a worker.
//!
//! What travels to that worker says where the message stands, and nothing else: whoever could give a message a place could
//! give it a wrong one. So what such a message can do is to have said again what stands in a log, which is done once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::logged::{Log, append, head_of};
use super::worker::HandedOn;
use super::{FanOut, FanOutError, Segment};
use crate::clock::Clock;
use crate::history::Retention;
use crate::ids::{NotificationId, Topic};
use crate::log::{Epoch, LogName, LogPosition, Place};
use crate::notification::{Defaults, Notification, Target};
use crate::queue::Queue;
use crate::registry::{Attempt, Claim, Lease, Registry, SegmentKey};

/// What the claim of a message is of that a key names: the key alone counts, whatever it comes with.
const BY_KEY: &str = "by key";
/// The place of such a claim among the segments of the message.
const APPENDING: &str = "append";
/// How long such a claim holds, in milliseconds: longer than an append takes.
const LEASE_MS: i64 = 10_000;
/// For how long one waits for another with the same key.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A message of the notification queue: a topic's log has something that is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InLog {
    /// In whose log.
    appended: Topic,
    /// Where it stands.
    offset: u64,
    /// In which life of the log.
    epoch: Epoch,
}

impl InLog {
    /// Reads a message; `None` where it is something else.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }
}

/// A message for a topic.
#[derive(Debug, Clone)]
pub struct Said<'a> {
    /// The topic.
    pub topic: &'a Topic,
    /// The message, for that topic alone.
    pub notification: Notification,
    /// What its id is unique in.
    pub scope: &'a str,
    /// Whether its producer chose the id, so that it may come again. What comes again is in the log once, as long as the log
    /// has it, and is answered the same.
    pub is_keyed: bool,
}

/// Appends a message to the log of its topic, and has it pushed by who reads the notification queue. Returns where it stands.
///
/// # Errors
/// When the registry or the queue fails, and when another with the same key does not come to an end.
pub async fn publish(
    registry: &Registry,
    notifications: &Queue,
    said: &Said<'_>,
    retention: Retention,
    clock: Clock,
) -> Result<LogPosition, FanOutError> {
    let now = clock.milliseconds();
    let log = Log { name: LogName::Topic(said.topic.clone()), retention };
    let head = head_of(registry, &log, now).await?;
    let claim = match said.is_keyed {
        true => Some(claim(registry, said, &head.position(), clock).await?),
        false => None,
    };
    let (lease, from) = claim.unzip();
    let mut segment = Segment::whole(said.notification.clone(), said.scope);
    let from = from.flatten();
    let appended = append(registry, &mut segment, &log, (head, from.as_ref()), now, async |_| Ok(())).await;
    // Never finished: what comes again looks for the message, and is told its place.
    if let Some(lease) = lease
        && let Err(error) = lease.release().await
    {
        tracing::warn!(%error, "the claim of a key is not released; it ends by itself");
    }
    let LogPosition { offset, epoch } = appended?.0.position;
    let message = InLog { appended: said.topic.clone(), offset, epoch: epoch.clone() };
    // Names and a number can be written.
    let body = serde_json::to_string(&message).unwrap_or_default();
    notifications.send(vec![body], said.topic.as_str(), Duration::ZERO).await?;
    Ok(LogPosition { offset, epoch })
}

/// Takes the message, and where the log ended when it was first taken.
async fn claim(
    registry: &Registry,
    said: &Said<'_>,
    end: &LogPosition,
    clock: Clock,
) -> Result<(Box<Lease>, Option<LogPosition>), FanOutError> {
    let key = SegmentKey {
        scope: said.scope.to_owned(),
        notification: said.notification.id.clone(),
        segment: APPENDING.to_owned(),
    };
    let owner = format!("{:016x}", fastrand::u64(..));
    let give_up = Instant::now() + PATIENCE;
    loop {
        let now = clock.milliseconds();
        let attempt = Attempt { hash: BY_KEY, owner: &owner, now, until: now + LEASE_MS, log_end: Some(end) };
        match registry.claim(&key, &attempt).await? {
            Claim::Ours { lease, from, .. } => return Ok((lease, from)),
            Claim::Held { until } if Instant::now() >= give_up => {
                let milliseconds = u64::try_from(until - now).unwrap_or_default();
                return Err(FanOutError::Held { for_another: Duration::from_millis(milliseconds) });
            }
            Claim::Held { .. } => sleep(PAUSE).await,
            // Nobody finishes such a claim, and all are of the same.
            Claim::Done | Claim::Reused => {
                return Err(FanOutError::Reused { id: said.notification.id.clone() });
            }
        }
    }
}

impl FanOut {
    /// What is to be done for a message that was appended: its topic's lane is to be woken, or it is to be fanned out.
    /// Nothing, where the log does not have it any more.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn appended(&self, message: &InLog) -> Result<Option<HandedOn>, FanOutError> {
        let InLog { appended: topic, offset, epoch } = message;
        let Some(log) = self.log(&Target::Topic(topic.clone())) else { return Ok(None) };
        if log.retention.ordered {
            return Ok(Some(HandedOn::Lane(topic.clone())));
        }
        let at = (offset.saturating_sub(1), *offset);
        let read = self.delivery.registry().entries(&log.name, epoch, at, false, 1).await?;
        Ok(read.entries.first().and_then(|entry| {
            let defaults = Defaults { id: NotificationId::parse("entry").ok()?, at: 0 };
            let mut notification = Notification::parse_own(&entry.notification, &defaults).ok()?;
            let position = LogPosition { offset: *offset, epoch: epoch.clone() };
            notification.log = Some(Place { log: log.name.clone(), position });
            Some(HandedOn::Segment(Box::new(Segment::whole(notification, entry.scope()))))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_that_something_was_appended_is_no_notification_and_says_nothing_else() {
        let message = r#"{"appended":"a/b","offset":7,"epoch":"k3"}"#;
        let read = InLog::parse(message).unwrap();
        assert_eq!((read.appended.as_str(), read.offset, read.epoch.as_str()), ("a/b", 7, "k3"));
        assert_eq!(serde_json::to_string(&read).unwrap(), message);
        for other in [
            r#"{"to":{"topic":"a"},"data":1}"#,
            r#"{"appended":"a","offset":7,"epoch":"k3","data":1}"#,
            r#"{"appended":"","offset":7,"epoch":"k3"}"#,
            r#"{"appended":"a","offset":-1,"epoch":"k3"}"#,
        ] {
            assert_eq!(InLog::parse(other), None, "{other}");
        }
    }
}
