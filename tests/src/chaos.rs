//! Clients that lose their connections again and again, functions that die, frames in disorder: and nobody misses anything.
//!
//! The stack of the template runs with its own functions. Each client is a `tidings-client` behind a proxy of its own,
//! which cuts it off and freezes it. All that is left to chance comes from one seed: who is cut when, which process dies
//! when, which frame waits how long. What the machine makes of it is its own.

mod faults;
pub(crate) mod template;
mod witness;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::stack::Stack;
use faults::Faults;
use witness::Witness;

/// Topics that each client is subscribed to.
const TOPICS_OF_ONE: usize = 2;
/// How long everything may take after the last message until it has come.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many clients there are.
    pub clients: usize,
    /// How many topics there are; each client is subscribed to two of them.
    pub topics: usize,
    /// Messages a second, to all topics together.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// How long a connection lives on average.
    pub connection_life: Duration,
    /// How long it is on average until a process of the notifier dies; none does where it is absent.
    pub kill_every: Option<Duration>,
    /// Topics without an order, audiences that are split over workers, and queues that deliver each message twice.
    pub unordered: bool,
}

impl Plan {
    /// A hundred clients in ten topics, 20 messages a second for two minutes; connections live for five seconds, and a process
    /// of the notifier dies every five.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clients: 100,
            topics: 10,
            rate: 20,
            time: Duration::from_secs(120),
            connection_life: Duration::from_secs(5),
            kill_every: Some(Duration::from_secs(5)),
            unordered: false,
        }
    }

    /// A stream of chance of its own for each of those who need some.
    fn chance(&self, number: u64) -> Rng {
        Rng::with_seed(Rng::with_seed(self.seed).u64(..) ^ number)
    }

    fn topics_of(&self, client: usize) -> [String; TOPICS_OF_ONE] {
        [client % self.topics, (client + 1 + client / self.topics % (self.topics - 1)) % self.topics].map(topic)
    }
}

fn topic(number: usize) -> String {
    format!("topic{number}")
}

/// What has happened.
#[derive(Debug)]
pub struct Report {
    /// The plan's.
    pub seed: u64,
    /// Entries of all logs.
    pub messages: u64,
    /// Messages that clients gave out.
    pub received: u64,
    /// Connections that were cut.
    pub cuts: u64,
    /// Connections that were frozen for a while.
    pub freezes: u64,
    /// Processes of the notifier that were killed.
    pub kills: u64,
    /// Connections that clients made.
    pub connections: u64,
    /// Segments that audiences were split into, and that were served.
    pub segments: usize,
    /// From the last message until every client had every one.
    pub settled: Duration,
    /// What should not have been, a line each.
    pub failures: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, messages, received, cuts, freezes, kills, connections, segments, settled, failures } = self;
        write!(
            f,
            "seed {seed}: {messages} messages, given out {received} times; {connections} connections, {cuts} cut and {freezes} frozen; \
             {kills} workers killed, {segments} segments; all there {:.1} s after the last: ",
            settled.as_secs_f64()
        )?;
        match failures.as_slice() {
            [] => f.write_str("each once, in order, none missing"),
            failures => write!(f, "{} FAILURES\n  {}", failures.len(), failures.join("\n  ")),
        }
    }
}

/// Carries out a plan; `tell` gets a line now and then.
///
/// # Panics
/// When the stack does not start, or a client cannot be made.
pub async fn run(plan: &Plan, mut tell: impl FnMut(String)) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let stack = template::start(plan, folder.path()).await;
    if plan.unordered {
        stack.running().sqs().deliver_twice();
    }
    let witnesses: Vec<_> = (0..plan.clients).map(|number| Witness::start(plan, number, stack.url())).collect();
    let witnesses: Vec<_> = futures_util::future::join_all(witnesses).await;
    for witness in &witnesses {
        witness.is_connected(PATIENCE).await;
    }
    let (calm, until) = watch::channel(false);
    let faults = Arc::new(Faults::default());
    let mut troubles: Vec<_> = witnesses
        .iter()
        .enumerate()
        .map(|(number, witness)| {
            let trouble = Arc::clone(&faults).trouble(witness.proxy(), plan.clone(), number as u64, until.clone());
            tokio::spawn(trouble)
        })
        .collect();
    troubles.push(tokio::spawn(Arc::clone(&faults).kill(stack.dynamodb().to_owned(), plan.clone(), until)));
    say(plan, &stack, &witnesses, &mut tell).await;
    let begin = Instant::now();
    calm.send_replace(true);
    for trouble in troubles {
        trouble.await.unwrap();
    }
    let settled = settle(plan, &stack, &witnesses, begin, &mut tell).await;
    let report = report(plan, &stack, &witnesses, &faults, (begin, settled)).await;
    drop(witnesses);
    stack.stop().await;
    report
}

/// Says all messages, half of them by direct invokes and half through the queue.
async fn say(plan: &Plan, stack: &Stack, witnesses: &[Witness], tell: &mut impl FnMut(String)) {
    let mut chance = plan.chance(u64::MAX);
    let count = (plan.time.as_secs_f64() * f64::from(plan.rate)) as u64;
    let mut ticks = interval(Duration::from_secs(1) / plan.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut invokes: Vec<JoinHandle<()>> = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let to = topic(chance.usize(..plan.topics));
        let body = json!({"id": format!("chaos-{number}"), "to": {"topic": to}, "data": number}).to_string();
        match chance.bool() {
            true => stack.send("NotificationQueue", &body).await,
            false => invokes.push(invoke(stack, body)),
        }
        if (number + 1) % u64::from(plan.rate * 10) == 0 {
            let received: u64 = witnesses.iter().map(Witness::received).sum();
            tell(format!("{} messages said, given out {received} times", number + 1));
        }
    }
    for invoke in invokes {
        invoke.await.unwrap();
    }
}

/// A direct invoke. One that is killed has said nothing, or everything; the caller cannot know.
fn invoke(stack: &Stack, body: String) -> JoinHandle<()> {
    let invoking = stack.invoking("notifier", &body);
    tokio::spawn(async move { drop(invoking.await) })
}

/// Waits until nothing is under way any more and everybody has everything, or it takes too long; the moment when it was so.
async fn settle(
    plan: &Plan,
    stack: &Stack,
    witnesses: &[Witness],
    begin: Instant,
    tell: &mut impl FnMut(String),
) -> Option<Instant> {
    let told = AtomicU64::new(0);
    loop {
        let waiting = stack.waiting("NotificationQueue").await + stack.waiting("FanOutQueue").await;
        let ends = template::ends(stack, plan).await;
        let lacking: u64 = witnesses.iter().map(|witness| witness.lacks(&ends)).sum();
        if waiting == 0 && lacking == 0 {
            return Some(Instant::now());
        }
        if begin.elapsed() > PATIENCE {
            return None;
        }
        if told.swap(begin.elapsed().as_secs() / 10, Ordering::Relaxed) < begin.elapsed().as_secs() / 10 {
            tell(format!("{lacking} messages are still to come, {waiting} are in queues"));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn report(
    plan: &Plan,
    stack: &Stack,
    witnesses: &[Witness],
    faults: &Faults,
    (begin, settled): (Instant, Option<Instant>),
) -> Report {
    let ends = template::ends(stack, plan).await;
    let mut failures: Vec<_> = witnesses.iter().flat_map(|witness| witness.failures(&ends)).collect();
    let letters = stack.waiting("DeadLetterQueue").await;
    if letters > 0 {
        failures.push(format!("{letters} messages are in the dead-letter queue"));
    }
    if settled.is_none() {
        failures.push(format!("it did not come to rest within {} s", PATIENCE.as_secs()));
    }
    let (cuts, freezes, kills) = faults.counts();
    if plan.kill_every.is_some_and(|every| every * 4 < plan.time) && kills == 0 {
        failures.push("no process of the notifier was found to be killed".to_owned());
    }
    let segments = template::segments(stack).await;
    if plan.unordered && segments == 0 {
        failures.push("no audience was split".to_owned());
    }
    Report {
        seed: plan.seed,
        messages: ends.values().sum(),
        received: witnesses.iter().map(Witness::received).sum(),
        cuts,
        freezes,
        kills,
        connections: witnesses.iter().map(Witness::connections).sum(),
        segments,
        settled: settled.map_or(PATIENCE, |settled| settled - begin),
        failures,
    }
}
