//! Waiting for something new in a log.
//!
//! A request that waits holds an execution environment, which the account has few of. So each takes one of a few leases in
//! the table, and who gets none is answered at once.

use std::time::Duration;

use tidings::clock::Clock;
use tidings::log::{LogName, LogPosition};
use tokio::time::{Instant, sleep};

use crate::Deps;
use crate::problem::Problem;

/// Between two looks at the log's head.
const PAUSE: Duration = Duration::from_secs(1);
/// A lease ends after this, in milliseconds: Lambda does not let the function run longer.
const LEASE_MS: i64 = 30_000;

/// How waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The log may have something new.
    Changed,
    /// Nothing new came.
    InVain,
    /// As many as may wait already.
    Full,
}

/// Waits until a log ends elsewhere than at `end`, `longest` at most.
pub(crate) async fn wait(deps: &Deps, log: &LogName, end: &LogPosition, longest: Duration) -> Result<Waited, Problem> {
    let now = Clock::System.milliseconds();
    let Some(lease) = deps.registry.take_poll_lease(deps.long_polls, now + LEASE_MS, now).await? else {
        return Ok(Waited::Full);
    };
    let waited = watch(deps, log, end, Instant::now() + longest).await;
    if let Err(error) = deps.registry.end_poll_lease(lease).await {
        tracing::warn!(error = tidings::describe(&error), "a request that waited counts for up to 30 s more");
    }
    waited
}

async fn watch(deps: &Deps, log: &LogName, end: &LogPosition, deadline: Instant) -> Result<Waited, Problem> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Waited::InVain);
        }
        sleep(left.min(PAUSE)).await;
        // Whoever appends raises the head before anybody is pushed to.
        let head = deps.registry.head(log).await?;
        if head.is_none_or(|head| head.position() != *end) {
            return Ok(Waited::Changed);
        }
    }
}
