//! What becomes of a member, by what its post was answered.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Answer, Attempt, Refusal, Run};
use crate::delivery::limiter::Answered;
use crate::delivery::post::Outcome;
use crate::delivery::{DeliveryError, Failed, Lagging, MAX_MESSAGE_BYTES, Retry};
use crate::handshake::LONGEST_HANDSHAKE_MS;
use crate::registry::{Begun, Member};

/// How long to go on trying such a connection.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Attempts for what fails for a passing reason, and in place for what is throttled or refused while others get through.
const ATTEMPTS: u32 = 4;
/// A client that is throttled for so long while others are reached does not read, in milliseconds.
const SLOW_MS: i64 = 60_000;
/// Others are reached where one was in so many milliseconds.
const REACHED_MS: i64 = 30_000;
/// So long others of an ordered topic wait for a member that does not take its message.
const LAGGING: Duration = Duration::from_secs(5);
/// Where nobody was reached for so long, whoever is reached then says that it is over, whatever it was.
const A_PAUSE: Duration = Duration::from_secs(1);
/// Removals of connections that are gone, side by side.
const MAX_REMOVALS: usize = 16;
/// Members that failed, and none that succeeded, after which nobody will: the endpoint is broken.
const HOPELESS: u64 = 100;

impl Attempt {
    /// What it counts for in the report.
    pub(super) fn counts(&self) -> u64 {
        u64::from(!self.is_left_out)
    }
}

impl Run<'_> {
    pub(super) fn settle(&mut self, answer: Answer) -> Result<(), DeliveryError> {
        let Answer { attempt, epoch, outcome } = answer;
        self.delivery.limiter.learn(Answered {
            epoch,
            passed: !matches!(outcome, Outcome::Throttled),
            reached: matches!(outcome, Outcome::Delivered),
            is_first: attempt.throttles == 0 && !attempt.is_straggler,
            counts: !matches!(self.retry, Retry::Throttled { .. }),
        });
        self.strict.answered(&attempt);
        if attempt.member.strict.is_some() {
            return self.settle_strict(attempt, outcome);
        }
        match outcome {
            Outcome::Delivered => {
                self.refusal = None;
                self.note_ok();
                self.settle_delivered(attempt);
            }
            Outcome::Gone => self.settle_gone(attempt),
            Outcome::Invalid => self.gone.push_back(attempt),
            Outcome::Throttled => self.settle_throttled(attempt),
            Outcome::Passing(reason) => return self.settle_failure(attempt, reason),
            Outcome::Refused(reason) => self.fail(&attempt, reason),
            Outcome::Deferred => self.settle_deferred(attempt),
            Outcome::Forbidden(reason) => self.settle_forbidden(attempt, reason),
            Outcome::TooLarge => {
                let bytes = self.message(&attempt).bytes.len();
                return Err(DeliveryError::PayloadTooLarge { bytes, most: MAX_MESSAGE_BYTES });
            }
        }
        Ok(())
    }

    pub(super) fn note_ok(&mut self) {
        let now = Instant::now();
        if self.last_ok.is_none_or(|last| last + A_PAUSE < now) {
            self.ok_since = Some(now);
        }
        self.last_ok = Some(now);
    }

    /// The member has its message; perhaps there is another one for it.
    pub(super) fn settle_delivered(&mut self, mut attempt: Attempt) {
        self.lagging_members -= usize::from(attempt.first_failed.take().is_some());
        if let Some(place) = &self.notifications[attempt.next].log {
            self.strict.got(&attempt, Begun::At(place.position.offset));
        }
        match self.next_for(&attempt.member, attempt.next + 1) {
            Some(next) => {
                (attempt.next, attempt.failures, attempt.throttles, attempt.refusals) = (next, 0, 0, 0);
                self.ready.push_front(attempt);
            }
            None => {
                self.report.delivered += attempt.counts();
                self.settled(&attempt);
            }
        }
    }

    /// Nothing more will be done for the member.
    pub(super) fn settled(&mut self, attempt: &Attempt) {
        self.leave_out(attempt);
        self.settled_new += u64::from(attempt.is_new);
    }

    /// Nothing more will be done for the member in this run.
    fn leave_out(&mut self, attempt: &Attempt) {
        self.lagging_members -= usize::from(attempt.first_failed.is_some());
        self.track.settle(attempt.number);
        self.strict.settled(attempt);
        self.unsettled -= 1;
    }

    /// A throttled member stays a member: it is tried in place, and then goes on by name through the queue. While the
    /// whole stack is overloaded it stays with its segment, unless it takes the last room: two hundred clients that do not
    /// read would look like an overload until they do, for nobody else could begin.
    fn settle_throttled(&mut self, mut attempt: Attempt) {
        self.report.throttled += 1;
        attempt.throttles += 1;
        if self.lagging == Lagging::IsClosed {
            return self.settle_lagging(attempt);
        }
        let limiter = &self.delivery.limiter;
        if let Retry::Throttled { since } = self.retry {
            let age = self.delivery.clock.milliseconds() - since;
            return match age > SLOW_MS && limiter.was_ok_within(REACHED_MS) {
                true => self.close(attempt),
                false => self.delay(attempt),
            };
        }
        if attempt.throttles >= ATTEMPTS && (!limiter.knows_of_overload() || self.track.is_full()) {
            return self.delay(attempt);
        }
        let pause = Duration::from_millis(50) * 2_u32.pow(attempt.throttles.min(5));
        self.wait(attempt, pause);
    }

    /// What stands in the outbox of a member is looked after later, unless others of an ordered topic wait for it.
    fn settle_deferred(&mut self, attempt: Attempt) {
        match self.lagging {
            Lagging::GoesOnByName => self.delay(attempt),
            Lagging::IsClosed => self.settle_lagging(attempt),
        }
    }

    /// A member of an ordered topic that does not take its message is tried in place, for a later message must not overtake
    /// it. While nobody is reached it waits with the others; while others are, it holds them up, and is closed.
    pub(super) fn settle_lagging(&mut self, mut attempt: Attempt) {
        self.lagging_members += usize::from(attempt.first_failed.is_none());
        let first = *attempt.first_failed.get_or_insert_with(Instant::now);
        let limiter = &self.delivery.limiter;
        // Where everybody fails, or did a moment ago, it is not the member.
        let is_alone = self.lagging_members <= 1 + usize::try_from(self.unsettled).unwrap_or(usize::MAX) / 10;
        let others_pass = !limiter.knows_of_overload() && limiter.was_ok_within(REACHED_MS);
        let since = self.ok_since.map_or(first, |ok| ok.max(first));
        if since.elapsed() >= LAGGING && is_alone && others_pass {
            return self.close(attempt);
        }
        let pause = Duration::from_millis(50) * 2_u32.pow((attempt.throttles + attempt.failures).min(5));
        self.wait(attempt, pause);
    }

    /// Hands a member on by name.
    pub(super) fn delay(&mut self, attempt: Attempt) {
        self.leave_out(&attempt);
        self.progress.delayed.push(attempt.member.sort_key);
    }

    /// Closes a client that does not read, so that it comes back, or does not.
    pub(super) fn close(&self, attempt: Attempt) {
        let (sockets, socket) = (self.delivery.sockets.clone(), attempt.member.socket.clone());
        let outboxes = attempt.member.protocol.has_outbox().then(|| self.outboxes.clone());
        self.closing.push(Box::pin(async move {
            if let Some(outboxes) = outboxes {
                outboxes.expect_back(&attempt.member.connection, &socket).await;
            }
            let closed = match sockets.delete(&socket).await {
                // 400 and 410: it is gone by itself.
                Ok(answer) => matches!(answer.status, 200..300 | 400 | 410),
                Err(_) => false,
            };
            (attempt, closed)
        }));
    }

    pub(super) fn settle_closed(&mut self, attempt: Attempt, closed: bool) {
        if !closed && attempt.member.strict.is_some() {
            return self.close_again(Attempt { is_uncertain: true, ..attempt });
        }
        if !closed {
            return match self.lagging {
                Lagging::GoesOnByName => self.delay(attempt),
                Lagging::IsClosed => self.settle_lagging(attempt),
            };
        }
        self.report.slow += attempt.counts();
        if self.lagging == Lagging::IsClosed && attempt.member.protocol.recovers() {
            self.log(&attempt.member, "it held up an ordered topic; it was closed, and recovers");
            return self.settled(&attempt);
        }
        let reason = "the client did not read for a minute while others were reached; it was closed".to_owned();
        self.give_up(&attempt, reason);
    }

    /// 403 comes of roles and credentials that are not there yet, and of clocks that are wrong: it passes, or nobody is
    /// ever reached.
    pub(super) fn settle_forbidden(&mut self, mut attempt: Attempt, reason: String) {
        let epoch_ms = self.delivery.clock.milliseconds();
        attempt.refusals += 1;
        let first = *attempt.first_refused.get_or_insert_with(Instant::now);
        let refusal = self.refusal.get_or_insert(Refusal { since: epoch_ms, reason: None });
        refusal.reason = Some(reason);
        let others_pass = self.last_ok.is_some_and(|last| last > first);
        if others_pass && attempt.refusals >= ATTEMPTS {
            return match attempt.member.strict {
                Some(_) => self.close(attempt),
                None => self.delay(attempt),
            };
        }
        let pause = Duration::from_millis(50) * 2_u32.pow(attempt.refusals.min(5));
        self.wait(attempt, pause);
    }

    fn settle_failure(&mut self, mut attempt: Attempt, reason: String) -> Result<(), DeliveryError> {
        attempt.failures += 1;
        if self.lagging == Lagging::IsClosed && self.report.delivered > 0 {
            self.settle_lagging(attempt);
            return Ok(());
        }
        if attempt.failures < ATTEMPTS {
            let pause = Duration::from_millis(100) * 2_u32.pow(attempt.failures);
            self.wait(attempt, pause);
            return Ok(());
        }
        if self.report.failed >= HOPELESS && self.report.delivered == 0 {
            return Err(DeliveryError::Unreachable { reason });
        }
        self.fail(&attempt, reason);
        Ok(())
    }

    /// API Gateway answers 410 until `$connect` has returned, so a young connection gets time to come about.
    fn settle_gone(&mut self, mut attempt: Attempt) {
        if self.delivery.clock.milliseconds() - attempt.member.connected_at >= LONGEST_HANDSHAKE_MS {
            return self.gone.push_back(attempt);
        }
        let first = *attempt.first_gone.get_or_insert_with(Instant::now);
        if first.elapsed() < HANDSHAKE {
            return self.wait(attempt, Duration::from_millis(400));
        }
        self.log(&attempt.member, "still in its handshake");
        match self.retry {
            Retry::Handshake => {
                self.report.pending += attempt.counts();
                self.settled(&attempt);
            }
            _ => {
                self.leave_out(&attempt);
                self.progress.pending.push(attempt.member.sort_key);
            }
        }
    }

    pub(super) fn settle_removed(&mut self, attempt: &Attempt) {
        self.report.gone += attempt.counts();
        self.reach[attempt.member.target].lost += 1;
        self.settled(attempt);
    }

    fn fail(&mut self, attempt: &Attempt, reason: String) {
        self.report.failed += attempt.counts();
        self.give_up(attempt, reason);
    }

    /// Settles a member whose message is kept as a dead letter, by name.
    fn give_up(&mut self, attempt: &Attempt, reason: String) {
        self.reach[attempt.member.target].lost += 1;
        self.settled(attempt);
        self.log(&attempt.member, &reason);
        if !attempt.is_left_out {
            self.progress.failed.push(Failed { connection: attempt.member.connection.clone(), reason });
        }
    }

    pub(super) fn log(&self, member: &Member, reason: &str) {
        tracing::warn!(
            connection.id = %member.connection,
            notification.id = %self.last.id,
            reason,
            "message not delivered"
        );
    }

    /// Tries again after half the pause to the whole of it.
    pub(super) fn wait(&mut self, attempt: Attempt, pause: Duration) {
        let pause = pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.waiting.push(Box::pin(async move {
            sleep(pause).await;
            attempt
        }));
    }

    pub(super) fn start_removals(&mut self) {
        while self.removals.len() < MAX_REMOVALS
            && let Some(attempt) = self.gone.pop_front()
        {
            let (registry, member) = (self.delivery.registry.clone(), attempt.member.clone());
            self.removals.push(Box::pin(async move {
                match registry.remove_gone(&member).await {
                    Ok(()) => tracing::info!(connection.id = %member.connection, "removed a connection that is gone"),
                    Err(error) => {
                        // It stays until the next push finds it, or until it expires.
                        let error = crate::describe(&error);
                        tracing::error!(connection.id = %member.connection, error, "could not remove a connection that is gone");
                    }
                }
                attempt
            }));
        }
    }
}
