//! Centrifugo's official libraries in three languages, unmodified, many clients of each, whose sockets are cut again and again:
//! each gets every message of its channels once and in order, by the library's own recovery.

mod program;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::stack::Stack;
use crate::wire::{Url, request};
use program::{Language, Program};
use wire::{Counts, Wire};

/// How often a message is said that is not answered.
const ATTEMPTS: usize = 5;

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the times of cuts come from.
    pub seed: u64,
    /// How many clients in JavaScript, Python and Go.
    pub clients: [usize; 3],
    /// How many channels there are; each client is subscribed to two of them.
    pub channels: usize,
    /// Messages a second, to all channels together.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// How long a socket lives on average.
    pub socket_life: Duration,
    /// Whether frames of a connection overtake one another.
    pub shuffled: bool,
    /// Whether the functions are built as they are deployed.
    pub release: bool,
}

impl Plan {
    /// A hundred clients over ten channels, 20 messages a second for two minutes; sockets live for half a minute.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            clients: [60, 30, 10],
            channels: 10,
            rate: 20,
            time: Duration::from_secs(120),
            socket_life: Duration::from_secs(30),
            shuffled: false,
            release: false,
        }
    }
}

/// What has happened.
#[derive(Debug)]
pub struct Report {
    /// The plan's.
    pub seed: u64,
    /// Messages of all channels.
    pub messages: u64,
    /// Messages that the libraries gave out.
    pub received: u64,
    /// Messages that went through sockets as pushes.
    pub pushed: u64,
    /// Messages that went through sockets in replies, to who had come back.
    pub recovered: u64,
    /// Sockets that were opened.
    pub sockets: u64,
    /// Those of them that were cut.
    pub cuts: u64,
    /// How sockets ended, and the errors and disconnects that clients were told.
    pub told: BTreeMap<String, u64>,
    /// From the last message until every client had every one.
    pub settled: Duration,
    /// What should not have been, a line each.
    pub failures: Vec<String>,
}

impl Report {
    /// The share of messages that came as pushes.
    #[must_use]
    pub fn pushes(&self) -> f64 {
        self.pushed as f64 / (self.pushed + self.recovered).max(1) as f64
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seed {}: {} messages, given out {} times; {} sockets, {} cut; {:.2} % as pushes; all there {:.1} s after the last: ",
            self.seed,
            self.messages,
            self.received,
            self.sockets,
            self.cuts,
            self.pushes() * 100.0,
            self.settled.as_secs_f64()
        )?;
        let told = self.told.iter().map(|(what, count)| format!("\n  {what}: {count}")).collect::<String>();
        match self.failures.as_slice() {
            [] => f.write_str("each once, rising by one, none missing"),
            failures => write!(f, "{} FAILURES\n  {}", failures.len(), failures.join("\n  ")),
        }?;
        f.write_str(&told)
    }
}

/// Carries out a plan.
///
/// # Panics
/// When the stack or a program does not start, or a message is refused.
pub async fn run(plan: &Plan) -> Report {
    let stack = start(plan).await;
    let (calm, until) = watch::channel(false);
    let wire = Wire::start(stack.url(), plan.socket_life, Rng::with_seed(plan.seed), until).await;
    let url = format!("{}?protocol=centrifuge", wire.url(stack.url()));
    let secret = String::from_utf8(stack.secret().await).unwrap();
    let mut first = 0;
    let mut programs = Vec::new();
    for (language, count) in [Language::JavaScript, Language::Python, Language::Go].into_iter().zip(plan.clients) {
        programs.push(Program::start(language, &url, &secret, (count, first, plan.channels)).await);
        first += count;
    }
    join_all(programs.iter_mut().map(Program::are_subscribed)).await;
    let ends = say(plan, &stack).await;
    let begin = Instant::now();
    calm.send_replace(true);
    let said = join_all(programs.into_iter().map(|program| program.ends(&ends))).await;
    let settled = begin.elapsed();
    let report = report(plan, &ends, &said, wire.counts(), settled);
    stack.stop().await;
    report
}

async fn start(plan: &Plan) -> Stack {
    let parameters = [("Authentication", "hs256"), ("AllowAnonymous", "false")];
    Stack::start_with(|options| {
        options.parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        options.shuffle = plan.shuffled.then_some(plan.seed);
        options.release = plan.release;
    })
    .await
}

/// Says all messages by the API for servers; where each channel ends.
async fn say(plan: &Plan, stack: &Stack) -> BTreeMap<String, u64> {
    let key: Arc<str> = stack.running().secrets().text("tidings-dev/server-key").unwrap().into();
    let api: Arc<str> = format!("{}/api/publish", stack.api()).into();
    let mut chance = Rng::with_seed(plan.seed ^ 1);
    let mut ticks = interval(Duration::from_secs(1) / plan.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = JoinSet::new();
    let mut ends: BTreeMap<_, _> = (0..plan.channels).map(|number| (format!("room/{number}"), 0)).collect();
    for number in 0..(plan.time.as_secs_f64() * f64::from(plan.rate)) as u64 {
        ticks.tick().await;
        let channel = format!("room/{}", chance.usize(..plan.channels));
        let (key, api) = (Arc::clone(&key), Arc::clone(&api));
        calls.spawn(async move { publish(&api, &key, channel, number).await });
    }
    for (channel, offset) in calls.join_all().await {
        let end = ends.get_mut(&channel).unwrap();
        *end = offset.max(*end);
    }
    ends
}

/// One message, and its offset. Where the answer is none of the stack's, as API Gateway's after half a minute, it is said again
/// under its key, as servers do.
async fn publish(api: &str, key: &str, channel: String, number: u64) -> (String, u64) {
    let body = json!({"channel": channel, "data": {"n": number}, "idempotency_key": number.to_string()}).to_string();
    let mut answer = None;
    for _ in 0..ATTEMPTS {
        let said = request("POST", &Url::parse(api), &[("X-API-Key", key)], body.as_bytes()).await;
        let said = answer.insert(said);
        let read: Value = serde_json::from_str(&said.body).unwrap_or_default();
        match read["result"]["offset"].as_u64() {
            Some(offset) => return (channel, offset),
            None if said.status < 500 => break,
            None => sleep(Duration::from_secs(1)).await,
        }
    }
    panic!("a message was refused: {answer:?}")
}

fn report(
    plan: &Plan,
    ends: &BTreeMap<String, u64>,
    said: &[Result<Value, String>],
    counts: Counts,
    settled: Duration,
) -> Report {
    let mut failures: Vec<String> = said.iter().filter_map(|said| said.as_ref().err().cloned()).collect();
    let said: Vec<_> = said.iter().flatten().collect();
    let texts = said.iter().flat_map(|said| said["failures"].as_array().into_iter().flatten());
    failures.extend(texts.map(|failure| failure.as_str().unwrap_or("a failure").to_owned()));
    if counts.cuts == 0 {
        failures.push("no socket was cut".to_owned());
    }
    Report {
        seed: plan.seed,
        messages: ends.values().sum(),
        received: said.iter().filter_map(|said| said["received"].as_u64()).sum(),
        pushed: counts.pushed,
        recovered: counts.recovered,
        sockets: counts.sockets,
        cuts: counts.cuts,
        told: counts.told,
        settled,
        failures,
    }
}
