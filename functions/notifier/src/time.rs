//! Times as Lambda, notifications and AWS's services write them.

use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use tidings::clock::Clock;
use tokio::time::Instant;

/// What is left of an invocation when delivery stops: a second for posts that are under way, and a second and a half to
/// save and to hand on.
const MARGIN: Duration = Duration::from_millis(2_500);
/// What is left where Lambda gives no deadline: `cargo lambda watch` sends one that lies in 1970.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(30);

/// How long the invocation may go on, from Lambda's deadline in milliseconds since the epoch.
pub(crate) fn left(epoch_ms: u64, clock: Clock) -> Duration {
    clock.until(epoch_ms).unwrap_or(WITHOUT_DEADLINE)
}

/// When delivery is to stop.
pub(crate) fn deadline(left: Duration) -> Instant {
    // A function with a very short timeout uses half of it.
    Instant::now() + left.saturating_sub(MARGIN).max(left / 2)
}

/// `2026-11-24T12:00:00.000Z`, in milliseconds since the epoch.
pub(crate) fn parse_iso(text: &str) -> Option<i64> {
    DateTime::from_str(text, Format::DateTimeWithOffset).ok()?.to_millis().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_the_services_write_them() {
        for (text, expected) in [
            ("2026-11-24T11:46:23.000Z", Some(1_795_520_783_000)),
            ("2026-11-24T11:46:23Z", Some(1_795_520_783_000)),
            ("yesterday", None),
        ] {
            assert_eq!(parse_iso(text), expected, "{text}");
        }
    }
}
