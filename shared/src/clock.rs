//! What time it is. The one place that asks, so that a simulation can answer.

use std::time::{SystemTime, UNIX_EPOCH};

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
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}

/// A time in milliseconds since the epoch; 0 for what was before it.
#[must_use]
pub fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
