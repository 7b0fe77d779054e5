//! A subscription that a client may have, on its way.

use tidings::Topic;
use tidings::protocol::centrifuge::Subscribe;

/// A subscription that is permitted.
pub(super) struct Permitted {
    pub(super) topic: Topic,
    pub(super) asked: Subscribe,
    /// When its token ends, if it has one that does.
    pub(super) expires_at: Option<i64>,
    /// Whether it stands among the connection's topics already.
    pub(super) is_noted: bool,
}

impl Permitted {
    pub(super) fn new(topic: Topic, asked: Subscribe) -> Self {
        Self { topic, asked, expires_at: None, is_noted: false }
    }
}
