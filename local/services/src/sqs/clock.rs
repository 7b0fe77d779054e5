//! The time of the queues: it says what the system's clock says at first, never goes back, and can be moved ahead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
pub type Millis = u64;

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    since_1970: Duration,
    /// How far it was moved, in milliseconds.
    ahead: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), since_1970, ahead: AtomicU64::new(0) }
    }

    pub(super) fn now(&self) -> Millis {
        millis(self.since_1970 + self.started.elapsed()) + self.ahead.load(Ordering::Relaxed)
    }

    /// When the clock will say so, if nobody moves it.
    pub(super) fn instant(&self, time: Millis) -> Instant {
        let time = Duration::from_millis(time.saturating_sub(self.ahead.load(Ordering::Relaxed)));
        self.started + time.saturating_sub(self.since_1970)
    }

    pub(super) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// It fits for half a billion years.
fn millis(time: Duration) -> Millis {
    u64::try_from(time.as_millis()).unwrap_or(Millis::MAX / 2)
}
