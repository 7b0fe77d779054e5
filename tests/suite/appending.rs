//! Everything at once: whoever appends, subscribes, dies or comes again, nobody misses a message, and no log has a hole or a
//! double, on every engine. `docs/races.md` has the whole of it, and what makes it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::races::{self, Race};
use tests::standin::{Behaviour, Standin};
use tests::{now, queues};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Invocation, Queues, Segment};
use tidings::history::History;
use tidings::log::{LogName, LogPosition, MOST_OFFSET, Since};
use tidings::notification::{Defaults, Notification};
use tidings::recovery::Reading;
use tidings::registry::{Connection, Registry};
use tidings::{NotificationId, Topic};

use crate::fanout::invocation;
use crate::registry::{connection, made_at, on_both_engines};

/// Operations of one run; `TIDINGS_OPERATIONS` for more.
const OPERATIONS: usize = 200;
/// The same on DynamoDB Local, which is slow.
const OPERATIONS_ON_DYNAMODB_LOCAL: usize = 100;
const SIDE_BY_SIDE: usize = 24;
/// Topics in which something is done at a time.
const TOPICS: usize = 4;
/// Operations of one topic. It is over then, so that there are many last messages.
const OF_A_TOPIC: usize = 10;

/// Shares of calls that are refused, and that are done and not answered.
const FAULTS: (f64, f64) = (0.05, 0.02);
/// Of workers and readers, the share that dies before it is through.
const DYING: f64 = 0.2;

const UNORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600}]"#;
const ORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600,"ordered":true}]"#;

/// Calls at which appenders die, and readers.
const STEPS: [&str; 8] = [
    "GetItem head",
    "PutItem head",
    "UpdateItem work",
    "Query log",
    "PutItem log",
    "UpdateItem head",
    "Query topic",
    "UpdateItem topic",
];
/// And those who push what an ordered topic's log has.
const STEPS_OF_LANES: [&str; 2] = ["GetItem lane", "UpdateItem lane"];

/// The world that operations act in.
struct World {
    /// Through what fails.
    registry: Registry,
    fan_out: FanOut,
    standin: Standin,
    history: History,
    is_ordered: bool,
    race: Race,
}

/// What a subscriber was told when it came: the messages of its reply, and the log's end then.
struct Subscriber {
    connection: Connection,
    topic: Topic,
    replied: Vec<(u64, String)>,
    end: u64,
}

/// What an operation comes to.
enum Done {
    /// Said for certain: it is in the log, and whoever is there was told.
    Said(String),
    /// Whoever said it has died, or failed, and nothing comes again.
    Perhaps,
    Subscribed(Box<Subscriber>),
    /// A client that was refused.
    Nothing,
}

fn topic(number: usize) -> Topic {
    let block = number / (TOPICS * OF_A_TOPIC);
    Topic::parse(format!("t{}", block * TOPICS + number % TOPICS)).unwrap()
}

/// Whether it is the last operation of its topic.
fn is_last(number: usize) -> bool {
    number % (TOPICS * OF_A_TOPIC) >= TOPICS * (OF_A_TOPIC - 1)
}

/// A worker that has time enough, however busy the machine is: nobody serves what it would hand on. What it holds is another's
/// soon, should it die.
fn patient(owner: &str) -> Invocation {
    Invocation { lease_until: now() + 3_000, ..invocation(owner, Duration::from_secs(120)) }
}

fn notification(number: usize, id: &str) -> Notification {
    let defaults = Defaults { id: NotificationId::parse(id).unwrap(), at: now() };
    let text = format!(r#"{{"to":{{"topic":"{}"}},"data":{number}}}"#, topic(number));
    Notification::parse(&text, &defaults).unwrap()
}

impl World {
    async fn new(table: &Table, race: Race, is_ordered: bool, (refused, lost): (f64, f64)) -> Self {
        let registry = Registry::new(table.client_through(Faulty::client(http(), refused, lost)), &table.name);
        let standin = Standin::start().await;
        let limits = Limits { pushes_per_second: 1_000_000.0, workers: 1 };
        let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry.clone(), limits, Clock::System);
        let nowhere = queues::nowhere;
        let queues = Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters: nowhere() };
        let history = History::parse(if is_ordered { ORDERED } else { UNORDERED }).unwrap();
        let fan_out = FanOut::new(delivery, queues).with_history(history.clone());
        Self { registry, fan_out, standin, history, is_ordered, race }
    }

    async fn operate(&self, number: usize) -> Done {
        match number % 5 {
            // Should it die, nobody goes on with what it did last in its topic.
            _ if !self.is_ordered && is_last(number) => self.say_directly(number).await,
            0 => self.subscribe(number).await.map_or(Done::Nothing, |one| Done::Subscribed(Box::new(one))),
            // In an ordered topic somebody looks after those who are waited for, which `lanes.rs` has.
            1 if !self.is_ordered => self.say_directly(number).await,
            _ => self.deliver(number).await,
        }
    }

    /// Says something as a queue does.
    async fn deliver(&self, number: usize) -> Done {
        let id = format!("n{number}");
        let segment = Segment::whole(notification(number, &id), "sqs-1");
        races::deliver(&id, self.race.random(&id).f64() < 0.2, async |attempt, may_die| {
            let name = format!("{id}-{attempt}");
            let invocation = patient(&name);
            let (dying, taken_up) = (if may_die { DYING } else { 0.0 }, self.fan_out.take_up(&segment, &invocation));
            self.race.mortal(&name, dying, taken_up).await
        })
        .await;
        Done::Said(id)
    }

    /// Says something to whoever waits for it, and does not say it again.
    async fn say_directly(&self, number: usize) -> Done {
        let name = format!("d{number}");
        let (invocation, id) = (patient(&name), format!("{name}-0"));
        match self.race.mortal(&name, DYING, self.fan_out.direct(notification(number, &id), &invocation)).await {
            Some(Ok(_)) => Done::Said(id),
            _ => Done::Perhaps,
        }
    }

    /// A client that connects, subscribes and asks for everything from the beginning, until it is answered.
    async fn subscribe(&self, number: usize) -> Option<Subscriber> {
        let name = format!("c{number}");
        let (topic, connection) = (topic(number), made_at(now() - 3_600_000, connection(&name, None, &[])));
        self.standin.add(connection.id.as_str(), Behaviour::Takes);
        self.race.mortal(&name, 0.0, self.registry.connect(&connection)).await?.ok()?;
        for attempt in 0..400 {
            let begun = self.begin(&connection, &topic);
            if let Some(Some((replied, end))) = self.race.mortal(format!("{name}-{attempt}"), DYING, begun).await {
                return Some(Subscriber { connection, topic, replied, end });
            }
        }
        panic!("{} is never answered", connection.id);
    }

    /// What a subscriber is replied, and the log's end.
    async fn begin(&self, connection: &Connection, topic: &Topic) -> Option<(Vec<(u64, String)>, u64)> {
        self.registry.subscribe(&connection.id, std::slice::from_ref(topic)).await.ok()?;
        let (log, retention) = (LogName::Topic(topic.clone()), self.history.of_topic(topic)?);
        let reading = Reading { log: &log, retention, connection: Some(&connection.id), now: now() };
        let position = self.registry.end_of_log(&reading).await.ok()?;
        let since = Since { position: LogPosition { offset: 0, ..position }, connection: None };
        let told = self.registry.missed(&reading, &since, &mut usize::MAX.clone()).await.ok()?;
        assert_eq!(told.recovered, Some(true));
        let offset = |message: &Notification| message.log.as_ref().unwrap().position.offset;
        let replied = told.messages.iter().map(|message| (offset(message), message.id.to_string())).collect();
        Some((replied, told.position.offset))
    }

    /// The messages that a subscriber was sent, by their offsets.
    fn pushed(&self, subscriber: &Subscriber) -> Vec<(u64, String)> {
        let pushed = self.standin.used(subscriber.connection.id.as_str()).messages;
        let read = |bytes: &bytes::Bytes| {
            let message: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            Some((message["offset"].as_u64()?, message["id"].as_str()?.to_owned()))
        };
        pushed.iter().filter_map(read).collect()
    }

    /// What it has: of what is pushed it drops, as clients do, what its reply is beyond.
    fn has(&self, subscriber: &Subscriber) -> BTreeSet<(u64, String)> {
        let new = self.pushed(subscriber).into_iter().filter(|(offset, _)| *offset > subscriber.end);
        new.chain(subscriber.replied.iter().cloned()).collect()
    }
}

fn operations(engine: Engine) -> usize {
    match engine {
        Engine::Embedded => OPERATIONS,
        Engine::DynamoDbLocal => OPERATIONS_ON_DYNAMODB_LOCAL,
    }
}

/// The ids of what a topic's log has, in order.
pub(crate) async fn log_of(table: &Table, topic: &Topic) -> Vec<String> {
    let registry = Registry::new(table.client(), &table.name);
    let log = LogName::Topic(topic.clone());
    let Some(head) = registry.head(&log).await.unwrap() else { return Vec::new() };
    let mut ids = Vec::new();
    loop {
        let after = ids.len() as u64;
        let read = registry.entries(&log, &head.epoch, (after, MOST_OFFSET), false, 500).await.unwrap();
        for entry in &read.entries {
            assert_eq!(entry.offset, ids.len() as u64 + 1, "a hole in the log of {topic}");
            let said: serde_json::Value = serde_json::from_str(&entry.notification).unwrap();
            ids.push(said["id"].as_str().unwrap().to_owned());
        }
        if !read.goes_on {
            return ids;
        }
    }
}

fn topics(operations: usize) -> BTreeSet<Topic> {
    (0..operations).map(topic).collect()
}

/// Everything that was said for certain is in the log once, and nothing else is.
fn check_logs(logs: &BTreeMap<Topic, Vec<String>>, done: &[Done]) {
    let all: Vec<_> = logs.values().flatten().collect();
    let unique: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(unique.len(), all.len(), "something was appended twice");
    let said: BTreeSet<_> = certain(done);
    let missing: Vec<_> = said.difference(&unique).collect();
    assert!(missing.is_empty(), "in no log: {missing:?}");
    let perhaps = done.iter().filter(|done| matches!(done, Done::Perhaps)).count();
    assert!(all.len() <= said.len() + perhaps);
}

fn certain(done: &[Done]) -> BTreeSet<&String> {
    done.iter().filter_map(|done| if let Done::Said(id) = done { Some(id) } else { None }).collect()
}

fn subscribers(done: &[Done]) -> Vec<&Subscriber> {
    done.iter().filter_map(|done| if let Done::Subscribed(one) = done { Some(&**one) } else { None }).collect()
}

fn check_subscribers(world: &World, logs: &BTreeMap<Topic, Vec<String>>, done: &[Done]) {
    let (said, all) = (certain(done), subscribers(done));
    assert!(all.len() > world.race.operations() / 10, "{} subscribers", all.len());
    for subscriber in all {
        let has = world.has(subscriber);
        let log = (1..).zip(&logs[&subscriber.topic]);
        let missing: Vec<_> =
            log.filter(|(offset, id)| said.contains(id) && !has.contains(&(*offset, (*id).clone()))).collect();
        let (id, end) = (&subscriber.connection.id, subscriber.end);
        assert!(missing.is_empty(), "{id} in {} at {end} misses {missing:?}, has {has:?}", subscriber.topic);
        assert!(subscriber.replied.iter().all(|(offset, _)| *offset <= end));
    }
}

/// Lets all entries expire; what is said then has a place that nobody was told of before.
async fn check_that_no_place_is_given_again(world: &World, table: &Table, done: &[Done]) {
    let client = table.client();
    for row in table.rows().await.into_iter().filter(|row| row["pk"].as_s().unwrap().starts_with("log#")) {
        let (pk, sk) = (row["pk"].clone(), row["sk"].clone());
        client.delete_item().table_name(&table.name).key("pk", pk).key("sk", sk).send().await.unwrap();
    }
    let last: BTreeMap<_, _> = (0..world.race.operations()).map(|number| (topic(number), number)).collect();
    let say_last = async |number: usize| {
        let name = format!("last{number}");
        let say = async || world.fan_out.direct(notification(number, &format!("{name}-0")), &patient(&name)).await;
        world.race.mortal(&name, 0.0, async { while say().await.is_err() {} }).await;
    };
    stream::iter(last.into_values()).for_each_concurrent(SIDE_BY_SIDE, say_last).await;
    let mut told: BTreeMap<(&Topic, u64), String> = BTreeMap::new();
    for subscriber in subscribers(done) {
        for (offset, id) in world.pushed(subscriber).into_iter().chain(subscriber.replied.iter().cloned()) {
            let before = told.insert((&subscriber.topic, offset), id.clone());
            assert!(
                before.as_ref().is_none_or(|before| *before == id),
                "{offset} of {} is {id} and {before:?}",
                subscriber.topic
            );
        }
    }
}

async fn all_interleavings(table: Table, is_ordered: bool) {
    let steps: Vec<_> = STEPS.into_iter().chain(STEPS_OF_LANES.into_iter().filter(|_| is_ordered)).collect();
    let run = async |table: Table, race| run(&table, race, is_ordered).await;
    Race::run(table.clone(), operations(table.engine), &steps, run).await;
}

async fn run(table: &Table, race: Race, is_ordered: bool) {
    let world = Arc::new(World::new(table, race, is_ordered, FAULTS).await);
    let work = stream::iter(0..world.race.operations()).map(|number| {
        let world = Arc::clone(&world);
        async move { world.operate(number).await }
    });
    let done: Vec<_> = work.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let mut logs = BTreeMap::new();
    for topic in topics(world.race.operations()) {
        let log = log_of(table, &topic).await;
        logs.insert(topic, log);
    }
    check_logs(&logs, &done);
    check_subscribers(&world, &logs, &done);
    if !is_ordered {
        check_that_no_place_is_given_again(&world, table, &done).await;
    }
}

on_both_engines!(
    random_interleavings_of_appenders_and_subscribers_leave_no_hole_no_double_and_nobody_out,
    random_interleavings_with_lanes_leave_nobody_out_either,
);

async fn random_interleavings_of_appenders_and_subscribers_leave_no_hole_no_double_and_nobody_out(table: Table) {
    all_interleavings(table, false).await;
}

async fn random_interleavings_with_lanes_leave_nobody_out_either(table: Table) {
    all_interleavings(table, true).await;
}
