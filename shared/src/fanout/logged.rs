//! Notifications that go into logs: each audience with a log gets the message in its own, before anybody of it is told.

use super::{FanOut, FanOutError, Invocation, Segment};
use crate::history::Retention;
use crate::log::{LogName, Place};
use crate::metrics::Metric;
use crate::notification::Target;
use crate::registry::{Append, Head, RegistryError};

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

    /// The head of a log, which is begun where it is not there.
    pub(super) async fn head_of(&self, log: &Log, invocation: &Invocation) -> Result<Head, RegistryError> {
        let registry = self.delivery.registry();
        match registry.head(&log.name).await? {
            Some(head) => Ok(head),
            None => registry.begin_log(&log.name, log.retention, invocation.now).await,
        }
    }

    /// Appends a part to its log, which gives it its place, and raises the log's head. `from` is where the log ended when
    /// an earlier attempt began.
    ///
    /// Beside the raising `meanwhile` runs: nobody may be told of the message before the head is raised, but the audience
    /// can be read.
    pub(super) async fn append<T>(
        &self,
        part: &mut Segment,
        log: &Log,
        mut head: Head,
        from: Option<&crate::log::LogPosition>,
        invocation: &Invocation,
        meanwhile: impl AsyncFn(&Segment) -> Result<T, FanOutError>,
    ) -> Result<T, FanOutError> {
        let registry = self.delivery.registry();
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
                from,
            };
            let appended = registry.append(&append, invocation.now).await?;
            let position = appended.position;
            part.notification.log = Some(Place { log: log.name.clone(), position: position.clone() });
            let raise = async { Ok(registry.raise_head(&log.name, &position, log.retention, invocation.now).await?) };
            let (is_raised, read) = futures_util::future::try_join(raise, meanwhile(part)).await?;
            if is_raised {
                invocation.recorder.add(Metric::Appended, u64::from(!appended.was_there));
                invocation.recorder.add(Metric::AppendsContended, u64::from(appended.contended));
                return Ok(read);
            }
            // The log has begun anew since its head was read.
            head = self.head_of(log, invocation).await?;
        }
        Err(RegistryError::Contended.into())
    }
}
