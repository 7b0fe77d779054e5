//! A protocol that an application brings.

use std::sync::OnceLock;

use super::{BadFrame, Reply, Request};
use crate::notification::{Notification, Target};

static BROUGHT: OnceLock<Box<dyn Own>> = OnceLock::new();

/// A protocol of an application's own. Both halves are pure: a text frame becomes a [`Request`], a [`Reply`] or a notification
/// becomes a text frame. What a command does, and who may, is the same for every protocol.
pub trait Own: Send + Sync + 'static {
    /// The name that a client offers as a subprotocol, or chooses in `?protocol=`. It stands in the connection's row, so it must
    /// not change while connections are open; letters, digits, `.` and `-`.
    fn name(&self) -> &'static str;

    /// Understands a client's frame. An action of the application is [`Command::Application`](super::Command::Application).
    ///
    /// # Errors
    /// What the client is to be told. Where `is_command` is `false`, the handler of other frames is asked first.
    fn decode(&self, frame: &str) -> Result<Request, BadFrame>;

    /// The frame of an answer; `None` where the client waits for none.
    fn encode_reply(&self, reply: &Reply) -> Option<String>;

    /// The frame of a notification for connections that are reached through `target`. It has the message's
    /// [`place`](Notification::log) in its log, where it has one: a client that knows it can ask for what it missed.
    fn encode_message(&self, notification: &Notification, target: &Target) -> String;
}

/// Has this process speak a protocol of the application's own beside those of the toolkit. Every function of the stack has to
/// bring it, before it runs: each reads the rows of connections, which name their protocol.
///
/// # Panics
/// When the process speaks another one of its own already: there is room for one.
pub fn bring(protocol: impl Own) {
    let name = protocol.name();
    let brought = BROUGHT.get_or_init(|| Box::new(protocol));
    assert_eq!(brought.name(), name, "a process speaks one protocol of its own");
}

/// What was brought.
pub(super) fn brought() -> Option<&'static dyn Own> {
    BROUGHT.get().map(AsRef::as_ref)
}
