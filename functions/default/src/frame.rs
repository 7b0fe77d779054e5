//! A client's frame, and who sent it.

use tidings::permissions::Action;
use tidings::protocol::{ClientError, ErrorCode};
use tidings::registry::Place;
use tidings::{Caller, Topic};

/// A text frame of one client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Frame {
    /// Who sent it.
    pub caller: Caller,
    /// What it says.
    pub text: String,
    /// API Gateway's id of it, which is the same when it comes again.
    pub message: String,
    /// When it came, in milliseconds since the epoch. Of two frames of a connection the later one counts, whichever is
    /// carried out last.
    pub at: i64,
}

impl Frame {
    /// A frame with this text, without an id of its own, that came in 1970.
    #[must_use]
    pub fn new(caller: Caller, text: impl Into<String>) -> Self {
        Self { caller, text: text.into(), message: String::new(), at: 0 }
    }

    /// Where its command stands among those of its connection: the protocol does not number them.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.at, 0)
    }

    /// The refusal of what the caller may not do on all of these topics.
    pub(crate) fn refused(&self, action: Action, topics: &[Topic]) -> Option<ClientError> {
        let topic = self.caller.permissions.first_refused(action, topics)?;
        let message = format!("you may not {} to the topic {:?}", action.name(), topic.as_str());
        Some(ClientError::new(ErrorCode::Forbidden, message))
    }
}
