//! Everything at once: users come and go with several connections, functions die between two calls, DynamoDB fails, ends are
//! never heard of. At last everybody who is there is told of, and nobody else. `docs/races.md` has the whole of it, and what
//! makes it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::Value;
use tests::engine::{Engine, Row, Table, http};
use tests::faults::Faulty;
use tests::queues::Served;
use tests::races::{Fate, Race, say, stop_before};
use tests::standin::Standin;
use tests::{now, queues};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, Invocation, Queues};
use tidings::lookout::Lookout;
use tidings::presence::{Check, Presence, Subject};
use tidings::registry::{Connection, Registry, RegistryError};
use tidings::{ConnectionId, Topic, UserId};

use tokio::sync::Semaphore;

use super::LONGEST_LIFE_MS;
use crate::fanout::invocation;
use crate::registry::on_both_engines;

/// Connections of one run, from their beginning to their end; `TIDINGS_OPERATIONS` for more.
const CONNECTIONS: usize = 40;
/// Connections of a user, or fewer.
const MOST_OF_A_USER: usize = 3;
const TOPICS: usize = 40;
const SIDE_BY_SIDE: usize = 24;
const LOOKS_SIDE_BY_SIDE: usize = 160;
/// For how long a message is hidden whose look is under way. Were it shown again before, on a machine that is busy, ever more
/// would look at one user at once.
const LONGEST_LOOK_SECONDS: i32 = 300;
/// What a connection still has to live whose end nobody hears of.
const SHORT_LIFE_MS: i64 = 6_000;

/// Shares of calls that are refused, and that are done and not answered.
const FAULTS: (f64, f64) = (0.05, 0.02);
/// Calls at which those die who look.
const STEPS: [&str; 5] = ["UpdateItem pres", "Query here", "UpdateItem told", "Query pres", "DeleteItem pres"];
/// Who is frozen goes on with what it read when those who left meanwhile have been looked at.
const FREEZE: Duration = Duration::from_millis(4_000);

struct World {
    /// Through what fails.
    registry: Registry,
    fan_out: FanOut,
    looks: Served,
    lists: Served,
    is_over: AtomicBool,
    users: usize,
    race: Race,
}

/// How many connections a user has.
fn connections(race: &Race, user: usize) -> usize {
    race.random(format!("u{user}")).usize(1..=MOST_OF_A_USER)
}

/// How many users have all connections.
fn users(race: &Race) -> usize {
    let mut all = 0;
    let comes = |user: &usize| {
        let comes = all < race.operations();
        all += connections(race, *user);
        comes
    };
    (0..).take_while(comes).count()
}

impl World {
    async fn new(table: &Table, race: Race, (refused, lost): (f64, f64)) -> Self {
        let (looks, lists) = (Served::start().await, Served::start().await);
        let lookout = Lookout::new(Presence::parse(r#"["**"]"#).unwrap(), false, looks.queue());
        let registry = Registry::new(table.client_through(Faulty::client(http(), refused, lost)), &table.name);
        let registry = registry.with_lookout(lookout);
        let limits = Limits { pushes_per_second: 1_000.0, workers: 1 };
        let sockets = Standin::start().await.sockets(Duration::from_secs(1));
        let delivery = Delivery::new(sockets, registry.clone(), limits, Clock::System);
        let queues = Queues { notifications: looks.queue(), fan_out: lists.queue(), dead_letters: queues::nowhere() };
        let fan_out = FanOut::new(delivery, queues);
        Self { registry, fan_out, looks, lists, is_over: AtomicBool::new(false), users: users(&race), race }
    }

    /// Connects the first user, in its topic.
    async fn connected(&self, id: &str) -> Connection {
        let mut connection = Connection::new(ConnectionId::parse(id).unwrap());
        (connection.user, connection.topics, connection.connected_at) = (Some(name(0)), vec![topic(0)], now());
        self.registry.connect(&connection).await.unwrap();
        connection
    }

    /// Takes looks out of the queue until it is over. Those that die, or fail, come again.
    async fn work(self: Arc<Self>) {
        let mut count = 0;
        let places = Arc::new(Semaphore::new(LOOKS_SIDE_BY_SIDE));
        while !self.is_over.load(Ordering::Relaxed) {
            let messages = self.looks.lend(LONGEST_LOOK_SECONDS).await;
            if messages.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            for message in messages {
                let place = Arc::clone(&places).acquire_owned().await.unwrap();
                let (world, name) = (Arc::clone(&self), format!("look{count}"));
                count += 1;
                tokio::spawn(async move {
                    world.look(&message, &name).await;
                    drop(place);
                });
            }
        }
    }

    async fn look(&self, message: &Message, name: &str) {
        let check = Check::parse(message.body.as_deref().unwrap()).expect("a check");
        let invocation = invocation(name, Duration::from_secs(60));
        let mut random = self.race.random(name);
        let fate = match random.u8(..100) {
            0..25 => Fate::Dies,
            25..40 => Fate::Freezes(FREEZE),
            _ => Fate::Lives,
        };
        let looked = self.race.meet(fate, random, self.fan_out.look(&check, 1, &invocation)).await;
        if looked.is_some_and(|looked| looked.is_ok()) {
            self.looks.delete(message).await;
        } else {
            self.looks.give_back(message).await;
        }
    }

    /// Looks at whatever is to be looked at now; how much that was.
    async fn looks_through(&self, by: &Invocation) -> usize {
        let messages = self.looks.take().await;
        for message in &messages {
            let check = Check::parse(message.body.as_deref().unwrap()).unwrap();
            self.fan_out.look(&check, 1, by).await.unwrap();
        }
        messages.len()
    }

    /// Does something by name that may fail, or die anywhere in it, again and again until it is through.
    async fn until_done<T>(&self, name: &str, mut call: impl AsyncFnMut() -> Option<T>) -> T {
        for attempt in 0..200 {
            if let Some(done) = self.race.mortal(format!("{name}-{attempt}"), 0.2, call()).await.flatten() {
                return done;
            }
        }
        panic!("{name} is never done");
    }
}

fn topic(user: usize) -> Topic {
    Topic::parse(format!("t{}", user % TOPICS)).unwrap()
}

fn name(user: usize) -> UserId {
    UserId::parse(format!("u{user}")).unwrap()
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq)]
enum Course {
    /// It stays.
    Stays,
    /// It ends, and API Gateway says so, perhaps twice, perhaps before `connect` is through.
    Ends,
    /// It ends, and nobody says so.
    DiesSilently,
    /// It stays, and unsubscribes.
    Unsubscribes,
}

impl Course {
    fn any(random: &mut Rng) -> Self {
        match random.u8(..10) {
            0..3 => Self::Stays,
            3..7 => Self::Ends,
            7..8 => Self::DiesSilently,
            _ => Self::Unsubscribes,
        }
    }
}

/// One connection from its beginning to its end, if it has one; whether it is in the topic then.
async fn live(world: &World, user: usize, number: usize) -> bool {
    let key = format!("c{user}-{number}");
    let mut random = world.race.random(&key);
    let course = Course::any(&mut random);
    let mut connection = Connection::new(ConnectionId::parse(&key).unwrap());
    connection.user = Some(name(user));
    // What a $disconnect leaves that dies is there until the longest life is over, too.
    let is_to_end = matches!(course, Course::DiesSilently | Course::Ends);
    connection.connected_at = now() - if is_to_end { LONGEST_LIFE_MS - SHORT_LIFE_MS } else { 0 };
    let room = [topic(user)];
    let with_topic = random.bool();
    if with_topic {
        connection.topics = room.to_vec();
    }
    tokio::time::sleep(Duration::from_millis(random.u64(..20))).await;
    let registry = &world.registry;
    if course == Course::Ends && random.u8(..5) == 0 {
        // The client gives up while it connects.
        let (id, socket) = (&connection.id, connection.id.first_socket());
        let both = async { tokio::join!(registry.connect(&connection), registry.disconnect(id, &socket)) };
        world.race.mortal(&key, 0.0, both).await;
        return false;
    }
    world.until_done(&format!("{key}-connect"), async || registry.connect(&connection).await.ok()).await;
    if !with_topic {
        let subscribe = async || registry.subscribe(&connection.id, &room).await.ok();
        world.until_done(&format!("{key}-subscribe"), subscribe).await;
    }
    tokio::time::sleep(Duration::from_millis(random.u64(..80))).await;
    let is_told_twice = random.bool();
    end(world, course, &connection.id, &room, is_told_twice).await;
    course == Course::Stays
}

async fn end(world: &World, course: Course, id: &ConnectionId, room: &[Topic; 1], is_told_twice: bool) {
    let registry = &world.registry;
    let disconnect = async || registry.disconnect(id, &id.first_socket()).await.ok();
    match course {
        Course::Stays | Course::DiesSilently => {}
        Course::Unsubscribes => {
            let unsubscribe = async || registry.unsubscribe(id, room).await.ok();
            world.until_done(&format!("{id}-unsubscribe"), unsubscribe).await;
        }
        Course::Ends => {
            if is_told_twice {
                let both = async { tokio::join!(disconnect(), disconnect()) };
                world.race.mortal(format!("{id}-twice"), 0.0, both).await;
            }
            world.until_done(&format!("{id}-disconnect"), async || disconnect().await).await;
        }
    }
}

/// Lets users come and go; who is there at last.
async fn come_and_go(world: &Arc<World>) -> BTreeSet<UserId> {
    let users = stream::iter(0..world.users).map(|user| {
        let world = Arc::clone(world);
        async move {
            let lives = (0..connections(&world.race, user)).map(|number| live(&world, user, number));
            let there = join_all(lives).await;
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
    let sweep = async || world.fan_out.look_at_ends(&invocation("sweep", Duration::from_secs(60))).await.ok();
    world.until_done("sweep", sweep).await;
    tests::eventually("an end of all looks", Duration::from_secs(600), async || {
        (world.looks.count().await == 0).then_some(())
    })
    .await;
    world.is_over.store(true, Ordering::Relaxed);
}

async fn check(world: &World, table: &Table, there: &BTreeSet<UserId>) {
    let (told, lists) = told(world).await;
    say(&format!("{} users of {}, told by {lists} lists", there.len(), world.users));
    let rows = table.rows().await;
    for user in (0..world.users).map(name) {
        let (told, is_there) = (told.get(&user).copied(), there.contains(&user));
        let is_of_user = |row: &&Row| format!("{row:?}").contains(&format!("\"{user}"));
        let rows = || rows.iter().filter(is_of_user).collect::<Vec<_>>();
        assert_eq!(told.unwrap_or_default(), is_there, "told of {user}: {told:?}, with the rows {:#?}", rows());
    }
    let mut written = BTreeSet::new();
    for row in rows {
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

on_both_engines!(random_interleavings_of_users_who_come_go_and_die_end_in_what_was_told_of_them);

async fn random_interleavings_of_users_who_come_go_and_die_end_in_what_was_told_of_them(table: Table) {
    Race::run(table, CONNECTIONS, &STEPS, async |table: Table, race| run(&table, race).await).await;
}

async fn run(table: &Table, race: Race) {
    let world = Arc::new(World::new(table, race, FAULTS).await);
    let worker = tokio::spawn(Arc::clone(&world).work());
    let there = come_and_go(&world).await;
    settle(&world).await;
    worker.await.unwrap();
    check(&world, table, &there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_overtaken_tells_nobody_what_it_read_before() {
    let table = Engine::Embedded.table().await.unwrap();
    let world = World::new(&table, Race::alone(), (0.0, 0.0)).await;
    let look = Check { subject: Subject { topic: Some(topic(0)), user: name(0) }, seen: false };
    let by = invocation("look", Duration::from_secs(60));
    let first = world.connected("c1").await;
    world.fan_out.look(&look, 1, &by).await.unwrap();
    world.registry.disconnect(&first.id, &first.socket).await.unwrap();
    let overtaken = world.fan_out.look(&look, 1, &by);
    let overtaken = stop_before(&["Query here", "UpdateItem pres"], overtaken).await;
    world.connected("c2").await;
    world.fan_out.look(&look, 1, &by).await.unwrap();
    overtaken.await.unwrap();
    let rows = table.rows().await;
    let told: Vec<_> = rows.iter().filter_map(|row| row.get("told")).map(|told| *told.as_bool().unwrap()).collect();
    assert_eq!(told, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_after_its_turn_was_over_tells_nobody_under_its_number() {
    let table = Engine::Embedded.table().await.unwrap();
    let world = World::new(&table, Race::alone(), (0.0, 0.0)).await;
    let look = Check { subject: Subject { topic: Some(topic(0)), user: name(0) }, seen: false };
    let by = invocation("look", Duration::from_secs(60));
    let told_lists = async |count| {
        tests::eventually("a list", Duration::from_secs(60), async || {
            world.fan_out.look(&look, 1, &by).await.unwrap();
            (world.lists.count().await == count).then_some(())
        })
        .await;
    };
    let first = world.connected("c1").await;
    let frozen = world.fan_out.look(&look, 1, &by);
    let frozen = stop_before(&["UpdateItem told", "Query pres"], frozen).await;
    // Its turn has to end first.
    world.registry.disconnect(&first.id, &first.socket).await.unwrap();
    told_lists(1).await;
    world.connected("c2").await;
    // What is to be told is written, and whoever wanted to tell it is gone.
    let died = world.fan_out.look(&look, 1, &by);
    drop(stop_before(&["UpdateItem pres", "UpdateItem pres", "UpdateItem told"], died).await);
    frozen.await.unwrap();
    told_lists(2).await;
    let (told, _) = told(&world).await;
    assert_eq!(told, BTreeMap::from([(name(0), true)]));
}

/// Who leaves, and then dies: its registry asks nobody to look.
#[tokio::test(flavor = "multi_thread")]
async fn whose_leaving_nobody_was_asked_to_look_at_has_left_when_the_time_is_over() {
    let table = Engine::Embedded.table().await.unwrap();
    let world = World::new(&table, Race::alone(), (0.0, 0.0)).await;
    let mute = Lookout::new(Presence::parse(r#"["**"]"#).unwrap(), false, queues::nowhere());
    let mute = Registry::new(table.client(), &table.name).with_lookout(mute);
    let by = invocation("look", Duration::from_secs(60));
    for user in 0..2 {
        let mut connection = Connection::new(ConnectionId::parse(format!("c{user}")).unwrap());
        (connection.user, connection.topics) = (Some(name(user)), vec![topic(user)]);
        connection.connected_at = now() - LONGEST_LIFE_MS + SHORT_LIFE_MS;
        world.registry.connect(&connection).await.unwrap();
        assert_eq!(world.looks_through(&by).await, 1);
        let left = match user {
            0 => mute.disconnect(&connection.id, &connection.socket).await.map(drop),
            _ => mute.unsubscribe(&connection.id, &connection.topics).await,
        };
        assert!(matches!(left, Err(RegistryError::Unlooked(_))), "{left:?}");
    }
    tests::eventually("ends of both", Duration::from_secs(60), async || {
        world.fan_out.look_at_ends(&by).await.unwrap();
        world.looks_through(&by).await;
        (world.lists.count().await == 4).then_some(())
    })
    .await;
    let (told, _) = told(&world).await;
    assert_eq!(told, BTreeMap::from([(name(0), false), (name(1), false)]));
}
