//! One notification on its way through its audience.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::post::{Messages, Outcome, post};
use super::track::Track;
use super::window::Window;
use super::{Delivery, DeliveryError, Failed, Job, Progress, Report, SaveError};
use crate::notification::Notification;
use crate::registry::{Member, Members, Position, Registry, RegistryError};

/// A connection this young, in milliseconds, may still be in its handshake when a push finds it gone.
const YOUNG_MS: i64 = 60_000;
/// How long to go on trying such a connection.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Attempts for what fails for a passing reason.
const ATTEMPTS: u32 = 4;
/// Throttled attempts after which a client counts as slow. An overload of ours is over by then: the window halves.
const THROTTLES: u32 = 6;
/// Members that wait for another attempt; when there are more, no new ones are started.
const MAX_WAITING: usize = 5_000;
/// Members that are read ahead of the posts.
const READ_AHEAD: usize = 500;
/// Removals of connections that are gone, side by side.
const MAX_REMOVALS: usize = 16;
/// Members that failed, and none that succeeded, after which nobody will: the endpoint is broken.
const HOPELESS: u64 = 100;
/// How long posts that are under way may still take when the time is up.
const DRAIN: Duration = Duration::from_secs(1);

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Page = (Members, Result<Vec<Member>, RegistryError>);

/// A member on its way, with what happened to it so far.
#[derive(Debug)]
struct Attempt {
    member: Member,
    /// Its number in the track.
    number: u64,
    failures: u32,
    throttles: u32,
    first_gone: Option<Instant>,
}

struct Answer {
    attempt: Attempt,
    outcome: Outcome,
    took: Duration,
}

pub(super) struct Run<'a> {
    delivery: &'a Delivery,
    notification: &'a Notification,
    /// Milliseconds since the epoch, for the age of connections.
    now: i64,
    deadline: Instant,
    messages: Messages<'a>,
    pub(super) report: Report,
    window: Window,
    /// The next members, on their way from the registry; `None` at the end of the audience.
    reading: Option<Later<Page>>,
    /// Members read, while there are too many to read on.
    read: Option<Members>,
    ready: VecDeque<Attempt>,
    posts: FuturesUnordered<Later<Answer>>,
    waiting: FuturesUnordered<Later<Attempt>>,
    gone: VecDeque<Attempt>,
    /// Removals under way, by the member's number: only then is it settled.
    removals: FuturesUnordered<Later<u64>>,
    job: JobRest<'a>,
    track: Track,
    /// What the next saving tells beside the position.
    failed: Vec<Failed>,
    pending: Vec<String>,
    saving: Option<Later<Result<(), SaveError>>>,
    /// The next turn of the pace.
    asking: Option<Later<Option<Instant>>>,
}

/// What is left of the job once its parts are in their places.
struct JobRest<'a> {
    position: Position,
    resumable: bool,
    save: &'a super::Save,
}

impl<'a> Run<'a> {
    pub(super) fn new(delivery: &'a Delivery, job: Job<'a>) -> Self {
        let notification = job.notification;
        let mut run = Self {
            delivery,
            notification,
            now: job.now,
            deadline: job.deadline,
            messages: Messages::new(notification),
            report: Report::new(&notification.id),
            window: Window::new(delivery.limits.max_in_flight),
            reading: None,
            read: Some(job.members),
            track: Track::new(job.position.clone()),
            job: JobRest { position: job.position, resumable: job.resumable, save: job.save },
            failed: Vec::new(),
            pending: Vec::new(),
            saving: None,
            asking: None,
            ready: VecDeque::new(),
            posts: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
            gone: VecDeque::new(),
            removals: FuturesUnordered::new(),
        };
        run.queue(job.first);
        run
    }

    /// Runs until everybody is settled, or the time is up.
    /// Where to go on, in the second case.
    pub(super) async fn finish(&mut self) -> Result<Option<Position>, DeliveryError> {
        while !self.is_done() {
            self.read_on();
            let pace = self.start_posts();
            self.ask_for_turn();
            self.start_removals();
            self.save_if_due();
            tokio::select! {
                () = sleep_until(self.deadline) => return self.leave().await,
                Some(answer) = self.posts.next() => self.settle(answer)?,
                Some(attempt) = self.waiting.next() => self.ready.push_back(attempt),
                Some(number) = self.removals.next() => self.track.settle(number),
                (members, page) = pending_or(&mut self.reading), if self.reading.is_some() => self.take(members, page)?,
                saved = pending_or(&mut self.saving), if self.saving.is_some() => self.saved(saved)?,
                begin = pending_or(&mut self.asking), if self.asking.is_some() => self.take_turn(begin),
                () = sleep_until(pace.unwrap_or(self.deadline)), if pace.is_some() => {}
            }
        }
        self.tell(None).await?;
        Ok(None)
    }

    /// The time is up: waits shortly for the posts that are under way, and says where to go on.
    async fn leave(&mut self) -> Result<Option<Position>, DeliveryError> {
        let end = Instant::now() + DRAIN;
        loop {
            tokio::select! {
                () = sleep_until(end) => break,
                answer = self.posts.next() => match answer {
                    Some(answer) => self.settle(answer)?,
                    None => break,
                },
            }
        }
        if let Some(saving) = self.saving.take() {
            self.saved(saving.await)?;
        }
        let (position, _) = self.track.position();
        self.tell(self.job.resumable.then(|| position.clone())).await?;
        Ok(Some(position))
    }

    /// Saves what there is to tell, and waits for it.
    async fn tell(&mut self, position: Option<Position>) -> Result<(), DeliveryError> {
        if let Some(saving) = self.saving.take() {
            self.saved(saving.await)?;
        }
        let progress = self.progress(position);
        if progress.is_empty() {
            return Ok(());
        }
        (self.job.save)(progress).await.map_err(DeliveryError::Save)
    }

    fn progress(&mut self, position: Option<Position>) -> Progress {
        Progress { position, failed: std::mem::take(&mut self.failed), pending: std::mem::take(&mut self.pending) }
    }

    fn save_if_due(&mut self) {
        if self.job.resumable
            && self.saving.is_none()
            && let Some(position) = self.track.due()
        {
            let progress = self.progress(Some(position));
            self.saving = Some((self.job.save)(progress));
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
    }

    fn read_on(&mut self) {
        if self.ready.len() >= READ_AHEAD || self.waiting.len() >= MAX_WAITING {
            return;
        }
        if let Some(mut members) = self.read.take() {
            self.reading = Some(Box::pin(async move {
                let page = members.next().await;
                (members, page)
            }));
        }
    }

    fn take(&mut self, members: Members, page: Result<Vec<Member>, RegistryError>) -> Result<(), DeliveryError> {
        self.reading = None;
        let page = page?;
        if !page.is_empty() {
            self.read = Some(members);
        }
        self.queue(page);
        Ok(())
    }

    fn queue(&mut self, page: Vec<Member>) {
        for member in page {
            let is_meant = !self.notification.except.contains(&member.connection);
            if is_meant && self.job.position.is_open(&member.sort_key) {
                self.report.audience += 1;
                let number = self.track.read(&member.sort_key);
                self.ready.push_back(Attempt { member, number, failures: 0, throttles: 0, first_gone: None });
            }
        }
    }

    /// Starts what may start. Where the pace is what holds the next post back, says until when.
    fn start_posts(&mut self) -> Option<Instant> {
        while self.window.has_room(self.posts.len()) && !self.ready.is_empty() {
            if self.job.resumable && !self.track.may_start(self.posts.len()) {
                return None;
            }
            if let Err(due) = self.delivery.pace().start(Instant::now()) {
                return due;
            }
            if let Some(attempt) = self.ready.pop_front() {
                self.track.start(attempt.number);
                let message = self.messages.get(attempt.member.target, attempt.member.protocol);
                let answer = post(self.delivery.sockets.clone(), attempt.member.socket.clone(), message);
                self.posts.push(Box::pin(async move {
                    let started = Instant::now();
                    let outcome = answer.await;
                    Answer { attempt, outcome, took: started.elapsed() }
                }));
            }
        }
        None
    }

    fn ask_for_turn(&mut self) {
        if self.asking.is_some() {
            return;
        }
        let goes_on = self.read.as_ref().is_some_and(|members| !members.is_at_end());
        let posts = if goes_on { usize::MAX } else { self.ready.len() };
        let pace = self.delivery.pace();
        if pace.wants(posts) {
            self.asking = Some(Box::pin(next_turn(self.delivery.registry.clone(), pace.turn(), pace.patience())));
        }
    }

    fn take_turn(&mut self, begin: Option<Instant>) {
        self.asking = None;
        self.delivery.pace().add(begin);
    }

    fn settle(&mut self, answer: Answer) -> Result<(), DeliveryError> {
        let Answer { attempt, outcome, took } = answer;
        match outcome {
            Outcome::Delivered => {
                self.window.succeeded(took);
                self.report.delivered += 1;
                self.track.settle(attempt.number);
            }
            Outcome::Gone => self.settle_gone(attempt),
            Outcome::Invalid => self.remove(attempt),
            Outcome::Throttled => self.settle_throttled(attempt),
            Outcome::Passing(reason) => return self.settle_failure(attempt, reason),
            Outcome::Refused(reason) => self.fail(attempt, reason),
            Outcome::Forbidden(reason) => return Err(DeliveryError::Forbidden { reason }),
            Outcome::TooLarge => {
                let bytes = self.messages.get(attempt.member.target, attempt.member.protocol).bytes.len();
                return Err(DeliveryError::PayloadTooLarge { bytes });
            }
        }
        Ok(())
    }

    fn settle_throttled(&mut self, mut attempt: Attempt) {
        self.window.throttled(Instant::now());
        self.report.throttled += 1;
        attempt.throttles += 1;
        if attempt.throttles < THROTTLES {
            let pause = Duration::from_millis(50) * 2_u32.pow(attempt.throttles);
            return self.wait(attempt, pause);
        }
        self.report.slow += 1;
        self.track.settle(attempt.number);
        self.log(&attempt.member, "slow client: throttled again and again");
    }

    fn settle_failure(&mut self, mut attempt: Attempt, reason: String) -> Result<(), DeliveryError> {
        attempt.failures += 1;
        if attempt.failures < ATTEMPTS {
            let pause = Duration::from_millis(100) * 2_u32.pow(attempt.failures);
            self.wait(attempt, pause);
            return Ok(());
        }
        if self.report.failed >= HOPELESS && self.report.delivered == 0 {
            return Err(DeliveryError::Unreachable { reason });
        }
        self.fail(attempt, reason);
        Ok(())
    }

    /// API Gateway answers 410 until `$connect` has returned, so a young connection gets time to come about.
    fn settle_gone(&mut self, mut attempt: Attempt) {
        if self.now - attempt.member.connected_at >= YOUNG_MS {
            return self.remove(attempt);
        }
        let first = *attempt.first_gone.get_or_insert_with(Instant::now);
        if first.elapsed() < HANDSHAKE {
            self.wait(attempt, Duration::from_millis(400));
        } else {
            self.report.pending += 1;
            self.track.settle(attempt.number);
            self.log(&attempt.member, "still in its handshake");
            self.pending.push(attempt.member.sort_key);
        }
    }

    fn remove(&mut self, attempt: Attempt) {
        self.report.gone += 1;
        self.gone.push_back(attempt);
    }

    fn fail(&mut self, attempt: Attempt, reason: String) {
        self.report.failed += 1;
        self.track.settle(attempt.number);
        self.log(&attempt.member, &reason);
        self.failed.push(Failed { connection: attempt.member.connection, reason });
    }

    fn log(&self, member: &Member, reason: &str) {
        tracing::warn!(
            connection.id = %member.connection,
            notification.id = %self.notification.id,
            reason,
            "message not delivered"
        );
    }

    /// Tries again after half the pause to the whole of it.
    fn wait(&mut self, attempt: Attempt, pause: Duration) {
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.waiting.push(Box::pin(async move {
            sleep(pause).await;
            attempt
        }));
    }

    fn start_removals(&mut self) {
        while self.removals.len() < MAX_REMOVALS
            && let Some(Attempt { member, number, .. }) = self.gone.pop_front()
        {
            let registry = self.delivery.registry.clone();
            self.removals.push(Box::pin(async move {
                match registry.remove_gone(&member).await {
                    Ok(()) => tracing::info!(connection.id = %member.connection, "removed a connection that is gone"),
                    Err(error) => {
                        // It stays until the next push finds it, or until it expires.
                        let error = crate::describe(&error);
                        tracing::error!(connection.id = %member.connection, error, "could not remove a connection that is gone");
                    }
                }
                number
            }));
        }
    }
}

/// When the next turn begins; `None` where there is none for a while, or nobody to ask.
async fn next_turn(registry: Registry, turn: Duration, patience: Duration) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_micros()).unwrap_or_default();
    let asked = Instant::now();
    match registry.take_turn(turn, now, patience).await {
        Ok(begin) => {
            let ahead = begin? - now;
            let distance = Duration::from_micros(ahead.unsigned_abs());
            if ahead >= 0 { Some(asked + distance) } else { asked.checked_sub(distance) }
        }
        Err(error) => {
            let error = crate::describe(&error);
            tracing::warn!(error, "no turn of the pace is to be had; keeping to the share");
            None
        }
    }
}

async fn pending_or<T>(future: &mut Option<Later<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
