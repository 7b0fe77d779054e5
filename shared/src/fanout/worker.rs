//! What one invocation does with one segment.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::{Claimed, release_after};
use super::doorkeeper::PassedMember;
use super::handover::Handover;
use super::lane::Wake;
use super::logged::Part;
use super::page::FirstPage;
use super::segment::Message;
use super::undelivered::is_whole;
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::{Finish, Job, Lagging, Progress, Report, Retry, SaveError, Why, check_size};
use crate::ids::Topic;
use crate::metrics::Metric;
use crate::notification::Notification;
use crate::registry::{Interval, Lease, Position};
use crate::trigger::Trigger;

/// How often a fan-out may be handed on: a tree of a million members has two levels, and a slow one is handed on.
const MAX_HOPS: u32 = 200;
/// How much of the time left an invocation plans to use.
const PLANNED_SHARE: f64 = 0.7;
/// An invocation waits in place while an overload is younger, in milliseconds.
const YOUNG_OVERLOAD_MS: i64 = 10_000;

/// What another invocation handed on.
#[derive(Debug)]
pub enum HandedOn {
    /// A part of an audience.
    Segment(Box<Segment>),
    /// An ordered topic whose log has something to push.
    Lane(Topic),
    /// A member that a lane has passed.
    Passed(PassedMember),
}

impl FanOut {
    /// Reads a message of the fan-out queue, and the notification that it refers to.
    ///
    /// # Errors
    /// When it is none, its notification is not stored any more, or DynamoDB fails.
    pub async fn read(&self, message: &str) -> Result<HandedOn, FanOutError> {
        if let Some(topic) = Wake::parse(message) {
            return Ok(HandedOn::Lane(topic));
        }
        if let Some(member) = PassedMember::parse(message) {
            return Ok(HandedOn::Passed(member));
        }
        let message = Message::parse(message)?;
        let segment = match message.reference()? {
            None => message.into_segment(None)?,
            Some(key) => match self.delivery.registry().stored(&key).await? {
                Some(stored) => message.into_segment(Some(&stored))?,
                None => return Err(FanOutError::NotStored { id: key.notification }),
            },
        };
        Ok(HandedOn::Segment(Box::new(segment)))
    }

    /// Takes up a notification that came from a queue or a stream. A large audience leaves at once for the fan-out queue,
    /// so that it holds up nobody; of a small one is written down what is done, so that nothing is done twice.
    ///
    /// # Errors
    /// When it is to come again, or can never be done.
    pub async fn take_up(&self, segment: &Segment, invocation: &Invocation) -> Result<Report, FanOutError> {
        let pass_on = async |segment: &Segment| self.hand_on_whole(segment, invocation).await;
        self.up_to(self.delivery.small_audience(), segment, invocation, &pass_on).await
    }

    /// Takes up a notification of an event that a service invoked the function with. Many may come at once, so that only
    /// what an environment may post without a reservation is served here, and the rest goes on the notification queue.
    ///
    /// # Errors
    /// When it is to come again, or can never be done.
    pub async fn take_up_event(
        &self,
        segment: &Segment,
        trigger: Trigger,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let pass_on = async |segment: &Segment| {
            let queue = self.queues.notifications.clone().marked(trigger).scoped(segment.scope.clone());
            // Where it stands is found again by whoever takes it up.
            let notification = Notification { log: None, ..segment.notification.clone() };
            // A notification that was parsed can be written.
            let body = serde_json::to_string(&notification).unwrap_or_default();
            queue.send(vec![body], notification.id.as_str(), Duration::ZERO).await?;
            Ok(invocation.counted(Report { segments: 1, ..Report::new(&notification.id) }))
        };
        // What goes several ways is taken apart once, in the queue.
        if self.parts(segment).len() > 1 {
            return pass_on(segment).await;
        }
        self.up_to(self.delivery.allowance(), segment, invocation, &pass_on).await
    }

    /// Serves audiences of at most `most` members; what is larger goes where `pass_on` says.
    async fn up_to(
        &self,
        most: usize,
        segment: &Segment,
        invocation: &Invocation,
        pass_on: &impl AsyncFn(&Segment) -> Result<Report, FanOutError>,
    ) -> Result<Report, FanOutError> {
        let notification = &segment.notification;
        if notification.is_expired(invocation.now) {
            // Claimed first: whoever was reached before must not be told of.
            if self.tells(notification) {
                return self.expire(segment, invocation).await;
            }
            // Without a bus it only counts.
            self.tell_expired(&self.handover(segment, invocation), true, invocation).await?;
            return Ok(invocation.counted(Report { expired: 1, ..Report::new(&notification.id) }));
        }
        check_size(notification)?;
        let mut report = Report::new(&notification.id);
        for Part { segment, log } in self.parts(segment) {
            report.add(&match &log {
                None => self.up_to_unlogged(most, &segment, invocation, pass_on).await?,
                Some(log) => self.up_to_logged(Some(most), segment, log, invocation, pass_on).await?,
            });
        }
        Ok(report)
    }

    async fn up_to_unlogged(
        &self,
        most: usize,
        segment: &Segment,
        invocation: &Invocation,
        pass_on: &impl AsyncFn(&Segment) -> Result<Report, FanOutError>,
    ) -> Result<Report, FanOutError> {
        if let Some(report) = self.wait_for_overload(segment, invocation).await? {
            return Ok(report);
        }
        let first_page = self.first_page(segment, &Position::default(), Some(most)).await?;
        if first_page.is_above(most) {
            return pass_on(segment).await;
        }
        self.claim_and_work(segment, Some(first_page), invocation).await
    }

    /// Hands a segment on that would wait in an overload for longer than in place.
    pub(super) async fn wait_for_overload(
        &self,
        segment: &Segment,
        invocation: &Invocation,
    ) -> Result<Option<Report>, FanOutError> {
        if !self.delivery.is_overloaded() {
            return Ok(None);
        }
        let Some(since) = self.old_overload(1).await else { return Ok(None) };
        self.handover(segment, invocation).again(Why::Overload { since }).await?;
        Ok(Some(invocation.counted(Report { segments: 1, ..Report::new(&segment.notification.id) })))
    }

    /// Works on a segment of the fan-out queue. What is done is written down, so that nothing is done twice.
    ///
    /// # Errors
    /// When it is to come again, or can never be done.
    pub async fn work(&self, segment: &Segment, invocation: &Invocation) -> Result<Report, FanOutError> {
        let id = &segment.notification.id;
        if segment.notification.is_expired(invocation.now) {
            return self.expire(segment, invocation).await;
        }
        if segment.hops > MAX_HOPS {
            return Err(FanOutError::Endless { hops: segment.hops });
        }
        // Before anything is claimed or read, so that one that only waits costs a write and a message.
        if (segment.is_overloaded || matches!(segment.retry, Retry::Throttled { .. }))
            && let Some(since) = self.old_overload(segment.only.len()).await
        {
            self.handover(segment, invocation).again(Why::Overload { since }).await?;
            return Ok(Report::new(id));
        }
        self.claim_and_work(segment, None, invocation).await
    }

    /// Since when nothing gets through, where that is too long ago to wait in place.
    pub(super) async fn old_overload(&self, posts: usize) -> Option<i64> {
        let since = self.delivery.overload(posts).await?;
        (self.delivery.clock().milliseconds() - since > YOUNG_OVERLOAD_MS).then_some(since)
    }

    async fn claim_and_work(
        &self,
        segment: &Segment,
        first_page: Option<FirstPage>,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let id = &segment.notification.id;
        let Some(Claimed { lease, position, plan, .. }) = self.claim(segment, None, invocation).await? else {
            return Ok(Report::new(id));
        };
        // What was read before the claim is good only if nobody was at work before.
        let first_page = first_page.filter(|_| position == Position::default() && plan.is_empty());
        let worked = self.work_on(segment, &lease, position, plan, first_page, invocation).await;
        release_after(&worked, &lease).await;
        worked
    }

    /// Ends a segment whose time to live is over. Whoever was begun and not reached is kept by name.
    async fn expire(&self, segment: &Segment, invocation: &Invocation) -> Result<Report, FanOutError> {
        let id = &segment.notification.id;
        let Some(Claimed { lease, position, .. }) = self.claim(segment, None, invocation).await? else {
            return Ok(Report::new(id));
        };
        let handover = self.handover(segment, invocation);
        if position.cursor.is_none() && is_whole(segment) {
            self.tell_expired(&handover, true, invocation).await?;
        }
        let position = if position.cursor.is_some() { position } else { segment.beginning() };
        handover.expire_by_name(&position.stragglers).await?;
        lease.finish().await?;
        let expired = (position.stragglers.len() as u64).max(1);
        Ok(invocation.counted(Report { expired, ..Report::new(id) }))
    }

    pub(super) async fn work_on(
        &self,
        segment: &Segment,
        lease: &Lease,
        position: Position,
        plan: Vec<Interval>,
        first_page: Option<FirstPage>,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let handover = Arc::new(self.handover(segment, invocation));
        if !plan.is_empty() {
            return self.send_parts(&handover, lease, plan, invocation).await;
        }
        let is_begun = position.cursor.is_some();
        let position = if is_begun { position } else { segment.beginning() };
        let first_page = match first_page {
            Some(first_page) => first_page,
            None => self.first_page(segment, &position, None).await?,
        };
        if position.cursor.is_none()
            && let Some(parts) = first_page.plan(&segment.interval, self.budget(invocation))
        {
            lease.split(&parts).await?;
            return self.send_parts(&handover, lease, parts, invocation).await;
        }
        let Finish { mut report, rest, reach } =
            self.push(&handover, first_page, position, Some(lease), invocation).await?;
        if !is_begun && is_whole(segment) {
            self.tell_missed(&handover, &reach, rest.is_none(), invocation).await?;
        }
        match rest {
            None => lease.finish().await?,
            Some(rest) => {
                lease.release().await?;
                handover.again(rest.why).await?;
                report.segments = 1;
                invocation.recorder.add(Metric::Segments, report.segments);
            }
        }
        Ok(report)
    }

    /// Sends the parts of a plan that is written down. Sending them again does no harm: each has a row of its own.
    async fn send_parts(
        &self,
        handover: &Handover,
        lease: &Lease,
        plan: Vec<Interval>,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let parts = handover.segment.parts(plan);
        let segments = parts.len() as u64;
        handover.send(parts, Duration::ZERO).await?;
        let report = invocation.counted(Report { segments, ..Report::new(&handover.segment.notification.id) });
        lease.finish().await?;
        Ok(report)
    }

    /// Hands a whole audience to the fan-out queue.
    pub(super) async fn hand_on_whole(
        &self,
        segment: &Segment,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        self.handover(segment, invocation).send(vec![segment.clone()], Duration::ZERO).await?;
        Ok(invocation.counted(Report { segments: 1, ..Report::new(&segment.notification.id) }))
    }

    pub(super) fn handover(&self, segment: &Segment, invocation: &Invocation) -> Handover {
        let (registry, clock) = (self.delivery.registry(), self.delivery.clock());
        Handover::new(&self.queues, registry, segment, &invocation.recorder, clock)
    }

    /// How many members this invocation can serve, even if all workers are at work.
    pub(super) fn budget(&self, invocation: &Invocation) -> usize {
        let left = invocation.deadline.saturating_duration_since(Instant::now());
        (self.delivery.share() * left.as_secs_f64() * PLANNED_SHARE) as usize
    }

    pub(super) async fn push(
        &self,
        handover: &Arc<Handover>,
        first_page: FirstPage,
        position: Position,
        lease: Option<&Lease>,
        invocation: &Invocation,
    ) -> Result<Finish, FanOutError> {
        let (saver, lease) = (Arc::clone(handover), lease.cloned());
        let resumable = lease.is_some();
        let save = move |progress: Progress| -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>> {
            let (saver, lease) = (Arc::clone(&saver), lease.clone());
            Box::pin(async move { saver.save(progress, lease.as_ref()).await.map_err(Into::into) })
        };
        let job = Job {
            notifications: slice::from_ref(&handover.segment.notification),
            lagging: Lagging::GoesOnByName,
            members: first_page.members,
            first: first_page.first,
            position,
            doorkeeper: None,
            begun: BTreeMap::new(),
            resumable,
            retry: handover.segment.retry,
            deadline: invocation.deadline,
            save: &save,
            recorder: &invocation.recorder,
        };
        Ok(self.delivery.deliver(job).await?)
    }
}

impl Invocation {
    /// Counts the report of work in which nobody was pushed to; deliveries count their own.
    pub(super) fn counted(&self, report: Report) -> Report {
        report.record(&self.recorder);
        report
    }
}
