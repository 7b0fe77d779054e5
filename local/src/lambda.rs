//! Invoking functions, wherever they run: as processes of this machine ([`Host`]) or behind somebody's Lambda Invoke
//! API ([`Endpoint`]).
//!
//! [`build`] makes the programs that the host runs, [`api`] offers the functions to others, [`Asynchronous`] takes the
//! events that nobody waits for.

pub mod api;
mod asynchronous;
mod body;
pub mod build;
mod endpoint;
mod environment;
mod host;
mod logs;
mod names;
mod output;
mod pool;
mod record;
mod result;
mod runtime_api;
mod variables;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::observe::{Observer, Watch};

pub use asynchronous::Asynchronous;
pub(crate) use body::collect;
pub use endpoint::Endpoint;
pub use host::{Host, StartError};
pub use logs::Logs;
pub use names::Names;
pub(crate) use names::{ACCOUNT, arn};
pub use record::{RecordError, Recording};
pub use variables::{Keys, Services};

/// Where functions run.
#[derive(Debug, Clone)]
pub enum Invoker {
    /// As processes of this machine.
    Processes(Arc<Host>),
    /// Behind somebody's Lambda Invoke API (`sam local start-lambda`, `cargo lambda watch`).
    Endpoint(Arc<Endpoint>),
    /// At either, with every event written to a folder first.
    Recording(Arc<Recording>),
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

impl Invoker {
    /// Invokes a function by its logical id and waits for its answer (`RequestResponse`).
    ///
    /// # Errors
    /// When the function cannot be reached; a failing function is not an error.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        self.invoke_as(function, payload, Uuid::new_v4().to_string()).await
    }

    /// As [`invoke`](Self::invoke), with the request id that the function is to see; another Invoke API chooses its own.
    async fn invoke_as(&self, function: &str, payload: Bytes, request_id: String) -> Result<Invocation, InvokeError> {
        match self {
            Self::Processes(host) => host.invoke(function, payload, request_id).await,
            Self::Endpoint(endpoint) => endpoint.invoke(function, payload).await,
            Self::Recording(recording) => recording.invoke(function, payload, request_id).await,
            Self::Watched(invoker, observer) => {
                let watch = Watch::start(observer, function, &payload);
                let result = Box::pin(invoker.invoke_as(function, payload, request_id)).await;
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
            Self::Recording(recording) => recording.invoker().host(),
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
            asynchronous: crate::stack::Asynchronous::default(),
            template: None,
            line: 1,
        }
    }
}
