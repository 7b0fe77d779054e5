//! The time of the connections: the system's, and it can be moved ahead.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Clones are one clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<watch::Sender<Duration>>);

impl Clock {
    pub(super) fn now(&self) -> Instant {
        Instant::now() + *self.0.borrow()
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.send_modify(|ahead| *ahead += by);
    }

    /// Waits until the clock says so.
    pub(super) async fn reach(&self, time: Instant) {
        let mut ahead = self.0.subscribe();
        loop {
            let real = time.checked_sub(*ahead.borrow_and_update());
            tokio::select! {
                () = sleep_until(real.unwrap_or_else(Instant::now)) => return,
                // The sender lives in this clock.
                _ = ahead.changed() => {}
            }
        }
    }
}
