//! Lanes: whoever says something, dies at it or hands it on, everybody who is live in an ordered topic gets all of it, one
//! after the other, or is closed. No lane stands still, and none is held for ever. `docs/races.md` has the whole of it, and
//! what makes it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tests::engine::{Engine, Table};
use tests::now;
use tests::races::{Race, say};
use tests::standin::Behaviour;
use tidings::Topic;
use tidings::fanout::{FanOutError, Invocation, Segment};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, LaneHolder, LaneTaker, Registry};

use crate::appending::log_of;
use crate::fanout;
use crate::going_live::{World, notification};
use crate::registry::{connection, made_at, on_both_engines, registry};

/// Messages of one run; `TIDINGS_OPERATIONS` for more.
const OPERATIONS: usize = 100;
/// The same on DynamoDB Local, which is slow.
const OPERATIONS_ON_DYNAMODB_LOCAL: usize = 60;
const SIDE_BY_SIDE: usize = 24;
/// Topics in which something is done at a time.
const TOPICS: usize = 4;
/// Messages of one topic. It is over then, so that there are many last messages.
const OF_A_TOPIC: usize = 10;
/// Members of a topic that neither sort nor drop what they get, and all.
const STRICT: usize = 3;
const MEMBERS: usize = 4;
/// Shares of calls that are refused, and that are done and not answered. Each may close connections.
const FAULTS: (f64, f64) = (0.01, 0.003);
/// Of workers, the share that dies before it is through.
const DYING: f64 = 0.1;
/// Longer than what is too old when a lane begins, in milliseconds.
const LONG_AGO: i64 = 100_000;
/// Calls at which those die who say something, and those who push it.
const STEPS: [&str; 8] = [
    "GetItem head",
    "UpdateItem head",
    "UpdateItem work",
    "PutItem log",
    "Query log",
    "GetItem lane",
    "UpdateItem lane",
    "Query topic",
];

fn topic(number: usize) -> Topic {
    let block = number / (TOPICS * OF_A_TOPIC);
    Topic::parse(format!("t{}", block * TOPICS + number % TOPICS)).unwrap()
}

/// A worker's time, which now and then is short: it hands on what it has not done.
fn invocation(owner: &str, mut random: Rng) -> Invocation {
    let lease_until = now() + 3_000;
    let time = match random.u8(..4) {
        0 => Duration::from_millis(random.u64(..60)),
        _ => Duration::from_secs(2),
    };
    Invocation { lease_until, ..fanout::invocation(owner, time) }
}

/// A member of a topic since before anything was said there.
pub(crate) struct Listener {
    pub(crate) connection: Connection,
    pub(crate) topic: Topic,
    pub(crate) is_strict: bool,
}

pub(crate) async fn listen(world: &World, table: &Table, topic: &Topic, number: usize) -> Listener {
    let (is_strict, name) = (number < STRICT, format!("{topic}-{number}"));
    let mut connection = made_at(now() - 3_600_000, connection(&name, None, &[]));
    // Now and then one is throttled.
    let behaviour = if world.race.random(&name).u8(..8) == 0 { Behaviour::Answers(429, 2) } else { Behaviour::Takes };
    world.standin.add(connection.id.as_str(), behaviour);
    let registry = registry(table);
    if is_strict {
        connection.protocol = Protocol::Centrifuge;
        registry.connect(&connection).await.unwrap();
        world.subscribe_at_rest(&registry, &connection, topic).await;
    } else {
        registry.connect(&connection).await.unwrap();
        registry.subscribe(&connection.id, std::slice::from_ref(topic)).await.unwrap();
    }
    Listener { connection, topic: topic.clone(), is_strict }
}

/// Says something to whoever waits for it, and does not say it again; what is said for certain.
async fn say_directly(world: &World, number: usize) -> Option<String> {
    let name = format!("d{number}");
    let (invocation, id) = (invocation(&name, world.race.random(&name)), format!("{name}-0"));
    let said = world.fan_out.direct(notification(&topic(number), &id), &invocation);
    world.race.mortal(&name, DYING, said).await.is_some_and(|said| said.is_ok()).then_some(id)
}

async fn operate(world: &World, number: usize) -> Option<String> {
    if number.is_multiple_of(3) {
        return say_directly(world, number).await;
    }
    let id = format!("n{number}");
    world.deliver(&topic(number), &id, invocation).await;
    Some(id)
}

/// The offsets of what went over a socket, in order.
pub(crate) fn offsets(world: &World, listener: &Listener) -> Vec<u64> {
    let messages = world.standin.used(listener.connection.id.as_str()).messages;
    let read = |bytes: &bytes::Bytes| {
        let message: Value = serde_json::from_slice(bytes).unwrap();
        let offset = if listener.is_strict { &message["push"]["pub"]["offset"] } else { &message["offset"] };
        offset.as_u64().unwrap_or_else(|| panic!("{message}"))
    };
    messages.iter().map(read).collect()
}

/// Up to where each topic's log is, and up to where it was said for certain: what is behind that may be of somebody who has
/// died, and was to be asked again.
async fn ends(table: &Table, topics: &BTreeSet<Topic>, said: &BTreeSet<String>) -> BTreeMap<Topic, (u64, u64)> {
    let (mut ends, mut missing) = (BTreeMap::new(), said.clone());
    for topic in topics {
        let log = log_of(table, topic).await;
        let certain = log.iter().rposition(|id| said.contains(id)).map_or(0, |index| index + 1);
        missing.retain(|id| !log.contains(id));
        ends.insert(topic.clone(), (log.len() as u64, certain as u64));
    }
    assert!(missing.is_empty(), "in no log: {missing:?}");
    ends
}

/// What each member of a topic was sent, and whether it was closed.
fn everybody(world: &World, listeners: &[Listener], topic: &Topic) -> String {
    let members = listeners.iter().filter(|listener| listener.topic == *topic).map(|listener| {
        let used = world.standin.used(listener.connection.id.as_str());
        let end = if used.is_closed { ", then closed" } else { "" };
        format!("{} {:?}{end}", listener.connection.id, offsets(world, listener))
    });
    members.collect::<Vec<_>>().join("; ")
}

/// Everybody has everything, or is closed.
fn check(world: &World, listeners: &[Listener], ends: &BTreeMap<Topic, (u64, u64)>) {
    let (mut whole, mut closed) = (0, 0);
    for listener in listeners {
        let (id, offsets) = (&listener.connection.id, offsets(world, listener));
        let (end, certain) = ends[&listener.topic];
        if listener.is_strict {
            let in_order = offsets.iter().copied().eq(1..=offsets.len() as u64);
            assert!(
                in_order,
                "{id} was sent {offsets:?}, and so were all: {}",
                everybody(world, listeners, &listener.topic)
            );
        }
        if world.standin.used(id.as_str()).is_closed {
            closed += 1;
            continue;
        }
        let has: BTreeSet<_> = offsets.iter().copied().collect();
        let missing: Vec<_> = (1..=certain).filter(|offset| !has.contains(offset)).collect();
        assert!(missing.is_empty(), "{id} misses {missing:?} of {certain}, and was sent {offsets:?}");
        assert!(has.last().is_none_or(|last| *last <= end), "{id} was sent {offsets:?} of {end}");
        whole += 1;
    }
    say(&format!("{} members: {whole} have everything, {closed} were closed", listeners.len()));
    assert!(whole > closed / 20 && whole > 0, "{whole} have everything, {closed} were closed");
}

async fn run(table: &Table, race: Race) {
    let operations = race.operations();
    let world = Arc::new(World::new(table, race, FAULTS, DYING).await);
    let topics: BTreeSet<_> = (0..operations).map(topic).collect();
    let places = topics.iter().flat_map(|topic| (0..MEMBERS).map(move |number| (topic, number)));
    let listening = stream::iter(places).map(|(topic, number)| listen(&world, table, topic, number));
    let listeners: Vec<_> = listening.buffer_unordered(SIDE_BY_SIDE).collect().await;
    let server = tokio::spawn(Arc::clone(&world).serve_queue(invocation));
    let work = stream::iter(0..operations).map(|number| {
        let world = Arc::clone(&world);
        async move { operate(&world, number).await }
    });
    let said: BTreeSet<_> = work.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    world.settle().await;
    check(&world, &listeners, &ends(table, &topics, &said).await);
    // What those left behind who died, and were not asked again, goes with the next message.
    let last: BTreeSet<_> = topics.iter().map(|topic| format!("last-{topic}")).collect();
    let say_last = async |topic: &Topic| world.deliver(topic, &format!("last-{topic}"), invocation).await;
    stream::iter(&topics).for_each_concurrent(SIDE_BY_SIDE, say_last).await;
    world.settle().await;
    assert!(!server.is_finished());
    server.abort();
    check(&world, &listeners, &ends(table, &topics, &last).await);
    for topic in &topics {
        assert!(registry(table).lane_batch(topic).await.unwrap().is_released, "the lane of {topic} is still held");
    }
}

/// A worker with so much time that it hands nothing on.
pub(crate) fn patient(owner: &str, _: Rng) -> Invocation {
    fanout::invocation(owner, Duration::from_secs(30))
}

/// A topic whose lane nobody has held, with a member that sorts nothing and one that sorts.
pub(crate) async fn new_topic(table: &Table) -> (World, Registry, Topic, [Listener; 2]) {
    let world = World::new(table, Race::alone(), (0.0, 0.0), 0.0).await;
    world.standin.lose_answers(0.0);
    let topic = topic(0);
    let listeners = [listen(&world, table, &topic, 0).await, listen(&world, table, &topic, STRICT).await];
    for listener in &listeners {
        world.standin.add(listener.connection.id.as_str(), Behaviour::Takes);
    }
    world.standin.throttle(0.0);
    (world, registry(table), topic, listeners)
}

/// A worker of a time that is over long since: what it appends is old.
fn long_ago(owner: &str) -> Invocation {
    Invocation { now: now() - LONG_AGO, ..fanout::invocation(owner, Duration::from_secs(30)) }
}

/// Appends something old, while another holds the lane, who pushes nothing.
async fn append_long_ago(world: &World, registry: &Registry, topic: &Topic, is_given_back: bool) {
    // The message waits until its lease is over, as if it were its own worker that died.
    let cause = tidings::hash(&["sqs-1", "old"]);
    let taker = LaneTaker { owner: "dead", cause: Some(&cause), ends_at: now() + 1_500 };
    let (lease, at) = registry.take_lane(topic, &taker, now()).await.unwrap().expect("nobody holds it");
    let segment = Segment::whole(notification(topic, "old"), "sqs-1");
    let held = world.fan_out.take_up(&segment, &long_ago("old")).await;
    assert!(matches!(held, Err(FanOutError::Held { .. })), "{held:?}");
    if is_given_back {
        lease.release(&at).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_first_holder_of_a_lane_may_have_posted_no_strict_client_gets_again() {
    let table = Engine::Embedded.table().await.unwrap();
    let (world, registry, topic, [strict, sorting]) = new_topic(&table).await;
    let taker = LaneTaker { owner: "dead", cause: None, ends_at: now() - 1 };
    registry.take_lane(&topic, &taker, now()).await.unwrap().expect("nobody holds it");
    world.deliver(&topic, "first", patient).await;
    assert!(world.standin.used(strict.connection.id.as_str()).is_closed);
    assert_eq!(offsets(&world, &strict), Vec::<u64>::new());
    assert_eq!(offsets(&world, &sorting), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_first_holder_of_a_lane_left_is_pushed_however_late_the_next_one_comes() {
    let table = Engine::Embedded.table().await.unwrap();
    let (world, registry, topic, [_, sorting]) = new_topic(&table).await;
    let taker = LaneTaker { owner: "first", cause: None, ends_at: now() - LONG_AGO };
    registry.take_lane(&topic, &taker, now() - LONG_AGO).await.unwrap().expect("nobody holds it");
    append_long_ago(&world, &registry, &topic, false).await;
    // It waits until the lease is over.
    tests::eventually("the end of the lease", Duration::from_secs(10), async || {
        let holder = registry.lane_holder(&topic, now()).await.unwrap();
        (holder == LaneHolder::Nobody).then_some(())
    })
    .await;
    world.deliver(&topic, "next", patient).await;
    assert_eq!(offsets(&world, &sorting), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_client_that_misses_what_is_too_old_for_a_new_lane_is_closed() {
    let table = Engine::Embedded.table().await.unwrap();
    let (world, registry, topic, [strict, sorting]) = new_topic(&table).await;
    append_long_ago(&world, &registry, &topic, true).await;
    world.deliver(&topic, "next", patient).await;
    assert!(world.standin.used(strict.connection.id.as_str()).is_closed, "{:?}", offsets(&world, &strict));
    assert_eq!(offsets(&world, &strict), Vec::<u64>::new());
    assert_eq!(offsets(&world, &sorting), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_again_is_pushed_however_long_ago_it_was_appended() {
    let table = Engine::Embedded.table().await.unwrap();
    let (world, registry, topic, [strict, _]) = new_topic(&table).await;
    append_long_ago(&world, &registry, &topic, true).await;
    world.deliver(&topic, "old", patient).await;
    assert_eq!(offsets(&world, &strict), [1]);
}

on_both_engines!(random_interleavings_of_lanes_and_deaths_push_everything_one_after_the_other_and_let_no_lane_stand);

async fn random_interleavings_of_lanes_and_deaths_push_everything_one_after_the_other_and_let_no_lane_stand(
    table: Table,
) {
    let few = match table.engine {
        Engine::Embedded => OPERATIONS,
        Engine::DynamoDbLocal => OPERATIONS_ON_DYNAMODB_LOCAL,
    };
    Race::run(table, few, &STEPS, async |table: Table, race| run(&table, race).await).await;
}
