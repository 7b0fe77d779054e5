//! Notifications for one user each: put on the queue at once, how many a second the template's default concurrency delivers.
//!
//! Nobody has AWS's round trips on one machine, so the stand-ins answer as late as DynamoDB and API Gateway do.

use std::cell::Cell;
use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::try_join_all;
use serde_json::{Value, json};
use tidings::history::DEFAULT;

use crate::Result;
use crate::audience::Audience;
use crate::host::Function;
use crate::notifier::{NOTIFICATION_QUEUE, environment};
use crate::setup::Setup;
use crate::sockets::Sockets;
use crate::stats::Samples;
use crate::table::{Aim, Line};

/// What the template sets where nobody chooses; the last two are what older notifiers read instead.
const DEFAULTS: [(&str, &str); 4] = [
    ("FAN_OUT_CONCURRENCY", "4"),
    ("NOTIFY_CONCURRENCY", "4"),
    ("NOTIFICATION_CONCURRENCY", "4"),
    ("MAX_IN_FLIGHT", "256"),
];
const WITHOUT_LOGS: &str = "[]";
const PUSHES_PER_SECOND: u64 = 8_000;
/// Environments that work on the notification queue: `NotifyConcurrency`.
const ENVIRONMENTS: usize = 4;
/// Messages that the event source mapping gives at once: its `BatchSize`.
const BATCH: u64 = 10;
/// The notifier's timeout in the template.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How far away the table and the sockets are.
const TABLE: Duration = Duration::from_millis(5);
const SOCKETS: Duration = Duration::from_millis(20);

/// Notifications on the queue in one turn, and how many turns each contender has.
const NOTIFICATIONS: u64 = 2_000;
const TURNS: usize = 5;
/// Before anything is counted: connections open, code is loaded.
const WARM_UP: u64 = 200;

/// Four environments of one notifier, with AWS of their own.
struct Contender {
    environments: Vec<Function>,
    audience: Audience,
    sockets: Sockets,
    /// Notifications so far: each has an id and a user of its own.
    sent: u64,
    costs: Costs,
}

/// What its turns came to.
#[derive(Default)]
struct Costs {
    per_second: Samples,
    /// Milliseconds of processor time for each notification.
    cpu: Samples,
    /// Writes of the rate limit's row for each batch.
    writes: Samples,
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let (turns, count) = (setup.rounds(TURNS), setup.size(NOTIFICATIONS));
    let command = setup.command("notifier")?;
    let mut ours = Contender::start(setup, &command, WITHOUT_LOGS).await?;
    let mut logged = Contender::start(setup, &command, DEFAULT).await?;
    let mut base = match &setup.baseline {
        Some(baseline) => Some(Contender::start(setup, &[baseline.program("notifier").into()], WITHOUT_LOGS).await?),
        None => None,
    };
    for contender in [Some(&mut ours), Some(&mut logged), base.as_mut()].into_iter().flatten() {
        contender.turn(setup.size(WARM_UP)).await?;
        contender.costs = Costs::default();
    }
    for _ in 0..turns {
        for contender in [Some(&mut ours), Some(&mut logged), base.as_mut()].into_iter().flatten() {
            contender.turn(count).await?;
        }
    }
    let name = setup.baseline.as_ref().map(|baseline| format!("commit {}", baseline.commit()));
    let mut lines = lines(&ours.costs, name.as_deref().zip(base.as_ref().map(|base| &base.costs)));
    lines.extend(with_logs(&logged.costs, &ours.costs));
    Ok(lines)
}

impl Contender {
    async fn start(setup: &Setup, command: &[OsString], history: &str) -> Result<Self> {
        let audience = Audience::far_away(u64::from(u32::MAX), None, TABLE).await?;
        let sockets = Sockets::far_away(None, None, SOCKETS).await?;
        let more = [&DEFAULTS[..], &[("HISTORY", history)]].concat();
        let environment = environment(&audience, &sockets, PUSHES_PER_SECOND, &more);
        let mut environments = Vec::new();
        for _ in 0..ENVIRONMENTS {
            let mut function = Function::start(command, &environment, &setup.log("notifications")).await?;
            function.initialised().await?;
            environments.push(function);
        }
        Ok(Self { environments, audience, sockets, sent: 0, costs: Costs::default() })
    }

    /// Puts so many notifications on the queue, and takes them from it as fast as the environments answer.
    async fn turn(&mut self, count: u64) -> Result<()> {
        self.sockets.reset();
        self.audience.take_rate_writes();
        let cpu = self.cpu();
        let begin = Instant::now();
        let (next, last) = (Cell::new(self.sent), self.sent + count);
        let batches = Cell::new(0_u64);
        try_join_all(self.environments.iter_mut().map(async |environment| {
            while next.get() < last {
                let first = next.get();
                next.set(last.min(first + BATCH));
                batches.set(batches.get() + 1);
                serve(environment, first..next.get()).await?;
            }
            Result::Ok(())
        }))
        .await?;
        let took = begin.elapsed();
        let seen = self.sockets.reset();
        if (seen.taken, seen.throttled) != (count, 0) {
            return Err(format!("of {count} notifications {} were pushed", seen.taken).into());
        }
        self.sent = last;
        self.costs.per_second.push(count as f64 / took.as_secs_f64());
        self.costs.cpu.push((self.cpu() - cpu).as_secs_f64() * 1e3 / count as f64);
        self.costs.writes.push(self.audience.take_rate_writes() as f64 / batches.get() as f64);
        Ok(())
    }

    fn cpu(&self) -> Duration {
        self.environments.iter().map(|environment| environment.program.cpu()).sum()
    }
}

/// One batch; none of its records may fail.
async fn serve(environment: &mut Function, numbers: std::ops::Range<u64>) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let records: Vec<_> = numbers.map(|number| record(number, now)).collect();
    let (answer, _) = environment.invoke(json!({"Records": records}).to_string(), TIMEOUT).await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    match answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty) {
        true => Ok(()),
        false => Err(format!("not every record of a batch was served: {answer}").into()),
    }
}

/// A message of the notification queue, as Lambda gives it to the notifier.
fn record(number: u64, now: u128) -> Value {
    let body = json!({"to": {"user": number.to_string()}, "data": {"status": "shipped", "order": number}});
    json!({
        "messageId": format!("19dd0b57-b21e-4ac1-bd88-{number:012x}"),
        "receiptHandle": "MessageReceiptHandle",
        "body": body.to_string(),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": now.to_string(),
            "SenderId": "123456789012",
            "ApproximateFirstReceiveTimestamp": now.to_string(),
        },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:{NOTIFICATION_QUEUE}"),
        "awsRegion": "us-east-1",
    })
}

/// The same where each user has a log, as the template's default says.
fn with_logs(logged: &Costs, without: &Costs) -> [Line; 2] {
    let line = |figure: &str, unit, of: fn(&Costs) -> &Samples| {
        Line::of_turns(figure, unit, of(logged), "`History=[]`", of(without))
    };
    [
        line("the same with the default `History`, a second", "", |costs| &costs.per_second)
            .aim(Aim::RatioAtLeast(0.75)),
        line("processor time of one with the default `History`", "ms", |costs| &costs.cpu),
    ]
}

fn lines(ours: &Costs, base: Option<(&str, &Costs)>) -> Vec<Line> {
    let line = |figure: &str, unit, of: fn(&Costs) -> &Samples| match base {
        Some((name, base)) => Line::of_turns(figure, unit, of(ours), name, of(base)),
        None => Line::new(figure, of(ours).median(), unit),
    };
    let speed = line("notifications for one user each, from the queue, a second", "", |costs| &costs.per_second);
    vec![
        if base.is_some() { speed.aim(Aim::RatioAtLeast(2.5)) } else { speed },
        line("processor time of such a notification", "ms", |costs| &costs.cpu),
        // Of the worst turn, for it is a bound.
        Line::new("writes of the rate limit's row for each batch of ten", ours.writes.part(1.0), "")
            .aim(Aim::AtMost(1.0)),
    ]
}
