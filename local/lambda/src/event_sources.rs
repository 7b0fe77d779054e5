//! Event source mappings: what Lambda reads by itself, from queues and from the streams of tables, to invoke functions.
//!
//! A filter says which records a function wants, `failures` which of them it has failed on, `retries` what happens to a
//! stream's batch then; all three are pure. `queue` and `stream` read and invoke.

mod failures;
mod positions;
mod queue;
mod records;
mod retries;
mod shards;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Invocation, InvokeError, Invoker, Logs, Names, Services, arn};
use positions::Positions;
use tidings_local_services::data::Store;
use tidings_local_services::sqs::Sqs;
use tidings_local_stack::{EventSource, Source, Stack};

/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Mappings that run until they are stopped.
#[derive(Debug)]
pub struct EventSources {
    tasks: JoinSet<()>,
}

/// What a reader of a mapping needs.
#[derive(Debug)]
struct Mapping {
    source: EventSource,
    /// The function in log lines.
    label: String,
    function_arn: String,
    region: String,
    invoker: Invoker,
    sqs: Sqs,
    logs: Arc<Logs>,
}

impl EventSources {
    /// Starts the mappings of a stack. When this returns, what is written to a stream from then on is read. With a store, readers
    /// of streams go on where they were at the last start.
    pub async fn start(
        stack: &Stack,
        services: &Services,
        invoker: &Invoker,
        sqs: &Sqs,
        logs: &Arc<Logs>,
        store: Option<&Store>,
    ) -> Self {
        let names = Names::new(stack);
        let mut tasks = JoinSet::new();
        let mut streams = Vec::new();
        for (id, source) in &stack.event_sources {
            let Some(function) = stack.functions.get(&source.function) else { continue };
            let mapping = Arc::new(Mapping {
                source: source.clone(),
                label: names.label(&source.function).to_owned(),
                function_arn: arn(&function.name),
                region: services.region.clone(),
                invoker: invoker.clone(),
                sqs: sqs.clone(),
                logs: Arc::clone(logs),
            });
            match &source.source {
                Source::Queue { name, arn, maximum_concurrency } => {
                    let pollers = queue::pollers(*maximum_concurrency, function.reserved_concurrency);
                    for _ in 0..pollers {
                        tasks.spawn(queue::poll(Arc::clone(&mapping), name.clone(), arn.clone()));
                    }
                }
                Source::Table { name, arn, options } => {
                    let positions = store.map(|store| Positions::new(store, id));
                    streams.push(stream::Stream::open(mapping, services, name, arn, options, positions));
                }
            }
        }
        for stream in join_all(streams).await {
            tasks.spawn(stream.run());
        }
        Self { tasks }
    }

    /// Stops reading. Functions that work on an event are not waited for.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Mapping {
    async fn invoke(&self, records: &[Value]) -> Result<Invocation, InvokeError> {
        let event = Bytes::from(json!({"Records": records}).to_string());
        self.invoker.invoke(&self.source.function, event).await
    }

    /// The names of the records that the function has not done; `all` are those of the batch. An error says why the
    /// whole batch failed.
    fn failed_items(&self, outcome: &Result<Invocation, InvokeError>, all: &[&str]) -> Result<Vec<String>, String> {
        let invocation = outcome.as_ref().map_err(ToString::to_string)?;
        match invocation.error() {
            Some(error) => Err(error),
            None if self.source.reports_item_failures => failures::read(&invocation.payload, all),
            None => Ok(Vec::new()),
        }
    }
}

/// The pause after so many failures in a row.
fn pause(failures: u32) -> Duration {
    (Duration::from_millis(100) * 2_u32.saturating_pow(failures.min(16))).min(LONGEST_PAUSE)
}
