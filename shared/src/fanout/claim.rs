//! Taking segments: one worker at a time works on each.

use std::time::Duration;

use super::{FanOut, FanOutError, Invocation, Segment};
use crate::log::LogPosition;
use crate::metrics::Metric;
use crate::registry::{Attempt, Claim, Interval, Lease, Position};

/// A segment that is ours for a while.
pub(super) struct Claimed {
    pub(super) lease: Box<Lease>,
    /// How far it is.
    pub(super) position: Position,
    /// The parts that it was split into, if it was.
    pub(super) plan: Vec<Interval>,
    /// Behind which place of the log of its audience it may stand, where there was an earlier attempt.
    pub(super) from: Option<LogPosition>,
}

impl FanOut {
    /// Takes the segment; nothing where it is done. `log_end` is where the log of its audience ends, or a place before that,
    /// if it is about to be appended to.
    pub(super) async fn claim(
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
}

/// Gives a segment back whose work has failed, so that whoever comes next can go on at once.
pub(super) async fn release_after<T>(worked: &Result<T, FanOutError>, lease: &Lease) {
    if worked.is_err()
        && let Err(error) = lease.release().await
    {
        tracing::warn!(%error, "the lease is not released; it ends by itself");
    }
}
