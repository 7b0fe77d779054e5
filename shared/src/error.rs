//! What an application's own code fails with.

use std::fmt;

use crate::protocol::{ClientError, ErrorCode};
use crate::registry::RegistryError;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why an application's action did not do what was asked: the client's doing, of which it is told, or our own, which is
/// logged and fails the function.
///
/// `?` makes any other error an internal one.
///
/// ```
/// use tidings::Error;
///
/// fn seats(text: &str) -> Result<u32, Error> {
///     let seats: u32 = text.parse()?;
///     if seats > 8 {
///         return Err(Error::new("RoomIsFull", "take another one"));
///     }
///     Ok(seats)
/// }
/// assert_eq!(seats("9").unwrap_err().code(), Some("RoomIsFull"));
/// assert_eq!(seats("many").unwrap_err().code(), None);
/// ```
pub struct Error(Kind);

enum Kind {
    Client(ClientError),
    Internal(Source),
}

impl Error {
    /// The client is told: a code of the application's own, for programs, and a message for people.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Kind::Client(ClientError::new(ErrorCode::Application(code), message)))
    }

    /// The client is told that its frame is not valid; the message names the field and the fix.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self(Kind::Client(ClientError::bad_request(message)))
    }

    /// Our own failure, with its cause.
    pub fn internal(error: impl Into<Source>) -> Self {
        Self(Kind::Internal(error.into()))
    }

    /// What the client is told, or our own failure.
    ///
    /// # Errors
    /// With the cause, where it is not the client's doing.
    pub fn into_client(self) -> Result<ClientError, Source> {
        match self.0 {
            Kind::Client(error) => Ok(error),
            Kind::Internal(source) => Err(source),
        }
    }

    /// The code that the client gets; `None` where it is not the client's doing.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        match &self.0 {
            Kind::Client(error) => Some(error.code.name()),
            Kind::Internal(_) => None,
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let source: Source = Box::new(error);
        let source = match source.downcast::<ClientError>() {
            Ok(error) => return Self(Kind::Client(*error)),
            Err(source) => source,
        };
        match source.downcast::<RegistryError>() {
            Ok(error) => error.into_client_error().map_or_else(Self::internal, |error| Self(Kind::Client(error))),
            Err(source) => Self(Kind::Internal(source)),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Client(error) => f.debug_tuple("Error").field(error).finish(),
            Kind::Internal(source) => f.debug_tuple("Error").field(source).finish(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Client(error) => write!(f, "{error}"),
            Kind::Internal(source) => write!(f, "{source}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_registry_refuses_is_the_clients_doing_and_its_failures_are_ours() {
        assert_eq!(Error::from(RegistryError::NotConnected).code(), Some("NotConnected"));
        assert_eq!(Error::from(RegistryError::TooManyTopics { count: 101 }).code(), Some("TooManyTopics"));
        assert_eq!(Error::from(std::io::Error::other("no")).code(), None);
        let told = Error::from(ClientError::bad_request("`order` is 0")).into_client().unwrap();
        assert_eq!((told.code, told.message.as_str()), (ErrorCode::BadRequest, "`order` is 0"));
    }
}
