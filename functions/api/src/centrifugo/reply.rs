//! What a server is answered, in Centrifugo's words. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use tidings::protocol::centrifuge::{ClientInfo, Publication};

use crate::response::Response;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Error {
    code: u32,
    message: Cow<'static, str>,
}

impl Error {
    /// Our own failure.
    pub(super) const INTERNAL: Self = Self::new(100, "internal server error");
    /// There is no such method.
    pub(super) const NOT_FOUND: Self = Self::new(104, "not found");
    /// Something is missing or wrong.
    pub(super) const BAD_REQUEST: Self = Self::new(107, "bad request");
    /// There is nothing of it.
    pub(super) const NOT_AVAILABLE: Self = Self::new(108, "not available");
    /// The log is another one by now.
    pub(super) const UNRECOVERABLE_POSITION: Self = Self::new(112, "unrecoverable position");

    const fn new(code: u32, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message) }
    }

    /// The same, and what is wrong or not there.
    pub(super) fn because(self, detail: impl std::fmt::Display) -> Self {
        Self { message: format!("{}: {detail}", self.message).into(), ..self }
    }

    /// Our own failure, whose cause is logged and not told.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = tidings::describe(error), "a call of the server API failed");
        Self::INTERNAL
    }

    /// The status of who wants errors to be statuses.
    fn status(&self) -> u16 {
        match self.code {
            104 => 404,
            107 | 108 => 400,
            112 => 416,
            _ => 500,
        }
    }
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Published(Published),
    Broadcast {
        responses: Vec<Reply>,
    },
    Presence {
        presence: BTreeMap<String, ClientInfo>,
    },
    PresenceStats {
        num_clients: u64,
        num_users: u64,
    },
    History {
        publications: Vec<Publication>,
        epoch: String,
        offset: u64,
    },
    Channels {
        channels: BTreeMap<String, Channel>,
    },
    Info {
        nodes: [Node; 1],
    },
    /// That is all.
    Done {},
}

/// Where a message stands, if it is in a log.
#[derive(Debug, Default, Serialize)]
pub(super) struct Published {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Channel {
    pub(super) num_clients: u64,
}

/// The stack, which is one node to its callers. How many users and channels it has, nobody counts.
#[derive(Debug, Serialize)]
pub(super) struct Node {
    pub(super) uid: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) num_clients: u64,
    pub(super) num_users: u64,
    pub(super) num_channels: u64,
    pub(super) num_subs: u64,
}

/// The answer to one call, or to one message of a broadcast.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reply {
    Result(Outcome),
    Error(Error),
}

impl From<Result<Outcome, Error>> for Reply {
    fn from(done: Result<Outcome, Error>) -> Self {
        match done {
            Ok(outcome) => Self::Result(outcome),
            Err(error) => Self::Error(error),
        }
    }
}

/// The answer to a command of a batch: what was done under the method's name, or why not.
pub(super) type InBatch = BTreeMap<&'static str, serde_json::Value>;

pub(super) fn in_batch(method: &'static str, done: Result<Outcome, Error>) -> InBatch {
    // Texts, numbers and JSON can be written.
    let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
    let (name, value) = match done {
        Ok(outcome) => (method, json(serde_json::to_value(outcome))),
        Err(error) => ("error", json(serde_json::to_value(error))),
    };
    BTreeMap::from([(name, value)])
}

/// The answer to a call. Errors are statuses where the caller wants them so.
pub(super) fn response(done: Result<Outcome, Error>, in_statuses: bool) -> Response {
    match done {
        Err(error) if in_statuses => Response::json(error.status(), &error),
        done => Response::json(200, &Reply::from(done)),
    }
}

/// The answer to a batch.
pub(super) fn batch(replies: &[InBatch]) -> Response {
    let said = (!replies.is_empty()).then_some(("replies", replies));
    Response::json(200, &BTreeMap::from_iter(said))
}

/// An answer in words, as Go's HTTP server gives it.
pub(super) fn plain(status: u16, text: &str) -> Response {
    Response::text("text/plain; charset=utf-8", &format!("{text}\n")).with_status(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(done: Result<Outcome, Error>) -> String {
        response(done, false).body().to_owned()
    }

    #[test]
    fn an_answer_has_a_result_or_an_error_and_always_status_200() {
        let published = Published { offset: Some(7), epoch: Some("k3".to_owned()) };
        assert_eq!(body(Ok(Outcome::Published(published))), r#"{"result":{"offset":7,"epoch":"k3"}}"#);
        assert_eq!(body(Ok(Outcome::Published(Published::default()))), r#"{"result":{}}"#);
        assert_eq!(body(Ok(Outcome::Done {})), r#"{"result":{}}"#);
        assert_eq!(body(Ok(Outcome::Presence { presence: BTreeMap::new() })), r#"{"result":{"presence":{}}}"#);
        let stats = Outcome::PresenceStats { num_clients: 0, num_users: 0 };
        assert_eq!(body(Ok(stats)), r#"{"result":{"num_clients":0,"num_users":0}}"#);
        assert_eq!(body(Err(Error::BAD_REQUEST)), r#"{"error":{"code":107,"message":"bad request"}}"#);
        assert_eq!(response(Err(Error::BAD_REQUEST), false).status(), 200);
        let responses = vec![Reply::Result(Outcome::Done {}), Reply::Error(Error::INTERNAL)];
        assert_eq!(
            body(Ok(Outcome::Broadcast { responses })),
            r#"{"result":{"responses":[{"result":{}},{"error":{"code":100,"message":"internal server error"}}]}}"#
        );
    }

    #[test]
    fn who_wants_errors_as_statuses_gets_the_error_alone() {
        for (error, status) in [
            (Error::INTERNAL, 500),
            (Error::NOT_FOUND, 404),
            (Error::BAD_REQUEST, 400),
            (Error::NOT_AVAILABLE, 400),
            (Error::UNRECOVERABLE_POSITION, 416),
        ] {
            assert_eq!(response(Err(error), true).status(), status);
        }
        let told = response(Err(Error::NOT_AVAILABLE.because("`tags`")), true);
        assert_eq!(told.body(), r#"{"code":108,"message":"not available: `tags`"}"#);
    }

    #[test]
    fn a_batch_has_an_answer_for_each_command_under_the_name_of_its_method() {
        let replies = [in_batch("history", Ok(Outcome::Done {})), in_batch("publish", Err(Error::NOT_FOUND))];
        assert_eq!(
            batch(&replies).body(),
            r#"{"replies":[{"history":{}},{"error":{"code":104,"message":"not found"}}]}"#
        );
    }
}
