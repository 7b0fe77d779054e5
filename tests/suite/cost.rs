//! What Tidings costs: the tables of `docs/deploy.md`, computed from list prices and from what operations really consume.
//!
//! When a table is not what comes out here, the test prints the one that should be there.

use std::fmt::Write as _;
use std::ops::{Add, Mul};
use std::time::Duration;

use tests::engine::Engine;
use tests::now;
use tests::stack::root;
use tidings::NotificationId;
use tidings::history::History;
use tidings::log::{LogName, LogPosition, Since};
use tidings::notification::{Defaults, Notification};
use tidings::recovery::Reading;
use tidings::registry::Consumed;

use crate::fanout::{invocation, segment, workshop};
use crate::order::consumed;
use crate::registry::{connection, registry, topic};

/// List prices of us-east-1 in dollars, first tier, without free tiers. `docs/deploy.md` says where they are from.
mod prices {
    pub(super) const MESSAGE: f64 = 1.00e-6;
    pub(super) const CONNECTION_MINUTE: f64 = 0.25e-6;
    pub(super) const INVOCATION: f64 = 0.20e-6;
    /// On arm64.
    pub(super) const GB_SECOND: f64 = 13.3334e-6;
    pub(super) const WRITE_UNIT: f64 = 0.625e-6;
    pub(super) const READ_UNIT: f64 = 0.125e-6;
    pub(super) const QUEUE_REQUEST: f64 = 0.40e-6;
    pub(super) const LOG_GB: f64 = 0.50;
    pub(super) const TRANSFER_GB: f64 = 0.09;
}

/// What is assumed, and said in the docs.
mod assumed {
    pub(super) const MINUTES_A_MONTH: f64 = 30.0 * 24.0 * 60.0;
    /// API Gateway's longest connection.
    pub(super) const CONNECTION_MINUTES: f64 = 120.0;
    /// Authorizer, $connect, one subscribe, $disconnect.
    pub(super) const INVOCATIONS_A_CONNECTION: f64 = 4.0;
    pub(super) const SMALL_FUNCTION_GB: f64 = 256.0 / 1_024.0;
    pub(super) const SMALL_FUNCTION_SECONDS: f64 = 0.020;
    pub(super) const NOTIFIER_GB: f64 = 1_769.0 / 1_024.0;
    /// One message to one connection, with its reads and writes.
    pub(super) const NOTIFIER_SECONDS: f64 = 0.050;
    /// 8,000 pushes a second shared by the four workers of a broadcast.
    pub(super) const PUSHES_A_SECOND: f64 = 2_000.0;
    /// Members that one invocation of a broadcast takes (docs/scale.md).
    pub(super) const MEMBERS_A_SEGMENT: f64 = 7_700.0;
    pub(super) const LOG_KB: f64 = 1.5;
    pub(super) const MESSAGE_KB: f64 = 1.0;
}

/// Rules with a log for each topic.
const UNORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":300}]"#;
const ORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":300,"ordered":true}]"#;

const KB_A_GB: f64 = 1_000_000.0;
const MILLION: f64 = 1_000_000.0;

/// Dollars by what they are for.
#[derive(Debug, Clone, Copy, Default)]
struct Bill {
    api_gateway: f64,
    lambda: f64,
    dynamodb: f64,
    sqs: f64,
    logs: f64,
    transfer: f64,
}

impl Bill {
    fn total(self) -> f64 {
        self.api_gateway + self.lambda + self.dynamodb + self.sqs + self.logs + self.transfer
    }
}

impl Add for Bill {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            api_gateway: self.api_gateway + other.api_gateway,
            lambda: self.lambda + other.lambda,
            dynamodb: self.dynamodb + other.dynamodb,
            sqs: self.sqs + other.sqs,
            logs: self.logs + other.logs,
            transfer: self.transfer + other.transfer,
        }
    }
}

impl Mul<f64> for Bill {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        Self {
            api_gateway: self.api_gateway * times,
            lambda: self.lambda * times,
            dynamodb: self.dynamodb * times,
            sqs: self.sqs * times,
            logs: self.logs * times,
            transfer: self.transfer * times,
        }
    }
}

fn messages(count: f64) -> Bill {
    Bill { api_gateway: count * prices::MESSAGE, ..Bill::default() }
}

fn compute(gigabytes: f64, seconds: f64) -> Bill {
    let lambda = prices::INVOCATION + gigabytes * seconds * prices::GB_SECOND;
    Bill { lambda, logs: assumed::LOG_KB / KB_A_GB * prices::LOG_GB, ..Bill::default() }
}

fn small_compute() -> Bill {
    compute(assumed::SMALL_FUNCTION_GB, assumed::SMALL_FUNCTION_SECONDS)
}

fn units(consumed: Consumed) -> Bill {
    let dynamodb = consumed.read * prices::READ_UNIT + consumed.write * prices::WRITE_UNIT;
    Bill { dynamodb, ..Bill::default() }
}

fn queue_requests(count: f64) -> Bill {
    Bill { sqs: count * prices::QUEUE_REQUEST, ..Bill::default() }
}

/// What operations consume, measured.
struct Measured {
    /// Connect, subscribe to one topic, disconnect.
    connection: Consumed,
    /// A notification from a queue for one connection.
    single: Consumed,
    /// A notification for a thousand connections.
    thousand: Consumed,
    /// What logs add, and to what.
    logs: Vec<(&'static str, Consumed)>,
}

async fn measure() -> Measured {
    let table = Engine::Embedded.table().await.unwrap();
    let (registry, connected) = (registry(&table), connection("BFHPhfCWIAMCKlQ=", Some("alice"), &[]));
    registry.connect(&connected).await.unwrap();
    registry.subscribe(&connected.id, &[topic("orders/42")]).await.unwrap();
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    Measured {
        connection: registry.consumed(),
        single: delivery_to(1).await,
        thousand: delivery_to(1_000).await,
        logs: logs().await,
    }
}

async fn logs() -> Vec<(&'static str, Consumed)> {
    let [direct, queued] = consumed("[]").await;
    let [logged, logged_queued] = consumed(UNORDERED).await;
    let [ordered, ordered_queued] = consumed(ORDERED).await;
    let (subscribe, recovery) = recovery().await;
    vec![
        ("to a message of a queue", logged_queued - queued),
        ("to a message of a direct invoke", logged - direct),
        ("to a message of a queue, in an ordered topic", ordered_queued - queued),
        ("to a message of a direct invoke, in an ordered topic", ordered - direct),
        ("to a subscribe", subscribe),
        ("to a subscribe that recovers 20 messages of 1 KB", recovery),
    ]
}

/// What a subscriber reads of a log of twenty messages, who has missed none, and who has missed all.
async fn recovery() -> (Consumed, Consumed) {
    let history = History::parse(UNORDERED).unwrap();
    let fan_out = workshop(1).await.fan_out.with_history(history.clone());
    for number in 0..20 {
        let defaults = Defaults { id: NotificationId::parse(format!("cost-{number}")).unwrap(), at: now() };
        // With what is around it, 1 KB.
        let text = format!(r#"{{"to":{{"topic":"t"}},"data":"{}"}}"#, "x".repeat(800));
        let said = Notification::parse(&text, &defaults).unwrap();
        fan_out.direct(said, &invocation("cost", Duration::from_secs(20))).await.unwrap();
    }
    let (registry, log) = (fan_out.delivery().registry(), LogName::Topic(topic("t")));
    let reading =
        Reading { log: &log, retention: history.of_topic(&topic("t")).unwrap(), connection: None, now: now() };
    let before = registry.consumed();
    let end = registry.end_of_log(&reading).await.unwrap();
    let between = registry.consumed();
    let since = Since { position: LogPosition { offset: 0, ..end }, connection: None };
    let told = registry.missed(&reading, &since, &mut usize::MAX.clone()).await.unwrap();
    assert_eq!(told.messages.len(), 20);
    (between - before, registry.consumed() - between)
}

async fn delivery_to(members: usize) -> Consumed {
    let fan_out = workshop(members).await.fan_out;
    let before = fan_out.delivery().registry().consumed();
    let report = fan_out.work(&segment("n"), &invocation("cost", Duration::from_secs(20))).await.unwrap();
    assert_eq!(report.delivered, members as u64, "{report:?}");
    fan_out.delivery().registry().consumed() - before
}

/// A month of one connection that is always there, pinging at this interval in seconds.
struct Held {
    minutes: Bill,
    pings: Bill,
    renewals: Bill,
}

fn held(measured: &Measured, interval: f64, is_answered_by_function: bool) -> Held {
    use assumed::{CONNECTION_MINUTES, INVOCATIONS_A_CONNECTION, MINUTES_A_MONTH};
    let pings = MINUTES_A_MONTH * 60.0 / interval;
    let answer = if is_answered_by_function { small_compute() } else { Bill::default() };
    // A subscribe and its ack.
    let renewal = small_compute() * INVOCATIONS_A_CONNECTION + units(measured.connection) + messages(2.0);
    Held {
        minutes: Bill { api_gateway: MINUTES_A_MONTH * prices::CONNECTION_MINUTE, ..Bill::default() },
        pings: (messages(2.0) + answer) * pings,
        renewals: renewal * (MINUTES_A_MONTH / CONNECTION_MINUTES),
    }
}

fn delivered() -> Bill {
    messages(1.0) + Bill { transfer: assumed::MESSAGE_KB / KB_A_GB * prices::TRANSFER_GB, ..Bill::default() }
}

/// One delivery of a broadcast to many.
fn broadcast(measured: &Measured) -> Bill {
    let seconds = 1.0 / assumed::PUSHES_A_SECOND;
    let push = Bill { lambda: assumed::NOTIFIER_GB * seconds * prices::GB_SECOND, ..Bill::default() };
    let segment = compute(0.0, 0.0) + queue_requests(3.0);
    delivered() + push + units(measured.thousand) * 0.001 + segment * (1.0 / assumed::MEMBERS_A_SEGMENT)
}

/// A notification for one connection: sent to the queue, received, deleted.
fn queued(measured: &Measured) -> Bill {
    let work = compute(assumed::NOTIFIER_GB, assumed::NOTIFIER_SECONDS) + units(measured.single);
    delivered() + work + queue_requests(3.0)
}

/// The same by a direct invoke, which writes no rows.
fn invoked(measured: &Measured) -> Bill {
    let read = units(Consumed { write: 0.0, ..measured.single });
    delivered() + compute(assumed::NOTIFIER_GB, assumed::NOTIFIER_SECONDS) + read
}

fn holding(measured: &Measured) -> String {
    let mut table =
        "| connections | connection minutes | a ping every 5 minutes | connecting anew every 2 hours | a month |\n\
                     | ---: | ---: | ---: | ---: | ---: |\n"
            .to_owned();
    for (name, count) in [("1,000", 1e3), ("10,000", 1e4), ("100,000", 1e5)] {
        let Held { minutes, pings, renewals } = held(measured, 300.0, false);
        let cells = [minutes, pings, renewals, minutes + pings + renewals].map(|part| dollars(part.total() * count));
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    }
    table
}

fn pinging(measured: &Measured) -> String {
    let mut table = "| a ping every | without `id` | with `id` | times the connection itself |\n\
                     | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (name, interval) in [("20 s", 20.0), ("1 min", 60.0), ("5 min", 300.0), ("9 min", 540.0)] {
        let (plain, answered) = (held(measured, interval, false), held(measured, interval, true));
        let times = plain.pings.total() / plain.minutes.total();
        let cells = [plain, answered].map(|held| dollars(held.pings.total() * 1e3));
        let _ = writeln!(table, "| {name} | {} | {times:.1} |", cells.join(" | "));
    }
    table
}

fn delivering(measured: &Measured) -> String {
    let mut table = "| a million deliveries as | API Gateway | Lambda | DynamoDB | SQS | logs | transfer | all |\n\
                     | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (name, one) in [
        ("broadcasts to 1,000 or more", broadcast(measured)),
        ("notifications to one connection, by queue", queued(measured)),
        ("notifications to one connection, by invoke", invoked(measured)),
    ] {
        let Bill { api_gateway, lambda, dynamodb, sqs, logs, transfer } = one * MILLION;
        let cells = [api_gateway, lambda, dynamodb, sqs, logs, transfer, one.total() * MILLION].map(dollars);
        let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
    }
    table
}

fn logging(measured: &Measured) -> String {
    let mut table =
        "| what a log adds | read units | write units | for a million |\n| --- | ---: | ---: | ---: |\n".to_owned();
    for (name, consumed) in &measured.logs {
        let price = dollars(units(*consumed).total() * MILLION);
        let _ = writeln!(table, "| {name} | {} | {} | {price} |", consumed.read, consumed.write);
    }
    table
}

fn dollars(amount: f64) -> String {
    let cents = format!("{amount:.2}");
    let (whole, rest) = cents.split_once('.').unwrap();
    let digits = whole.chars().rev().collect::<Vec<_>>();
    let groups: Vec<String> = digits.chunks(3).map(|group| group.iter().collect()).collect();
    format!("${}.{rest}", groups.join(",").chars().rev().collect::<String>())
}

/// Whether two cells say the same; where saving progress falls costs a thousandth of a write more or less.
fn agree(one: &str, other: &str) -> bool {
    let amount = |cell: &str| cell.trim().strip_prefix('$')?.replace(',', "").parse::<f64>().ok();
    match (amount(one), amount(other)) {
        (Some(one), Some(other)) => (one - other).abs() <= 0.011,
        _ => one == other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_of_the_guide_are_what_comes_out() {
    let guide = std::fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let measured = measure().await;
    let tables = [holding(&measured), pinging(&measured), delivering(&measured), logging(&measured)];
    let wrong: Vec<_> = tables.into_iter().filter(|table| !is_there(table, &guide)).collect();
    assert!(wrong.is_empty(), "docs/deploy.md should have these tables:\n\n{}", wrong.join("\n"));
}

fn is_there(table: &str, guide: &str) -> bool {
    let head = table.lines().next().unwrap();
    let Some(start) = guide.find(head) else { return false };
    let mut there = guide[start..].lines();
    table.lines().all(|line| {
        let (line, there): (Vec<_>, Vec<_>) = (line.split('|').collect(), there.next().unwrap().split('|').collect());
        line.len() == there.len() && line.iter().zip(&there).all(|(one, other)| agree(one, other))
    })
}

#[test]
fn a_wrong_amount_is_found() {
    assert!(agree(" $1,080.00 ", " $1,080.01 ") && agree(" x ", " x "));
    assert!(!agree(" $1,080.00 ", " $1,080.10 ") && !agree(" $1.00 ", " 1.00 ") && !agree(" x ", " y "));
    assert_eq!((dollars(0.0), dollars(1_234_567.891)), ("$0.00".to_owned(), "$1,234,567.89".to_owned()));
}
