//! What goes through a connection: a message that comes, and how many there were.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The most that one message may hold, in one frame or several, in either direction.
pub(super) const MAX_MESSAGE: usize = 128 * 1024;

/// A message that has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming<'a> {
    pub(super) text: &'a str,
    /// When, in epoch milliseconds.
    pub(super) at: i64,
    /// How long it waits before its function is called.
    pub(super) wait: Duration,
}

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
