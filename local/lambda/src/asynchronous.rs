//! Events that nobody waits for (`Event` invocations): tried again when the function fails, then told to a queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::names::arn;
use super::{Invocation, InvokeError, Invoker, Logs, Names};
use crate::destination::{self, Condition, Failure};
use tidings_local_services::sqs::Sqs;
use tidings_local_stack::{self as stack, Stack};

/// Pauses before the two retries of a failed event. Lambda waits one and two minutes.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// The longest pause before an event is offered again to a function that takes no more. Lambda's is five minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Takes events and sees to them in the background.
#[derive(Debug)]
pub struct Asynchronous {
    desk: Arc<Desk>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Desk {
    invoker: Invoker,
    functions: IndexMap<String, Target>,
    sqs: Sqs,
    logs: Arc<Logs>,
}

#[derive(Debug)]
struct Target {
    label: String,
    arn: String,
    settings: stack::Asynchronous,
}

/// One event on its way.
struct Event {
    function: String,
    payload: Bytes,
    request_id: String,
    accepted: Instant,
}

impl Asynchronous {
    /// For the functions of a stack, whose on-failure destinations are queues of `sqs`.
    #[must_use]
    pub fn new(stack: &Stack, invoker: Invoker, sqs: Sqs, logs: Arc<Logs>) -> Self {
        let names = Names::new(stack);
        let targets = stack.functions.iter().map(|(id, function)| {
            let target = Target {
                label: names.label(id).to_owned(),
                arn: format!("{}:$LATEST", arn(&function.name)),
                settings: function.asynchronous.clone(),
            };
            (id.clone(), target)
        });
        let desk = Arc::new(Desk { invoker, functions: targets.collect(), sqs, logs });
        Self { desk, tasks: Mutex::default() }
    }

    /// Takes an event for a function, by its logical id. The id that is returned is the one that the function sees, each
    /// time that the event is tried.
    pub fn accept(&self, function: &str, payload: Bytes) -> String {
        let request_id = Uuid::new_v4().to_string();
        let event =
            Event { function: function.to_owned(), payload, request_id: request_id.clone(), accepted: Instant::now() };
        let desk = Arc::clone(&self.desk);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { desk.see_to(event).await });
        request_id
    }

    /// Drops all events that are not done.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

impl Desk {
    async fn see_to(&self, event: Event) {
        let Some(target) = self.functions.get(&event.function) else { return };
        let (mut failures, mut pauses, mut throttled) = (0, RETRY_PAUSES.iter().copied(), Duration::from_secs(1));
        loop {
            let outcome =
                self.invoker.invoke_as(&event.function, event.payload.clone(), event.request_id.clone()).await;
            let pause = match &outcome {
                Ok(Invocation { function_error: None, .. }) => return,
                // Not the event's fault: it is no failure, and only its age ends it.
                Err(InvokeError::Throttled { .. }) => {
                    let pause = throttled;
                    throttled = (throttled * 2).min(LONGEST_PAUSE);
                    pause
                }
                _ => {
                    failures += 1;
                    if failures > target.settings.maximum_retries {
                        return self.give_up(&event, target, Condition::RetriesExhausted, failures, outcome);
                    }
                    pauses.next().unwrap_or(LONGEST_PAUSE)
                }
            };
            if event.accepted.elapsed() + pause > Duration::from_secs(target.settings.maximum_age) {
                return self.give_up(&event, target, Condition::EventAgeExceeded, failures, outcome);
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn give_up(
        &self,
        event: &Event,
        target: &Target,
        condition: Condition,
        invocations: u32,
        outcome: Result<Invocation, InvokeError>,
    ) {
        let (label, response) = (&target.label, outcome.as_ref().ok());
        let failure =
            Failure { request_id: &event.request_id, function_arn: &target.arn, condition, invocations, response };
        let why = match &outcome {
            Ok(invocation) => invocation.error().unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        let times = match invocations {
            1 => "once".to_owned(),
            2 => "twice".to_owned(),
            3 => "three times".to_owned(),
            times => format!("{times} times"),
        };
        let Some(queue) = &target.settings.on_failure else {
            self.logs.error(&format!("function {label} failed {times}, its event is dropped: {why}"));
            return;
        };
        match self.sqs.send_to_arn(queue, destination::of_event(&failure, &event.payload)) {
            Ok(()) => {
                let queue = queue.rsplit(':').next().unwrap_or(queue);
                self.logs.warn(&format!("function {label} failed {times}, its event goes to {queue}: {why}"));
            }
            Err(error) => self.logs.error(&format!(
                "function {label} failed {times}, and its event is lost, for {queue} does not take it: {error}"
            )),
        }
    }
}
