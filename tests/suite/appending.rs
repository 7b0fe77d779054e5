//! Everything at once: whoever appends, subscribes, dies or comes again, nobody misses a message, and no log has a hole or a
//! double, on every engine. `TIDINGS_OPERATIONS=10000 cargo test --workspace --test suite -- appending` is the whole of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::standin::{Behaviour, Standin};
use tests::{now, queues};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Queues, Segment};
use tidings::history::History;
use tidings::log::{LogName, LogPosition, MOST_OFFSET, Since};
use tidings::notification::{Defaults, Notification};
use tidings::recovery::Reading;
use tidings::registry::{Connection, Registry};
use tidings::{NotificationId, Topic};

use crate::fanout::invocation;
use crate::registry::{connection, made_at, on_both_engines};

/// Operations of one run; `TIDINGS_OPERATIONS=10000` for the whole.
const OPERATIONS: usize = 1_500;
/// The same on DynamoDB Local, which is slow.
const OPERATIONS_ON_DYNAMODB_LOCAL: usize = 300;
const SIDE_BY_SIDE: usize = 24;
const TOPICS: usize = 40;
/// A whole operation takes several times as long.
const LONGEST_LIFE: Duration = Duration::from_millis(12);

/// Shares of calls that are refused, and that are done and not answered.
const FAULTS: (f64, f64) = (0.05, 0.02);

const UNORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600}]"#;
const ORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600,"ordered":true}]"#;

/// The world that operations act in.
struct World {
    /// Through what fails.
    registry: Registry,
    fan_out: FanOut,
    standin: Standin,
    history: History,
    operations: usize,
}

/// What a subscriber was told when it came: the messages of its reply, and the log's end then.
struct Subscriber {
    connection: Connection,
    topic: Topic,
    replied: Vec<u64>,
    end: u64,
}

fn topic(number: usize) -> Topic {
    Topic::parse(format!("t{}", number % TOPICS)).unwrap()
}

fn segment(number: usize) -> Segment {
    let defaults = Defaults { id: NotificationId::parse(format!("n{number}")).unwrap(), at: now() };
    let text = format!(r#"{{"to":{{"topic":"{}"}},"data":{number}}}"#, topic(number));
    Segment::whole(Notification::parse(&text, &defaults).unwrap(), "sqs-1")
}

impl World {
    async fn new(table: &Table, rules: &str, (refused, lost): (f64, f64)) -> Self {
        let registry = Registry::new(table.client_through(Faulty::client(http(), refused, lost)), &table.name);
        let standin = Standin::start().await;
        let limits = Limits { pushes_per_second: 1_000_000.0, workers: 1 };
        let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry.clone(), limits, Clock::System);
        let nowhere = queues::nowhere;
        let queues = Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters: nowhere() };
        let history = History::parse(rules).unwrap();
        let fan_out = FanOut::new(delivery, queues).with_history(history.clone());
        Self { registry, fan_out, standin, history, operations: operations(table.engine) }
    }

    /// Takes a notification up once; whether it is done. One that dies ends between two of its calls.
    async fn take_up(&self, number: usize, attempt: usize, may_die: bool) -> bool {
        let invocation = invocation(&format!("w{number}-{attempt}"), Duration::from_secs(2));
        let (segment, life) = (segment(number), LONGEST_LIFE.mul_f64(fastrand::f64()));
        let taken = self.fan_out.take_up(&segment, &invocation);
        match may_die && fastrand::f64() < 0.2 {
            true => tokio::time::timeout(life, taken).await.is_ok_and(|taken| taken.is_ok()),
            false => taken.await.is_ok(),
        }
    }

    /// As a queue does: perhaps twice at once, and again until it is done.
    async fn deliver(&self, number: usize) {
        let twice = fastrand::f64() < 0.2;
        let copy = async { twice && self.take_up(number, 100, true).await };
        let (mut done, _) = tokio::join!(self.take_up(number, 0, true), copy);
        for attempt in 1.. {
            if done {
                return;
            }
            assert!(attempt < 200, "n{number} is never done");
            tokio::time::sleep(Duration::from_millis(50)).await;
            done = self.take_up(number, attempt, attempt < 3).await;
        }
    }

    /// A client that connects, subscribes and asks for everything from the beginning.
    async fn subscribe(&self, number: usize) -> Option<Subscriber> {
        let (topic, connection) =
            (topic(number), made_at(now() - 3_600_000, connection(&format!("c{number}"), None, &[])));
        self.standin.add(connection.id.as_str(), Behaviour::Takes);
        self.registry.connect(&connection).await.ok()?;
        self.registry.subscribe(&connection.id, std::slice::from_ref(&topic)).await.ok()?;
        let (log, retention) = (LogName::Topic(topic.clone()), self.history.of_topic(&topic)?);
        let reading = Reading { log: &log, retention, connection: Some(&connection.id), now: now() };
        let position = self.registry.end_of_log(&reading).await.ok()?;
        let since = Since { position: LogPosition { offset: 0, ..position }, connection: None };
        let mut room = usize::MAX;
        let told = self.registry.missed(&reading, &since, &mut room).await.ok()?;
        assert_eq!(told.recovered, Some(true));
        let replied = told.messages.iter().map(|message| message.log.as_ref().unwrap().position.offset).collect();
        Some(Subscriber { connection, topic, replied, end: told.position.offset })
    }
}

fn operations(engine: Engine) -> usize {
    let few = match engine {
        Engine::Embedded => OPERATIONS,
        Engine::DynamoDbLocal => OPERATIONS_ON_DYNAMODB_LOCAL,
    };
    std::env::var("TIDINGS_OPERATIONS").map_or(few, |text| text.parse().unwrap())
}

/// Runs random operations side by side, then lets everything settle; the subscribers.
async fn run(world: &Arc<World>) -> Vec<Subscriber> {
    let work = stream::iter(0..world.operations).map(|number| {
        let world = Arc::clone(world);
        async move {
            match number % 5 {
                0 => world.subscribe(number).await,
                _ => {
                    world.deliver(number).await;
                    None
                }
            }
        }
    });
    let subscribers = work.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    // A worker that died may have left a lane held, for as long as its lease.
    tokio::time::sleep(Duration::from_secs(11)).await;
    for number in world.operations..world.operations + TOPICS {
        world.deliver(number).await;
    }
    subscribers
}

/// The offsets of each topic's log, and which notification stands there.
async fn logs(world: &World, table: &Table) -> BTreeMap<Topic, Vec<String>> {
    let registry = Registry::new(table.client(), &table.name);
    let mut logs = BTreeMap::new();
    for topic in (0..TOPICS).map(topic) {
        let log = LogName::Topic(topic.clone());
        let head = registry.head(&log).await.unwrap().unwrap();
        let (mut after, mut ids) = (0, Vec::new());
        loop {
            let read = registry.entries(&log, &head.epoch, (after, MOST_OFFSET), false, 500).await.unwrap();
            for entry in &read.entries {
                assert_eq!(entry.offset, ids.len() as u64 + 1, "a hole in the log of {topic}");
                let said: serde_json::Value = serde_json::from_str(&entry.notification).unwrap();
                ids.push(said["id"].as_str().unwrap().to_owned());
            }
            after = ids.len() as u64;
            if !read.goes_on {
                break;
            }
        }
        assert!(world.history.of_topic(&topic).is_some());
        logs.insert(topic, ids);
    }
    logs
}

async fn check(world: &World, table: &Table, subscribers: &[Subscriber]) {
    let logs = logs(world, table).await;
    for (topic, ids) in &logs {
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), ids.len(), "something was appended twice to {topic}");
    }
    let said: usize = logs.values().map(Vec::len).sum();
    assert_eq!(said, world.operations / 5 * 4 + TOPICS, "everything that was said is in a log");
    assert!(subscribers.len() > world.operations / 10, "{} subscribers", subscribers.len());
    for subscriber in subscribers {
        let pushed = world.standin.used(subscriber.connection.id.as_str()).messages;
        let offset =
            |bytes: &bytes::Bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["offset"].as_u64();
        let pushed: Vec<u64> = pushed.iter().filter_map(offset).collect();
        let has = |offset: &u64| subscriber.replied.contains(offset) || pushed.contains(offset);
        let all = 1..=logs[&subscriber.topic].len() as u64;
        let missing: Vec<_> = all.filter(|offset| !has(offset)).collect();
        let (id, end) = (&subscriber.connection.id, subscriber.end);
        assert!(missing.is_empty(), "{id} in {} at {end} misses {missing:?}, pushed {pushed:?}", subscriber.topic);
        assert!(subscriber.replied.iter().all(|offset| *offset <= end));
    }
}

async fn all_interleavings(table: &Table, rules: &str) {
    let world = Arc::new(World::new(table, rules, FAULTS).await);
    let subscribers = run(&world).await;
    check(&world, table, &subscribers).await;
}

on_both_engines!(
    random_interleavings_of_appenders_and_subscribers_leave_no_hole_no_double_and_nobody_out,
    random_interleavings_with_lanes_leave_nobody_out_either,
);

async fn random_interleavings_of_appenders_and_subscribers_leave_no_hole_no_double_and_nobody_out(table: Table) {
    all_interleavings(&table, UNORDERED).await;
}

async fn random_interleavings_with_lanes_leave_nobody_out_either(table: Table) {
    all_interleavings(&table, ORDERED).await;
}
