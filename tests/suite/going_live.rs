//! Clients that neither sort nor drop what they get: whatever meets, dies or is lost, each has its offsets one after the
//! other, none twice and none missing, or its connection is closed. `TIDINGS_OPERATIONS=10000 cargo test --workspace --test
//! suite -- going_live` is the whole of it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::now;
use tests::queues::{self, Served};
use tests::standin::{Behaviour, Standin};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits, Management};
use tidings::fanout::{FanOut, HandedOn, Invocation, Queues, Segment};
use tidings::going_live::{self, Begun, Ended, GoingLive};
use tidings::history::History;
use tidings::log::LogName;
use tidings::notification::{Defaults, Notification};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, Place, Registry};
use tidings::{NotificationId, Topic};

use crate::fanout;
use crate::registry::{connection, made_at, registry};

/// Operations of one run: four messages for each client.
const OPERATIONS: usize = 400;
const SIDE_BY_SIDE: usize = 24;
const TOPICS: usize = 4;
/// A whole operation takes several times as long.
const LONGEST_LIFE: Duration = Duration::from_millis(40);
const ORDERED: &str = r#"[{"to":{"topic":"**"},"seconds":3600,"ordered":true}]"#;

struct World {
    registry: Registry,
    fan_out: FanOut,
    fan_out_queue: Served,
    standin: Standin,
    management: Management,
    history: History,
}

/// A client and what it sent, in this order: the first command is sent when it comes, the others whenever it likes.
#[derive(Debug)]
struct Client {
    connection: Connection,
    topic: Topic,
    /// `S` and `U`.
    script: Vec<char>,
    /// Commands whose function died: nobody answers them.
    died: Vec<usize>,
}

fn topic(number: usize) -> Topic {
    Topic::parse(format!("t{}", number % TOPICS)).unwrap()
}

fn segment(number: usize) -> Segment {
    let defaults = Defaults { id: NotificationId::parse(format!("n{number}")).unwrap(), at: now() };
    let text = format!(r#"{{"to":{{"topic":"{}"}},"data":{number}}}"#, topic(number));
    Segment::whole(Notification::parse(&text, &defaults).unwrap(), "sqs-1")
}

fn operations() -> usize {
    std::env::var("TIDINGS_OPERATIONS").map_or(OPERATIONS, |text| text.parse().unwrap())
}

/// As Lambda's: there is time left when its work ends.
fn invocation(owner: &str) -> Invocation {
    let lease_until = now() + 5_000;
    Invocation { lease_until, ..fanout::invocation(owner, Duration::from_secs(3)) }
}

impl World {
    async fn new(table: &Table, (refused, lost): (f64, f64)) -> Self {
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
        Self { registry, fan_out, fan_out_queue, standin, management, history }
    }

    async fn take_up(&self, number: usize, attempt: usize, may_die: bool) -> bool {
        let invocation = invocation(&format!("w{number}-{attempt}"));
        let (segment, life) = (segment(number), LONGEST_LIFE.mul_f64(fastrand::f64()));
        let taken = self.fan_out.take_up(&segment, &invocation);
        match may_die && fastrand::f64() < 0.02 {
            true => tokio::time::timeout(life, taken).await.is_ok_and(|taken| taken.is_ok()),
            false => taken.await.is_ok(),
        }
    }

    /// As a queue does: perhaps twice at once, and again until it is done.
    async fn deliver(&self, number: usize) {
        let twice = fastrand::f64() < 0.05;
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

    /// Serves the fan-out queue for ever.
    async fn serve_queue(&self) {
        loop {
            let messages = self.fan_out_queue.take().await;
            for (number, message) in messages.iter().enumerate() {
                match self.fan_out.read(message.body().unwrap()).await {
                    Ok(HandedOn::Lane(topic)) => {
                        let invocation = invocation(&format!("q{number}-{}", fastrand::u64(..)));
                        let _ = self.fan_out.wake(&topic, 1, &invocation).await;
                    }
                    Ok(HandedOn::Passed(member)) => while self.fan_out.check_passed(&member).await.is_err() {},
                    other => panic!("{other:?}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A client that sends its commands without waiting for anything, and whose frames are handled in any order.
    async fn client(&self, number: usize) -> Option<Client> {
        let (topic, mut connection) =
            (topic(number), made_at(now() - 3_600_000, connection(&format!("c{number}"), None, &[])));
        connection.protocol = Protocol::Centrifuge;
        self.standin.add(connection.id.as_str(), Behaviour::Takes);
        let length = [1, 1, 2, 3, 3, 5][fastrand::usize(0..6)];
        let script: Vec<char> = (0..length).map(|place| if place % 2 == 0 { 'S' } else { 'U' }).collect();
        let (connection_, topic_) = (&connection, &topic);
        let mut sent = Duration::ZERO;
        let frames = script.iter().enumerate().map(|(index, command)| {
            let (version, at) = (index as u64 + 1, sent);
            sent += Duration::from_millis(fastrand::u64(0..12));
            async move {
                tokio::time::sleep(at).await;
                self.standin.note(connection_.id.as_str(), &json!({"sent": command.to_string(), "id": version}));
                tokio::time::sleep(Duration::from_millis(fastrand::u64(0..15))).await;
                let handled = self.handle(connection_, topic_, *command, version);
                match fastrand::f64() < 0.03 {
                    true => tokio::time::timeout(LONGEST_LIFE.mul_f64(fastrand::f64()), handled).await.is_ok(),
                    false => {
                        handled.await;
                        true
                    }
                }
            }
        });
        let done = join_all(frames).await;
        let died = done.iter().enumerate().filter(|(_, done)| !**done).map(|(index, _)| index + 1).collect();
        Some(Client { connection, topic, script, died })
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

async fn race(table: Table, faults: (f64, f64), operations: usize) {
    let world = Arc::new(World::new(&table, faults).await);
    let server = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.serve_queue().await }
    });
    let work = stream::iter(0..operations).map(|number| {
        let world = Arc::clone(&world);
        async move {
            match number % 5 {
                0 => world.client(number).await,
                _ => {
                    world.deliver(number).await;
                    None
                }
            }
        }
    });
    let clients: Vec<Client> = work.buffer_unordered(SIDE_BY_SIDE).filter_map(std::future::ready).collect().await;
    // Whoever died may have left a lane held, or a member pending.
    tokio::time::sleep(Duration::from_secs(12)).await;
    for number in operations..operations + TOPICS {
        world.deliver(number).await;
    }
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!server.is_finished());
    server.abort();
    check(&world, &table, &clients).await;
}

#[expect(clippy::print_stderr, reason = "what became of the clients")]
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
                assert!(client.died.contains(&usize::try_from(id).unwrap()), "{client:?} waits for ever");
            }
            (None, None) => assert_eq!(client.script.last(), Some(&'U'), "{client:?}"),
        }
    }
    eprintln!("{} clients: {live} live, {closed} closed, {pushes} pushes", clients.len());
    assert!(live > clients.len() / 4 && pushes > live, "{live} live of {} and {pushes} pushes", clients.len());
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
async fn random_interleavings_of_strict_clients_lanes_and_deaths_leave_nothing_missing_twice_or_out_of_order() {
    race(Engine::Embedded.table().await.unwrap(), (0.003, 0.001), operations()).await;
}
