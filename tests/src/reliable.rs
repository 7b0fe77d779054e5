//! Clients of Web PubSub's reliable subprotocol that lose their sockets again and again, and notifiers that die: no number comes
//! below an earlier one on any socket, nothing is missed, and nothing comes twice.
//!
//! The stack of the template runs with its own functions. The clients do what the official libraries do, see
//! `docs/webpubsub.md`, and look at every frame. Half of the messages are direct invokes and half come through the queue, so
//! that several notifiers push to the same connections at once. All that is left to chance comes from one seed.

mod client;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::about;
use crate::chaos::template::changed;
use crate::kill::kill_one;
use crate::stack::Stack;
use client::Client;

/// How long everything may take after the last message until it has come.
const PATIENCE: Duration = Duration::from_secs(90);

/// The message of a notifier that died comes again sooner than in the template. The function's timeout is the template's: with one
/// below the ten seconds of an outbox's lease, each notifier that waits for one would be ended, and leave others behind.
const VISIBILITY: (&str, &str) = ("VisibilityTimeout: 180", "VisibilityTimeout: 35");

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many clients there are, all of one user and in one group.
    pub clients: usize,
    /// Messages a second.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// How long a socket lives on average.
    pub socket_life: Duration,
    /// How long it is on average until a notifier dies.
    pub kill_every: Duration,
}

impl Plan {
    /// Twenty clients, five messages a second for two minutes; sockets live for ten seconds, and a notifier dies every ten.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (time, life) = (Duration::from_secs(120), Duration::from_secs(10));
        Self { seed, clients: 20, rate: 5, time, socket_life: life, kill_every: life }
    }
}

/// What has happened.
#[derive(Debug)]
pub struct Report {
    /// The plan's.
    pub seed: u64,
    /// Messages that were said.
    pub messages: u64,
    /// Sockets that were cut.
    pub cuts: u64,
    /// Times that a client came back to its connection.
    pub recoveries: u64,
    /// Frames that came again with a number that the client had.
    pub repeated: u64,
    /// Notifiers that were killed.
    pub kills: u64,
    /// From the last message until every client had every one.
    pub settled: Option<Duration>,
    /// What should not have been, a line each.
    pub failures: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, messages, cuts, recoveries, repeated, kills, settled, failures } = self;
        write!(
            f,
            "seed {seed}: {messages} messages; {cuts} sockets cut, {recoveries} recoveries, {repeated} frames repeated, {kills} \
             notifiers killed; all there {:.1} s after the last: ",
            settled.unwrap_or(PATIENCE).as_secs_f64()
        )?;
        match failures.as_slice() {
            [] => f.write_str("numbers only rise, nothing is missed, nothing came twice"),
            failures => write!(f, "{} FAILURES\n  {}", failures.len(), failures.join("\n  ")),
        }
    }
}

/// Carries out a plan; `tell` gets a line now and then.
///
/// # Panics
/// When the stack does not start.
pub async fn run(plan: &Plan, mut tell: impl FnMut(String)) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.yaml");
    std::fs::write(&template, changed(&[VISIBILITY])).unwrap();
    let stack = Stack::start_with(|options| {
        options.template = template;
        let parameters = [("Protocols", "webpubsub"), ("WebPubSubReliable", "true")];
        options.parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    })
    .await;
    let clients: Vec<_> = (0..plan.clients).map(|number| Client::start(plan, number, stack.url())).collect();
    for client in &clients {
        client.is_in_its_group(PATIENCE).await;
    }
    let calm = Arc::new(AtomicBool::new(false));
    let killing = tokio::spawn(kill(stack.dynamodb().to_owned(), plan.clone(), Arc::clone(&calm)));
    let messages = say(plan, &stack, &clients, &mut tell).await;
    calm.store(true, Ordering::Relaxed);
    clients.iter().for_each(Client::calm_down);
    let begin = Instant::now();
    let kills = killing.await.unwrap();
    let settled = settle(&clients, messages, begin).await;
    let mut failures: Vec<_> = clients.iter().flat_map(|client| client.failures(messages)).collect();
    if settled.is_none() {
        failures.push(format!("it did not come to rest within {} s", PATIENCE.as_secs()));
    }
    let mut sums = BTreeMap::new();
    for client in &clients {
        for (name, count) in client.counts() {
            *sums.entry(name).or_default() += count;
        }
    }
    let sum = |name: &str| sums.get(name).copied().unwrap_or_default();
    let (cuts, recoveries, repeated) = (sum("cuts"), sum("recoveries"), sum("repeated"));
    drop(clients);
    stack.stop().await;
    Report { seed: plan.seed, messages, cuts, recoveries, repeated, kills, settled, failures }
}

/// Says all messages, to the group and to the user in turn. How many there were.
async fn say(plan: &Plan, stack: &Stack, clients: &[Client], tell: &mut impl FnMut(String)) -> u64 {
    let mut chance = Rng::with_seed(plan.seed);
    let count = (plan.time.as_secs_f64() * f64::from(plan.rate)) as u64;
    let mut ticks = interval(Duration::from_secs(1) / plan.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut invokes: Vec<JoinHandle<()>> = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let to = if number % 2 == 0 { json!({"topic": "chat/all"}) } else { json!({"user": "crowd"}) };
        let body = json!({"id": format!("reliable-{number}"), "to": to, "data": number}).to_string();
        match chance.bool() {
            true => stack.send("NotificationQueue", &body).await,
            false => invokes.push(invoke(stack, body)),
        }
        if (number + 1) % u64::from(plan.rate * 10) == 0 {
            let received: u64 = clients.iter().map(Client::received).sum();
            tell(format!("{} messages said, given out {received} times", number + 1));
        }
    }
    for invoke in invokes {
        invoke.await.unwrap();
    }
    count
}

/// A direct invoke, until it is answered: one that is killed may have said nothing, or everything. Under its id it is the same.
fn invoke(stack: &Stack, body: String) -> JoinHandle<()> {
    let mut attempts: Vec<_> = (0..10).map(|_| stack.invoking("notifier", &body)).collect();
    tokio::spawn(async move {
        while let Some(attempt) = attempts.pop() {
            if attempt.await.is_ok_and(|answer| !answer.failed) {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    })
}

/// Kills notifiers until all is calm. How many there were.
async fn kill(dynamodb: String, plan: Plan, calm: Arc<AtomicBool>) -> u64 {
    let mut chance = Rng::with_seed(plan.seed ^ 1);
    let table = format!("AWS_ENDPOINT_URL_DYNAMODB={dynamodb}");
    let (mut kills, mut next) = (0, Instant::now() + about(plan.kill_every, &mut chance));
    while !calm.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(50)).await;
        if Instant::now() >= next {
            // Nobody else has this variable.
            kills += kill_one(&[&table, "FAN_OUT_CONCURRENCY="], &mut chance) as u64;
            next = Instant::now() + about(plan.kill_every, &mut chance);
        }
    }
    kills
}

/// Waits until everybody has everything; how long that took, unless it took too long.
async fn settle(clients: &[Client], messages: u64, begin: Instant) -> Option<Duration> {
    while begin.elapsed() < PATIENCE {
        if clients.iter().all(|client| client.received() >= messages) {
            // What came twice would come now.
            sleep(Duration::from_millis(1_500)).await;
            return Some(begin.elapsed());
        }
        sleep(Duration::from_millis(100)).await;
    }
    None
}
