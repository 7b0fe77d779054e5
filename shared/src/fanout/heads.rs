//! Heads of logs that are wanted at the same time, as by the notifications of a batch: they are read in one call.

use std::mem::take;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::log::LogName;
use crate::registry::{Head, Registry, RegistryError};

/// Who waits for heads of which nobody has begun to read any.
#[derive(Debug, Default)]
pub(super) struct Heads {
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    log: LogName,
    answer: oneshot::Sender<Option<Head>>,
}

/// Whoever waits first reads for all. Should it be given up before it has begun, the others are let go.
struct First<'a>(&'a Heads);

impl Heads {
    /// The head of a log; `None` where there is none.
    ///
    /// # Errors
    /// When DynamoDB fails or the head is malformed.
    pub(super) async fn read(&self, registry: &Registry, log: &LogName) -> Result<Option<Head>, RegistryError> {
        let (answer, answered) = oneshot::channel();
        let is_first = {
            let mut waiting = self.waiting();
            waiting.push(Waiting { log: log.clone(), answer });
            waiting.len() == 1
        };
        if is_first {
            read_for(registry, First(self).gather().await).await;
        }
        match answered.await {
            Ok(head) => Ok(head),
            // Whatever the reason: this one's own is found by itself.
            Err(_) => registry.head(log).await,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First<'_> {
    /// All who come before everybody who can run has run.
    async fn gather(self) -> Vec<Waiting> {
        yield_now().await;
        take(&mut *self.0.waiting())
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.waiting().clear();
    }
}

/// Answers all of these, or none where the read fails.
async fn read_for(registry: &Registry, waiting: Vec<Waiting>) {
    let mut logs: Vec<_> = waiting.iter().map(|waiting| waiting.log.clone()).collect();
    logs.sort_unstable();
    logs.dedup();
    match registry.heads(&logs).await {
        Ok(heads) => {
            for Waiting { log, answer } in waiting {
                // Somebody who has been given up waits no more.
                let _ = answer.send(heads.get(&log).cloned());
            }
        }
        Err(error) => tracing::debug!(%error, "heads are read one by one: together they could not be"),
    }
}
