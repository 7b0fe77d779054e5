//! The host of the functions: each runs as processes of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use indexmap::IndexMap;

use tidings_local_stack::Stack;

use super::environment::Launch;
use super::logs::Logs;
use super::names::Names;
use super::pool::Pool;
use super::program::Program;
use super::variables::Services;
use super::{Invocation, InvokeError};

/// How long a surplus process may have nothing to do.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// Functions that run as processes on this machine.
#[derive(Debug)]
pub struct Host {
    pools: IndexMap<String, Arc<Pool>>,
    names: Names,
}

/// A function that does not start.
#[derive(Debug, thiserror::Error)]
#[error("{report}")]
pub struct StartError {
    report: String,
}

impl Host {
    /// A host for the functions of `stack`. None has a program before [`install`](Self::install) gives it one; an event
    /// for one without fails with what `missing` says about it, or a general sentence.
    #[must_use]
    pub fn new(stack: &Stack, services: &Services, logs: &Arc<Logs>, missing: &BTreeMap<String, String>) -> Arc<Self> {
        let names = Names::new(stack);
        let pools = stack.functions.iter().map(|(id, function)| {
            let launch = Launch {
                function: function.clone(),
                label: names.label(id).into(),
                services: services.clone(),
                logs: Arc::clone(logs),
            };
            let missing = missing.get(id).map_or("it has not been built", String::as_str);
            (id.clone(), Arc::new(Pool::new(launch, missing.to_owned())))
        });
        let host = Arc::new(Self { pools: pools.collect(), names });
        tokio::spawn(reap(Arc::downgrade(&host)));
        host
    }

    /// Installs programs by logical id and returns the ids of those that changed. New events go to the new program;
    /// processes of the old one finish theirs and end.
    pub async fn install<P: Into<Program>>(&self, programs: BTreeMap<String, P>) -> Vec<String> {
        let mut changed = Vec::new();
        for (id, program) in programs {
            if let Some(pool) = self.pools.get(&id)
                && pool.install(program.into()).await
            {
                changed.push(id);
            }
        }
        changed
    }

    /// Starts one process of each function that has a program, so that the first event finds it running.
    ///
    /// # Errors
    /// With an account of the first function that does not start, for the caller to show.
    pub async fn warm(&self) -> Result<(), StartError> {
        let starts = self.pools.values().map(|pool| async {
            pool.warm().await.map_err(|failure| StartError { report: failure.report(&pool.place()) })
        });
        join_all(starts).await.into_iter().collect()
    }

    /// The name of a function in log lines.
    #[must_use]
    pub fn label<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.label(id)
    }

    /// Invokes a function by its logical id. Giving up on the answer does not stop the function, as in AWS.
    pub(super) async fn invoke(
        &self,
        function: &str,
        payload: Bytes,
        request_id: String,
    ) -> Result<Invocation, InvokeError> {
        let Some(pool) = self.pools.get(function).map(Arc::clone) else {
            let known = self.pools.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(InvokeError::UnknownFunction { name: function.to_owned(), known });
        };
        let label = pool.label().to_owned();
        let invocation = tokio::spawn(async move { pool.invoke(payload, request_id).await });
        invocation
            .await
            .unwrap_or_else(|error| Err(InvokeError::Unavailable { function: label, reason: error.to_string() }))
    }

    /// Ends all processes, also those that work on an event.
    pub async fn shutdown(&self) {
        join_all(self.pools.values().map(|pool| pool.stop())).await;
    }
}

async fn reap(host: std::sync::Weak<Host>) {
    let mut ticks = tokio::time::interval(IDLE_LIMIT / 4);
    loop {
        ticks.tick().await;
        let Some(host) = host.upgrade() else { return };
        for pool in host.pools.values() {
            pool.reap(IDLE_LIMIT).await;
        }
    }
}
