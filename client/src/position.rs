//! Where a client stands in the logs that it reads.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A log of messages: a topic's, or that of the user whom the connection belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// The messages for a topic, by its name.
    Topic(String),
    /// The messages for the connection's own user.
    User,
}

impl Log {
    /// The log of a topic.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::Topic(name.into())
    }
}

impl fmt::Display for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(formatter, "the topic {name}"),
            Self::User => formatter.write_str("the user"),
        }
    }
}

/// A place in a log: everything up to it has come, or is not for this client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The number of a message in its log. The first one has 1; 0 is the log's beginning.
    pub offset: u64,
    /// Which log the number belongs to: a log that is made again has another epoch, and counts from 1.
    pub epoch: String,
}

impl fmt::Display for Position {
    /// As `42/k3f9`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.offset, self.epoch)
    }
}

/// Where a client stands in each of its logs, to be saved and given to the next client.
///
/// With `serde` it is an object with `topics`, by name, and `user`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    #[serde(default)]
    topics: BTreeMap<String, Position>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Position>,
}

impl Positions {
    /// The position in a log, where it is known.
    #[must_use]
    pub fn get(&self, log: &Log) -> Option<&Position> {
        match log {
            Log::Topic(name) => self.topics.get(name),
            Log::User => self.user.as_ref(),
        }
    }

    /// Notes a position, in place of an earlier one.
    pub fn insert(&mut self, log: Log, position: Position) {
        match log {
            Log::Topic(name) => drop(self.topics.insert(name, position)),
            Log::User => self.user = Some(position),
        }
    }

    /// Forgets a log.
    pub fn remove(&mut self, log: &Log) {
        match log {
            Log::Topic(name) => drop(self.topics.remove(name)),
            Log::User => self.user = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_saved_as_an_object_by_topic_and_read_again() {
        let mut positions = Positions::default();
        positions.insert(Log::topic("orders/42"), Position { offset: 7, epoch: "k3f9".to_owned() });
        positions.insert(Log::User, Position { offset: 1, epoch: "p1".to_owned() });
        let text = serde_json::to_string(&positions).unwrap();
        assert_eq!(text, r#"{"topics":{"orders/42":{"offset":7,"epoch":"k3f9"}},"user":{"offset":1,"epoch":"p1"}}"#);
        assert_eq!(serde_json::from_str::<Positions>(&text).unwrap(), positions);
        positions.remove(&Log::User);
        assert_eq!(positions.get(&Log::User), None);
        assert_eq!(positions.get(&Log::topic("orders/42")).unwrap().to_string(), "7/k3f9");
        assert_eq!(serde_json::from_str::<Positions>("{}").unwrap(), Positions::default());
    }
}
