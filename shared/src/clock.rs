//! What time it is. The one place that asks, so that a simulation can answer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time since the epoch.
#[derive(Debug, Clone, Copy, Default)]
pub enum Clock {
    /// The system's.
    #[default]
    System,
    /// A moment, and what has passed on tokio's clock since: in a test that pauses that clock, both stand still together.
    Tokio {
        /// The moment.
        epoch: SystemTime,
        /// When it was, on tokio's clock.
        start: Instant,
    },
}

impl Clock {
    /// A clock that follows tokio's from `epoch` on.
    #[must_use]
    pub fn following_tokio(epoch: SystemTime) -> Self {
        Self::Tokio { epoch, start: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(self) -> SystemTime {
        match self {
            Self::System => SystemTime::now(),
            Self::Tokio { epoch, start } => epoch + start.elapsed(),
        }
    }

    /// Now, in milliseconds since the epoch.
    #[must_use]
    pub fn milliseconds(self) -> i64 {
        milliseconds(self.now())
    }

    /// Now, in microseconds since the epoch.
    #[must_use]
    pub fn microseconds(self) -> i64 {
        i64::try_from(since_epoch(self.now()).as_micros()).unwrap_or(i64::MAX)
    }

    /// From now on until a time in milliseconds since the epoch; `None` for one that is past.
    #[must_use]
    pub fn until(self, epoch_ms: u64) -> Option<Duration> {
        (UNIX_EPOCH + Duration::from_millis(epoch_ms)).duration_since(self.now()).ok()
    }
}

/// A time in milliseconds since the epoch; 0 for what was before it.
#[must_use]
pub fn milliseconds(time: SystemTime) -> i64 {
    i64::try_from(since_epoch(time).as_millis()).unwrap_or(i64::MAX)
}

/// A time in seconds since the epoch; 0 for what was before it.
#[must_use]
pub fn seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
