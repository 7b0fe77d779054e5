//! Everything at once: users come and go with several connections, functions die between two calls, DynamoDB fails, ends are
//! never heard of. At last everybody who is there is told of, and nobody else. `TIDINGS_OPERATIONS=10000 cargo test
//! --workspace --test suite -- racing` is the whole of it; `TIDINGS_SEED` repeats what users do.
//!
//! Each of these makes it fail, so none of it can be left out: `change_told` without the condition that the version stands,
//! `mark_sent` before `send_list`, and `look_at_ends` that looks at nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::queues::Served;
use tests::standin::Standin;
use tests::{now, queues};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Queues};
use tidings::lookout::Lookout;
use tidings::presence::{Check, Presence};
use tidings::registry::{Connection, Registry};
use tidings::{ConnectionId, Topic, UserId};

use tokio::sync::Semaphore;

use super::{LONGEST_LIFE_MS, say};
use crate::fanout::invocation;

/// Users of one run, which a machine of two cores does in less than half a minute; `TIDINGS_OPERATIONS=10000` for the whole.
const USERS: usize = 150;
const TOPICS: usize = 40;
const SIDE_BY_SIDE: usize = 24;
const LOOKS_SIDE_BY_SIDE: usize = 160;
/// What is done has so many wake-ups or some more, so that who dies does so anywhere in it, however fast the machine is.
const MOST_POLLS: u32 = 30;
/// What a connection still has to live whose end nobody hears of.
const SHORT_LIFE_MS: i64 = 6_000;

/// Who is frozen goes on with what it read when those who left meanwhile have been looked at.
const FREEZE: Duration = Duration::from_millis(4_000);

struct World {
    /// Through what fails.
    registry: Registry,
    fan_out: FanOut,
    looks: Served,
    lists: Served,
    is_over: AtomicBool,
}

impl World {
    async fn new(table: &Table, (refused, lost): (f64, f64)) -> Self {
        let (looks, lists) = (Served::start().await, Served::start().await);
        let lookout = Lookout::new(Presence::parse(r#"["**"]"#).unwrap(), false, looks.queue());
        let registry = Registry::new(table.client_through(Faulty::client(http(), refused, lost)), &table.name);
        let registry = registry.with_lookout(lookout);
        let limits = Limits { pushes_per_second: 1_000.0, workers: 1 };
        let sockets = Standin::start().await.sockets(Duration::from_secs(1));
        let delivery = Delivery::new(sockets, registry.clone(), limits, Clock::System);
        let queues = Queues { notifications: looks.queue(), fan_out: lists.queue(), dead_letters: queues::nowhere() };
        let fan_out = FanOut::new(delivery, queues);
        Self { registry, fan_out, looks, lists, is_over: AtomicBool::new(false) }
    }

    /// Takes looks out of the queue until it is over. Those that die, or fail, come again.
    async fn work(self: Arc<Self>) {
        let mut random = Rng::new();
        let places = Arc::new(Semaphore::new(LOOKS_SIDE_BY_SIDE));
        while !self.is_over.load(Ordering::Relaxed) {
            let messages = self.looks.lend(1).await;
            if messages.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for message in messages {
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                let (world, random) = (Arc::clone(&self), random.fork());
                tokio::spawn(async move {
                    world.look(&message, random).await;
                    drop(place);
                });
            }
        }
    }

    async fn look(&self, message: &Message, mut random: Rng) {
        let check = Check::parse(message.body.as_deref().unwrap()).expect("a check");
        let invocation = invocation(&format!("w{}", random.u64(..)), Duration::from_secs(5));
        let looked = self.fan_out.look(&check, 1, &invocation);
        let polls = random.u32(..MOST_POLLS);
        let looked = match random.u8(..100) {
            0..25 => broken(looked, polls, None).await,
            25..40 => broken(looked, polls, Some(FREEZE)).await,
            _ => Some(looked.await),
        };
        if looked.is_some_and(|looked| looked.is_ok()) {
            self.looks.delete(message).await;
        }
    }

    /// Does something that may fail, or die anywhere in it, again and again until it is through.
    async fn until_done<T>(&self, random: &mut Rng, mut call: impl AsyncFnMut() -> Option<T>) -> T {
        for _ in 0..200 {
            let done = match random.f64() < 0.2 {
                true => broken(call(), random.u32(..MOST_POLLS), None).await.flatten(),
                false => call().await,
            };
            if let Some(done) = done {
                return done;
            }
        }
        panic!("it is never done");
    }
}

/// Does something that stops anywhere in it, where it waits, unless it is through before: for a while, or for ever.
async fn broken<T>(call: impl Future<Output = T>, mut polls: u32, pause: Option<Duration>) -> Option<T> {
    let mut call = pin!(call);
    let begun = poll_fn(|context| match call.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if polls == 0 => Poll::Ready(None),
        Poll::Pending => {
            polls -= 1;
            Poll::Pending
        }
    });
    if let Some(done) = begun.await {
        return Some(done);
    }
    tokio::time::sleep(pause?).await;
    Some(call.await)
}

fn topic(user: usize) -> Topic {
    Topic::parse(format!("t{}", user % TOPICS)).unwrap()
}

fn name(user: usize) -> UserId {
    UserId::parse(format!("u{user}")).unwrap()
}

fn operations() -> usize {
    std::env::var("TIDINGS_OPERATIONS").map_or(USERS, |text| text.parse().unwrap())
}

fn seed() -> u64 {
    std::env::var("TIDINGS_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap())
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It stays.
    Stays,
    /// It ends, and API Gateway says so, perhaps twice, perhaps before `connect` is through.
    Ends,
    /// It ends, and nobody says so.
    DiesSilently,
    /// It stays, and unsubscribes.
    Unsubscribes,
}

/// One connection from its beginning to its fate; whether it is in the topic then.
async fn live(world: &World, user: usize, number: usize, mut random: Rng) -> bool {
    let fate = match random.u8(..10) {
        0..3 => Fate::Stays,
        3..7 => Fate::Ends,
        7..8 => Fate::DiesSilently,
        _ => Fate::Unsubscribes,
    };
    let mut connection = Connection::new(ConnectionId::parse(format!("c{user}-{number}")).unwrap());
    connection.user = Some(name(user));
    // What a $disconnect leaves that dies is there until the longest life is over, too.
    let is_to_end = matches!(fate, Fate::DiesSilently | Fate::Ends);
    connection.connected_at = now() - if is_to_end { LONGEST_LIFE_MS - SHORT_LIFE_MS } else { 0 };
    let (id, room) = (connection.id.clone(), topic(user));
    let with_topic = random.bool();
    if with_topic {
        connection.topics = vec![room.clone()];
    }
    tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
    let registry = &world.registry;
    let disconnect = async || registry.disconnect(&id, &id.first_socket()).await.ok();
    if fate == Fate::Ends && random.u8(..5) == 0 {
        // The client gives up while it connects.
        let (_, _) = tokio::join!(registry.connect(&connection), disconnect());
        return false;
    }
    world.until_done(&mut random, async || registry.connect(&connection).await.ok()).await;
    let room = [room];
    if !with_topic {
        world.until_done(&mut random, async || registry.subscribe(&id, &room).await.ok()).await;
    }
    tokio::time::sleep(Duration::from_millis(random.u64(..80))).await;
    match fate {
        Fate::Stays => true,
        Fate::DiesSilently => false,
        Fate::Unsubscribes => {
            world.until_done(&mut random, async || registry.unsubscribe(&id, &room).await.ok()).await;
            false
        }
        Fate::Ends => {
            if random.bool() {
                let _ = tokio::join!(disconnect(), disconnect());
            }
            world.until_done(&mut random, async || disconnect().await).await;
            false
        }
    }
}

/// Lets users come and go; who is there at last.
async fn run(world: &Arc<World>, seed: u64) -> BTreeSet<UserId> {
    let users = stream::iter(0..operations()).map(|user| {
        let world = Arc::clone(world);
        async move {
            let mut random = Rng::with_seed(seed ^ (user as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let mut lives = Vec::new();
            for number in 0..random.usize(1..4) {
                lives.push(live(&world, user, number, random.fork()));
            }
            let there = futures_util::future::join_all(lives).await;
            there.contains(&true).then(|| name(user))
        }
    });
    users.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await
}

/// What lists said last of each user, and how many lists there were.
async fn told(world: &World) -> (BTreeMap<UserId, bool>, usize) {
    let mut last: BTreeMap<UserId, (i64, bool)> = BTreeMap::new();
    let mut changes = BTreeSet::new();
    for message in world.lists.take().await {
        let letter: Value = serde_json::from_str(message.body.as_deref().unwrap()).unwrap();
        let (to, data) = (&letter["notification"]["to"]["watchers"], &letter["notification"]["data"]);
        let change = data["change"].as_i64().unwrap();
        assert!(changes.insert((to.as_str().unwrap().to_owned(), change)), "two lists have one number");
        for (field, has_joined) in [("joined", true), ("left", false)] {
            for user in data[field].as_array().into_iter().flatten() {
                let told = last.entry(UserId::parse(user.as_str().unwrap()).unwrap()).or_default();
                assert_ne!(told.0, change, "{user} came and left in one list");
                *told = (*told).max((change, has_joined));
            }
        }
    }
    (last.into_iter().map(|(user, (_, is_there))| (user, is_there)).collect(), changes.len())
}

/// Waits until the time is over of those whose end nobody hears of, has them looked at, and lets all looks come to an end.
async fn settle(world: &World) {
    tokio::time::sleep(Duration::from_millis(SHORT_LIFE_MS.unsigned_abs() + 1_000)).await;
    let mut random = Rng::with_seed(7);
    world
        .until_done(&mut random, async || {
            world.fan_out.look_at_ends(&invocation("sweep", Duration::from_secs(60))).await.ok()
        })
        .await;
    tests::eventually("an end of all looks", Duration::from_secs(600), async || {
        (world.looks.count().await == 0).then_some(())
    })
    .await;
    world.is_over.store(true, Ordering::Relaxed);
}

async fn check(world: &World, table: &Table, there: &BTreeSet<UserId>) {
    let (told, lists) = told(world).await;
    say(&format!("{} users of {}, told by {lists} lists", there.len(), operations()));
    let wrong: Vec<_> = (0..operations())
        .map(name)
        .filter(|user| told.get(user).copied().unwrap_or_default() != there.contains(user))
        .collect();
    assert!(wrong.is_empty(), "told of these is not what is: {wrong:?}");
    let mut written = BTreeSet::new();
    for row in table.rows().await {
        if !row["pk"].as_s().unwrap().starts_with("pres#") || !row.contains_key("told") {
            continue;
        }
        assert!(*row["sent"].as_bool().unwrap(), "somebody is still to be told: {row:?}");
        assert!(*row["told"].as_bool().unwrap(), "nothing is kept of who left: {row:?}");
        written.insert(UserId::parse(row["sk"].as_s().unwrap()).unwrap());
    }
    assert_eq!(&written, there);
    let registry = Registry::new(table.client(), &table.name);
    let mut here = BTreeSet::new();
    for topic in (0..TOPICS).map(topic) {
        let found = registry.here(&topic, usize::MAX, now()).await.unwrap();
        here.extend(found.users.into_iter().map(|present| present.user));
    }
    assert_eq!(&here, there);
}

async fn all_interleavings(engine: Engine, faults: (f64, f64)) {
    let Some(table) = engine.table().await else { return };
    let seed = seed();
    say(&format!("TIDINGS_SEED={seed}"));
    let world = Arc::new(World::new(&table, faults).await);
    let worker = tokio::spawn(Arc::clone(&world).work());
    let there = run(&world, seed).await;
    settle(&world).await;
    worker.await.unwrap();
    check(&world, &table, &there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_goes_or_dies_at_last_those_who_are_there_are_told_of_and_no_others() {
    all_interleavings(Engine::Embedded, (0.05, 0.02)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_dynamodb_local() {
    all_interleavings(Engine::DynamoDbLocal, (0.05, 0.02)).await;
}
