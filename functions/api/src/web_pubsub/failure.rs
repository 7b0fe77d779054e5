//! What goes wrong, as Azure Web PubSub says it: a code, which its libraries hand on, a text, and what it is about.

use std::borrow::Cow;
use std::fmt::Display;

use serde::Serialize;
use tidings::registry::RegistryError;

use crate::response::Response;

/// Why a call is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    target: &'static str,
}

#[derive(Serialize)]
struct Body<'a> {
    code: &'a str,
    message: &'a str,
    target: &'a str,
}

impl Failure {
    /// Who calls has not signed this address with the key, or too long ago.
    pub(super) const UNAUTHORIZED: Self = Self::new(
        401,
        "Error.Unauthorized",
        "sign the address that is called (aud) with the key of the connection string (HS256), for a time that is not over (exp)",
    );
    /// There is no such path.
    pub(super) const NO_SUCH_PATH: Self = Self::new(404, "Error.NotFound", "there is no such operation");
    /// The path has other methods.
    pub(super) const NO_SUCH_METHOD: Self = Self::new(405, "Error.MethodNotAllowed", "this path has another method");
    /// The body is of a kind that is not taken.
    pub(super) const UNSUPPORTED_MEDIA_TYPE: Self =
        Self::new(415, "Error.UnsupportedMediaType", "send text/plain, application/json or application/octet-stream");
    /// The connection that was to join a group is not there.
    pub(super) const NO_MEMBER: Self = Self::new(404, "Error.Connection.NotExisted", "there is no such connection");
    /// The user that was to join a group has no connection.
    pub(super) const NO_USER: Self = Self::new(404, "Warning.User.NotExisted", "the user has no connection");
    /// The connection that is to be permitted something is not there.
    pub(super) const NO_CONNECTION: Self = Self::new(404, "Info.Connection.NotExisted", "there is no such connection");
    /// Whom a HEAD asks for is not there.
    pub(super) const ABSENT: Self = Self::new(404, "Error.NotFound", "there is none");
    /// Nothing more can be permitted to the connection, or taken from it.
    pub(super) const TOO_MANY_PERMISSIONS: Self =
        Self::new(409, "Error.Connection.TooManyPermissions", "the connection has as many permissions as it may");
    /// There are more connections than can be looked at in one call.
    pub(super) const TOO_MANY_CONNECTIONS: Self = Self::new(
        503,
        "Error.ServiceUnavailable",
        "there are more connections than one call can look at; what was not done can be asked for again",
    );

    /// Our own failure, which the log has the cause of.
    pub(super) const INTERNAL: Self =
        Self::new(500, "Error.InternalServerError", "it failed on our side; the log has the cause");

    const fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message: Cow::Borrowed(message), target: "Request" }
    }

    /// Something of the request is not what it should be.
    pub(super) fn bad_request(field: &str, problem: impl Display) -> Self {
        Self::with(400, "Error.BadRequest", format!("`{field}`: {problem}"))
    }

    /// The same in the words that Azure has for it.
    pub(super) fn bad_filter(problem: &impl Display) -> Self {
        Self::with(400, "Error.BadRequest", problem.to_string())
    }

    /// The message is too large.
    pub(super) fn too_large(problem: impl Display) -> Self {
        Self::with(413, "Error.PayloadTooLarge", problem.to_string())
    }

    /// Our own failure: its cause is logged, and not told.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = tidings::describe(error), "failed");
        Self::INTERNAL
    }

    fn with(status: u16, code: &'static str, message: String) -> Self {
        Self { message: Cow::Owned(message), ..Self::new(status, code, "") }
    }

    pub(super) fn into_response(self) -> Response {
        let Self { status, code, message, target } = self;
        let response = Response::json(status, &Body { code, message: &message, target });
        let response = response.with_header("x-ms-error-code", code);
        match status {
            401 => response.with_header("www-authenticate", "Bearer"),
            503 => response.with_header("retry-after", "1"),
            _ => response,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::TooManyTopics { .. } | RegistryError::TopicsTooLong { .. } => {
                Self::with(409, "Error.Connection.TooManyGroups", error.to_string())
            }
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_its_code_in_the_body_and_in_a_header_and_tells_nothing_of_ours() {
        let response = Failure::bad_request("top", "give a number").into_response();
        assert_eq!((response.status(), response.header("x-ms-error-code")), (400, Some("Error.BadRequest")));
        let body = r#"{"code":"Error.BadRequest","message":"`top`: give a number","target":"Request"}"#;
        assert_eq!(response.body(), body);
        let failure = RegistryError::Unfinished { operation: "BatchGetItem", left: 7 };
        let response = Failure::from(failure).into_response();
        assert_eq!(response.status(), 500);
        assert!(!response.body().contains("BatchGetItem"), "{}", response.body());
        assert_eq!(Failure::from(RegistryError::TooManyTopics { count: 101 }).into_response().status(), 409);
    }
}
