//! When a stack has nothing to do.

use std::time::{Duration, Instant};

use tidings_local_observe::Observer;
use tidings_local_services::sqs::Sqs;

use crate::PATIENCE;

/// How long nothing may happen before a stack counts as at rest: longer than the pause between two looks into a stream.
const REST: Duration = Duration::from_millis(300);

/// Waits for the end of all work.
#[derive(Debug, Clone)]
pub(crate) struct Rest {
    observer: Observer,
    sqs: Sqs,
    queues: Vec<String>,
}

impl Rest {
    /// Of the queues that functions read.
    pub(crate) fn new(observer: Observer, sqs: Sqs, queues: Vec<String>) -> Self {
        Self { observer, sqs, queues }
    }

    pub(crate) async fn wait(&self) {
        let started = Instant::now();
        let mut quiet = Instant::now();
        let mut seen = 0;
        loop {
            let last = self.observer.last();
            if last != seen || self.is_busy() {
                (seen, quiet) = (last, Instant::now());
            }
            if quiet.elapsed() >= REST {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the stack is still at work after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn is_busy(&self) -> bool {
        self.observer.running() > 0
            || self.queues.iter().any(|queue| self.sqs.unfinished(queue).is_ok_and(|left| left > 0))
    }
}
