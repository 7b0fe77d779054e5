//! What is to be done for a client that recovers, by the notifier: it holds what posts to sockets, and may do so once
//! `$connect` has returned.

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, Socket, UserId};

/// A message of the notification queue: something is to be done with the outbox of a connection.
///
/// It is no notification and cannot be taken for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errand {
    /// Of which connection.
    pub outbox: ConnectionId,
    /// Which socket of it is meant.
    pub socket: Socket,
    /// What.
    pub step: Step,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Its client is to be told that it is connected.
    Greet {
        /// As which user.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
        /// By what it recovers the connection.
        token: String,
    },
    /// This socket carries it on from where this one stopped.
    Resume(Socket),
    /// It has ended, and its client wants to recover it.
    SendAway,
    /// It ends, unless another socket carries it by now.
    End,
}

impl Errand {
    /// Reads a message; `None` where it is another one.
    #[must_use]
    pub fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }

    /// The message.
    #[must_use]
    pub fn to_message(&self) -> String {
        // Names can be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_what_it_was_and_a_notification_is_none() {
        let connection = ConnectionId::parse("c1=").unwrap();
        let socket = connection.first_socket();
        let steps = [
            Step::Greet { user: None, token: "t".to_owned() },
            Step::Resume(socket.clone()),
            Step::SendAway,
            Step::End,
        ];
        for step in steps {
            let errand = Errand { outbox: connection.clone(), socket: socket.clone(), step };
            assert_eq!(Errand::parse(&errand.to_message()), Some(errand));
        }
        assert_eq!(Errand::parse(r#"{"to":{"connection":"c1="},"data":{"outbox":1}}"#), None);
    }
}
