//! Ordered topics: one worker at a time pushes what a topic's log has, one message after the other.
//!
//! Whoever appends looks at the lane: where somebody holds it, that one pushes the message too; else the appender takes it. A
//! holder pushes until the log has nothing more, gives the lane back, and looks at the log's head once more: whoever appended
//! before the lane was free again has seen it held.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::doorkeeper::Batch;
use super::handover::{Handover, delay};
use super::logged::Log;
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::{Doorkeeper, Finish, Job, Lagging, Progress, Report, Retry, SaveError, Why};
use crate::ids::{NotificationId, Topic};
use crate::log::{Epoch, LogPosition, MOST_OFFSET, Place};
use crate::metrics::Metric;
use crate::notification::{Defaults, Notification, Target};
use crate::registry::{Entry, Head, LaneHolder, LaneLease, LanePosition, LaneTaker, RENEWED_EVERY, RegistryError};

/// Messages that a member gets one after the other, before anything is written down.
const MOST_AT_ONCE: usize = 50;
/// And their bytes.
const MOST_BYTES: usize = 1024 * 1024;
/// What is older, in seconds, when a lane is first held was pushed before the topic was ordered: longer than any invocation.
const BEFORE_THE_LANE: i64 = 60;
/// A lease that stood a moment ago is over then.
const AFTER_A_LEASE: Duration = Duration::from_secs(11);
/// What made a worker that a message woke a lane with.
const WAKE: &str = "wake";
/// A lane's message that comes so often is sent afresh: it must never end as a dead letter.
const MOST_RECEIVES: u32 = 4;

/// A message of the fan-out queue that wakes a lane.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wake {
    lane: Topic,
}

impl Wake {
    /// Reads a message; `None` where it is a segment.
    pub(super) fn parse(message: &str) -> Option<Topic> {
        serde_json::from_str(message).ok().map(|Self { lane }| lane)
    }
}

/// Who is to push what a lane has.
enum Access {
    /// This worker's, if nobody is faster.
    Mine,
    /// Another's, who pushes what is there.
    Others,
    /// It has changed under the eyes of this worker.
    Unclear,
}

/// How a holder leaves its lane.
enum Left {
    /// The log has nothing more.
    Idle,
    /// The rest is for another worker.
    HandedOn(Why),
}

/// What one worker does with a lane that it holds.
struct Holder<'a> {
    fan_out: &'a FanOut,
    invocation: &'a Invocation,
    log: &'a Log,
    topic: &'a Topic,
    epoch: Epoch,
    /// What the log's head is at least.
    head: u64,
    lease: Arc<LaneLease>,
    at: LanePosition,
    /// What is not older than this, in seconds since the epoch, is pushed; all else was before the lane began.
    since: i64,
    /// This message made the worker, and it and what is behind it is pushed however old it is.
    own: Option<u64>,
    /// The last offset that is not pushed for its age.
    skipped: u64,
    reports: Vec<(u64, Report)>,
}

impl FanOut {
    /// Serves the lane of a topic as far as it can be done now, because a message said that it is to be woken, for the
    /// `receives`th time.
    ///
    /// # Errors
    /// When it is to come again.
    pub async fn wake(&self, topic: &Topic, receives: u32, invocation: &Invocation) -> Result<(), FanOutError> {
        let Some(log) = self.log(&Target::Topic(topic.clone())).filter(|log| log.retention.ordered) else {
            return Ok(());
        };
        if receives >= MOST_RECEIVES {
            return self.send_wake(topic, Duration::from_secs(1)).await;
        }
        self.serve_lane(&log, topic, None, Some(WAKE), invocation).await.map(drop)
    }

    /// Sees to it that what was appended is pushed: by this worker, or by who holds the lane. The report of the message at
    /// `own`, where this worker pushed it. `cause` names what made this worker, where that comes again, should it die:
    /// where the holder's does not, something has to wake the lane when its lease is over.
    pub(super) async fn serve_lane(
        &self,
        log: &Log,
        topic: &Topic,
        own: Option<u64>,
        cause: Option<&str>,
        invocation: &Invocation,
    ) -> Result<Option<Report>, FanOutError> {
        let registry = self.delivery.registry();
        let mut report = None;
        loop {
            let now = self.delivery.clock().milliseconds();
            match self.access(topic, cause, now).await? {
                Access::Mine => {}
                Access::Others => return Ok(report),
                Access::Unclear => continue,
            }
            let taker = LaneTaker { owner: &invocation.owner, cause, ends_at: invocation.lease_until };
            let Some((lease, at)) = registry.take_lane(topic, &taker, now).await? else {
                // Somebody was faster, between the two calls.
                continue;
            };
            let (done, reports) = match self.hold(log, topic, (lease, at), own, invocation).await {
                // Somebody else holds it by now, and pushes what is there.
                Err(FanOutError::Registry(RegistryError::LeaseLost)) => return Ok(report),
                Err(error) if cause.is_none() => {
                    // Others may have left their messages to this worker.
                    self.send_wake(topic, AFTER_A_LEASE).await?;
                    return Err(error);
                }
                held => held?,
            };
            report =
                report.or_else(|| reports.into_iter().find(|(end, _)| Some(*end) >= own).map(|(_, report)| report));
            // The second look: who appended until now may have seen the lane held.
            let Some(done) = done else { return Ok(report) };
            match registry.head(&log.name).await? {
                Some(head) if head.position() != done && head.offset > 0 => {}
                _ => return Ok(report),
            }
        }
    }

    /// Whether this worker is to take the lane.
    async fn access(&self, topic: &Topic, cause: Option<&str>, now: i64) -> Result<Access, FanOutError> {
        Ok(match self.delivery.registry().lane_holder(topic, now).await? {
            LaneHolder::Nobody => Access::Mine,
            // It has come again, and its lease stands still: the worker that it made before has died, or could not give the
            // lane back.
            LaneHolder::ComesAgain { cause: same, until } if Some(same.as_str()) == cause => {
                let milliseconds = u64::try_from(until - now).unwrap_or_default();
                return Err(FanOutError::Held { for_another: Duration::from_millis(milliseconds + 1) });
            }
            LaneHolder::ComesAgain { .. } | LaneHolder::Direct { is_looked_after: true } => Access::Others,
            LaneHolder::Direct { is_looked_after: false } => match self.look_after(topic, now).await? {
                true => Access::Others,
                false => Access::Unclear,
            },
        })
    }

    /// Has the lane looked at when a lease of now is over; `false` where it is not held any more, or another does.
    async fn look_after(&self, topic: &Topic, now: i64) -> Result<bool, FanOutError> {
        let wakes_at = now + i64::try_from(AFTER_A_LEASE.as_millis()).unwrap_or_default();
        // Sent first: should this worker die between the two, a message looks in vain, and nobody relies on one that is not there.
        self.send_wake(topic, AFTER_A_LEASE).await?;
        Ok(self.delivery.registry().look_after_lane(topic, wakes_at, now).await?)
    }

    /// Pushes what there is, then gives the lane back. Where the log was done, if it was not handed on; reports by the
    /// last offset that they are of.
    async fn hold(
        &self,
        log: &Log,
        topic: &Topic,
        (lease, at): (LaneLease, LanePosition),
        own: Option<u64>,
        invocation: &Invocation,
    ) -> Result<(Option<LogPosition>, Vec<(u64, Report)>), FanOutError> {
        let lease = Arc::new(lease);
        let Some(head) = self.delivery.registry().head(&log.name).await? else {
            lease.release(&at).await?;
            return Ok((None, Vec::new()));
        };
        let mut holder = Holder { own, ..Holder::new(self, invocation, log, topic, &head, Arc::clone(&lease), at) };
        let left = tokio::select! {
            biased;
            left = holder.push_all() => left,
            error = self.renew(&lease) => Err(error.into()),
        };
        // Also where it failed: what is written down is right, and whoever comes next goes on from there.
        let released = lease.release(&holder.at).await;
        let left = left?;
        released?;
        match left {
            Left::Idle => {
                let done = LogPosition { offset: holder.at.done, epoch: holder.epoch };
                Ok((Some(done), holder.reports))
            }
            Left::HandedOn(why) => {
                self.send_wake(topic, delay(why, self.delivery.clock().milliseconds())).await?;
                invocation.recorder.add(Metric::LanesBehind, 1);
                Ok((None, holder.reports))
            }
        }
    }

    /// Renews a lease until that fails.
    async fn renew(&self, lease: &LaneLease) -> RegistryError {
        loop {
            sleep(RENEWED_EVERY).await;
            if let Err(error) = lease.renew(self.delivery.clock().milliseconds()).await {
                return error;
            }
        }
    }

    async fn send_wake(&self, topic: &Topic, delay: Duration) -> Result<(), FanOutError> {
        // A topic can be written.
        let body = serde_json::to_string(&Wake { lane: topic.clone() }).unwrap_or_default();
        Ok(self.queues.fan_out.send(vec![body], topic.as_str(), delay).await?)
    }
}

impl<'a> Holder<'a> {
    fn new(
        fan_out: &'a FanOut,
        invocation: &'a Invocation,
        log: &'a Log,
        topic: &'a Topic,
        head: &Head,
        lease: Arc<LaneLease>,
        at: LanePosition,
    ) -> Self {
        let epoch = head.epoch.clone();
        // Not the time of now: the first holder may have died, and what it left comes again minutes later.
        let since = lease.began() - BEFORE_THE_LANE;
        // The log has begun anew since the lane was last held, or its first holder died before it wrote anything down: what
        // that one has posted, nobody knows.
        let is_known = at.epoch.as_ref() == Some(&epoch);
        let at = if is_known { at } else { LanePosition { is_unsure: at.is_unsure, ..LanePosition::default() } };
        let at = LanePosition { epoch: Some(epoch.clone()), ..at };
        let (head, own, skipped, reports) = (head.offset, None, 0, Vec::new());
        Self { fan_out, invocation, log, topic, epoch, head, lease, at, since, own, skipped, reports }
    }

    async fn push_all(&mut self) -> Result<Left, FanOutError> {
        let mut is_first = true;
        loop {
            let entries = self.next_entries().await?;
            let Some(end) = entries.last().map(|entry| entry.offset) else { return Ok(Left::Idle) };
            // It also tries whether anything gets through again.
            if self.fan_out.delivery.is_overloaded()
                && let Some(since) = self.fan_out.old_overload(1).await
            {
                return Ok(Left::HandedOn(Why::Overload { since }));
            }
            if !std::mem::take(&mut is_first) {
                self.lease.save(&self.at, self.fan_out.delivery.clock().milliseconds()).await?;
            }
            self.raise_head(end).await?;
            let notifications = self.notifications(&entries);
            if let Some(why) = self.push(&notifications, end).await? {
                return Ok(Left::HandedOn(why));
            }
            self.at = LanePosition { done: end, epoch: self.at.epoch.clone(), ..LanePosition::default() };
            if Instant::now() >= self.invocation.deadline {
                return Ok(Left::HandedOn(Why::TimeUp));
            }
        }
    }

    /// An appender may not have raised the head yet, and an offset that is told must not be given again.
    async fn raise_head(&mut self, end: u64) -> Result<(), FanOutError> {
        if end > self.head {
            let position = LogPosition { offset: end, epoch: self.epoch.clone() };
            let registry = self.fan_out.delivery.registry();
            registry.raise_head(&self.log.name, &position, self.log.retention, self.invocation.now).await?;
            self.head = end;
        }
        Ok(())
    }

    /// The entries to push next: those that another worker has begun with, or a batch of new ones.
    async fn next_entries(&self) -> Result<Vec<Entry>, RegistryError> {
        let registry = self.fan_out.delivery.registry();
        let to = self.at.batch_end.unwrap_or(MOST_OFFSET);
        let read = registry.entries(&self.log.name, &self.epoch, (self.at.done, to), false, MOST_AT_ONCE).await?;
        let mut bytes = 0;
        let fitting = read.entries.into_iter().enumerate().take_while(|(index, entry)| {
            bytes += entry.notification.len();
            *index == 0 || bytes <= MOST_BYTES
        });
        Ok(fitting.map(|(_, entry)| entry).collect())
    }

    /// The messages that are still to be pushed, with what their ids are unique in.
    fn notifications(&mut self, entries: &[Entry]) -> Vec<(String, Notification)> {
        let now = self.fan_out.delivery.clock().milliseconds();
        let kept = i64::from(self.log.retention.seconds);
        let is_old =
            |entry: &&Entry| entry.expires_at - kept < self.since && self.own.is_none_or(|own| entry.offset < own);
        self.skipped = entries.iter().take_while(is_old).last().map_or(self.skipped, |entry| entry.offset);
        let parsed = entries.iter().filter_map(|entry| {
            let defaults = Defaults { id: NotificationId::parse("entry").ok()?, at: 0 };
            let mut notification = Notification::parse_own(&entry.notification, &defaults).ok()?;
            let position = LogPosition { offset: entry.offset, epoch: self.epoch.clone() };
            notification.log = Some(Place { log: self.log.name.clone(), position });
            (entry.offset > self.skipped && !notification.is_expired(now)).then(|| (entry.scope(), notification))
        });
        parsed.collect()
    }

    /// Pushes messages to everybody, one after the other to each; why the rest is left, where some is.
    async fn push(&mut self, batch: &[(String, Notification)], end: u64) -> Result<Option<Why>, FanOutError> {
        let notifications: Vec<_> = batch.iter().map(|(_, notification)| notification.clone()).collect();
        if notifications.is_empty() {
            return Ok(None);
        }
        let (fan_out, invocation) = (self.fan_out, self.invocation);
        let target = Target::Topic(self.topic.clone());
        let segment = Segment::whole(notifications[0].clone(), "lane");
        let first_page = fan_out.first_page_of(&[target], &segment.interval, &self.at.position).await?;
        let position = self.at.position.clone();
        self.at.batch_end = Some(end);
        // Until it is known who has what. A lease that ends without a word says the same.
        let is_unsure = std::mem::replace(&mut self.at.is_unsure, true);
        let save = self.saver(batch);
        let job = Job {
            notifications: &notifications,
            lagging: Lagging::IsClosed,
            members: first_page.members,
            first: first_page.first,
            position,
            doorkeeper: Some(self.doorkeeper(end, is_unsure)),
            begun: self.at.begun.clone(),
            resumable: true,
            retry: Retry::No,
            deadline: invocation.deadline,
            save: &save,
            recorder: &invocation.recorder,
        };
        let Finish { report, rest, reach: _ } = fan_out.delivery.deliver(job).await?;
        self.reports.push((end, report));
        let Some(rest) = rest else { return Ok(None) };
        (self.at.position, self.at.begun, self.at.is_unsure) = (rest.position, rest.begun, is_unsure);
        Ok(Some(rest.why))
    }

    fn doorkeeper(&self, end: u64, is_unsure: bool) -> Arc<Doorkeeper> {
        let delivery = &self.fan_out.delivery;
        let (registry, queue, clock) =
            (delivery.registry().clone(), self.fan_out.queues.fan_out.clone(), delivery.clock());
        let (topic, epoch) = (self.topic.clone(), self.epoch.clone());
        let skipped = self.skipped;
        Batch { registry, queue, clock, topic, epoch, end, is_unsure, skipped }.doorkeeper()
    }

    /// What a delivery says of its members: the failed and those in their handshake go on by name, with each message; the
    /// position goes into the lane's row.
    fn saver(&self, batch: &[(String, Notification)]) -> impl Fn(Progress) -> Saving + Send + Sync + 'static {
        let (registry, clock) = (self.fan_out.delivery.registry(), self.fan_out.delivery.clock());
        let recorder = &self.invocation.recorder;
        let handovers: Vec<_> = batch
            .iter()
            .map(|(scope, notification)| Segment::whole(notification.clone(), scope.clone()))
            .map(|segment| Handover::new(&self.fan_out.queues, registry, &segment, recorder, clock))
            .collect();
        let (lease, at, handovers) = (Arc::clone(&self.lease), self.at.clone(), Arc::new(handovers));
        move |progress: Progress| -> Saving {
            let (lease, mut at, handovers) = (Arc::clone(&lease), at.clone(), Arc::clone(&handovers));
            Box::pin(async move {
                for handover in handovers.iter() {
                    handover.save(progress.for_each_message(), None).await?;
                }
                if let Some(position) = progress.position {
                    at.position = position;
                    lease.save(&at, clock.milliseconds()).await?;
                }
                Ok(())
            })
        }
    }
}

type Saving = Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wakes_a_lane_is_no_segment_and_a_segment_wakes_none() {
        let topic = Topic::parse("a/\"b\"").unwrap();
        let text = serde_json::to_string(&Wake { lane: topic.clone() }).unwrap();
        assert_eq!(Wake::parse(&text), Some(topic));
        for other in ["{}", r#"{"notification":"n","scope":"s","segment":{"id":"0"}}"#, "x"] {
            assert_eq!(Wake::parse(other), None, "{other}");
        }
    }
}
