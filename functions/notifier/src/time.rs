//! Times as Lambda and notifications write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// What is left of an invocation to say that its time was up.
const MARGIN: Duration = Duration::from_millis(500);
/// What is left where Lambda gives no deadline: `cargo lambda watch` sends one that lies in 1970.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(30);

/// Milliseconds since the epoch.
pub(crate) fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// When to stop, from Lambda's deadline in milliseconds since the epoch.
pub(crate) fn deadline(epoch_ms: u64) -> Instant {
    let end = UNIX_EPOCH + Duration::from_millis(epoch_ms);
    let left = end.duration_since(SystemTime::now()).unwrap_or(WITHOUT_DEADLINE);
    Instant::now() + left.saturating_sub(MARGIN)
}
