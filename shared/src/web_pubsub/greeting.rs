//! A new client is told that it is connected by the notifier: API Gateway takes nothing for it before `$connect` is through.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, UserId};

/// A message of the notification queue: a connection is to be told that it is connected.
///
/// It is no notification and cannot be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Greeting {
    greeted: Greeted,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Greeted {
    connection: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    at: i64,
}

impl Greeting {
    /// For a connection of this user that was made at `at`, in milliseconds since the epoch.
    #[must_use]
    pub fn new(connection: ConnectionId, user: Option<UserId>, at: i64) -> Self {
        Self { greeted: Greeted { connection, user, at } }
    }

    /// Reads a message; `None` where it is another one.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }

    /// The message.
    #[must_use]
    pub fn to_message(&self) -> String {
        // Names and a number can be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whom it is for, as which user, and when the connection was made.
    #[must_use]
    pub fn into_parts(self) -> (ConnectionId, Option<UserId>, i64) {
        let Greeted { connection, user, at } = self.greeted;
        (connection, user, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_what_it_was_and_a_notification_is_none() {
        let user = UserId::parse("u1").unwrap();
        let greeting = Greeting::new(ConnectionId::parse("c1=").unwrap(), Some(user), 7);
        assert_eq!(Greeting::parse(&greeting.to_message()), Some(greeting));
        assert_eq!(Greeting::parse(r#"{"to":{"connection":"c1="},"data":{"greeted":1}}"#), None);
    }
}
