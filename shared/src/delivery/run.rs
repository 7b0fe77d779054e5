//! One notification on its way through its audience.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, sleep_until};

use super::post::{Messages, Outcome, post};
use super::window::Window;
use super::{Delivery, DeliveryError, Report};
use crate::notification::Notification;
use crate::registry::{Interval, Member, Members, RegistryError};

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

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Page = (Members, Result<Vec<Member>, RegistryError>);

/// A member on its way, with what happened to it so far.
#[derive(Debug)]
struct Attempt {
    member: Member,
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
    report: Report,
    window: Window,
    /// The next members, on their way from the registry; `None` at the end of the audience.
    reading: Option<Later<Page>>,
    /// Members read, while there are too many to read on.
    read: Option<Members>,
    ready: VecDeque<Attempt>,
    posts: FuturesUnordered<Later<Answer>>,
    waiting: FuturesUnordered<Later<Attempt>>,
    gone: VecDeque<Member>,
    removals: FuturesUnordered<Later<()>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(delivery: &'a Delivery, notification: &'a Notification, now: i64, deadline: Instant) -> Self {
        Self {
            delivery,
            notification,
            now,
            deadline,
            messages: Messages::new(notification),
            report: Report::new(&notification.id),
            window: Window::new(delivery.limits.max_in_flight),
            reading: None,
            read: Some(delivery.registry.members(&notification.to, &Interval::whole(), now)),
            ready: VecDeque::new(),
            posts: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
            gone: VecDeque::new(),
            removals: FuturesUnordered::new(),
        }
    }

    /// Runs until everybody is settled.
    pub(super) async fn finish(mut self) -> Result<Report, DeliveryError> {
        loop {
            self.read_on();
            let pace = self.start_posts();
            self.start_removals();
            if self.is_done() {
                return Ok(self.report);
            }
            tokio::select! {
                () = sleep_until(self.deadline) => return Err(DeliveryError::AudienceTooLarge(self.report)),
                Some(answer) = self.posts.next() => self.settle(answer)?,
                Some(attempt) = self.waiting.next() => self.ready.push_back(attempt),
                Some(()) = self.removals.next() => {}
                (members, page) = reading(&mut self.reading), if self.reading.is_some() => self.take(members, page)?,
                () = sleep_until(pace.unwrap_or(self.deadline)), if pace.is_some() => {}
            }
        }
    }

    fn is_done(&self) -> bool {
        self.reading.is_none()
            && self.read.is_none()
            && self.ready.is_empty()
            && self.posts.is_empty()
            && self.waiting.is_empty()
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
        for member in page {
            if !self.notification.except.contains(&member.connection) {
                self.report.audience += 1;
                self.ready.push_back(Attempt { member, failures: 0, throttles: 0, first_gone: None });
            }
        }
        Ok(())
    }

    /// Starts what may start. Where the pace is what holds the next post back, says until when.
    fn start_posts(&mut self) -> Option<Instant> {
        while self.window.has_room(self.posts.len()) && !self.ready.is_empty() {
            // Nobody panics while holding the lock; if somebody did, the pace would still be right.
            let started =
                self.delivery.pace.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).start(Instant::now());
            if let Err(due) = started {
                return Some(due);
            }
            if let Some(attempt) = self.ready.pop_front() {
                let message = self.messages.get(attempt.member.target, attempt.member.protocol);
                let answer = post(self.delivery.client.clone(), attempt.member.socket.clone(), message);
                self.posts.push(Box::pin(async move {
                    let started = Instant::now();
                    let outcome = answer.await;
                    Answer { attempt, outcome, took: started.elapsed() }
                }));
            }
        }
        None
    }

    fn settle(&mut self, answer: Answer) -> Result<(), DeliveryError> {
        let Answer { mut attempt, outcome, took } = answer;
        match outcome {
            Outcome::Delivered => {
                self.window.succeeded(took);
                self.report.delivered += 1;
            }
            Outcome::Gone => self.settle_gone(attempt),
            Outcome::Invalid => self.remove(attempt.member),
            Outcome::Throttled => {
                self.window.throttled(Instant::now());
                self.report.throttled += 1;
                attempt.throttles += 1;
                if attempt.throttles < THROTTLES {
                    let pause = Duration::from_millis(50) * 2_u32.pow(attempt.throttles);
                    self.wait(attempt, pause);
                } else {
                    self.report.slow += 1;
                    self.log(&attempt.member, "slow client: throttled again and again");
                }
            }
            Outcome::Passing(reason) => {
                attempt.failures += 1;
                if attempt.failures < ATTEMPTS {
                    let pause = Duration::from_millis(100) * 2_u32.pow(attempt.failures);
                    self.wait(attempt, pause);
                } else {
                    self.fail(&attempt.member, &reason);
                }
            }
            Outcome::Refused(reason) => self.fail(&attempt.member, &reason),
            Outcome::Forbidden(reason) => return Err(DeliveryError::Forbidden { reason }),
            Outcome::TooLarge => {
                let bytes = self.messages.get(attempt.member.target, attempt.member.protocol).len();
                return Err(DeliveryError::PayloadTooLarge { bytes });
            }
        }
        Ok(())
    }

    /// API Gateway answers 410 until `$connect` has returned, so a young connection gets time to come about.
    fn settle_gone(&mut self, mut attempt: Attempt) {
        if self.now - attempt.member.connected_at >= YOUNG_MS {
            return self.remove(attempt.member);
        }
        let first = *attempt.first_gone.get_or_insert_with(Instant::now);
        if first.elapsed() < HANDSHAKE {
            self.wait(attempt, Duration::from_millis(400));
        } else {
            self.report.pending += 1;
            self.log(&attempt.member, "still in its handshake");
        }
    }

    fn remove(&mut self, member: Member) {
        self.report.gone += 1;
        self.gone.push_back(member);
    }

    fn fail(&mut self, member: &Member, reason: &str) {
        self.report.failed += 1;
        self.log(member, reason);
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
            && let Some(member) = self.gone.pop_front()
        {
            let registry = self.delivery.registry.clone();
            self.removals.push(Box::pin(async move {
                match registry.remove_gone(&member).await {
                    Ok(()) => tracing::info!(connection.id = %member.connection, "removed a connection that is gone"),
                    Err(error) => {
                        // It stays until the next push finds it, or until it expires.
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(connection.id = %member.connection, %error, cause, "could not remove a connection that is gone");
                    }
                }
            }));
        }
    }
}

async fn reading<T>(future: &mut Option<Later<T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
