//! The whole stack in this process.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tidings::aws::dynamodb;
use tidings_local_dev::{self as dev, DevOptions, Running};
use tidings_local_lambda::Logs;
use tidings_local_observe::Event;
use tidings_local_services::dynamodb::client;
use tidings_local_services::sqs::{Attribute, Content, Message};
use tidings_local_services::{Keys, token};
use tidings_local_stack::Source;

use crate::client::Connecting;
use crate::rest::Rest;

/// A stack that runs until it is stopped.
#[derive(Debug)]
pub struct Stack {
    running: Running,
    log: ShownOnPanic,
}

/// A stack that is about to start.
#[derive(Debug)]
#[must_use = "it starts with `start`"]
pub struct Starting {
    options: DevOptions,
    log: Log,
}

/// What the stack and its functions wrote, shown only where a test fails.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Shows the log where a test ends by a panic.
#[derive(Debug)]
struct ShownOnPanic(Log);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Nothing is left to tell where standard error is closed.
            let _ = std::io::stderr().write_all(&self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// What a function posted to a connection, whether or not anybody reads its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Push {
    /// The connection.
    pub connection: String,
    /// The frame, tokens masked and cut after 8 KB.
    pub text: String,
    /// What the gateway answered: 200, or 410 where nobody is there.
    pub status: u16,
}

/// What could not be delivered, as the dead-letter queue has it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What was to be done: a notification, or the event that brought one.
    pub body: Value,
    /// Why it was not.
    pub reason: String,
    /// Where it came from, as `aws/sqs/Orders`.
    pub source: String,
}

impl Starting {
    /// A value for one of the template's parameters.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.options.parameters.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Lets frames of a client overtake one another, as they can on AWS: each waits for 0 to 300 ms at random before its
    /// function is called, and with the same seed the same again.
    pub fn shuffled(self, seed: u64) -> Self {
        self.with(|options| options.shuffle = Some(seed))
    }

    /// Everything else that `tidings dev` can be told.
    pub fn with(mut self, change: impl FnOnce(&mut DevOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Builds the functions and starts everything.
    ///
    /// # Panics
    /// When something does not start; the text says what, and what to do.
    pub async fn start(self) -> Stack {
        let Self { options, log } = self;
        let template = options.template.clone();
        let log = ShownOnPanic(log);
        match dev::start(options).await {
            Ok(running) => Stack { running, log },
            Err(error) => panic!("{} does not start: {}", template.display(), tidings::describe(&error)),
        }
    }
}

impl Stack {
    /// Starts the stack of a template. Paths begin at the package's folder in `cargo test`.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(template: impl AsRef<Path>) -> Self {
        Self::of(template).start().await
    }

    /// A stack to be started, with parameters and options.
    pub fn of(template: impl AsRef<Path>) -> Starting {
        let log = Log::default();
        let mut options = DevOptions::new(PathBuf::from(template.as_ref()));
        options.port = 0;
        options.logs = Arc::new(Logs::to(log.clone(), true));
        Starting { options, log }
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.running.addresses.websocket
    }

    /// The REST API.
    ///
    /// # Panics
    /// When the template has no HTTP API.
    #[must_use]
    pub fn api(&self) -> &str {
        self.running.addresses.api.as_deref().expect("the template has an HTTP API")
    }

    /// What runs, with all its parts.
    #[must_use]
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// A client that is about to connect.
    pub fn client(&self) -> Connecting {
        Connecting::to(self.url(), self.rest())
    }

    /// A token for a user with these permissions, as `subscribe:orders/*`, good for an hour. It is signed with the stack's
    /// own secret, so that it opens a stack with `Authentication=hs256`.
    ///
    /// # Panics
    /// When the stack has no such secret.
    #[must_use]
    pub fn token(&self, user: &str, permissions: &[&str]) -> String {
        let secrets = self.running.stack().secrets.values();
        let name = secrets.map(|secret| secret.name.as_str()).find(|name| name.ends_with("/tokens"));
        let secret = name.and_then(|name| self.running.secrets().text(name));
        let secret = secret.expect("the stack has a secret for tokens: start it with `Authentication` `hs256`");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
        let mut claims = json!({"sub": user, "iat": now, "exp": now + 3_600});
        if !permissions.is_empty() {
            claims["permissions"] = json!(permissions);
        }
        token::sign(secret.as_bytes(), &claims)
    }

    /// Sends a notification, as a producer that invokes the notifier, and gives its report.
    ///
    /// # Panics
    /// When the notifier fails.
    pub async fn notify(&self, notification: Value) -> Value {
        self.invoke("notifier", notification).await
    }

    /// Invokes a function by its logical id, name or binary.
    ///
    /// # Panics
    /// When it fails, or there is none.
    pub async fn invoke(&self, function: &str, event: Value) -> Value {
        let answer = self.running.invoke(function, event.to_string()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        if let Some(error) = answer.error() {
            panic!("{function} failed with {error}");
        }
        serde_json::from_slice(&answer.payload).expect("a function returns JSON")
    }

    /// Puts a message into one of the stack's queues, by its name.
    ///
    /// # Panics
    /// When there is none, or it does not take the message.
    pub fn send(&self, queue: &str, body: &Value) {
        let sent = self.running.sqs().put(queue, Message::text(body.to_string()), None);
        sent.unwrap_or_else(|refusal| panic!("{queue}: {}", refusal.message));
    }

    /// What a table is called, by its logical id in the template; one of a nested stack is `Nested/Table`.
    ///
    /// # Panics
    /// When the template has no such table.
    #[must_use]
    pub fn table_name(&self, id: &str) -> &str {
        let table = self.running.stack().tables.get(id);
        table.map_or_else(|| panic!("the template has no table {id}"), |table| table.name.as_str())
    }

    /// The stack's DynamoDB, to write into the application's own tables, or to look into them.
    #[must_use]
    pub fn dynamodb(&self) -> dynamodb::Client {
        client(&self.running.addresses.dynamodb, "us-east-1", &Keys::local())
    }

    /// Every frame that functions posted to connections, oldest first, of the last 2,000 events.
    #[must_use]
    pub fn pushes(&self) -> Vec<Push> {
        let events = self.running.observer().events();
        let pushes = events.iter().filter_map(|recorded| match &recorded.event {
            Event::Push(push) if push.method == "POST" => Some(Push {
                connection: push.connection.clone(),
                text: push.body.as_ref().map(|body| body.text.clone()).unwrap_or_default(),
                status: push.status,
            }),
            _ => None,
        });
        pushes.collect()
    }

    /// What could not be delivered, oldest first; it stays there.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        let sqs = self.running.sqs();
        let queues = self.running.stack().queues.values();
        let targets = queues.clone().filter_map(|queue| queue.settings.redrive.as_ref());
        let targets: BTreeSet<_> = targets.map(|redrive| redrive.dead_letter_queue.as_str()).collect();
        let letters = queues.filter(|queue| targets.contains(queue.arn.as_str()));
        letters
            .flat_map(|queue| sqs.messages(&queue.name).unwrap_or_default())
            .map(|message| letter(&message))
            .collect()
    }

    /// What the stack and its functions have logged, as JSON lines.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.0.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Moves the time of the queues and of the connections ahead; see [the module](crate#the-clock).
    pub fn advance(&self, by: Duration) {
        self.running.sqs().advance(by);
        self.running.gateway().advance(by);
    }

    /// Waits until nothing is to be done: no function runs, and no queue that a function reads has a message but delayed
    /// ones.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`](crate::PATIENCE).
    pub async fn settled(&self) {
        self.rest().wait().await;
    }

    fn rest(&self) -> Rest {
        let sources = self.running.stack().event_sources.values();
        let queues = sources.filter_map(|source| match &source.source {
            Source::Queue { name, .. } => Some(name.clone()),
            Source::Table { .. } => None,
        });
        Rest::new(self.running.observer().clone(), self.running.sqs().clone(), queues.collect())
    }

    /// Stops everything; open connections are closed, and their `$disconnect` runs.
    pub async fn stop(self) {
        self.running.shutdown().await;
    }
}

/// Reads a message of the dead-letter queue: ours says why in an attribute, Lambda's in its own words.
fn letter(message: &Message) -> DeadLetter {
    let attribute = |name: &str| match message.attributes.get(name) {
        Some(Attribute { content: Content::Text(text), .. }) => Some(text.clone()),
        _ => None,
    };
    let body: Value = serde_json::from_str(&message.body).unwrap_or_else(|_| message.body.clone().into());
    let given_up = body.pointer("/responsePayload/errorMessage").and_then(Value::as_str).map(str::to_owned);
    DeadLetter {
        reason: attribute("reason").or(given_up).unwrap_or_default(),
        source: attribute("source").unwrap_or_default(),
        body,
    }
}
