//! Logs: what was said to a topic or a user, in its order, so that who was away can ask for it.
//!
//! A message of a log has an offset, 1, 2, 3 and so on without a hole, and the log an epoch: a random name that it gets
//! when it begins. Who knows both of the last message that it has knows whether it missed one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, Topic, UserId};

/// Highest offset: what every client's numbers can hold exactly.
pub const MOST_OFFSET: u64 = (1 << 53) - 1;
/// Characters of an epoch that we make.
const EPOCH_LENGTH: usize = 8;
/// Longest epoch that is taken from a client.
const LONGEST_EPOCH: usize = 32;

/// Whose log it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogName {
    /// A topic's.
    Topic(Topic),
    /// A user's: its inbox.
    User(UserId),
}

/// What tells one life of a log from the next: 1 to 32 lower-case letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch(String);

/// Why a text is no epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 1 to {LONGEST_EPOCH} lower-case letters and digits; give it as it came with a message")]
pub struct InvalidEpoch;

/// A place in a log, of which it is known which one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPosition {
    /// The last message's; 0 before the first.
    pub offset: u64,
    /// The log's.
    pub epoch: Epoch,
}

/// Where a client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The last message that it has.
    pub position: LogPosition,
    /// The connection that it had, so that what left that out is left out still.
    pub connection: Option<ConnectionId>,
}

/// Where a message stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// In whose log.
    #[serde(flatten)]
    pub log: LogName,
    /// Where in it.
    #[serde(flatten)]
    pub position: LogPosition,
}

impl LogPosition {
    /// Before all that any log has.
    #[must_use]
    pub fn before_all() -> Self {
        Self { offset: 0, epoch: Epoch("0".to_owned()) }
    }
}

impl LogName {
    /// Its topic, if it is a topic's.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        match self {
            Self::Topic(topic) => Some(topic),
            Self::User(_) => None,
        }
    }
}

impl Epoch {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        Self(std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(EPOCH_LENGTH).collect())
    }

    /// Checks and takes an epoch.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidEpoch> {
        let text = text.into();
        let is_epoch = (1..=LONGEST_EPOCH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if is_epoch { Ok(Self(text)) } else { Err(InvalidEpoch) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Epoch {
    type Error = InvalidEpoch;

    fn try_from(text: String) -> Result<Self, InvalidEpoch> {
        Self::parse(text)
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> Self {
        epoch.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_flat_and_read_as_it_was() {
        let epoch = Epoch::parse("k3f9").unwrap();
        for (log, text) in [
            (LogName::Topic(Topic::parse("a/b").unwrap()), r#"{"topic":"a/b","offset":7,"epoch":"k3f9"}"#),
            (LogName::User(UserId::parse("u").unwrap()), r#"{"user":"u","offset":7,"epoch":"k3f9"}"#),
        ] {
            let place = Place { log, position: LogPosition { offset: 7, epoch: epoch.clone() } };
            assert_eq!(serde_json::to_string(&place).unwrap(), text);
            assert_eq!(serde_json::from_str::<Place>(text).unwrap(), place);
        }
    }

    #[test]
    fn epochs_differ_and_are_what_is_taken_for_one() {
        let (one, other) = (Epoch::random(), Epoch::random());
        assert_ne!(one, other);
        assert_eq!(Epoch::parse(one.as_str()), Ok(one));
        for text in ["", "A", "a b", "a-b", &"x".repeat(33)] {
            assert_eq!(Epoch::parse(text), Err(InvalidEpoch), "{text:?}");
        }
    }
}
