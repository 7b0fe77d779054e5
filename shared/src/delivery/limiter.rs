//! How many posts may start.
//!
//! All workers share one rate, which a row of the table gives away piece by piece: a worker reserves so many posts from a
//! moment on, and starts none without, but for a small allowance that lets a quiet stack write nothing. What its posts are
//! answered tells the row how much of the rate goes through.
//!
//! Bound: in any `T` seconds all workers together start at most `rate × (T + 0.6)` posts, and each of them at most its
//! allowance and `T × rate / 10,000` more. A reservation may begin 0.2 seconds ago, and what is not used 0.4 seconds
//! after its time is lost; that is the 0.6.

mod seen;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::registry::{Granted, RateLimit, Registry, RegistryError, Wanted};
use seen::{Lesson, Seen};

pub(super) use seen::Answered;

/// An environment's allowance is this part of a second's posts.
const ALLOWANCE: f64 = 1.0 / 800.0;
/// And never less than this.
const LEAST_ALLOWANCE: f64 = 2.0;
/// Of a second's posts, what comes back of it in a second.
const REFILL: f64 = 1.0 / 10_000.0;
/// Posts of an environment that are under way at once. Each holds a socket, and a function has 1,024 file descriptors.
const MAX_IN_FLIGHT: usize = 200;
/// Whoever has fewer posts in stock than this, and more to make, reserves again.
const STOCK: usize = 20;
/// Of posts that come soon, so many times as many are reserved: batches follow each other, and one write serves several.
const AHEAD: usize = 4;
/// A reservation is lost so long after its time.
const LATEST: Duration = Duration::from_millis(400);
/// How far ahead small audiences reserve, and large ones: the small come first.
const SMALL_PATIENCE: Duration = Duration::from_millis(1_500);
const LARGE_PATIENCE: Duration = Duration::from_millis(300);
/// An answer that takes longer is not waited for: Lambda may have stopped the environment meanwhile.
const ANSWER: Duration = Duration::from_secs(1);

/// Starts posts. One for each environment.
#[derive(Debug)]
pub(super) struct Limiter {
    registry: Registry,
    clock: Clock,
    /// The configured rate, in posts a second.
    configured: f64,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    allowance: f64,
    counted_at: Instant,
    reservations: VecDeque<Reservation>,
    known: RateLimit,
    /// What each run has to post, and whether its audience is small.
    wants: BTreeMap<u64, (usize, bool)>,
    next_run: u64,
    asked_at: Option<Instant>,
    ask_again: Option<Instant>,
    is_blocked: bool,
    seen: Seen,
    /// Posts under way.
    in_flight: usize,
}

#[derive(Debug, Clone, Copy)]
struct Reservation {
    /// When the next post may start.
    next: Instant,
    left: u32,
    interval: Duration,
    lost_at: Instant,
    epoch: i64,
}

/// The right to one post. It is under way until this goes.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    /// The epoch of the rate that it was reserved in; `None` where it is of the allowance.
    pub(super) epoch: Option<i64>,
}

/// One run among those that share the limiter. What it wants is forgotten with it.
#[derive(Debug)]
pub(super) struct Share {
    limiter: Arc<Limiter>,
    run: u64,
}

impl Limiter {
    pub(super) fn new(registry: Registry, clock: Clock, configured: f64, now: Instant) -> Self {
        let state = State {
            allowance: allowance(configured),
            counted_at: now,
            reservations: VecDeque::new(),
            known: RateLimit::new(configured),
            wants: BTreeMap::new(),
            next_run: 0,
            asked_at: None,
            ask_again: None,
            is_blocked: false,
            seen: Seen::default(),
            in_flight: 0,
        };
        Self { registry, clock, configured, state: Mutex::new(state), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding the lock; if somebody did, what it says would still be right.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the right to start a post now; else says when it is worth looking again: `None` for after a reservation.
    pub(super) fn start(self: &Arc<Self>, now: Instant) -> Result<Permit, Option<Instant>> {
        let mut state = self.state();
        if state.in_flight >= MAX_IN_FLIGHT {
            return Err(None);
        }
        let epoch = state.start(self.configured, now)?;
        state.in_flight += 1;
        Ok(Permit { limiter: Arc::clone(self), epoch })
    }

    /// Notes what a run has to post, and reserves if there is too little in stock. Says when it is worth calling again.
    fn want(self: &Arc<Self>, run: u64, posts: usize, is_small: bool, now: Instant) -> Option<Instant> {
        let mut state = self.state();
        match posts {
            0 => state.wants.remove(&run),
            _ => state.wants.insert(run, (posts, is_small)),
        };
        let wanted: usize = state.wants.values().fold(0, |sum, (posts, _)| sum.saturating_add(*posts));
        if wanted == 0 || state.in_stock(self.configured, now) >= wanted.min(STOCK) {
            return None;
        }
        let is_small = state.wants.values().any(|(_, is_small)| *is_small);
        self.ask(&mut state, wanted, is_small, now)
    }

    /// Asks for posts, unless somebody does or it is too early; then says until when it is.
    fn ask(self: &Arc<Self>, state: &mut State, posts: usize, is_small: bool, now: Instant) -> Option<Instant> {
        if state.asked_at.is_some_and(|asked| now < asked + ANSWER) {
            return None;
        }
        if let Some(again) = state.ask_again.filter(|again| *again > now) {
            return Some(again);
        }
        state.asked_at = Some(now);
        let wanted = Wanted {
            posts,
            patience: if is_small { SMALL_PATIENCE } else { LARGE_PATIENCE },
            configured: self.configured,
            ok_at: state.seen.ok_at(),
        };
        let (limiter, mut known) = (Arc::clone(self), state.known);
        // By itself, so that it outlives the run that asked: others wait for it as well.
        tokio::spawn(async move {
            let (asked, epoch_us) = (Instant::now(), limiter.clock.microseconds());
            let answer = limiter.registry.reserve(&mut known, &wanted, epoch_us).await;
            limiter.answered(answer, known, asked, epoch_us);
        });
        None
    }

    fn answered(&self, answer: Result<Granted, RegistryError>, known: RateLimit, asked: Instant, epoch_us: i64) {
        let mut state = self.state();
        state.asked_at = None;
        state.is_blocked = false;
        let now = Instant::now();
        match answer {
            Ok(granted) => {
                state.know(known);
                state.take(granted, known.learnt.epoch, asked, epoch_us, now);
            }
            Err(error) => {
                let error = crate::describe(&error);
                tracing::warn!(error, "no posts could be reserved; trying again");
                state.ask_again = Some(now + jitter(100, 300));
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Learns from the answer to a post.
    pub(super) fn learn(self: &Arc<Self>, answer: Answered) {
        let mut state = self.state();
        let (mut known, now) = (state.known, self.clock.microseconds());
        let learnt = known.learnt;
        let Some(lesson) = state.seen.answer(answer, &learnt, self.configured, now) else { return };
        drop(state);
        let limiter = Arc::clone(self);
        tokio::spawn(async move {
            let changed = match lesson {
                Lesson::Throttled(share) => learnt.cut(limiter.configured, share, now),
                Lesson::Clean => learnt.recover(now),
            };
            match limiter.registry.learn(&mut known, changed).await {
                Ok(()) => limiter.state().know(known),
                Err(error) => {
                    let error = crate::describe(&error);
                    tracing::warn!(error, "what was learnt of the quota could not be written down");
                    limiter.state().seen.forget();
                }
            }
            limiter.changed.notify_waiters();
        });
    }

    /// Since when nothing goes through, in milliseconds since the epoch, where the last question was answered so.
    pub(super) fn overload(&self) -> Option<i64> {
        let state = self.state();
        state.known.learnt.blocked_since.filter(|_| state.is_blocked).map(|since| since / 1_000)
    }

    /// Whether the row knows of an overload that is not over.
    pub(super) fn knows_of_overload(&self) -> bool {
        self.state().known.learnt.blocked_since.is_some()
    }

    /// Whether anybody's post was taken in so many milliseconds up to now.
    pub(super) fn was_ok_within(&self, milliseconds: i64) -> bool {
        let state = self.state();
        let ok_at = state.seen.ok_at().max(state.known.learnt.ok_at);
        ok_at > self.clock.microseconds() - milliseconds * 1_000
    }

    /// Posts that may start without a reservation.
    pub(super) fn allowance(&self) -> usize {
        allowance(self.configured) as usize
    }

    /// Reserves for posts that come soon, unless they are in stock.
    pub(super) fn expect(self: &Arc<Self>, posts: usize) {
        let (mut state, now) = (self.state(), Instant::now());
        if state.in_stock(self.configured, now) < posts {
            // Where it is too early, the runs ask themselves.
            let _ = self.ask(&mut state, posts * AHEAD, true, now);
        }
    }

    /// Asks the row, whatever is in stock, and waits for its answer.
    pub(super) async fn consult(self: &Arc<Self>, posts: usize) {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let wait = self.ask(&mut self.state(), posts.clamp(1, STOCK), true, Instant::now());
        if wait.is_none() {
            // The answer comes, or is late; either way the work goes on.
            let _ = tokio::time::timeout(ANSWER, changed).await;
        }
    }

    /// Comes back after the next change of what may start.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// For a run of its own.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        let mut state = self.state();
        state.next_run += 1;
        Share { limiter: Arc::clone(self), run: state.next_run }
    }
}

impl Share {
    /// See [`Limiter::want`].
    pub(super) fn want(&self, posts: usize, is_small: bool, now: Instant) -> Option<Instant> {
        self.limiter.want(self.run, posts, is_small, now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        state.in_flight -= 1;
        let was_full = state.in_flight + 1 == MAX_IN_FLIGHT;
        drop(state);
        if was_full {
            self.limiter.changed.notify_waiters();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.limiter.state().wants.remove(&self.run);
    }
}

impl State {
    /// The epoch of the post that may start now.
    fn start(&mut self, configured: f64, now: Instant) -> Result<Option<i64>, Option<Instant>> {
        self.refill(configured, now);
        self.drop_lost(now);
        if let Some(reservation) = self.reservations.front_mut() {
            if reservation.next > now {
                return Err(Some(reservation.next));
            }
            reservation.next += reservation.interval;
            reservation.left -= 1;
            return Ok(Some(reservation.epoch));
        }
        if self.allowance >= 1.0 {
            self.allowance -= 1.0;
            return Ok(None);
        }
        Err(None)
    }

    fn refill(&mut self, configured: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.allowance = (self.allowance + passed * configured * REFILL).min(allowance(configured));
        self.counted_at = now;
    }

    fn drop_lost(&mut self, now: Instant) {
        self.reservations.retain(|reservation| reservation.left > 0 && now <= reservation.lost_at);
    }

    fn in_stock(&mut self, configured: f64, now: Instant) -> usize {
        self.refill(configured, now);
        self.drop_lost(now);
        let reserved: usize = self.reservations.iter().map(|reservation| reservation.left as usize).sum();
        reserved + self.allowance as usize
    }

    /// Takes over what was read of the row, unless something newer is known.
    fn know(&mut self, known: RateLimit) {
        if known.learnt.epoch > self.known.learnt.epoch {
            // What is left was reserved at a rate that does not go through, or at one that is too low by now.
            self.reservations.retain(|reservation| reservation.epoch >= known.learnt.epoch);
        }
        if known.learnt.epoch >= self.known.learnt.epoch {
            self.known = known;
        }
    }

    fn take(&mut self, granted: Granted, epoch: i64, asked: Instant, epoch_us: i64, now: Instant) {
        self.ask_again = None;
        match granted {
            Granted::Posts { begin, count, interval } => {
                let distance = Duration::from_micros((begin - epoch_us).unsigned_abs());
                let next =
                    if begin >= epoch_us { asked + distance } else { asked.checked_sub(distance).unwrap_or(asked) };
                let lost_at = next + interval * count + LATEST;
                self.reservations.push_back(Reservation { next, left: count, interval, lost_at, epoch });
            }
            Granted::Wait(time) => self.ask_again = Some(now + time + jitter(5, 30)),
            Granted::Blocked => {
                self.is_blocked = true;
                self.ask_again = Some(now + jitter(200, 400));
            }
        }
    }
}

fn allowance(configured: f64) -> f64 {
    (configured * ALLOWANCE).round().max(LEAST_ALLOWANCE)
}

fn jitter(from: u64, to: u64) -> Duration {
    Duration::from_millis(fastrand::u64(from..=to))
}
