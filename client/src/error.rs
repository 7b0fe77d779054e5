//! What can go wrong, and who can do something about it.

use std::error::Error;
use std::io;
use std::time::Duration;

use serde::Deserialize;

type Cause = Box<dyn Error + Send + Sync>;

/// A client that cannot be made from what was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is none, or not one of a WebSocket.
    #[error("the URL is not a WebSocket's, such as wss://abc.execute-api.eu-west-1.amazonaws.com/prod")]
    Url(#[source] Cause),
    /// A header, by its name, is not valid. Its value may be a secret and is not told.
    #[error("the header {0} is not valid")]
    Header(String),
    /// The token has characters that a header cannot hold.
    #[error("the token has characters that a header cannot hold")]
    Token,
}

/// What the server said instead of doing what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
#[non_exhaustive]
pub struct Refusal {
    /// For programs: `BadRequest`, `Forbidden`, `TooManyRequests`, …, or a code of the application's own.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

impl Refusal {
    /// Whether the same command can succeed a little later.
    pub(crate) fn is_temporary(&self) -> bool {
        self.code == "TooManyRequests"
    }
}

/// A command that has no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server refused it, and did nothing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection was lost before the answer came: it may have been carried out.
    #[error("the connection was lost before the answer came")]
    Disconnected,
    /// No answer came in this time, [`call_within`](crate::Builder::call_within): it may have been carried out.
    #[error("no answer came in {0:?}")]
    TimedOut(Duration),
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
    /// What was to be sent cannot be written as an object of JSON. Nothing was sent.
    #[error("the body is not an object of JSON")]
    Body(#[source] Option<serde_json::Error>),
    /// The answer is not what the command promises.
    #[error("the answer is not understood")]
    Answer(#[source] serde_json::Error),
}

/// Why a connection ended, or could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The server closed it. The code is 1005 where it gave none.
    #[error("closed by the server{}", closing(*code, reason))]
    #[expect(missing_docs, reason = "they are those of RFC 6455")]
    Closed { code: u16, reason: String },
    /// It broke.
    #[error("the connection is lost")]
    Lost(#[source] Cause),
    /// Nothing came for a while, nor an answer to a ping: the other end is gone without a word.
    #[error("the connection is silent, and a ping is not answered")]
    Silent,
    /// No connection to the server could be made.
    #[error("cannot connect")]
    Unreachable(#[source] io::Error),
    /// The encryption could not be agreed on.
    #[error("cannot encrypt the connection")]
    Tls(#[source] Cause),
    /// The handshake was answered with this status.
    #[error("the handshake is answered with status {0}")]
    Status(u16),
    /// The server answered, but does not speak `tidings.v1.json`, or no WebSocket at all.
    #[error("the server does not speak the protocol")]
    Protocol(#[source] Cause),
    /// The handshake, the token included, took longer than [`connect_within`](crate::Builder::connect_within).
    #[error("the handshake took longer than {0:?}")]
    TimedOut(Duration),
    /// The application could not get a token.
    #[error("cannot get a token")]
    Token(#[source] Cause),
    /// The connection was made, but what was subscribed to was not acknowledged in time.
    #[error("the subscriptions are not acknowledged")]
    Unacknowledged,
}

impl Reason {
    /// Whether the token is at fault, or what it permits.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Status(401 | 403))
    }

    /// Whether trying again cannot help. A token can be another one the next time, so that is left out here.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Status(401 | 403 | 408 | 425 | 429 | 500..) => false,
            Self::Status(_) | Self::Protocol(_) => true,
            _ => false,
        }
    }
}

fn closing(code: u16, reason: &str) -> String {
    match (code, reason) {
        (1005, "") => String::new(),
        (code, "") => format!(" ({code})"),
        (code, reason) => format!(" ({code} {reason})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_heal_is_not_final() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(!Reason::Status(status).is_final(), "{status}");
        }
        for status in [200, 301, 400, 404, 410] {
            assert!(Reason::Status(status).is_final(), "{status}");
        }
        assert!(Reason::Status(403).is_forbidden() && !Reason::Status(403).is_final());
        assert!(!Reason::Silent.is_final());
    }

    #[test]
    fn a_close_is_told_with_what_the_server_said() {
        let told = |code, reason: &str| Reason::Closed { code, reason: reason.to_owned() }.to_string();
        assert_eq!(told(1005, ""), "closed by the server");
        assert_eq!(told(1001, ""), "closed by the server (1001)");
        assert_eq!(told(1001, "Going away"), "closed by the server (1001 Going away)");
    }
}
