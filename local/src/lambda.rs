//! Invoking functions, wherever they run: as processes of this machine ([`Host`]) or behind somebody's Lambda Invoke
//! API ([`Endpoint`]).
//!
//! [`build`] makes the programs that the host runs, [`api`] offers the functions to others.

pub mod api;
mod body;
pub mod build;
mod endpoint;
mod environment;
mod host;
mod logs;
mod names;
mod output;
mod pool;
mod result;
mod runtime_api;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::observe::{Observer, Watch};

pub use endpoint::Endpoint;
pub use host::{Host, StartError};
pub use logs::Logs;
pub use names::Names;
pub use variables::{Keys, Services};

/// Where functions run.
#[derive(Debug, Clone)]
pub enum Invoker {
    /// As processes of this machine.
    Processes(Arc<Host>),
    /// Behind somebody's Lambda Invoke API (`sam local start-lambda`, `cargo lambda watch`).
    Endpoint(Endpoint),
    /// One of the above, with its invocations recorded.
    Watched(Box<Invoker>, Observer),
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
    /// The last lines that the function logged during this event; empty where they are not known.
    pub log: String,
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

impl Invoker {
    /// Invokes a function by its logical id and waits for its answer (`RequestResponse`).
    ///
    /// # Errors
    /// When the function cannot be reached; a failing function is not an error.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        match self {
            Self::Processes(host) => host.invoke(function, payload).await,
            Self::Endpoint(endpoint) => endpoint.invoke(function, payload).await,
            Self::Watched(invoker, observer) => {
                let watch = Watch::start(observer, function, &payload);
                let result = Box::pin(invoker.invoke(function, payload)).await;
                watch.end(&result);
                result
            }
        }
    }

    /// The same, with every invocation recorded.
    #[must_use]
    pub fn watched(self, observer: &Observer) -> Self {
        Self::Watched(Box::new(self), observer.clone())
    }

    /// The host of the processes, where they run on this machine.
    #[must_use]
    pub fn host(&self) -> Option<&Arc<Host>> {
        match self {
            Self::Processes(host) => Some(host),
            Self::Endpoint(_) => None,
            Self::Watched(invoker, _) => invoker.host(),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Functions for unit tests.

    use crate::stack::Function;

    pub(crate) fn function(name: &str, code: Option<&str>) -> Function {
        Function {
            name: name.to_owned(),
            code: code.map(Into::into),
            runtime: Some("provided.al2023".to_owned()),
            handler: Some("bootstrap".to_owned()),
            build_method: None,
            binary: None,
            environment: indexmap::IndexMap::new(),
            timeout_seconds: 3,
            memory_mb: 128,
            json_logs: false,
            reserved_concurrency: None,
            line: 1,
        }
    }
}
