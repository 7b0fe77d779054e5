//! What a producer asks to be delivered, and to whom.

mod parse;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ids::{ConnectionId, NotificationId, Topic, UserId};
use crate::log::{LogName, Place};
use crate::trigger::Trigger;

pub(crate) use parse::Fields;
pub use parse::InvalidNotification;

/// Most targets that one notification may name.
pub const MAX_TARGETS: usize = 100;
/// Most connections that one notification may leave out.
pub const MAX_EXCEPTIONS: usize = 100;
/// How long a notification stays worth delivering when its producer does not say, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 3_600;
/// Longest time to live a producer may ask for, in seconds: what a queue can retain at most, 14 days.
pub const MAX_TTL_SECONDS: u32 = 14 * 24 * 3_600;

/// What an idempotency key is unique in: keys of different callers, queues or sources name different notifications.
///
/// The trigger's name, a dash and 32 hexadecimal digits for what `within` says together: the ARN of a queue, a caller, a
/// client, the name of a source.
#[must_use]
pub fn scope(trigger: Trigger, within: &[&str]) -> String {
    format!("{}-{}", trigger.name(), crate::hash(within))
}

/// Whether a text may be a [`scope`]: 1 to 64 lower-case letters, digits and dashes.
#[must_use]
pub fn is_scope(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

/// One notification, checked. Made by [`Notification::parse`].
#[derive(Debug, Clone, Serialize)]
pub struct Notification {
    /// The producer's idempotency key, or what was derived from the event that carried it.
    pub id: NotificationId,
    /// 1 to [`MAX_TARGETS`] targets without repetition. A connection reached by several is served under the first.
    #[serde(serialize_with = "parse::one_or_many")]
    pub to: Vec<Target>,
    /// Connections that are left out, at most [`MAX_EXCEPTIONS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<ConnectionId>,
    /// The topic that it is told as a message of, where it goes to connections by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<Topic>,
    /// The application's word for what happened (`order.shipped`), at most 128 bytes.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// What is delivered.
    #[serde(flatten)]
    pub payload: Payload,
    /// When it happened, in milliseconds since the epoch.
    pub at: i64,
    /// Seconds from `at` after which it is not worth delivering any more.
    pub ttl: u32,
    /// Where it stands, once it is in a log. What it is then pushed with; producers cannot say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Place>,
    /// Who caused it, where a client did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Origin>,
}

/// What a notification falls back on where its producer left something out: the event that carried it.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Derived from the event, never random, so that a redelivery is recognised.
    pub id: NotificationId,
    /// The event's own time, in milliseconds since the epoch.
    pub at: i64,
}

/// Who is to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// One connection.
    Connection(ConnectionId),
    /// Every connection of a user.
    User(UserId),
    /// Every connection subscribed to a topic.
    Topic(Topic),
    /// Every connection that is told who comes to a topic and who leaves it. Ours alone: no producer can name it.
    Watchers(Topic),
    /// Every connection there is.
    Everyone,
    /// Every connection whose client hears nothing for long otherwise, see [`Protocol::keep_alive`]. Ours alone, as well.
    ///
    /// [`Protocol::keep_alive`]: crate::protocol::Protocol::keep_alive
    Quiet,
    /// One connection that is told that it is connected, where its protocol has a frame for that. Ours alone, as well.
    Newcomer(ConnectionId),
}

/// The data of a notification, in one of the three forms that a text frame can carry.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "dataType", content = "data", rename_all = "lowercase")]
pub enum Payload {
    /// Any JSON, kept letter by letter.
    Json(Box<RawValue>),
    /// Plain text.
    Text(String),
    /// Bytes, in base64.
    Binary(String),
}

/// The client that caused a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// Its user, unless it is anonymous.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
}

impl Target {
    /// What no producer can name.
    pub(crate) fn is_ours_alone(&self) -> bool {
        matches!(self, Self::Watchers(_) | Self::Quiet | Self::Newcomer(_))
    }

    /// The log that this audience can have; `None` where it can have none.
    #[must_use]
    pub fn log(&self) -> Option<LogName> {
        match self {
            Self::Topic(topic) => Some(LogName::Topic(topic.clone())),
            Self::User(user) => Some(LogName::User(user.clone())),
            Self::Connection(_) | Self::Watchers(_) | Self::Everyone | Self::Quiet | Self::Newcomer(_) => None,
        }
    }
}

impl Notification {
    /// Whether it is too late to deliver it at `now` (milliseconds since the epoch).
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        now > self.at.saturating_add(i64::from(self.ttl) * 1_000)
    }

    /// Lets its life end no sooner than `until` (milliseconds since the epoch), as far as [`MAX_TTL_SECONDS`] allows.
    pub fn last_until(&mut self, until: i64) {
        let seconds = until.saturating_sub(self.at).saturating_add(999) / 1_000;
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX).min(MAX_TTL_SECONDS);
        self.ttl = self.ttl.max(seconds);
    }
}
