//! What is wrong with a request, as problem details (RFC 9457).

use std::fmt::Display;

use serde::Serialize;
use tidings::registry::{MAX_DURABLE_TOPICS_PER_USER, MAX_TOPIC_BYTES, RegistryError};

use crate::response::Response;

/// Why a request is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// 400: a part of the request is not what it should be.
    Invalid {
        /// A parameter, a header, or a path into the body.
        field: String,
        /// What is wrong and what to do.
        detail: String,
    },
    /// 401: the client shows no good token.
    Unauthorized,
    /// 403: the client may not do this.
    Forbidden { detail: String },
    /// 404: nothing is kept of the topic or the user.
    NoLog,
    /// 404: no operation has this path.
    NoSuchPath,
    /// 404: no connection has this id.
    NoSuchConnection,
    /// 405: the path has other operations.
    MethodNotAllowed { allow: String },
    /// 406: the client takes no JSON.
    NotAcceptable,
    /// 409: the handshake of the connection is not through.
    StillOpening,
    /// 409: the user has as many durable topics as are allowed.
    TooManyTopics,
    /// 409: the names of the user's durable topics would be too long together.
    TopicsTooLong { bytes: usize },
    /// 413: something is too long.
    TooLarge {
        /// `body`, or a path into it.
        field: String,
        bytes: usize,
        most: usize,
        /// What to do.
        fix: &'static str,
    },
    /// 415: the body is no JSON by its content type.
    UnsupportedMediaType,
    /// 500: our failure; the log has the cause.
    Internal,
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl Problem {
    /// A field is not what it should be.
    pub(crate) fn invalid(field: &str, detail: impl Display) -> Self {
        Self::Invalid { field: field.to_owned(), detail: format!("`{field}`: {detail}") }
    }

    /// Our own failure: its cause is logged, and not told.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = tidings::describe(error), "failed");
        Self::Internal
    }

    /// The last part of `type`, the title and the status.
    fn kind(&self) -> (&'static str, &'static str, u16) {
        match self {
            Self::Invalid { .. } => ("invalid-request", "The request is not valid", 400),
            Self::Unauthorized => ("unauthorized", "There is no good token", 401),
            Self::Forbidden { .. } => ("forbidden", "The client may not do this", 403),
            Self::NoLog => ("no-log", "Nothing is kept of it", 404),
            Self::NoSuchPath => ("no-such-path", "There is nothing at this path", 404),
            Self::NoSuchConnection => ("no-such-connection", "There is no such connection", 404),
            Self::MethodNotAllowed { .. } => ("method-not-allowed", "The path does not have this method", 405),
            Self::NotAcceptable => ("not-acceptable", "The answer is JSON only", 406),
            Self::StillOpening => ("still-opening", "The connection is being opened", 409),
            Self::TooManyTopics | Self::TopicsTooLong { .. } => {
                ("too-many-topics", "The user has too many durable topics", 409)
            }
            Self::TooLarge { .. } => ("too-large", "The request is too large", 413),
            Self::UnsupportedMediaType => ("unsupported-media-type", "The body must be JSON", 415),
            Self::Internal => ("internal", "The request failed on our side", 500),
        }
    }

    /// What is wrong with this request, and what to do.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Invalid { detail, .. } | Self::Forbidden { detail } => detail.clone(),
            Self::Unauthorized => "send a client's token as `Authorization: Bearer <token>`; one that has expired is replaced by a new one".to_owned(),
            Self::NoLog => "the stack's parameter `History` says which topics and users have a log".to_owned(),
            Self::NoSuchPath => "GET /openapi.json lists all paths".to_owned(),
            Self::NoSuchConnection => "it was closed, or never was; GET /connections lists those there are".to_owned(),
            Self::MethodNotAllowed { allow } => format!("use {allow}"),
            Self::NotAcceptable => "leave `Accept` out, or let it name application/json".to_owned(),
            Self::StillOpening => {
                "API Gateway closes a connection only once it is open; try again in a minute".to_owned()
            }
            Self::TooManyTopics => {
                format!("a user may have {MAX_DURABLE_TOPICS_PER_USER} durable topics; remove one first")
            }
            Self::TopicsTooLong { bytes } => format!(
                "`topic`: the names of the user's durable topics would have {bytes} bytes together, and {MAX_TOPIC_BYTES} are \
                 allowed; remove one first, or use shorter names"
            ),
            Self::TooLarge { field, bytes, most, fix } => {
                let what = if field == "body" { "it" } else { "the message" };
                format!("`{field}`: {what} would have {bytes} bytes, and {most} are allowed; {fix}")
            }
            Self::UnsupportedMediaType => "send `Content-Type: application/json`".to_owned(),
            Self::Internal => "it can be tried again; the log has the cause under the request's id".to_owned(),
        }
    }

    pub(crate) fn into_response(self) -> Response {
        let (code, title, status) = self.kind();
        let field = match &self {
            Self::Invalid { field, .. } | Self::TooLarge { field, .. } => Some(field.as_str()),
            _ => None,
        };
        let r#type = format!("urn:tidings:problem:{code}");
        let details = Details { r#type, title, status, detail: self.detail(), field };
        let response = Response::json(status, &details).with_header("content-type", "application/problem+json");
        match &self {
            Self::MethodNotAllowed { allow } => response.with_header("allow", allow),
            Self::Unauthorized => response.with_header("www-authenticate", "Bearer"),
            _ => response,
        }
    }
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::TooManyDurableTopics => Self::TooManyTopics,
            RegistryError::DurableTopicsTooLong { bytes } => Self::TopicsTooLong { bytes },
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_field_and_tells_nothing_of_our_failures() {
        let text = Problem::invalid("limit", "give 1 to 1000").into_response().body().to_owned();
        assert_eq!(
            text,
            r#"{"type":"urn:tidings:problem:invalid-request","title":"The request is not valid","status":400,"#
                .to_owned()
                + r#""detail":"`limit`: give 1 to 1000","field":"limit"}"#
        );
        let failure = RegistryError::Unfinished { operation: "BatchGetItem", left: 7 };
        let response = Problem::from(failure).into_response();
        assert_eq!(response.status(), 500);
        assert!(!response.body().contains("BatchGetItem"), "{}", response.body());
    }
}
