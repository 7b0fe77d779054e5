//! The names that Tidings deals in, each checked once, where it enters.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name was refused: says which name, what is wrong and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {problem}; {allowed}")]
pub struct InvalidId {
    kind: &'static str,
    problem: &'static str,
    allowed: &'static str,
}

/// Defines a validated string: a private field, a checked `parse`, no way to change it afterwards.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:literal, $problem:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// When the name breaks the rule that the type's documentation states.
            pub fn parse(name: impl Into<String>) -> Result<Self, InvalidId> {
                let name = name.into();
                let check: fn(&str) -> Option<&'static str> = $problem;
                match check(&name) {
                    Some(problem) => Err(InvalidId { kind: $kind, problem, allowed: $allowed }),
                    None => Ok(Self(name)),
                }
            }

            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(name: String) -> Result<Self, InvalidId> {
                Self::parse(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

id!(
    /// One client's presence, ours. API Gateway's id of the first socket: 1 to 128 printable ASCII characters without `#`
    /// and without spaces (API Gateway makes 16 of base64url).
    ConnectionId,
    "a connection id",
    "use 1 to 128 printable ASCII characters other than `#`, as API Gateway gave it",
    wire_id_problem
);

id!(
    /// The API Gateway connection id that carries a connection now. The same string as its [`ConnectionId`] until a
    /// protocol moves the connection to a new socket.
    Socket,
    "a socket id",
    "use 1 to 128 printable ASCII characters other than `#`, as API Gateway gave it",
    wire_id_problem
);

id!(
    /// Who is connected, as the authorizer says: 1 to 256 bytes, no control characters.
    UserId,
    "a user",
    "use 1 to 256 bytes without control characters",
    |name| text_problem(name, 256)
);

id!(
    /// A name that connections subscribe to, in segments by `/` (`orders/42`): 1 to 1,024 bytes, no control characters.
    Topic,
    "a topic",
    "use 1 to 1024 bytes without control characters",
    |name| text_problem(name, 1024)
);

id!(
    /// Names a notification; the producer's own idempotency key, or derived from the event that carried it.
    /// 1 to 256 bytes, no control characters.
    NotificationId,
    "a notification id",
    "use 1 to 256 bytes without control characters",
    |name| text_problem(name, 256)
);

/// What a topic's name begins with under which connections are told who comes and goes there: no client can write it.
const WATCHED: char = '\u{1}';

impl Topic {
    /// What connections are subscribed to, in their own row, that are told who comes to this topic and who leaves it.
    #[must_use]
    pub(crate) fn watching(&self) -> Self {
        Self(format!("{WATCHED}{}", self.0))
    }

    /// Whether it names who watches a topic, which no client has asked for by name.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.0.starts_with(WATCHED)
    }

    /// What connections are subscribed to, in their own row, that are told of each connection which comes to this topic or
    /// leaves it. They watch those who watch it, as it were: no client can ask for that by name either.
    #[must_use]
    pub(crate) fn following(&self) -> Self {
        self.watching().watching()
    }

    /// The topic that is watched, where it names who watches one.
    pub(crate) fn watched(&self) -> Option<&str> {
        self.0.strip_prefix(WATCHED)
    }

    /// Takes a name out of a connection's own row, or out of what we wrote ourselves.
    pub(crate) fn parse_own(name: &str) -> Result<Self, InvalidId> {
        let topic = Self::parse(name.trim_start_matches(WATCHED))?;
        let depth = name.chars().take_while(|letter| *letter == WATCHED).count();
        Ok((0..depth).fold(topic, |topic, _| topic.watching()))
    }
}

impl ConnectionId {
    /// Of a connection in no stack.
    pub(crate) fn detached() -> Self {
        Self("detached".to_owned())
    }

    /// The socket that carries this connection until a protocol moves it.
    #[must_use]
    pub fn first_socket(&self) -> Socket {
        Socket(self.0.clone())
    }
}

fn wire_id_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > 128 {
        Some("is too long")
    } else if !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Some("has a character that is not allowed")
    } else {
        None
    }
}

fn text_problem(name: &str, limit: usize) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > limit {
        Some("is too long")
    } else if name.chars().any(char::is_control) {
        Some("has control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_bounded_and_free_of_control_characters() {
        for (name, problem) in [
            ("orders/42".to_owned(), None),
            ("süß/täglich".to_owned(), None),
            ("t".repeat(1024), None),
            (String::new(), Some("is empty")),
            ("t".repeat(1025), Some("is too long")),
            ("a\nb".to_owned(), Some("has control characters")),
            ("a\u{85}b".to_owned(), Some("has control characters")),
        ] {
            let refused = Topic::parse(name.clone()).err().map(|error| error.problem);
            assert_eq!(refused, problem, "{name:?}");
        }
    }

    #[test]
    fn connection_ids_cannot_reach_into_a_key() {
        for bad in ["", "a#b", "a b", "ä", "a\u{0}"] {
            assert!(ConnectionId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ConnectionId::parse("BFHPhfCWIAMCKlQ=").unwrap().as_str(), "BFHPhfCWIAMCKlQ=");
    }

    #[test]
    fn an_error_says_what_is_allowed() {
        let error = UserId::parse("u".repeat(257)).unwrap_err();
        assert_eq!(error.to_string(), "a user is too long; use 1 to 256 bytes without control characters");
    }

    #[test]
    fn names_are_checked_when_they_are_deserialized() {
        assert!(serde_json::from_str::<Topic>("\"\"").is_err());
        assert_eq!(serde_json::from_str::<Topic>("\"a\"").unwrap(), Topic::parse("a").unwrap());
    }
}
