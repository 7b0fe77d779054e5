//! Invoking functions, wherever they run.

mod endpoint;

use std::time::Duration;

use bytes::Bytes;

pub use endpoint::Endpoint;

/// Where functions run.
#[derive(Debug, Clone)]
pub enum Invoker {
    /// Behind somebody's Lambda Invoke API (`sam local start-lambda`, `cargo lambda watch`).
    Endpoint(Endpoint),
}

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
    /// The function's host did not answer, or answered with an error of its own.
    #[error("cannot invoke {function}: {reason}")]
    Unavailable {
        /// The function's logical id.
        function: String,
        /// One clause, with what to do where that is known.
        reason: String,
    },
}

impl Invoker {
    /// Invokes a function by its logical id and waits for its answer (`RequestResponse`).
    ///
    /// # Errors
    /// When the function cannot be reached; a failing function is not an error.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        match self {
            Self::Endpoint(endpoint) => endpoint.invoke(function, payload).await,
        }
    }
}
