//! What goes through a connection, counted.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most that one message may hold, in one frame or several, in either direction.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;

/// What went through a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) received: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) subprotocol: OnceLock<String>,
}

impl Traffic {
    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }
}
