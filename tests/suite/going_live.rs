//! Clients that neither sort nor drop what they get: whatever meets, dies or is lost, each has its offsets one after the
//! other, none twice and none missing, or its connection is closed. `docs/races.md` has the whole of it, and what makes it
//! fail.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::now;
use tests::queues::{self, Served};
use tests::races::{self, Race, say};
use tests::standin::{Behaviour, Standin};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits, Management};
use tidings::fanout::{FanOut, FanOutError, HandedOn, Invocation, Queues, Segment};
use tidings::going_live::{self, Begun, Ended, GoingLive};
use tidings::history::History;
use tidings::log::LogName;
use tidings::notification::{Defaults, Notification};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, LaneTaker, Place, Registry};
use tidings::{NotificationId, Topic};

use crate::fanout;
use crate::registry::{connection, made_at, on_both_engines, registry};

/// Operations of one run, four messages for each client; `TIDINGS_OPERATIONS` for more.
const OPERATIONS: usize = 150;
const SIDE_BY_SIDE: usize = 24;
/// The same on DynamoDB Local, which is slow.
const OPERATIONS_ON_DYNAMODB_LOCAL: usize = 100;
/// Topics in which something is done at a time.
const TOPICS: usize = 4;
/// Operations of one topic. It is over then, so that twice as many operations take twice as long.
const OF_A_TOPIC: usize = 100;
/// How often a client comes again that is closed.
const COMES: usize = 10;
/// Shares of calls that are refused, and that are done and not answered.
const FAULTS: (f64, f64) = (0.003, 0.001);
/// Of workers and commands, the share that dies before it is through. Each death closes connections.
const DYING: f64 = 0.04;
/// Longer than any command takes, even on a busy machine.
const LONGEST_COMMAND: Duration = Duration::from_secs(100);
/// For how long a lane is held by who has died, or anything waits.
const PATIENCE: Duration = Duration::from_secs(120);

/// Calls at which commands die, and those who push what the topic's log has.
const STEPS: [&str; 10] = [
    "UpdateItem topic",
    "GetItem topic",
    "GetItem lane",
    "UpdateItem lane",
    "GetItem head",
    "UpdateItem head",
    "Query log",
    "PutItem log",
    "Query topic",
    "UpdateItem work",
];
pub(crate) const ORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600,"ordered":true}]"#;

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) fan_out: FanOut,
    pub(crate) fan_out_queue: Served,
    pub(crate) standin: Standin,
    management: Management,
    history: History,
    pub(crate) race: Race,
    /// Of workers and commands, the share that dies before it is through.
    dying: f64,
}

/// A client and what it sent, in this order: the first command is sent when it comes, the others whenever it likes.
#[derive(Debug)]
struct Client {
    connection: Connection,
    topic: Topic,
    /// `S` and `U`.
    script: Vec<char>,
    /// Commands whose function died: nobody answers them.
    died: Vec<u64>,
}

fn topic(number: usize) -> Topic {
    let block = number / (TOPICS * OF_A_TOPIC);
    Topic::parse(format!("t{}", block * TOPICS + number % TOPICS)).unwrap()
}

pub(crate) fn notification(topic: &Topic, id: &str) -> Notification {
    let defaults = Defaults { id: NotificationId::parse(id).unwrap(), at: now() };
    let text = format!(r#"{{"to":{{"topic":"{topic}"}},"data":"{id}"}}"#);
    Notification::parse(&text, &defaults).unwrap()
}

fn operations(engine: Engine) -> usize {
    match engine {
        Engine::Embedded => OPERATIONS,
        Engine::DynamoDbLocal => OPERATIONS_ON_DYNAMODB_LOCAL,
    }
}

/// As Lambda's: there is time left when its work ends. Now and then one has little, and hands on what it has not done.
fn invocation(owner: &str, mut random: Rng) -> Invocation {
    let lease_until = now() + 5_000;
    let time = match random.u8(..4) {
        0 => Duration::from_millis(random.u64(..60)),
        _ => Duration::from_secs(3),
    };
    Invocation { lease_until, ..fanout::invocation(owner, time) }
}

impl World {
    pub(crate) async fn new(table: &Table, race: Race, (refused, lost): (f64, f64), dying: f64) -> Self {
        let registry = Registry::new(table.client_through(Faulty::client(http(), refused, lost)), &table.name);
        let (standin, fan_out_queue) = (Standin::start().await, Served::start().await);
        let limits = Limits { pushes_per_second: 1_000_000.0, workers: 1 };
        let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry.clone(), limits, Clock::System);
        let queues = Queues {
            notifications: queues::nowhere(),
            fan_out: fan_out_queue.queue(),
            dead_letters: queues::nowhere(),
        };
        let history = History::parse(ORDERED).unwrap();
        let fan_out = FanOut::new(delivery, queues).with_history(history.clone());
        standin.slow_down(Duration::from_millis(8));
        standin.lose_answers(0.000_3);
        let management = standin.client(Duration::from_secs(1));
        Self { registry, fan_out, fan_out_queue, standin, management, history, race, dying }
    }

    /// Says something as a queue does, by workers with this much time.
    pub(crate) async fn deliver(&self, topic: &Topic, id: &str, invocation: impl Fn(&str, Rng) -> Invocation) {
        let segment = Segment::whole(notification(topic, id), "sqs-1");
        races::deliver(id, self.race.random(id).f64() < 0.05, async |attempt, may_die| {
            let name = format!("{id}-{attempt}");
            let invocation = invocation(&name, self.race.random(&name));
            let (dying, taken_up) =
                (if may_die { self.dying } else { 0.0 }, self.fan_out.take_up(&segment, &invocation));
            self.race.mortal(&name, dying, taken_up).await
        })
        .await;
    }

    /// Serves the fan-out queue for ever, by workers with this much time. Who dies leaves a message that comes again.
    pub(crate) async fn serve_queue(self: Arc<Self>, invocation: fn(&str, Rng) -> Invocation) {
        let mut count = 0;
        loop {
            for message in self.fan_out_queue.lend(1).await {
                let (world, name) = (Arc::clone(&self), format!("q{count}"));
                count += 1;
                tokio::spawn(async move {
                    let mut random = world.race.random(&name);
                    let (receives, invocation) = (random.u32(1..=4), invocation(&name, random));
                    let served = world.serve(message.body().unwrap(), receives, &invocation);
                    if world.race.mortal(&name, world.dying, served).await.is_some_and(|served| served.is_ok()) {
                        world.fan_out_queue.delete(&message).await;
                    }
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn serve(&self, message: &str, receives: u32, invocation: &Invocation) -> Result<(), FanOutError> {
        match self.fan_out.read(message).await? {
            HandedOn::Lane(topic) => self.fan_out.wake(&topic, receives, invocation).await,
            HandedOn::Passed(member) => self.fan_out.check_passed(&member).await,
            HandedOn::Segment(segment) => self.fan_out.work(&segment, invocation).await.map(drop),
        }
    }

    /// Waits until all that was handed on is done.
    pub(crate) async fn settle(&self) {
        tests::eventually("the end of all that was handed on", PATIENCE, async || {
            (self.fan_out_queue.count().await == 0).then_some(())
        })
        .await;
    }

    /// A client that sends its commands without waiting for anything, and whose frames are handled in any order.
    async fn client(&self, number: usize) -> Client {
        let name = format!("c{number}");
        let mut random = self.race.random(&name);
        let mut connection = made_at(now() - 3_600_000, connection(&name, None, &[]));
        connection.protocol = Protocol::Centrifuge;
        self.standin.add(connection.id.as_str(), Behaviour::Takes);
        let length = [1, 1, 2, 3, 3, 5][random.usize(0..6)];
        let script: Vec<char> = (0..length).map(|place| if place % 2 == 0 { 'S' } else { 'U' }).collect();
        let mut client = Client { connection, topic: topic(number), script, died: Vec::new() };
        // Now and then it takes its time, in which a lane is handed on.
        let pause = if random.u8(..4) == 0 { 300 } else { 12 };
        let mut sent = Duration::ZERO;
        let frames = client.script.iter().zip(1..).map(|(command, version)| {
            let (at, late) = (sent, Duration::from_millis(random.u64(0..15)));
            sent += Duration::from_millis(random.u64(0..pause));
            self.frame(&client, *command, version, (at, late))
        });
        let done = join_all(frames).await;
        client.died = done.iter().zip(1..).filter(|(done, _)| !**done).map(|(_, version)| version).collect();
        client
    }

    /// A command that is sent at a time, and handled some time later; whether its function has come to its end.
    async fn frame(&self, client: &Client, command: char, version: u64, (at, late): (Duration, Duration)) -> bool {
        let Client { connection, topic, .. } = client;
        let id = connection.id.as_str();
        tokio::time::sleep(at).await;
        self.standin.note(id, &json!({"sent": command.to_string(), "id": version}));
        tokio::time::sleep(late).await;
        let handled = tokio::time::timeout(LONGEST_COMMAND, self.handle(connection, topic, command, version));
        let handled = self.race.mortal(format!("{id}-{version}"), self.dying, handled).await;
        handled.inspect(|handled| assert!(handled.is_ok(), "{command} {version} of {id} takes for ever")).is_some()
    }

    /// What the default route does with a command.
    async fn handle(&self, connection: &Connection, topic: &Topic, command: char, version: u64) {
        let is_clear = match command {
            'S' => self.subscribe(connection, topic, version).await,
            _ => {
                let left =
                    going_live::leave(&self.registry, connection, topic, Place::new(0, version), Clock::System).await;
                matches!(left, Ok(Begun::Ours(()) | Begun::Overtaken))
            }
        };
        if !is_clear {
            while self.management.close(&connection.socket).await.is_err() {}
        }
    }

    /// Whether it is known what the client has.
    async fn subscribe(&self, connection: &Connection, topic: &Topic, version: u64) -> bool {
        let retention = self.history.of_topic(topic).unwrap();
        match going_live::begin(&self.registry, connection, topic, retention, Place::new(0, version), Clock::System)
            .await
        {
            Ok(Begun::Ours(going)) => self.go(&going, connection, version).await,
            Ok(Begun::Overtaken) => true,
            Ok(Begun::Stuck) | Err(_) => false,
        }
    }

    async fn go(&self, going: &GoingLive<'_>, connection: &Connection, version: u64) -> bool {
        let Ok(told) = going.missed(None, &mut 0).await else { return false };
        let send = async |message: Value| self.management.send(&connection.socket, message.to_string()).await;
        if send(json!({"reply": version, "offset": told.position.offset})).await.is_err() {
            return false;
        }
        let post = async |messages: &[Notification]| {
            for message in messages {
                let offset = message.log.as_ref().unwrap().position.offset;
                send(json!({"push": {"pub": {"offset": offset}}})).await?;
            }
            Ok::<_, tidings::delivery::SocketError>(())
        };
        matches!(going.finish(told.position, false, post).await, Ok(Ended::Live | Ended::Overtaken))
    }

    /// Subscribes a connection while nothing else is done in its topic, which has no messages yet.
    pub(crate) async fn subscribe_at_rest(&self, registry: &Registry, connection: &Connection, topic: &Topic) {
        let (retention, place) = (self.history.of_topic(topic).unwrap(), Place::new(0, 1));
        let begun = going_live::begin(registry, connection, topic, retention, place, Clock::System).await.unwrap();
        let Begun::Ours(going) = begun else { panic!("nobody else subscribes") };
        let told = going.missed(None, &mut 0).await.unwrap();
        let nothing = async |_: &[Notification]| Ok::<_, tidings::delivery::SocketError>(());
        assert!(matches!(going.finish(told.position, false, nothing).await, Ok(Ended::Live)));
    }

    async fn end(&self, table: &Table, topic: &Topic) -> u64 {
        let registry = Registry::new(table.client(), &table.name);
        registry.head(&LogName::Topic(topic.clone())).await.unwrap().unwrap().offset
    }
}

/// What became of a client, by what went over its socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// What it is subscribed from, and the last that it has.
    subscribed: Option<(u64, u64)>,
    /// The subscribe that it waits for.
    waits_for: Option<u64>,
    pushes: usize,
}

/// Follows a client over its socket, as the libraries do: pushes before the reply are dropped, replies to what it does not
/// wait for too, and nothing is sorted.
fn follow(client: &Client, messages: &[bytes::Bytes]) -> Seen {
    let mut seen = Seen::default();
    let all: Vec<Value> = messages.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
    for message in &all {
        if let Some(command) = message["sent"].as_str() {
            let id = message["id"].as_u64().unwrap();
            (seen.subscribed, seen.waits_for) = (None, (command == "S").then_some(id));
        } else if let Some(reply) = message["reply"].as_u64() {
            if seen.waits_for == Some(reply) {
                let offset = message["offset"].as_u64().unwrap();
                (seen.subscribed, seen.waits_for) = (Some((offset, offset)), None);
            }
        } else if let Some((from, last)) = seen.subscribed {
            let offset = message["push"]["pub"]["offset"].as_u64().unwrap_or_else(|| panic!("{message}"));
            assert_eq!(offset, last + 1, "{client:?}: reply {from}, then {all:?}");
            seen.subscribed = Some((from, offset));
            seen.pushes += 1;
        }
    }
    seen
}

async fn run(table: &Table, race: Race) {
    let operations = race.operations();
    let world = Arc::new(World::new(table, race, FAULTS, DYING).await);
    world.standin.throttle(0.01);
    let server = tokio::spawn(Arc::clone(&world).serve_queue(invocation));
    let work = stream::iter(0..operations).map(|number| {
        let world = Arc::clone(&world);
        async move {
            if number.is_multiple_of(5) {
                return Some(world.client(number).await);
            }
            world.deliver(&topic(number), &format!("n{number}"), invocation).await;
            None
        }
    });
    let clients: Vec<Client> = work.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    world.settle().await;
    check(&world, table, &clients).await;
    // Whoever died may have left a member pending that no lane has passed, which the next message finds.
    let topics: BTreeSet<_> = (0..operations).map(topic).collect();
    let say_last = async |topic: &Topic| world.deliver(topic, &format!("last-{topic}"), invocation).await;
    stream::iter(&topics).for_each_concurrent(SIDE_BY_SIDE, say_last).await;
    world.settle().await;
    stream::iter(&topics).for_each_concurrent(SIDE_BY_SIDE, async |topic| come(&world, table, topic).await).await;
    assert!(!server.is_finished());
    server.abort();
    check(&world, table, &clients).await;
}

/// A client that comes when all is done goes live, and gets what is said then, or is closed and comes again.
async fn come(world: &World, table: &Table, topic: &Topic) {
    let registry = registry(table);
    for time in 0..COMES {
        let name = format!("late-{topic}-{time}");
        let mut connection = made_at(now() - 3_600_000, connection(&name, None, &[]));
        connection.protocol = Protocol::Centrifuge;
        world.standin.add(connection.id.as_str(), Behaviour::Takes);
        registry.connect(&connection).await.unwrap();
        world.subscribe_at_rest(&registry, &connection, topic).await;
        let from = world.end(table, topic).await;
        world.deliver(topic, &name, invocation).await;
        world.settle().await;
        let used = world.standin.used(connection.id.as_str());
        let has: Vec<Value> = used.messages.iter().map(|bytes| serde_json::from_slice(bytes).unwrap()).collect();
        let offsets: Vec<_> = has.iter().filter_map(|message| message["push"]["pub"]["offset"].as_u64()).collect();
        assert!(offsets.iter().all(|offset| *offset == from + 1) && offsets.len() < 2, "{name} at {from}: {has:?}");
        if !used.is_closed {
            assert_eq!(offsets, [from + 1], "{name} was not told, and not closed");
            return;
        }
    }
    panic!("whoever comes to {topic} is closed");
}

async fn check(world: &World, table: &Table, clients: &[Client]) {
    let (mut closed, mut live, mut pushes) = (0, 0, 0);
    for client in clients {
        let used = world.standin.used(client.connection.id.as_str());
        let seen = follow(client, &used.messages);
        pushes += seen.pushes;
        if used.is_closed {
            closed += 1;
            continue;
        }
        let end = world.end(table, &client.topic).await;
        match (seen.subscribed, seen.waits_for) {
            (Some((from, last)), _) => {
                assert_eq!(last, end, "{client:?}: reply {from}, and then not all: {:?}", used.messages);
                live += 1;
            }
            (None, Some(id)) => {
                assert!(client.died.contains(&id), "{client:?} waits for ever");
            }
            (None, None) => assert_eq!(client.script.last(), Some(&'U'), "{client:?}"),
        }
    }
    say(&format!("{} clients: {live} live, {closed} closed, {pushes} pushes", clients.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_a_server_gives_to_a_live_client_leaves_it_where_it_is() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = registry(&table);
    let (topic, place) = (topic(0), Place::new(0, 1));
    let retention = History::parse(ORDERED).unwrap().of_topic(&topic).unwrap();
    let mut connection = made_at(now() - 60_000, connection("c1", Some("u1"), &[]));
    connection.protocol = Protocol::Centrifuge;
    registry.connect(&connection).await.unwrap();
    let Begun::Ours(going) =
        going_live::begin(&registry, &connection, &topic, retention, place, Clock::System).await.unwrap()
    else {
        panic!("nobody else subscribes");
    };
    let told = going.missed(None, &mut 0).await.unwrap();
    let nothing = async |_: &[Notification]| Ok::<_, tidings::delivery::SocketError>(());
    assert!(matches!(going.finish(told.position, false, nothing).await, Ok(Ended::Live)));
    let live = registry.strict(&connection.id, &topic).await.unwrap().unwrap();
    registry.add_durable_topic(connection.user.as_ref().unwrap(), &topic).await.unwrap();
    let now = registry.strict(&connection.id, &topic).await.unwrap().expect("it is still such a member");
    assert_eq!((now.standing, now.place), (live.standing, live.place));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_again_waits_until_a_lane_whose_holder_has_died_is_taken_by_another() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = registry(&table);
    let topic = topic(0);
    let retention = History::parse(ORDERED).unwrap().of_topic(&topic).unwrap();
    let connection = made_at(now() - 60_000, connection("c1", None, &[]));
    registry.connect(&connection).await.unwrap();
    let left = going_live::leave(&registry, &connection, &topic, Place::new(0, 1), Clock::System).await;
    assert!(matches!(left, Ok(Begun::Ours(()))), "{left:?}");
    // Its lease is over, but it was not given back: what its holder has sent may still arrive.
    let taker = |owner, ends_at| LaneTaker { owner, cause: None, ends_at };
    registry.take_lane(&topic, &taker("dead", now() - 1), now()).await.unwrap().expect("nobody holds it");
    let begun = going_live::begin(&registry, &connection, &topic, retention, Place::new(0, 2), Clock::System);
    tokio::pin!(begun);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut begun).await.is_err(), "it does not wait");
    let next = registry.take_lane(&topic, &taker("next", now() + 10_000), now()).await.unwrap();
    assert!(next.is_some(), "the lease is over");
    let begun = begun.await;
    assert!(matches!(begun, Ok(Begun::Ours(_))), "{begun:?}");
}

on_both_engines!(random_interleavings_of_strict_clients_lanes_and_deaths_leave_nothing_missing_twice_or_out_of_order);

async fn random_interleavings_of_strict_clients_lanes_and_deaths_leave_nothing_missing_twice_or_out_of_order(
    table: Table,
) {
    let few = operations(table.engine);
    Race::run(table, few, &STEPS, async |table: Table, race| run(&table, race).await).await;
}
