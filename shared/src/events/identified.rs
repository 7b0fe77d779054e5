//! Clients that say who they are in a frame: who hears that asks for their event, for it cannot put one itself.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::ids::{ConnectionId, UserId};
use crate::protocol::Protocol;
use crate::registry::Connection;

/// A message of the notification queue: the bus is to be told of a connection whose client has said who it is.
///
/// It is no notification and cannot be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identified {
    identified: Who,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    connection: ConnectionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<UserId>,
    protocol: String,
    at: i64,
}

impl Identified {
    /// Of this connection.
    #[must_use]
    pub fn of(connection: &Connection) -> Self {
        let Connection { id, user, protocol, connected_at, .. } = connection;
        let (connection, user, protocol) = (id.clone(), user.clone(), protocol.name().to_owned());
        Self { identified: Who { connection, user, protocol, at: *connected_at } }
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

    /// The event; `None` for a protocol that nobody speaks.
    #[must_use]
    pub fn event(&self) -> Option<Event<'_>> {
        let Who { connection, user, protocol, at } = &self.identified;
        let protocol = Protocol::from_name(protocol)?.name();
        Some(Event::Connected { connection, user: user.as_ref(), protocol, at: *at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_gives_the_event_of_its_connection() {
        let mut connection = Connection::new(ConnectionId::parse("c1=").unwrap());
        (connection.protocol, connection.user) = (Protocol::Centrifuge, Some(UserId::parse("u1").unwrap()));
        connection.connected_at = 7;
        let message = Identified::of(&connection).to_message();
        let read = Identified::parse(&message).unwrap();
        let event = serde_json::to_value(read.event().unwrap()).unwrap();
        assert_eq!(event, serde_json::json!({"connection": "c1=", "user": "u1", "protocol": "centrifuge", "at": 7}));
    }

    #[test]
    fn a_notification_is_none() {
        assert_eq!(Identified::parse(r#"{"to":{"topic":"t"},"data":{"identified":1}}"#), None);
    }
}
