//! One notification on its way through its audience.

mod settle;
mod strict;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::endpoint::Message;
use super::limiter::Share;
use super::outbox::{Outboxes, Parcel};
use super::post::{Messages, Outcome, post};
use super::track::{MAX_OPEN, Track};
use super::{
    Admission, Delivery, DeliveryError, Finish, Job, Lagging, Progress, Reach, Report, Rest, Retry, SaveError, Verdict,
    Why,
};
use crate::notification::{Notification, Target};
use crate::registry::{Member, Members, Position, RegistryError};
pub(super) use strict::admitted;

/// Members that are read ahead of the posts.
const READ_AHEAD: usize = 500;
/// How long posts that are under way may still take when the time is up.
const DRAIN: Duration = Duration::from_secs(1);
/// An invocation waits in place while an overload is younger, in milliseconds; an older one is waited for in the queue.
const YOUNG_OVERLOAD_MS: i64 = 10_000;
/// And while it has more than this left.
const TIME_TO_WAIT: Duration = Duration::from_secs(5);
/// For so long everybody is tried again in place, however old a refusal is.
const AT_LEAST: Duration = Duration::from_secs(1);
/// A refusal of everything is passing for so long, in milliseconds: roles and credentials take a while to come about.
const PASSING_REFUSAL_MS: i64 = 120_000;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Page = (Members, Result<Read, RegistryError>);
type Looked = Result<Admission, RegistryError>;

/// Members that were read, and looked at where that is needed.
struct Read {
    members: Vec<Admission>,
    is_end: bool,
}

/// A member on its way, with what happened to it so far.
#[derive(Debug)]
struct Attempt {
    member: Member,
    /// Its number in the track.
    number: u64,
    /// Whether this run is the first to count it.
    is_new: bool,
    /// Whether an earlier run has begun with it.
    is_straggler: bool,
    /// Whether the message is not for it, and it is only told that: nobody counts it.
    is_left_out: bool,
    failures: u32,
    throttles: u32,
    refusals: u32,
    first_gone: Option<Instant>,
    first_refused: Option<Instant>,
    /// Since when its present message is not taken.
    first_failed: Option<Instant>,
    /// Which of the notifications is next, by its index.
    next: usize,
    /// When what is known of it was read.
    read_at: Instant,
    /// Whether a strict member may have what it should not get twice: it only can be closed.
    is_uncertain: bool,
}

struct Answer {
    attempt: Attempt,
    /// Of the rate, unless the post was of the allowance.
    epoch: Option<i64>,
    outcome: Outcome,
}

/// API Gateway forbids everything.
#[derive(Debug)]
struct Refusal {
    /// In milliseconds since the epoch.
    since: i64,
    /// What it said last; `None` where only an earlier run was told.
    reason: Option<String>,
}

pub(super) struct Run<'a> {
    delivery: &'a Delivery,
    notifications: &'a [Notification],
    /// The last of them, which names the report.
    last: &'a Notification,
    lagging: Lagging,
    retry: Retry,
    is_small: bool,
    begin: Instant,
    deadline: Instant,
    messages: Vec<Messages<'a>>,
    report: Report,
    /// By target.
    reach: Vec<Reach>,
    /// Settled members that are counted in this report's audience.
    settled_new: u64,
    /// Members that were read and for whom more is to be done in this run.
    unsettled: u64,
    /// The next members, on their way from the registry; `None` at the end of the audience.
    reading: Option<Later<Page>>,
    /// Members read, while there are too many to read on.
    read: Option<Members>,
    ready: VecDeque<Attempt>,
    posts: FuturesUnordered<Later<Answer>>,
    waiting: FuturesUnordered<Later<Attempt>>,
    gone: VecDeque<Attempt>,
    /// Removals under way: only then is a member settled.
    removals: FuturesUnordered<Later<Attempt>>,
    /// Slow clients that are being closed, and whether that worked.
    closing: FuturesUnordered<Later<(Attempt, bool)>>,
    position: Position,
    resumable: bool,
    save: &'a super::Save,
    track: Track,
    /// What the next saving tells beside the position.
    progress: Progress,
    saving: Option<Later<Result<(), SaveError>>>,
    share: Share,
    refusal: Option<Refusal>,
    last_ok: Option<Instant>,
    /// Since when members are reached without a pause.
    ok_since: Option<Instant>,
    /// Members of an ordered topic whose message is not taken.
    lagging_members: usize,
    strict: strict::Strict,
    outboxes: Outboxes,
}

impl<'a> Run<'a> {
    /// `last` is the last of the job's notifications, and `first` what was read of its members already.
    pub(super) fn new(delivery: &'a Delivery, job: Job<'a>, last: &'a Notification, first: Vec<Admission>) -> Self {
        let refusal = match job.retry {
            Retry::Refused { since } => Some(Refusal { since, reason: None }),
            _ => None,
        };
        let is_ordered = job.lagging == Lagging::IsClosed;
        let mut run = Self {
            delivery,
            notifications: job.notifications,
            last,
            lagging: job.lagging,
            retry: job.retry,
            is_small: job.members.is_at_end() && first.len() <= delivery.small_audience(),
            begin: Instant::now(),
            deadline: job.deadline,
            messages: job.notifications.iter().map(|said| Messages::new(said, is_ordered)).collect(),
            report: Report::new(&last.id),
            reach: vec![Reach::default(); last.to.len()],
            settled_new: 0,
            unsettled: 0,
            reading: None,
            read: Some(job.members),
            track: Track::new(job.position.clone()),
            position: job.position,
            resumable: job.resumable,
            save: job.save,
            progress: Progress::default(),
            saving: None,
            share: delivery.limiter.share(),
            refusal,
            last_ok: None,
            ok_since: None,
            lagging_members: 0,
            strict: strict::Strict::new(job.doorkeeper, job.begun),
            outboxes: delivery.outboxes(job.deadline),
            ready: VecDeque::new(),
            posts: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
            gone: VecDeque::new(),
            removals: FuturesUnordered::new(),
            closing: FuturesUnordered::new(),
        };
        run.queue(first);
        run
    }

    /// Runs until everybody is settled, or has to wait for longer than the invocation should.
    pub(super) async fn finish(&mut self) -> Result<Finish, DeliveryError> {
        let rest = self.go_on().await;
        if matches!(rest, Err(DeliveryError::Forbidden { .. })) {
            self.report.failed += self.unsettled;
            self.settled_new = self.report.audience;
        }
        // Whoever was counted and is not settled goes on through the queue.
        self.report.delayed = self.report.audience - self.settled_new;
        let rest = rest?;
        let is_read = rest.as_ref().is_none_or(|rest| !rest.goes_on);
        let reach = if is_read { std::mem::take(&mut self.reach) } else { Vec::new() };
        Ok(Finish { rest, report: self.report.clone(), reach })
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    async fn go_on(&mut self) -> Result<Option<Rest>, DeliveryError> {
        while !self.is_done() {
            if let Some(why) = self.leaves()? {
                return self.leave(why).await;
            }
            self.read_on();
            let limiter = Arc::clone(&self.delivery.limiter);
            let changed = limiter.changed();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            self.make_room();
            let due = self.start_posts();
            let again = self.reserve();
            self.start_removals();
            self.save_if_due();
            let wake = due.into_iter().chain(again).min().unwrap_or(self.deadline).min(self.deadline);
            tokio::select! {
                // In one order, so that a simulation plays the same again. Posts are last, for there is always another.
                biased;
                () = sleep_until(wake) => {}
                () = changed => {}
                saved = pending_or(&mut self.saving), if self.saving.is_some() => self.saved(saved)?,
                (members, page) = pending_or(&mut self.reading), if self.reading.is_some() => self.take(members, page)?,
                Some((attempt, closed)) = self.closing.next() => self.settle_closed(attempt, closed),
                Some(attempt) = self.removals.next() => self.settle_removed(&attempt),
                Some((attempt, looked)) = self.strict.looking.next() => self.looked_at(attempt, looked)?,
                Some(attempt) = self.waiting.next() => self.ready.push_front(attempt),
                Some(answer) = self.posts.next() => self.settle(answer)?,
            }
        }
        self.tell(None).await?;
        Ok(None)
    }

    /// Whether the rest is to be handed on, and why.
    fn leaves(&self) -> Result<Option<Why>, DeliveryError> {
        let now = Instant::now();
        if now >= self.deadline {
            return Ok(Some(Why::TimeUp));
        }
        let ends_soon = now + TIME_TO_WAIT > self.deadline;
        let epoch_ms = self.delivery.clock.milliseconds();
        if let Some(Refusal { since, reason: Some(reason) }) = &self.refusal {
            let age = epoch_ms - since;
            if age > PASSING_REFUSAL_MS {
                return Err(DeliveryError::Forbidden { reason: reason.clone() });
            }
            if (age > YOUNG_OVERLOAD_MS || ends_soon) && self.begin.elapsed() >= AT_LEAST {
                return Ok(Some(Why::Refused { since: *since }));
            }
        }
        let overload = self.delivery.limiter.overload();
        Ok(overload
            .filter(|since| self.posts.is_empty() && (epoch_ms - since > YOUNG_OVERLOAD_MS || ends_soon))
            .map(|since| Why::Overload { since }))
    }

    /// Waits shortly for the posts that are under way, and says where to go on.
    async fn leave(&mut self, why: Why) -> Result<Option<Rest>, DeliveryError> {
        let end = Instant::now() + DRAIN;
        while !(self.posts.is_empty() && self.removals.is_empty() && self.closing.is_empty()) {
            tokio::select! {
                biased;
                () = sleep_until(end) => break,
                Some(answer) = self.posts.next() => self.settle(answer)?,
                Some(attempt) = self.removals.next() => self.settle_removed(&attempt),
                Some((attempt, closed)) = self.closing.next() => self.settle_closed(attempt, closed),
            }
        }
        if let Some(saving) = self.saving.take() {
            self.saved(saving.await)?;
        }
        let position = self.track.position();
        self.tell(self.resumable.then(|| position.clone())).await?;
        let is_read = self.read.is_none() && self.reading.is_none();
        let begun = self.strict.begun();
        Ok(Some(Rest { goes_on: !is_read || position.counted.is_some(), position, why, begun }))
    }

    /// Saves what there is to tell, and waits for it.
    async fn tell(&mut self, position: Option<Position>) -> Result<(), DeliveryError> {
        if let Some(saving) = self.saving.take() {
            self.saved(saving.await)?;
        }
        let progress = Progress { position, ..std::mem::take(&mut self.progress) };
        if progress.is_empty() {
            return Ok(());
        }
        (self.save)(progress).await.map_err(DeliveryError::Save)
    }

    fn save_if_due(&mut self) {
        if self.resumable
            && self.saving.is_none()
            && let Some(position) = self.track.due()
        {
            let progress = Progress { position: Some(position), ..std::mem::take(&mut self.progress) };
            self.saving = Some((self.save)(progress));
        }
    }

    fn saved(&mut self, saved: Result<(), SaveError>) -> Result<(), DeliveryError> {
        self.saving = None;
        self.track.saved();
        saved.map_err(DeliveryError::Save)
    }

    fn is_done(&self) -> bool {
        self.reading.is_none()
            && self.read.is_none()
            && self.ready.is_empty()
            && self.posts.is_empty()
            && self.waiting.is_empty()
            && self.gone.is_empty()
            && self.removals.is_empty()
            && self.closing.is_empty()
            && self.strict.looking.is_empty()
    }

    fn read_on(&mut self) {
        if self.ready.len() >= READ_AHEAD {
            return;
        }
        if let Some(mut members) = self.read.take() {
            let doorkeeper = self.strict.doorkeeper.clone();
            self.reading = Some(Box::pin(async move {
                let read = match members.next().await {
                    Ok(page) => {
                        let is_end = page.is_empty();
                        admitted(doorkeeper, page).await.map(|members| Read { members, is_end })
                    }
                    Err(error) => Err(error),
                };
                (members, read)
            }));
        }
    }

    fn take(&mut self, members: Members, read: Result<Read, RegistryError>) -> Result<(), DeliveryError> {
        self.reading = None;
        let Read { members: page, is_end } = read?;
        match is_end {
            true => self.track.end(),
            false => self.read = Some(members),
        }
        self.queue(page);
        Ok(())
    }

    fn queue(&mut self, page: Vec<Admission>) {
        for Admission { member, verdict } in page {
            self.reach[member.target].seen += 1;
            if verdict == Verdict::Passed {
                continue;
            }
            let is_left_out = self.notifications.iter().all(|said| said.except.contains(&member.connection));
            let next = self.next_for(&member, 0);
            if let Some(next) = next.filter(|_| self.position.is_open(&member.sort_key)) {
                let is_new = !is_left_out && !self.position.is_counted(&member.sort_key);
                self.unsettled += 1;
                self.report.audience += u64::from(is_new);
                let is_straggler = self.position.stragglers.contains(&member.sort_key);
                let number = self.track.read(&member.sort_key);
                self.ready.push_back(Attempt {
                    member,
                    number,
                    is_new,
                    is_straggler,
                    is_left_out,
                    failures: 0,
                    throttles: 0,
                    refusals: 0,
                    first_gone: None,
                    first_refused: None,
                    first_failed: None,
                    next,
                    read_at: Instant::now(),
                    is_uncertain: verdict == Verdict::Uncertain,
                });
            }
        }
    }

    /// Whether the next post may start, as far as this run goes.
    fn may_start(&self) -> bool {
        self.ready.front().is_some_and(|attempt| self.track.may_begin(attempt.number))
            && self.posts.len() < MAX_OPEN
            && (!self.resumable || self.track.may_start(self.posts.len()))
    }

    /// Where nothing seems to go through, and whoever was throttled takes all the room, they all go on by name: a probe that
    /// tries the same two hundred again cannot tell an overload from clients that do not read.
    fn make_room(&mut self) {
        if self.delivery.limiter.knows_of_overload() && self.track.is_full() && self.posts.is_empty() {
            let (again, new): (VecDeque<_>, _) = self.ready.drain(..).partition(|attempt| attempt.throttles > 0);
            self.ready = new;
            for attempt in again {
                match attempt.member.strict {
                    Some(_) => self.close(attempt),
                    None => self.delay(attempt),
                }
            }
        }
    }

    /// Starts what may start. Where a reservation is what holds the next post back, says until when.
    fn start_posts(&mut self) -> Option<Instant> {
        while self.may_start() {
            if self.ready.front().is_some_and(Attempt::is_not_to_be_posted) {
                let attempt = self.ready.pop_front()?;
                self.track.begin(attempt.number);
                self.look_at(attempt);
                continue;
            }
            let permit = match self.delivery.limiter.start(Instant::now()) {
                Ok(permit) => permit,
                Err(due) => return due,
            };
            let attempt = self.ready.pop_front()?;
            self.track.begin(attempt.number);
            self.strict.posted(&attempt);
            let message = self.message(&attempt);
            if attempt.member.protocol.has_outbox() {
                self.posts.push(self.through_outbox(attempt, permit.epoch, message));
                continue;
            }
            let answer = post(self.delivery.sockets.clone(), attempt.member.socket.clone(), message);
            self.posts.push(Box::pin(async move {
                let outcome = answer.await;
                Answer { attempt, epoch: permit.epoch, outcome }
            }));
        }
        None
    }

    /// Has a member's message posted by way of its outbox. What its memberships say of its socket may be old.
    fn through_outbox(&self, mut attempt: Attempt, epoch: Option<i64>, message: Message) -> Later<Answer> {
        let outboxes = self.outboxes.clone();
        let notification = &self.notifications[attempt.next];
        let target = notification.to.get(attempt.member.target).unwrap_or(&Target::Everyone);
        let parcel = Parcel::of(notification, target, &message.bytes);
        Box::pin(async move {
            let (id, first) = (&attempt.member.connection, attempt.member.socket.clone());
            let (outcome, socket) = match parcel {
                Some(parcel) => outboxes.deliver(id, first, parcel).await,
                None => outboxes.sign(id, first, message).await,
            };
            attempt.member.socket = socket;
            Answer { attempt, epoch, outcome }
        })
    }

    /// The first notification from this index on that the member gets something of: its message, or that there is none.
    fn next_for(&self, member: &Member, from: usize) -> Option<usize> {
        let is_told = |index: &usize| {
            if self.strict.has(member, &self.notifications[*index]) {
                return false;
            }
            let is_left_out = self.notifications[*index].except.contains(&member.connection);
            !is_left_out || self.messages[*index].skip(member.protocol).is_some()
        };
        (from..self.notifications.len()).find(is_told)
    }

    /// The member's next message.
    fn message(&mut self, attempt: &Attempt) -> Message {
        let (member, next) = (&attempt.member, attempt.next);
        let is_left_out = self.notifications[next].except.contains(&member.connection);
        let messages = &mut self.messages[next];
        let skip = is_left_out.then(|| messages.skip(member.protocol)).flatten();
        skip.unwrap_or_else(|| messages.get(member.target, member.protocol))
    }

    /// Reserves what is needed; says when to call again where it is too early.
    fn reserve(&self) -> Option<Instant> {
        let goes_on = self.reading.is_some() || self.read.as_ref().is_some_and(|members| !members.is_at_end());
        let posts = match (self.may_start(), goes_on) {
            (false, _) => 0,
            (true, true) => READ_AHEAD,
            (true, false) => self.ready.len(),
        };
        self.share.want(posts, self.is_small, Instant::now())
    }
}

async fn pending_or<T>(future: &mut Option<Later<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
