//! The time of a simulation: tokio's, which stands still until everything waits.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings::clock::Clock;
use tokio::time::Instant;

/// When every simulation begins, in milliseconds since the epoch.
const EPOCH_MS: u64 = 1_795_520_783_000;

/// What the clocks of a simulation say.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    begin: Instant,
    /// The notifier's clock.
    pub clock: Clock,
}

impl Time {
    /// Begins now.
    #[must_use]
    pub fn begin() -> Self {
        let epoch: SystemTime = UNIX_EPOCH + Duration::from_millis(EPOCH_MS);
        Self { begin: Instant::now(), clock: Clock::following_tokio(epoch) }
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn epoch_ms(self) -> i64 {
        self.clock.milliseconds()
    }

    /// The moment so many seconds after the beginning.
    #[must_use]
    pub fn at(self, seconds: f64) -> Instant {
        self.begin + Duration::from_secs_f64(seconds)
    }
}

/// A time between two, in seconds: each is equally probable.
pub(super) fn between(least: f64, most: f64) -> Duration {
    Duration::from_secs_f64(least + (most - least) * fastrand::f64())
}

/// A time above `least`, on average so many seconds above it, exponentially distributed.
pub(super) fn above(least: f64, more: f64) -> Duration {
    Duration::from_secs_f64(least - more * (1.0 - fastrand::f64()).ln())
}
