//! The time of the queues: it says what the system's clock says at first, and never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub type Millis = u64;

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    since_1970: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), since_1970: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    pub(super) fn now(&self) -> Millis {
        // Fits for half a billion years.
        u64::try_from((self.since_1970 + self.started.elapsed()).as_millis()).unwrap_or(Millis::MAX)
    }

    /// When the clock will say so.
    pub(super) fn instant(&self, time: Millis) -> Instant {
        self.started + Duration::from_millis(time).saturating_sub(self.since_1970)
    }
}
