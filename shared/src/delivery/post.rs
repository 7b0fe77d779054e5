//! One post, and what its answer means.

use std::collections::HashMap;

use serde_json::Value;

use super::endpoint::{Answer, Message, Sockets};
use super::{DeliveryError, MAX_MESSAGE_BYTES};
use crate::ids::Socket;
use crate::notification::{Notification, Target};
use crate::protocol::Protocol;

/// What a post came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// API Gateway took the message.
    Delivered,
    /// 410: nobody is there. Also what API Gateway says until the handshake is through.
    Gone,
    /// 400 `Invalid connectionId`: nobody was ever there.
    Invalid,
    /// 429: too many posts, or the client's send buffer is full; API Gateway does not say which.
    Throttled,
    /// 413: it would be the same for every connection.
    TooLarge,
    /// 403: endpoint, stage or permission are wrong; it would be the same for every connection.
    Forbidden(String),
    /// 5xx, a timeout, no answer: worth another attempt.
    Passing(String),
    /// Anything else: not worth another attempt.
    Refused(String),
    /// It stands in an outbox, and is not posted: somebody else does that, or there was no time left. API Gateway was not asked.
    Deferred,
}

pub(super) async fn post(sockets: Sockets, socket: Socket, message: Message) -> Outcome {
    match sockets.post(&socket, &message).await {
        Ok(answer) => outcome(&answer),
        Err(error) if error.is_permanent() => Outcome::Refused(crate::describe(&error)),
        Err(error) => Outcome::Passing(crate::describe(&error)),
    }
}

/// Reads the status rather than an error type: API Gateway's 410 has no body, its 400 is not in the service's model.
fn outcome(answer: &Answer) -> Outcome {
    if (200..300).contains(&answer.status) {
        return Outcome::Delivered;
    }
    let message = message(&answer.body);
    let reason = |status: u16| format!("status {status}: {message}");
    match answer.status {
        400 if message.starts_with("Invalid connectionId") => Outcome::Invalid,
        403 => Outcome::Forbidden(reason(403)),
        410 => Outcome::Gone,
        413 => Outcome::TooLarge,
        429 => Outcome::Throttled,
        status @ 500.. => Outcome::Passing(reason(status)),
        status => Outcome::Refused(reason(status)),
    }
}

/// What an answer's body says.
fn message(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body.get("message").or_else(|| body.get("Message"));
    message.and_then(Value::as_str).unwrap_or("no reason given").to_owned()
}

/// The messages of one notification: each encoded once for all that receive the same bytes.
#[derive(Debug)]
pub(super) struct Messages<'a> {
    notification: &'a Notification,
    /// Whether everybody gets the messages of its log one after the other.
    is_ordered: bool,
    encoded: HashMap<(usize, Protocol), Message>,
}

impl<'a> Messages<'a> {
    pub(super) fn new(notification: &'a Notification, is_ordered: bool) -> Self {
        Self { notification, is_ordered, encoded: HashMap::new() }
    }

    /// The message for those reached through the target of this index.
    pub(super) fn get(&mut self, target: usize, protocol: Protocol) -> Message {
        let encode = || {
            let target = self.notification.to.get(target).unwrap_or(&Target::Everyone);
            Message::new(protocol.encode_message(self.notification, target, self.is_ordered))
        };
        self.encoded.entry((target, protocol)).or_insert_with(encode).clone()
    }

    /// What a member gets that the notification leaves out; `None` for nothing.
    pub(super) fn skip(&self, protocol: Protocol) -> Option<Message> {
        Some(Message::new(protocol.encode_skip(self.notification.log.as_ref()?)?))
    }
}

/// What a message to a topic or a user leaves free in a frame: for its place in a log, and for what a reply puts around it.
const ROOM: usize = 2 * 1_024;

/// What `"sequenceId":` and a number take, at most.
const NUMBER: usize = 34;

/// How long a message of the notification may be, in bytes: [`MAX_MESSAGE_BYTES`], or two kilobytes less where it may come
/// in a log.
#[must_use]
pub fn most_bytes(notification: &Notification) -> usize {
    let may_be_logged = |target: &Target| matches!(target, Target::Topic(_) | Target::User(_));
    if notification.to.iter().any(may_be_logged) { MAX_MESSAGE_BYTES - ROOM } else { MAX_MESSAGE_BYTES }
}

/// Checks the longest message that the notification can become, before anybody has received it.
///
/// # Errors
/// [`DeliveryError::PayloadTooLarge`] when it has more than [`most_bytes`].
pub fn check_size(notification: &Notification) -> Result<(), DeliveryError> {
    let most = most_bytes(notification);
    let length = |target: &&Target| match target {
        Target::Topic(topic) => topic.as_str().len(),
        _ => 0,
    };
    // Once it stands in a log, it was checked.
    let most = if notification.log.is_some() { MAX_MESSAGE_BYTES } else { most };
    let Some(longest) = notification.to.iter().max_by_key(length) else { return Ok(()) };
    let sizes = Protocol::ALL.map(|protocol| {
        // A number is put into it later.
        let number = if protocol.has_outbox() { NUMBER } else { 0 };
        protocol.encode_message(notification, longest, true).len() + number
    });
    let bytes = sizes.into_iter().max();
    match bytes {
        Some(bytes) if bytes > most => Err(DeliveryError::PayloadTooLarge { bytes, most }),
        _ => Ok(()),
    }
}
