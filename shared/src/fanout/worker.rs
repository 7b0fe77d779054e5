//! What one invocation does with one segment.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::segment::plan;
use super::{FanOut, FanOutError, Queues, Segment, Shift};
use crate::delivery::{Failed, Job, Progress, Report, SaveError};
use crate::metrics::{Metric, Tally};
use crate::notification::{Notification, Target};
use crate::queue::DeadLetter;
use crate::registry::{Claim, Interval, Lease, Member, Members, Position};

/// How often a fan-out may be handed on: a tree of a million members has two levels, and a slow one is handed on.
const MAX_HOPS: u32 = 200;
/// How long a fan-out may go on, in milliseconds.
const MAX_AGE_MS: i64 = 6 * 3_600_000;
/// How much of the time left an invocation plans to use.
const PLANNED_SHARE: f64 = 0.7;
/// When connections that were still in their handshake are tried again.
const PENDING_DELAY: Duration = Duration::from_secs(15);
/// Marks the segment of those who were; they are not handed on a second time.
const PENDING_SUFFIX: &str = "pending";

/// What there is of an audience after one page.
struct Look {
    members: Members,
    first: Vec<Member>,
}

impl Look {
    /// The parts to split the audience into, where it is too large for one invocation.
    fn plan(&self, interval: &Interval, budget: usize) -> Option<Vec<Interval>> {
        match self.first.last() {
            Some(last) if !self.members.is_at_end() => plan(interval, self.first.len(), &last.sort_key, budget),
            _ => None,
        }
    }
}

impl FanOut {
    /// Delivers a notification that somebody waits for. A small audience is served at once, without a row; a large one is
    /// handed to the fan-out queue as a whole.
    ///
    /// # Errors
    /// When it can neither be delivered nor handed on.
    pub async fn direct(&self, notification: Notification, shift: &Shift) -> Result<Report, FanOutError> {
        if notification.is_expired(shift.now) {
            return Ok(shift.counted(Report { expired: 1, ..Report::new(&notification.id) }));
        }
        let segment = Segment::whole(notification, shift.now);
        let look = self.look(&segment, &Position::default(), shift).await?;
        if look.plan(&segment.interval, self.budget(shift)).is_some() {
            self.hand_on(vec![segment.clone()], Duration::ZERO).await?;
            return Ok(shift.counted(Report { segments: 1, ..Report::new(&segment.notification.id) }));
        }
        let finish = self.push(&segment, look, Position::default(), None, shift).await?;
        let mut report = finish.report;
        if let Some(rest) = finish.rest {
            let parts = rest_of(&segment, &rest);
            report.segments = parts.len() as u64;
            self.hand_on(parts, Duration::ZERO).await?;
            shift.tally.add(Metric::Segments, report.segments);
        }
        Ok(report)
    }

    /// Works on a segment that came from a queue or a stream. What is done is written down, so that nothing is done
    /// twice.
    ///
    /// # Errors
    /// When it is to come again, or can never be done.
    pub async fn work(&self, segment: &Segment, shift: &Shift) -> Result<Report, FanOutError> {
        let id = &segment.notification.id;
        if segment.notification.is_expired(shift.now) {
            return Ok(shift.counted(Report { expired: 1, ..Report::new(id) }));
        }
        let age = shift.now - segment.since;
        if segment.hops > MAX_HOPS || age > MAX_AGE_MS {
            return Err(FanOutError::Endless { hops: segment.hops, minutes: age / 60_000 });
        }
        let registry = self.delivery.registry();
        match registry.claim(&segment.key(), &shift.owner, shift.now, shift.lease_until).await? {
            Claim::Done => Ok(Report::new(id)),
            Claim::Held { until } => {
                let milliseconds = u64::try_from(until - shift.now).unwrap_or_default();
                Err(FanOutError::Held { for_another: Duration::from_millis(milliseconds) })
            }
            Claim::Ours { lease, position, plan } => {
                let worked = self.work_on(segment, &lease, position, plan, shift).await;
                if worked.is_err()
                    && let Err(error) = lease.release().await
                {
                    tracing::warn!(notification.id = %id, %error, "the lease is not released; it ends by itself");
                }
                worked
            }
        }
    }

    async fn work_on(
        &self,
        segment: &Segment,
        lease: &Lease,
        position: Position,
        plan: Vec<Interval>,
        shift: &Shift,
    ) -> Result<Report, FanOutError> {
        if !plan.is_empty() {
            return self.send_parts(segment, lease, plan, shift).await;
        }
        let position = if position.cursor.is_some() { position } else { segment.beginning() };
        let look = self.look(segment, &position, shift).await?;
        if position.cursor.is_none()
            && let Some(parts) = look.plan(&segment.interval, self.budget(shift))
        {
            lease.split(&parts).await?;
            return self.send_parts(segment, lease, parts, shift).await;
        }
        let finish = self.push(segment, look, position, Some(lease), shift).await?;
        let mut report = finish.report;
        match finish.rest {
            None => lease.finish().await?,
            Some(_) if report.settled() == 0 => return Err(FanOutError::NoProgress),
            Some(_) => {
                lease.release().await?;
                let again = Segment { hops: segment.hops + 1, ..segment.clone() };
                self.hand_on(vec![again], Duration::ZERO).await?;
                report.segments = 1;
                shift.tally.add(Metric::Segments, report.segments);
            }
        }
        Ok(report)
    }

    /// Sends the parts of a plan that is written down. Sending them again does no harm: each has a row of its own.
    async fn send_parts(
        &self,
        segment: &Segment,
        lease: &Lease,
        plan: Vec<Interval>,
        shift: &Shift,
    ) -> Result<Report, FanOutError> {
        let parts = segment.parts(plan);
        let segments = parts.len() as u64;
        self.hand_on(parts, Duration::ZERO).await?;
        let report = shift.counted(Report { segments, ..Report::new(&segment.notification.id) });
        lease.finish().await?;
        Ok(report)
    }

    async fn hand_on(&self, segments: Vec<Segment>, delay: Duration) -> Result<(), FanOutError> {
        hand_on(&self.queues, segments, delay).await
    }

    /// Reads the first page, which tells the size.
    async fn look(&self, segment: &Segment, position: &Position, shift: &Shift) -> Result<Look, FanOutError> {
        let interval = match position.cursor {
            None => segment.interval.clone(),
            Some(_) => position.rest_of(&segment.interval),
        };
        let mut members = self.delivery.registry().members(&segment.notification.to, &interval, shift.now);
        let first = members.next().await?;
        Ok(Look { members, first })
    }

    /// How many members this invocation can serve, even if all workers are at work.
    fn budget(&self, shift: &Shift) -> usize {
        let left = shift.deadline.saturating_duration_since(Instant::now());
        (self.delivery.share() * left.as_secs_f64() * PLANNED_SHARE) as usize
    }

    async fn push(
        &self,
        segment: &Segment,
        look: Look,
        position: Position,
        lease: Option<&Lease>,
        shift: &Shift,
    ) -> Result<crate::delivery::Finish, FanOutError> {
        let (queues, lease, tally) = (self.queues.clone(), lease.cloned(), shift.tally.clone());
        let resumable = lease.is_some();
        let ledger = Arc::new(Ledger { queues, segment: segment.clone(), lease, tally });
        let save = move |progress: Progress| -> std::pin::Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>> {
            let ledger = Arc::clone(&ledger);
            Box::pin(async move { ledger.save(progress).await.map_err(Into::into) })
        };
        let job = Job {
            notification: &segment.notification,
            members: look.members,
            first: look.first,
            position,
            resumable,
            now: shift.now,
            deadline: shift.deadline,
            save: &save,
            tally: &shift.tally,
        };
        Ok(self.delivery.deliver(job).await?)
    }
}

impl Shift {
    /// Counts the report of work in which nobody was pushed to; deliveries count their own.
    fn counted(&self, report: Report) -> Report {
        self.tally.report(&report);
        report
    }
}

/// What is left of an audience that somebody waited for.
fn rest_of(segment: &Segment, rest: &Position) -> Vec<Segment> {
    let (owner, hops) = (&segment.id, segment.hops + 1);
    let mut parts = Vec::new();
    if !rest.stragglers.is_empty() {
        let only = rest.stragglers.iter().cloned().collect();
        parts.push(Segment { id: format!("{owner}.stragglers"), only, hops, ..segment.clone() });
    }
    let interval = Interval { after: rest.cursor.clone(), to: segment.interval.to.clone() };
    parts.push(Segment { id: format!("{owner}.rest"), interval, hops, ..segment.clone() });
    parts
}

async fn hand_on(queues: &Queues, segments: Vec<Segment>, delay: Duration) -> Result<(), FanOutError> {
    let Some(group) = segments.first().map(|segment| segment.notification.id.to_string()) else { return Ok(()) };
    // A notification that was parsed can be written.
    let messages = segments.iter().filter_map(|segment| segment.to_message().ok()).collect();
    Ok(queues.fan_out.send(messages, &group, delay).await?)
}

/// Where progress is written: the failed to the dead-letter queue, those in their handshake back to the fan-out queue,
/// and the position into the segment's row, last of all, since it says that the rest is done.
struct Ledger {
    queues: Queues,
    segment: Segment,
    lease: Option<Lease>,
    tally: Tally,
}

impl Ledger {
    async fn save(&self, progress: Progress) -> Result<(), FanOutError> {
        for failed in progress.failed.chunks(100) {
            self.bury(failed).await?;
        }
        for pending in progress.pending.chunks(1_000) {
            self.put_off(pending).await?;
        }
        if let (Some(lease), Some(position)) = (&self.lease, &progress.position) {
            lease.save(position).await?;
        }
        Ok(())
    }

    async fn bury(&self, failed: &[Failed]) -> Result<(), FanOutError> {
        let to = failed.iter().map(|failed| Target::Connection(failed.connection.clone())).collect();
        let notification = Notification { to, except: Vec::new(), ..self.segment.notification.clone() };
        // A notification that was parsed can be written.
        let body = serde_json::to_string(&notification).unwrap_or_default();
        let first = failed.first().map(|failed| failed.reason.as_str()).unwrap_or_default();
        let reason = format!("{} connections did not get it: {first}", failed.len());
        let id = notification.id.as_str();
        let letter = DeadLetter { body: &body, reason: &reason, source: "tidings/delivery", notification: Some(id) };
        self.queues.dead_letters.dead_letter(letter).await?;
        self.tally.add(Metric::DeadLetters, 1);
        Ok(())
    }

    async fn put_off(&self, pending: &[String]) -> Result<(), FanOutError> {
        let Some(first) = pending.first() else { return Ok(()) };
        if self.segment.id.ends_with(PENDING_SUFFIX) {
            return Ok(());
        }
        let again = Segment {
            id: format!("{}.{first}.{PENDING_SUFFIX}", self.segment.id),
            only: pending.to_vec(),
            hops: self.segment.hops + 1,
            ..self.segment.clone()
        };
        hand_on(&self.queues, vec![again], PENDING_DELAY).await
    }
}
