//! What one invocation does with one segment.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::doorkeeper::PassedMember;
use super::handover::{Handover, delay, follow};
use super::lane::Wake;
use super::logged::{Log, Part};
use super::segment::{Message, divide, plan};
use super::undelivered::is_whole;
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::{Finish, Job, Lagging, Progress, Report, Rest, Retry, SaveError, Why, check_size};
use crate::ids::Topic;
use crate::log::LogPosition;
use crate::metrics::Metric;
use crate::notification::{Notification, Target};
use crate::registry::{Attempt, Claim, Interval, Lease, Member, Members, Position};
use crate::trigger::Trigger;

/// How often a fan-out may be handed on: a tree of a million members has two levels, and a slow one is handed on.
const MAX_HOPS: u32 = 200;
/// How much of the time left an invocation plans to use.
const PLANNED_SHARE: f64 = 0.7;
/// An invocation waits in place while an overload is younger, in milliseconds.
const YOUNG_OVERLOAD_MS: i64 = 10_000;
/// What the ids of direct invokes are unique in.
const DIRECT: &str = "direct";

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

/// What there is of an audience at its beginning.
pub(super) struct FirstPage {
    pub(super) members: Members,
    pub(super) first: Vec<Member>,
}

/// A segment that is ours for a while.
struct Claimed {
    lease: Box<Lease>,
    /// How far it is.
    position: Position,
    /// The parts that it was split into, if it was.
    plan: Vec<Interval>,
    /// Where the log of its audience ended when an earlier attempt began.
    from: Option<LogPosition>,
}

impl FirstPage {
    /// Whether the audience is above `most`.
    fn is_above(&self, most: usize) -> bool {
        self.first.len() > most || !self.members.is_at_end()
    }

    /// The parts to split the audience into, where it is too large for one invocation.
    fn plan(&self, interval: &Interval, budget: usize) -> Option<Vec<Interval>> {
        let (read, last) = (self.first.len(), self.first.last()?);
        match self.members.is_at_end() {
            true => divide(interval, read, budget),
            false => plan(interval, read, &last.sort_key, budget),
        }
    }
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

    /// Delivers a notification that somebody waits for. A small audience is served at once, without a row; a large one is
    /// handed to the fan-out queue as a whole, and whoever cannot be reached soon goes on through it. Where an audience has
    /// a log, and the id is the producer's own, it is remembered, so that nothing is appended twice.
    ///
    /// # Errors
    /// When it can neither be delivered nor handed on.
    pub async fn direct(&self, notification: Notification, invocation: &Invocation) -> Result<Report, FanOutError> {
        let segment = Segment::whole(notification, DIRECT);
        let notification = &segment.notification;
        if notification.is_expired(invocation.now) {
            self.tell_expired(&self.handover(&segment, invocation), false, invocation).await?;
            return Ok(invocation.counted(Report { expired: 1, ..Report::new(&notification.id) }));
        }
        check_size(notification)?;
        let has_own_id = !notification.id.as_str().starts_with(&invocation.owner);
        let mut report = Report::new(&notification.id);
        for Part { mut segment, log } in self.parts(&segment) {
            report.add(&match &log {
                None => {
                    let first_page = self.first_page(&segment, &Position::default(), None).await?;
                    self.direct_to(&segment, first_page, invocation).await?
                }
                Some(log) if log.retention.ordered && !has_own_id => {
                    let head = self.head_of(log, invocation).await?;
                    self.append(&mut segment, log, head, None, invocation, async |_| Ok(())).await?;
                    self.serve_ordered(&segment, log, false, invocation).await?
                }
                Some(log) if has_own_id => {
                    let pass_on = async |segment: &Segment| self.hand_on_whole(segment, invocation).await;
                    self.up_to_logged(None, segment, log, invocation, &pass_on).await?
                }
                Some(log) => {
                    let head = self.head_of(log, invocation).await?;
                    let read = async |segment: &Segment| self.first_page(segment, &Position::default(), None).await;
                    let first_page = self.append(&mut segment, log, head, None, invocation, read).await?;
                    self.direct_to(&segment, first_page, invocation).await?
                }
            });
        }
        Ok(report)
    }

    /// Delivers to an audience that nobody else has looked at, and of which nothing is written down.
    async fn direct_to(
        &self,
        segment: &Segment,
        first_page: FirstPage,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        if first_page.plan(&segment.interval, self.budget(invocation)).is_some() {
            return self.hand_on_whole(segment, invocation).await;
        }
        let handover = Arc::new(self.handover(segment, invocation));
        let Finish { mut report, rest, reach } =
            self.push(&handover, first_page, Position::default(), None, invocation).await?;
        self.tell_missed(&handover, &reach, false, invocation).await?;
        if let Some(rest) = rest {
            let parts = rest_of(segment, &rest);
            report.segments = parts.len() as u64;
            invocation.recorder.add(Metric::Segments, report.segments);
            handover.send(parts, delay(rest.why, self.delivery.clock().milliseconds())).await?;
        }
        Ok(report)
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

    /// The same for an audience with a log: the message is in it before anything else is done, and before it is put there
    /// the segment is claimed, so that one that comes again is found.
    async fn up_to_logged(
        &self,
        most: Option<usize>,
        mut segment: Segment,
        log: &Log,
        invocation: &Invocation,
        pass_on: &impl AsyncFn(&Segment) -> Result<Report, FanOutError>,
    ) -> Result<Report, FanOutError> {
        let head = self.head_of(log, invocation).await?;
        let claimed = self.claim(&segment, Some(&head.position()), invocation).await?;
        let Some(Claimed { lease, position, plan, from }) = claimed else {
            return Ok(Report::new(&segment.notification.id));
        };
        let read = async |segment: &Segment| self.first_page(segment, &Position::default(), most).await;
        let worked = async {
            if log.retention.ordered {
                self.append(&mut segment, log, head, from.as_ref(), invocation, async |_| Ok(())).await?;
                // Of a direct invoke nothing comes again.
                let report = self.serve_ordered(&segment, log, most.is_some(), invocation).await?;
                // Only now: should this worker die before, the message comes again and wakes the lane.
                lease.finish().await?;
                return Ok(report);
            }
            let first_page = self.append(&mut segment, log, head, from.as_ref(), invocation, read).await?;
            if let Some(report) = self.wait_for_overload(&segment, invocation).await? {
                lease.release().await?;
                return Ok(report);
            }
            if most.is_some_and(|most| first_page.is_above(most)) {
                lease.release().await?;
                return pass_on(&segment).await;
            }
            let is_new = position == Position::default() && plan.is_empty();
            let first_page = is_new.then_some(first_page);
            self.work_on(&segment, &lease, position, plan, first_page, invocation).await
        };
        let worked = worked.await;
        release_after(&worked, &lease).await;
        worked
    }

    /// Sees to it that a message of an ordered topic is pushed, which stands in the log. Where another worker pushes it, the
    /// report says that it was handed on.
    async fn serve_ordered(
        &self,
        segment: &Segment,
        log: &Log,
        comes_again: bool,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let notification = &segment.notification;
        let own = notification.log.as_ref().map(|place| place.position.offset);
        let served = match log.name.topic() {
            Some(topic) => self.serve_lane(log, topic, own, comes_again, invocation).await?,
            None => None,
        };
        let elsewhere = || invocation.counted(Report { segments: 1, ..Report::new(&notification.id) });
        Ok(served.map_or_else(elsewhere, |report| Report { id: notification.id.clone(), ..report }))
    }

    /// Hands a segment on that would wait in an overload for longer than in place.
    async fn wait_for_overload(
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

    /// Takes the segment; nothing where it is done. `log_end` is where the log of its audience ends, if it is about to be
    /// appended to.
    async fn claim(
        &self,
        segment: &Segment,
        log_end: Option<&LogPosition>,
        invocation: &Invocation,
    ) -> Result<Option<Claimed>, FanOutError> {
        let Invocation { owner, now, lease_until, .. } = invocation;
        let attempt = Attempt { hash: &segment.hash, owner, now: *now, until: *lease_until, log_end };
        match self.delivery.registry().claim(&segment.key(), &attempt).await? {
            Claim::Done => {
                invocation.recorder.add(Metric::Duplicates, u64::from(segment.is_whole()));
                Ok(None)
            }
            Claim::Reused => Err(FanOutError::Reused { id: segment.notification.id.clone() }),
            Claim::Held { until } => {
                let milliseconds = u64::try_from(until - invocation.now).unwrap_or_default();
                Err(FanOutError::Held { for_another: Duration::from_millis(milliseconds) })
            }
            Claim::Ours { lease, position, plan, from } => Ok(Some(Claimed { lease, position, plan, from })),
        }
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

    async fn work_on(
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
    async fn hand_on_whole(&self, segment: &Segment, invocation: &Invocation) -> Result<Report, FanOutError> {
        self.handover(segment, invocation).send(vec![segment.clone()], Duration::ZERO).await?;
        Ok(invocation.counted(Report { segments: 1, ..Report::new(&segment.notification.id) }))
    }

    fn handover(&self, segment: &Segment, invocation: &Invocation) -> Handover {
        let (registry, clock) = (self.delivery.registry(), self.delivery.clock());
        Handover::new(&self.queues, registry, segment, &invocation.recorder, clock)
    }

    /// Reads the first page, which tells the size; or no more than is needed to tell that it is above `most`.
    async fn first_page(
        &self,
        segment: &Segment,
        position: &Position,
        most: Option<usize>,
    ) -> Result<FirstPage, FanOutError> {
        let interval = match position.cursor {
            None => segment.interval.clone(),
            Some(_) => position.rest_of(&segment.interval),
        };
        self.first_page_in(&segment.notification.to, &interval, most).await
    }

    /// The same of an audience that others have begun with, as far as `position`.
    pub(super) async fn first_page_of(
        &self,
        to: &[Target],
        interval: &Interval,
        position: &Position,
    ) -> Result<FirstPage, FanOutError> {
        let rest = position.cursor.is_some().then(|| position.rest_of(interval));
        self.first_page_in(to, rest.as_ref().unwrap_or(interval), None).await
    }

    async fn first_page_in(
        &self,
        to: &[Target],
        interval: &Interval,
        most: Option<usize>,
    ) -> Result<FirstPage, FanOutError> {
        let rows = most.and_then(|most| i32::try_from(most + 1).ok());
        let registry = self.delivery.registry().clone();
        let registry = rows.map_or(registry.clone(), |rows| registry.with_page_rows(rows));
        let now = self.delivery.clock().milliseconds();
        let mut members = registry.members(to, interval, now);
        let mut first = members.next().await?;
        while let Some(most) = most
            && first.len() <= most
            && !members.is_at_end()
        {
            let more = members.next().await?;
            if more.is_empty() {
                break;
            }
            first.extend(more);
        }
        Ok(FirstPage { members, first })
    }

    /// How many members this invocation can serve, even if all workers are at work.
    fn budget(&self, invocation: &Invocation) -> usize {
        let left = invocation.deadline.saturating_duration_since(Instant::now());
        (self.delivery.share() * left.as_secs_f64() * PLANNED_SHARE) as usize
    }

    async fn push(
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
    fn counted(&self, report: Report) -> Report {
        report.record(&self.recorder);
        report
    }
}

/// Gives a segment back whose work has failed, so that whoever comes next can go on at once.
async fn release_after<T>(worked: &Result<T, FanOutError>, lease: &Lease) {
    if worked.is_err()
        && let Err(error) = lease.release().await
    {
        tracing::warn!(%error, "the lease is not released; it ends by itself");
    }
}

/// What is left of an audience that somebody waited for: whoever was begun by name, and what lies beyond, if anything does.
fn rest_of(segment: &Segment, rest: &Rest) -> Vec<Segment> {
    let segment = follow(segment, rest.why);
    let position = &rest.position;
    let mut parts = Vec::new();
    if !position.stragglers.is_empty() {
        let only = position.stragglers.iter().cloned().collect();
        parts.push(Segment { id: format!("{}.stragglers", segment.id), only, ..segment.clone() });
    }
    if rest.goes_on {
        let interval = Interval { after: position.cursor.clone(), to: segment.interval.to.clone() };
        let counted = position.counted.clone();
        parts.push(Segment { id: format!("{}.rest", segment.id), interval, counted, ..segment });
    }
    parts
}
