//! What comes of calling a function.

use std::time::Duration;

use bytes::Bytes;

/// What came back from a function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// The id that the function saw as its request id, where known.
    pub request_id: String,
    /// What the function returned, or its error object.
    pub payload: Bytes,
    /// `Unhandled` or `Handled` when the function failed; the payload is then the error object.
    pub function_error: Option<String>,
    /// From the call to the answer.
    pub duration: Duration,
    /// The last lines that the function logged during this event; empty where they are not known.
    pub log: String,
}

impl Invocation {
    /// The function's error in one line, where it failed: its type and message, or else all of what it returned.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.function_error.as_ref()?;
        let object: serde_json::Value = serde_json::from_slice(&self.payload).unwrap_or_default();
        match (object["errorType"].as_str(), object["errorMessage"].as_str()) {
            (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
            _ => Some(String::from_utf8_lossy(&self.payload).into_owned()),
        }
    }
}

/// Why a function could not be invoked at all. A function that ran and failed is an [`Invocation`].
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// No function has this name.
    #[error("no function is called {name:?}; the template has {known}")]
    UnknownFunction {
        /// What was asked for.
        name: String,
        /// What there is, separated by commas.
        known: String,
    },
    /// More events than the function can take are waiting.
    #[error("too many events for {function}")]
    Throttled {
        /// The function's name.
        function: String,
    },
    /// The function's host did not answer, or answered with an error of its own.
    #[error("cannot invoke {function}: {reason}")]
    Unavailable {
        /// The function's logical id.
        function: String,
        /// One clause, with what to do where that is known.
        reason: String,
    },
}
