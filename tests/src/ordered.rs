//! An ordered topic at length: two producers, many clients that neither sort nor drop, and workers that die; one client among
//! many that does not read; and an account that is refused for half a minute.

mod strict;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::chaos::template;
use crate::crowd::{self, Crowd};
use crate::eventually;
use crate::kill::kill_one;
use crate::stack::Stack;
use crate::standin::{Behaviour, Outage};
use strict::{Seen, Strict};

const TOPIC: &str = "ordered";
const ORDERED: (&str, &str) = ("History", r#"[{"to":{"topic":"**"},"seconds":600,"ordered":true}]"#);
/// How long everything may take after the last message until it has come.
/// A message whose worker died comes again after three minutes.
const PATIENCE: Duration = Duration::from_secs(240);

/// What is to happen to clients that neither sort nor drop.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many clients there are.
    pub clients: usize,
    /// Messages a second, of two producers together.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// How often a process of the notifier dies; none does where it is absent.
    pub kill_every: Option<Duration>,
    /// Whether the stack is as it is deployed: its functions' build, and its patience. Else what a killed worker leaves
    /// comes back within seconds.
    pub release: bool,
}

/// What has happened.
#[derive(Debug)]
pub struct Report {
    /// Messages of the topic.
    pub messages: u64,
    /// Messages that came as pushes, to all clients together.
    pub pushed: u64,
    /// Messages that came in replies, when a client had come back.
    pub recovered: u64,
    /// Processes of the notifier that were killed.
    pub kills: usize,
    /// How often clients were subscribed beyond the first time.
    pub returns: u64,
    /// The longest time in which a client got nothing.
    pub longest_silence: Duration,
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
            "{} messages, {:.2} % as pushes; {} workers killed, clients came back {} times, the longest silence {:.1} s, all there \
             {:.1} s after the last: ",
            self.messages,
            self.pushes() * 100.0,
            self.kills,
            self.returns,
            self.longest_silence.as_secs_f64(),
            self.settled.as_secs_f64()
        )?;
        match self.failures.as_slice() {
            [] => f.write_str("rising by one, none twice, none missing"),
            failures => write!(f, "{} FAILURES\n  {}", failures.len(), failures.join("\n  ")),
        }
    }
}

/// Has two producers say messages to clients that neither sort nor drop.
///
/// # Panics
/// When the stack does not start, or the clients do not come about.
pub async fn run(plan: &Plan) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let stack = start(plan, folder.path()).await;
    let clients: Vec<_> = (0..plan.clients).map(|_| Strict::start(stack.url())).collect();
    eventually("all subscriptions", PATIENCE, async || all(&clients, |seen| seen.last.is_some())).await;
    let (mut said, mut kills) = (0, 0);
    tokio::select! {
        count = say(&stack, plan) => said = count,
        () = kill(&stack, plan, &mut kills) => {}
    }
    let begin = Instant::now();
    let mut failures = Vec::new();
    let end = loop {
        // Whoever was killed may have said its message, or have left it to the queue.
        let end = end_of_log(&stack).await;
        if all(&clients, |seen| seen.last == Some(end)).is_some() && stack.waiting("NotificationQueue").await == 0 {
            break end;
        }
        if begin.elapsed() > PATIENCE {
            failures.push(format!("not everybody has {end} within {PATIENCE:?}"));
            break end;
        }
        sleep(Duration::from_millis(50)).await;
    };
    if end < said / 2 {
        failures.push(format!("of {said} messages {end} were kept"));
    }
    let report = report(&clients, (end, kills, begin.elapsed()), failures);
    drop(clients);
    stack.stop().await;
    report
}

async fn start(plan: &Plan, folder: &Path) -> Stack {
    let template = folder.join("template.yaml");
    std::fs::write(&template, template::impatient()).unwrap();
    Stack::start_with(|options| {
        options.parameters = [ORDERED].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        options.release = plan.release;
        if !plan.release {
            options.template = template;
        }
    })
    .await
}

fn all(clients: &[Strict], test: impl Fn(&Seen) -> bool) -> Option<()> {
    clients.iter().all(|client| test(&client.seen())).then_some(())
}

fn report(clients: &[Strict], (messages, kills, settled): (u64, usize, Duration), failures: Vec<String>) -> Report {
    let mut report = Report {
        messages,
        pushed: 0,
        recovered: 0,
        kills,
        returns: 0,
        longest_silence: Duration::ZERO,
        settled,
        failures,
    };
    for (number, client) in clients.iter().enumerate() {
        let seen = client.seen();
        report.pushed += seen.pushed;
        report.recovered += seen.recovered;
        report.returns += seen.subscribed.saturating_sub(1);
        report.longest_silence = report.longest_silence.max(seen.longest_silence);
        report.failures.extend(seen.failures.iter().map(|failure| format!("client {number}: {failure}")));
    }
    report
}

/// Says messages at the plan's rate, every other one by a direct invoke, the rest through the queue; how many.
async fn say(stack: &Stack, plan: &Plan) -> u64 {
    let mut ticks = interval(Duration::from_secs(1) / plan.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let count = (plan.time.as_secs_f64() * f64::from(plan.rate)) as u64;
    let mut invokes = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let body = json!({"to": {"topic": TOPIC}, "data": number}).to_string();
        if number % 2 == 0 {
            stack.send("NotificationQueue", &body).await;
        } else {
            // One that is killed has said nothing, or everything; the caller cannot know.
            let invoking = stack.invoking("notifier", &body);
            invokes.push(tokio::spawn(async move { drop(invoking.await) }));
        }
    }
    for invoke in invokes {
        let _ = invoke.await;
    }
    count
}

/// Kills processes of the notifier for as long as it is asked to.
async fn kill(stack: &Stack, plan: &Plan, kills: &mut usize) {
    let Some(every) = plan.kill_every else { return std::future::pending().await };
    let table = format!("AWS_ENDPOINT_URL_DYNAMODB={}", stack.dynamodb());
    loop {
        sleep(every).await;
        // Nobody else has this variable.
        *kills += kill_one(&[&table, "FAN_OUT_CONCURRENCY="], &mut Rng::new());
    }
}

async fn end_of_log(stack: &Stack) -> u64 {
    let rows = stack.rows().await;
    let log = rows.iter().filter(|row| row["pk"].as_s().unwrap().starts_with("log#"));
    log.map(|row| row["sk"].as_s().unwrap().parse().unwrap()).max().unwrap_or_default()
}

/// How the members of a crowd fared, of whom one does not read.
#[derive(Debug)]
pub struct Held {
    /// The longest times in which none of the others got anything while messages were said, the longest first.
    pub pauses: Vec<Duration>,
    /// What should not have been, a line each.
    pub failures: Vec<String>,
}

/// Says 20 messages a second to `members` clients, of whom one does not read.
///
/// # Panics
/// When the stack does not start, or not all have everything in time.
pub async fn one_that_does_not_read(members: usize, time: Duration, flags: &[&str]) -> Held {
    let crowd = Crowd::gather_with(members, crowd::Faults::default(), &[ORDERED], flags).await;
    crowd.standin.add(&crowd::member(7), Behaviour::Answers(429, u32::MAX));
    let mut pauses = Vec::new();
    tokio::select! {
        () = say_to(&crowd, time) => {}
        () = watch(&crowd, &mut pauses) => {}
    }
    pauses.sort_by(|one, other| other.cmp(one));
    let failures = whole(&crowd, &[7]).await;
    crowd.stack.stop().await;
    Held { pauses, failures }
}

/// Notes for how long nobody gets anything, each time.
async fn watch(crowd: &Crowd, pauses: &mut Vec<Duration>) {
    let (mut last, mut count) = (Instant::now(), 0);
    loop {
        sleep(Duration::from_millis(20)).await;
        let now: usize = crowd.standin.live_counts().iter().sum();
        if now > count {
            pauses.push(last.elapsed());
            (last, count) = (Instant::now(), now);
        }
    }
}

/// Says 20 messages a second while the whole account is refused for `lasts`; what should not have been.
///
/// # Panics
/// When the stack does not start, or not all have everything in time.
pub async fn refused(members: usize, lasts: Duration, flags: &[&str]) -> Vec<String> {
    let crowd = Crowd::gather_with(members, crowd::Faults::default(), &[ORDERED], flags).await;
    crowd.standin.fail(Outage { after: 200, lasts, status: 429, share: 1.0 });
    say_to(&crowd, lasts + Duration::from_secs(10)).await;
    let failures = whole(&crowd, &[]).await;
    crowd.stack.stop().await;
    failures
}

async fn say_to(crowd: &Crowd, time: Duration) {
    let begin = Instant::now();
    let mut ticks = interval(Duration::from_millis(50));
    let mut number = 0;
    while begin.elapsed() < time {
        ticks.tick().await;
        let body = json!({"to": {"topic": crowd::TOPIC}, "data": number}).to_string();
        crowd.stack.send("NotificationQueue", &body).await;
        number += 1;
    }
}

/// Waits until everybody but those has everything; what was not in order or who was closed.
async fn whole(crowd: &Crowd, but: &[usize]) -> Vec<String> {
    let others = || crowd.offsets().into_iter().enumerate().filter(|(number, _)| !but.contains(number));
    eventually("everything for everybody", PATIENCE, async || {
        let is_quiet = crowd.stack.waiting("NotificationQueue").await == 0;
        let end = end_of_log(&crowd.stack).await;
        (is_quiet && others().all(|(_, offsets)| offsets.last() == Some(&end))).then_some(())
    })
    .await;
    let mut failures = Vec::new();
    for (number, offsets) in others() {
        if let Some((last, offset)) = disorder(&offsets) {
            failures.push(format!("member {number}: {offset} came behind {last}"));
        }
        if crowd.standin.used(&crowd::member(number)).is_closed {
            failures.push(format!("member {number} was closed"));
        }
    }
    failures
}

/// The first message that is beyond the next one of who drops what it has; these clients do.
fn disorder(offsets: &[u64]) -> Option<(u64, u64)> {
    let mut last = 0;
    offsets.iter().find_map(|offset| {
        let before = last;
        last = last.max(*offset);
        (*offset > before + 1).then_some((before, *offset))
    })
}
