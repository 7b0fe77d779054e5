//! Invoking functions, wherever they run: as processes of this machine ([`Host`]) or behind somebody's Lambda Invoke
//! API ([`Endpoint`]).
//!
//! [`build`] makes the programs that the host runs, [`api`] offers the functions to others, [`Asynchronous`] takes the
//! events that nobody waits for, [`EventRules`] brings those that rules of EventBridge match,
//! and [`Topics`] what is published to topics of SNS.

pub mod api;
mod asynchronous;
mod body;
pub mod build;
mod destination;
mod endpoint;
mod environment;
mod event_rules;
pub mod event_sources;
mod host;
mod invocation;
mod logs;
mod names;
mod output;
mod pool;
mod program;
mod record;
mod result;
mod runtime_api;
mod script;
mod topics;
mod variables;
mod watch;

use bytes::Bytes;
use std::sync::Arc;
use uuid::Uuid;

use tidings_local_observe::Observer;
use watch::Watch;

pub use asynchronous::Asynchronous;
pub use body::collect;
pub use endpoint::Endpoint;
pub use event_rules::{Destinations, EventRules};
pub use host::{Host, StartError};
pub use invocation::{Invocation, InvokeError};
pub use logs::Logs;
pub use names::ACCOUNT;
pub use names::Names;
pub(crate) use names::arn;
pub use program::Program;
pub use record::{RecordError, Recording};
pub use topics::Topics;
pub use variables::Services;

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
