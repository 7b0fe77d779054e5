//! Notifications that go into logs: each audience with a log gets the message in its own, before anybody of it is told.

use super::claim::{Claimed, release_after};
use super::{FanOut, FanOutError, Invocation, Segment};
use crate::delivery::Report;
use crate::history::Retention;
use crate::log::{LogName, LogPosition, Place};
use crate::metrics::Metric;
use crate::notification::Target;
use crate::registry::{Append, Appended, Head, Lease, Position, Registry, RegistryError};

/// How often a log may begin anew under the hands of one append.
const EPOCHS: usize = 3;

/// What of a notification goes its own way: to one audience with a log, or to all without one.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) segment: Segment,
    pub(super) log: Option<Log>,
}

/// The log of an audience.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) name: LogName,
    pub(super) retention: Retention,
}

impl FanOut {
    /// The parts of a notification. One that stands in a log already goes to its audience and nowhere else.
    pub(super) fn parts(&self, segment: &Segment) -> Vec<Part> {
        let to = &segment.notification.to;
        let logs: Vec<_> = to.iter().map(|target| self.log(target)).collect();
        if segment.notification.log.is_some() || logs.iter().all(Option::is_none) {
            return vec![Part { segment: segment.clone(), log: None }];
        }
        let is_only_one = to.len() == 1;
        let unlogged: Vec<_> =
            to.iter().zip(&logs).filter(|(_, log)| log.is_none()).map(|(to, _)| to.clone()).collect();
        let rest = (!unlogged.is_empty()).then(|| Part { segment: segment.for_targets(unlogged), log: None });
        let logged = logs.into_iter().enumerate().filter_map(|(index, log)| {
            let segment = if is_only_one { segment.clone() } else { segment.for_target(index) };
            Some(Part { segment, log: Some(log?) })
        });
        logged.chain(rest).collect()
    }

    pub(super) fn log(&self, target: &Target) -> Option<Log> {
        let retention = self.history.of(target)?;
        Some(Log { name: target.log()?, retention })
    }

    /// The head of a log, read together with those of others that are wanted at the same time; a new one, which is not
    /// written yet, where there is none.
    pub(super) async fn head_of(&self, log: &Log, invocation: &Invocation) -> Result<Head, RegistryError> {
        let head = self.heads.read(self.delivery.registry(), &log.name).await?;
        Ok(head.unwrap_or_else(|| Head::of_new_log(log.retention, invocation.now)))
    }

    /// Appends a part to its log, and counts it; see [`append`].
    pub(super) async fn append<T>(
        &self,
        part: &mut Segment,
        log: &Log,
        head: Head,
        from: Option<&LogPosition>,
        invocation: &Invocation,
        meanwhile: impl AsyncFn(&Segment) -> Result<T, FanOutError>,
    ) -> Result<T, FanOutError> {
        let registry = self.delivery.registry();
        let (appended, read) = append(registry, part, log, (head, from), invocation.now, meanwhile).await?;
        invocation.recorder.add(Metric::Appended, u64::from(!appended.was_there));
        invocation.recorder.add(Metric::AppendsContended, u64::from(appended.contended));
        Ok(read)
    }

    /// The same for an audience with a log: the message is in it before anything else is done, and before it is put there
    /// the segment is claimed, so that one that comes again is found.
    pub(super) async fn up_to_logged(
        &self,
        most: Option<usize>,
        mut segment: Segment,
        log: &Log,
        invocation: &Invocation,
        pass_on: &impl AsyncFn(&Segment) -> Result<Report, FanOutError>,
    ) -> Result<Report, FanOutError> {
        let Some((head, claimed)) = self.claim_logged(&segment, log, invocation).await? else {
            return Ok(Report::new(&segment.notification.id));
        };
        let Claimed { lease, position, plan, from } = claimed;
        let read = async |segment: &Segment| self.first_page(segment, &Position::default(), most).await;
        let worked = async {
            if log.retention.ordered {
                self.append(&mut segment, log, head, from.as_ref(), invocation, async |_| Ok(())).await?;
                // Of a direct invoke nothing comes again.
                let cause = most.map(|_| crate::hash(&[&segment.scope, segment.notification.id.as_str()]));
                let report = self.serve_ordered(&segment, log, cause.as_deref(), invocation).await?;
                // Only now: should this worker die before, the message comes again and wakes the lane.
                lease.finish().await?;
                return Ok(report);
            }
            let first_page = self.append(&mut segment, log, head, from.as_ref(), invocation, read).await?;
            if let Some(report) = self.wait_for_overload(&segment, invocation).await? {
                release_appended(&lease, &segment).await?;
                return Ok(report);
            }
            if most.is_some_and(|most| first_page.is_above(most)) {
                release_appended(&lease, &segment).await?;
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

    /// Takes the segment, and reads the head of its log; nothing where it is done.
    async fn claim_logged(
        &self,
        segment: &Segment,
        log: &Log,
        invocation: &Invocation,
    ) -> Result<Option<(Head, Claimed)>, FanOutError> {
        if log.name.topic().is_some() {
            let head = self.head_of(log, invocation).await?;
            let claimed = self.claim(segment, Some(&head.position()), invocation).await?;
            return Ok(claimed.map(|claimed| (head, claimed)));
        }
        // A user's log is short: an attempt that follows one which died may look through all of it. So the first need not
        // know where it ends before it takes the segment.
        let before_all = LogPosition::before_all();
        let claim = self.claim(segment, Some(&before_all), invocation);
        let (head, claimed) = futures_util::future::join(self.head_of(log, invocation), claim).await;
        let Some(claimed) = claimed? else { return Ok(None) };
        let head = head.map_err(FanOutError::from);
        release_after(&head, &claimed.lease).await;
        Ok(Some((head?, claimed)))
    }

    /// Sees to it that a message of an ordered topic is pushed, which stands in the log. Where another worker pushes it, the
    /// report says that it was handed on.
    pub(super) async fn serve_ordered(
        &self,
        segment: &Segment,
        log: &Log,
        cause: Option<&str>,
        invocation: &Invocation,
    ) -> Result<Report, FanOutError> {
        let notification = &segment.notification;
        let own = notification.log.as_ref().map(|place| place.position.offset);
        let served = match log.name.topic() {
            Some(topic) => self.serve_lane(log, topic, own, cause, invocation).await?,
            None => None,
        };
        let elsewhere = || invocation.counted(Report { segments: 1, ..Report::new(&notification.id) });
        Ok(served.map_or_else(elsewhere, |report| Report { id: notification.id.clone(), ..report }))
    }
}

/// The head of a log; a new one, which is not written yet, where there is none: it is written with the log's first entry.
pub(super) async fn head_of(registry: &Registry, log: &Log, now: i64) -> Result<Head, RegistryError> {
    let head = registry.head(&log.name).await?;
    Ok(head.unwrap_or_else(|| Head::of_new_log(log.retention, now)))
}

/// Gives a segment back that stands in its log.
async fn release_appended(lease: &Lease, segment: &Segment) -> Result<(), RegistryError> {
    match &segment.notification.log {
        Some(place) => lease.release_appended(&place.position).await,
        None => lease.release().await,
    }
}

/// Appends a part to its log, which gives it its place, and raises the log's head. Beside the head as it was read stands
/// behind which place it may stand already, where there was an earlier attempt.
///
/// Beside the raising `meanwhile` runs: nobody may be told of the message before the head is raised, but the audience can
/// be read.
pub(super) async fn append<T>(
    registry: &Registry,
    part: &mut Segment,
    log: &Log,
    (mut head, from): (Head, Option<&LogPosition>),
    now: i64,
    meanwhile: impl AsyncFn(&Segment) -> Result<T, FanOutError>,
) -> Result<(Appended, T), FanOutError> {
    let mut from = from.cloned();
    for _ in 0..EPOCHS {
        // A notification that was parsed can be written.
        part.notification.log = None;
        let notification = serde_json::to_string(&part.notification).unwrap_or_default();
        let append = Append {
            log: &log.name,
            retention: log.retention,
            scope: &part.scope,
            id: &part.notification.id,
            notification: &notification,
            head: &head,
            from: from.as_ref(),
        };
        let appended = registry.append(&append, now).await?;
        let position = appended.position.clone();
        // One that is sent again is the one that was sent first.
        part.notification.at = appended.said_at.unwrap_or(part.notification.at);
        part.notification.log = Some(Place { log: log.name.clone(), position: position.clone() });
        let raise = async {
            Ok(match head.is_written {
                true => registry.raise_head(&log.name, &position, log.retention, now).await?,
                false => registry.begin_log_at(&log.name, &position, log.retention, now).await?,
            })
        };
        let (is_raised, read) = futures_util::future::try_join(raise, meanwhile(part)).await?;
        if is_raised {
            return Ok((appended, read));
        }
        // The log has begun anew since its head was read, and a copy of the notification may stand in it by now.
        from = Some(position);
        head = head_of(registry, log, now).await?;
    }
    Err(RegistryError::Contended.into())
}
