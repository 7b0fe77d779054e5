//! The notifier at API Gateway's quota, in virtual time: its own functions, registry, queues' client, run and limiter.
//!
//! Stand-ins are what the clock cannot stand still for: the account with its bucket and the sockets (`account`,
//! `gateway`), SQS (`queues`), and Lambda with its environments and mappings (`lambda`). The rows are in the engine that
//! `cargo dev` embeds, called in this process (`rows`). Tokio's clock is paused, so that it jumps to the next moment at
//! which something happens, and all chance comes out of one seed.
//!
//! What is *not* here: crashes, posts that hang, DynamoDB's throttling, clocks that differ, and SQS's fair queues.

pub mod account;
pub mod criteria;
pub mod figures;
pub mod gateway;
pub mod lambda;
pub mod letters;
pub mod queues;
pub mod rows;
pub mod scenarios;
pub mod table;
mod time;
mod wire;

use std::time::Duration;

use aws_credential_types::Credentials;
use serde_json::json;
use tidings::delivery::{Delivery, Limits, POST_DEADLINE, Sockets};
use tidings::fanout::{FanOut, Queues as FanOutQueues};
use tidings::metrics::Metrics;
use tidings::queue::Queue;
use tidings_notifier::{Deps, Function, Notifier, Rules};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use account::{Account, Others, Quota, Spell};
use criteria::Criterion;
use figures::Figures;
use gateway::{Gateway, Slow};
use lambda::{Lambda, Mapping};
use queues::{FAN_OUT, NOTIFICATIONS, Queues};
use rows::Rows;
use time::Time;

/// What is played, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, for the table.
    pub what: &'static str,
    /// The account's bucket.
    pub quota: Quota,
    /// `PushesPerSecond`.
    pub rate: u32,
    /// Other traffic of the account.
    pub others: Vec<Others>,
    /// When API Gateway refuses.
    pub spells: Vec<Spell>,
    /// Clients that do not read.
    pub slow: Option<Slow>,
    /// What is sent.
    pub sends: Vec<Send>,
    /// Invocations that the account allows at once.
    pub most_invocations: usize,
    /// When the rate row is moved an hour ahead, in seconds.
    pub reserved_ahead: Option<f64>,
    /// When the scenario is given up, in seconds.
    pub most_seconds: f64,
    /// What must hold.
    pub criteria: Vec<Criterion>,
}

/// One notification.
#[derive(Debug, Clone)]
pub struct Send {
    /// When it is sent, in seconds.
    pub at: f64,
    /// How.
    pub way: Way,
    /// To whom.
    pub to: To,
    /// What it is known by: its id, too.
    pub label: String,
    /// Bytes of its data.
    pub bytes: usize,
}

/// How a notification gets to the notifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through the notification queue.
    Queue,
    /// As a direct invoke, whose caller waits.
    Direct,
    /// As an event of S3.
    Bucket,
}

/// An audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// A topic with so many subscribers.
    Topic(String, usize),
    /// A user with one connection.
    User(String),
}

impl To {
    /// What its sockets are named after, and how many there are.
    #[must_use]
    pub fn audience(&self) -> (&str, usize) {
        match self {
            Self::Topic(topic, members) => (topic, *members),
            Self::User(user) => (user, 1),
        }
    }
}

/// Invocations at once for each of the two queues: the defaults of the template.
const CONCURRENCY: usize = 4;
/// The rule for events of S3: the key is the topic, and the label.
const RULES: &str =
    r#"[{"source": "aws/s3/*", "to": {"topic": "{record.s3.object.key}"}, "data": "{record.s3.object.key}"}]"#;

/// What came of a scenario, and what of its criteria.
#[derive(Debug)]
pub struct Verdict {
    /// What came of it.
    pub figures: Figures,
    /// What does not hold, in a sentence each.
    pub broken: Vec<String>,
}

/// Plays a scenario and checks its criteria; where one compares, plays it without its fault first. `simulate` plays on a
/// clock of its own.
pub fn judge(scenario: &Scenario, seed: u64, simulate: impl Fn(&Scenario, u64) -> Figures) -> Verdict {
    let compares = scenario.criteria.iter().any(|criterion| criterion.compares());
    let plain = compares.then(|| simulate(&Scenario { spells: Vec::new(), slow: None, ..scenario.clone() }, seed));
    let figures = simulate(scenario, seed);
    let check = |criterion: &Criterion| {
        let wrong = criterion.check(&figures, plain.as_ref()).err()?;
        Some(format!("{criterion:?} does not hold: {wrong}"))
    };
    let mut broken: Vec<_> = scenario.criteria.iter().filter_map(check).collect();
    if figures.over >= scenario.most_seconds {
        broken.push(format!("it was not over after {} s", scenario.most_seconds));
    }
    Verdict { figures, broken }
}

/// Everything that a scenario is played with.
struct World {
    time: Time,
    rows: Rows,
    queues: Queues,
    gateway: Gateway,
    lambda: Lambda,
}

/// Plays a scenario on tokio's clock, which must be paused and on one thread. All chance comes out of `seed`.
///
/// # Panics
/// When a stand-in is called in a way that the service does not know.
pub async fn play(scenario: &Scenario, seed: u64) -> Figures {
    // Whatever is still under way ends with the set.
    LocalSet::new().run_until(play_here(scenario, seed)).await
}

async fn play_here(scenario: &Scenario, seed: u64) -> Figures {
    fastrand::seed(seed);
    let world = World::new(scenario);
    world.gather(scenario).await;
    for (queue, batch) in [(NOTIFICATIONS, 10), (FAN_OUT, 1)] {
        spawn_local(world.lambda.clone().poll(Mapping { queue, batch, concurrency: CONCURRENCY }));
    }
    let mut sending = JoinSet::new();
    for send in scenario.sends.clone() {
        sending.spawn_local(deliver(world.time.at(send.at), world.lambda.clone(), world.queues.clone(), send));
    }
    if let Some(seconds) = scenario.reserved_ahead {
        let (rows, moment) = (world.rows.clone(), world.time.at(seconds));
        sending.spawn_local(async move {
            sleep_until(moment).await;
            rows.move_ahead(3_600);
        });
    }
    world.settle(&mut sending, scenario.most_seconds).await;
    Figures::new(scenario, seed, &world)
}

async fn deliver(moment: tokio::time::Instant, lambda: Lambda, queues: Queues, send: Send) {
    sleep_until(moment).await;
    match send.way {
        Way::Queue => drop(queues.send(NOTIFICATIONS, notification(&send), json!({}), Duration::ZERO)),
        Way::Direct => lambda.direct(notification(&send)).await,
        Way::Bucket => lambda.leave(event(&send)).await,
    }
}

fn notification(send: &Send) -> String {
    let to = match &send.to {
        To::Topic(topic, _) => json!({"topic": topic}),
        To::User(user) => json!({"user": user}),
    };
    let data = format!("{}|{}", send.label, "x".repeat(send.bytes));
    json!({"id": send.label, "to": to, "data": data}).to_string()
}

/// What S3 sends for an object that is named after the topic.
fn event(send: &Send) -> String {
    let mut event: serde_json::Value = serde_json::from_str(include_str!("../events/triggers/s3.json")).unwrap();
    event["Records"][0]["s3"]["object"]["key"] = send.to.audience().0.into();
    event.to_string()
}

impl World {
    fn new(scenario: &Scenario) -> Self {
        let time = Time::begin();
        let (rows, queues) = (Rows::new(time), Queues::new(time));
        let account = Account::new(scenario.quota, scenario.others.clone(), scenario.spells.clone());
        let gateway = Gateway::new(account, scenario.slow, time);
        let make = environment(scenario.rate, rows.clone(), queues.clone(), gateway.clone(), time);
        let lambda = Lambda::new(make, queues.clone(), time, scenario.most_invocations);
        Self { time, rows, queues, gateway, lambda }
    }

    /// Connects everybody to whom something is sent. Takes no time.
    async fn gather(&self, scenario: &Scenario) {
        let mut audiences: Vec<&To> = Vec::new();
        for send in &scenario.sends {
            if audiences.contains(&&send.to) {
                continue;
            }
            audiences.push(&send.to);
            match &send.to {
                To::Topic(topic, members) => self.rows.gather(topic, *members).await,
                To::User(user) => self.rows.enter(user).await,
            }
        }
    }

    /// Waits until everything is sent, and nothing is under way or waits.
    async fn settle(&self, sending: &mut JoinSet<()>, most_seconds: f64) {
        let end = self.time.at(most_seconds);
        let settled = async {
            while let Some(sent) = sending.join_next().await {
                sent.unwrap();
            }
            let is_empty = || [FAN_OUT, NOTIFICATIONS].iter().all(|queue| self.queues.is_empty(queue));
            while !(self.lambda.is_idle() && is_empty()) {
                sleep(Duration::from_millis(250)).await;
            }
        };
        let _ = tokio::time::timeout_at(end, settled).await;
    }
}

/// Makes environments, wired as `main` of the notifier wires one.
fn environment(rate: u32, rows: Rows, queues: Queues, gateway: Gateway, time: Time) -> impl Fn() -> Notifier {
    let registry = rows.registry();
    move || {
        let credentials = Credentials::new("local", "local", None, None, "tests");
        let endpoint = "http://gateway.test/dev";
        let sockets = Sockets::new(endpoint, "us-east-1", credentials, gateway.transport(), POST_DEADLINE).unwrap();
        let limits = Limits { pushes_per_second: f64::from(rate), workers: 2 * CONCURRENCY as u32 };
        let queue = |name| Queue::through(wire::transport(queues.clone()), Queues::url(name));
        let fan_out = FanOutQueues {
            notifications: queue(NOTIFICATIONS),
            fan_out: queue(FAN_OUT),
            dead_letters: queue(queues::DEAD_LETTERS),
        };
        Function::new().core(Deps {
            fan_out: FanOut::new(Delivery::new(sockets, registry.clone(), limits, time.clock), fan_out),
            rules: Rules::parse(RULES).unwrap(),
            metrics: Metrics::default(),
            clock: time.clock,
        })
    }
}
