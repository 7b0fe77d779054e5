//! Lambda: environments of the notifier, each with what it remembers, and what invokes them.

use std::cell::{RefCell, RefMut};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidings::lambda::Request;
use tidings_notifier::Notifier;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::queues::{self, Message, Queues};
use super::time::{Time, between};

/// From the first line of an environment until it can take its first event.
const START: Duration = Duration::from_millis(60);
/// From a call until a warm environment has its event.
const HAND_OVER: Duration = Duration::from_millis(3);
/// The function's timeout.
const TIMEOUT: Duration = Duration::from_secs(30);
/// From a message that can be received until it is, by a mapping that was waiting: the least and the most, in seconds.
const POLL: (f64, f64) = (0.005, 0.030);
/// Pauses before Lambda itself tries again what failed.
const ASYNC_PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];

/// A queue that invokes the function.
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    /// The queue.
    pub queue: &'static str,
    /// Most messages of one event.
    pub batch: usize,
    /// Most invocations at once.
    pub concurrency: usize,
}

/// The function. Clones share its environments.
#[derive(Clone)]
pub struct Lambda(Rc<Function>);

struct Function {
    make: Box<dyn Fn() -> Notifier>,
    queues: Queues,
    time: Time,
    /// Invocations that the account allows at once.
    most: usize,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    idle: Vec<Notifier>,
    busy: usize,
    /// Events under way, those included that are yet to be tried again.
    open: usize,
    counts: Counts,
}

/// What was invoked.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// When each invocation began, in seconds.
    pub invocations: Vec<f64>,
    /// When each environment was started, in seconds.
    pub starts: Vec<f64>,
    /// Invocations that ended by their timeout.
    pub timeouts: u64,
    /// Answers to direct invokes, and the errors of those that failed.
    pub answers: Vec<Result<Value, String>>,
    /// Receives of messages that were not deleted after their invocation.
    pub burnt: u64,
}

/// What an invocation came to.
type Outcome = Result<Value, String>;

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lambda").finish_non_exhaustive()
    }
}

impl Lambda {
    /// A function whose environments are made by `make`.
    #[must_use]
    pub fn new(make: impl Fn() -> Notifier + 'static, queues: Queues, time: Time, most: usize) -> Self {
        Self(Rc::new(Function { make: Box::new(make), queues, time, most, state: RefCell::default() }))
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts.clone()
    }

    /// Whether no event is under way or yet to be tried again.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state().open == 0
    }

    /// Invokes and waits for the answer, as an SDK does: it tries again where Lambda has no room.
    pub async fn direct(&self, event: String) {
        self.state().open += 1;
        let outcome = self.patiently(&event, Duration::MAX).await;
        let mut state = self.state();
        state.open -= 1;
        state.counts.answers.extend(outcome);
    }

    /// Leaves an event to Lambda, which invokes until that succeeds, three times at most.
    pub async fn leave(&self, event: String) {
        self.state().open += 1;
        for pause in [Duration::ZERO].into_iter().chain(ASYNC_PAUSES) {
            sleep(pause).await;
            if matches!(self.patiently(&event, Duration::MAX).await, Some(Ok(_))) {
                break;
            }
        }
        self.state().open -= 1;
    }

    /// Polls a queue for ever.
    pub async fn poll(self, mapping: Mapping) {
        let room = Arc::new(Semaphore::new(mapping.concurrency));
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            if self.0.queues.is_idle(mapping.queue) {
                self.0.queues.ready(mapping.queue).await;
                sleep(between(POLL.0, POLL.1)).await;
            }
            let batch = self.0.queues.receive(mapping.queue, mapping.batch);
            if batch.is_empty() {
                continue;
            }
            let lambda = self.clone();
            spawn_local(async move {
                lambda.serve(mapping.queue, batch).await;
                drop(permit);
            });
        }
    }

    /// Invokes with a batch, and deletes what is done.
    async fn serve(&self, queue: &str, batch: Vec<Message>) {
        self.state().open += 1;
        let records: Vec<_> = batch.iter().map(|message| record(queue, message)).collect();
        let event = json!({"Records": records}).to_string();
        // As long as the messages are hidden.
        let outcome = self.patiently(&event, queues::VISIBILITY).await;
        let failed: HashSet<String> = match outcome {
            Some(Ok(answer)) => failures(&answer),
            Some(Err(_)) | None => batch.iter().map(|message| message.id.clone()).collect(),
        };
        for message in batch.iter().filter(|message| !failed.contains(&message.id)) {
            self.0.queues.delete(queue, &message.id);
        }
        let mut state = self.state();
        state.counts.burnt += failed.len() as u64;
        state.open -= 1;
    }

    /// Invokes once the account has room; `None` where it has none for so long.
    async fn patiently(&self, event: &str, patience: Duration) -> Option<Outcome> {
        let (mut pause, mut waited) = (Duration::from_millis(500), Duration::ZERO);
        while waited < patience {
            if let Some(warm) = self.room() {
                return Some(self.invoke(warm, event).await);
            }
            sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
        None
    }

    /// Whether the account allows one more invocation, and the environment for it if one is warm.
    fn room(&self) -> Option<Option<Notifier>> {
        let mut state = self.state();
        if state.busy >= self.0.most {
            return None;
        }
        state.busy += 1;
        Some(state.idle.pop())
    }

    async fn invoke(&self, warm: Option<Notifier>, event: &str) -> Outcome {
        let notifier = match warm {
            Some(notifier) => {
                sleep(HAND_OVER).await;
                notifier
            }
            None => {
                sleep(START).await;
                self.state().counts.starts.push(self.0.time.seconds());
                (self.0.make)()
            }
        };
        let event = RawValue::from_string(event.to_owned()).unwrap();
        let handled = timeout(TIMEOUT, notifier.handle(&event, &self.request())).await;
        let mut state = self.state();
        state.busy -= 1;
        let Ok(handled) = handled else {
            // Lambda ends the environment, too.
            state.counts.timeouts += 1;
            return Err("Task timed out after 30.00 seconds".to_owned());
        };
        state.idle.push(notifier);
        handled.map(|answer| serde_json::from_str(answer.get()).unwrap()).map_err(|error| tidings::describe(&error))
    }

    fn request(&self) -> Request {
        let mut state = self.state();
        state.counts.invocations.push(self.0.time.seconds());
        let id = format!("request-{}", state.counts.invocations.len());
        let deadline = self.0.time.epoch_ms() + i64::try_from(TIMEOUT.as_millis()).unwrap_or_default();
        Request::new(id, deadline.unsigned_abs())
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.state.borrow_mut()
    }
}

/// A message as Lambda's event has it.
fn record(queue: &str, message: &Message) -> Value {
    let attributes = message.attributes.as_object().into_iter().flatten().map(|(name, attribute)| {
        let value = json!({"stringValue": attribute["StringValue"], "dataType": attribute["DataType"]});
        (name.clone(), value)
    });
    json!({
        "messageId": message.id,
        "receiptHandle": message.id,
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": message.receives.to_string(),
            "SentTimestamp": message.sent.to_string(),
        },
        "messageAttributes": attributes.collect::<serde_json::Map<_, _>>(),
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:{queue}"),
        "awsRegion": "us-east-1",
    })
}

/// The messages that the function's answer says are to come again.
fn failures(answer: &Value) -> HashSet<String> {
    let items = answer["batchItemFailures"].as_array().into_iter().flatten();
    items.filter_map(|item| item["itemIdentifier"].as_str().map(str::to_owned)).collect()
}
