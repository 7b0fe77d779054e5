//! Everything at once: whatever the order, no orphan stays, no subscription is lost, and no connection is open but unknown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tidings::notification::Target;
use tidings::registry::{Connection, Interval, Place, Registry, RegistryError};
use tidings::{Topic, UserId};
use tokio::sync::Semaphore;

use super::{NOW, connection, read, registry, said, topic, topics};

const OPERATIONS: usize = 10_000;
const SIDE_BY_SIDE: usize = 24;
const USERS: usize = 50;
const SHARED_TOPICS: usize = 6;
/// A whole operation takes several times as long.
const LONGEST_LIFE: Duration = Duration::from_millis(15);

/// How an environment treats an operation.
#[derive(Clone, Copy)]
enum Fate {
    Completes,
    /// It may end between any two of its calls, as a function that runs out of time.
    MayCrash,
}

/// A client, and what must be true of it in the end.
struct End {
    connection: Connection,
    is_open: bool,
    /// What it was subscribed to for certain, and never unsubscribed from.
    kept: Vec<Topic>,
}

#[derive(Clone, Copy)]
enum Command {
    /// As the client asks, in whatever order, or a server does.
    Subscribe(usize, usize, Option<Place>),
    Unsubscribe(usize, usize, Option<Place>),
    /// To a topic that nobody unsubscribes from.
    Keep(usize),
    Disconnect,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_interleavings_with_failures_and_throttling_leave_no_orphan_and_nobody_unknown() {
    let table = Engine::Embedded.table().await.unwrap();
    let ends = run_clients(&table, Faulty::client(http(), 0.1, 0.0), Fate::Completes).await;
    check(&table, &ends).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_crashes_and_lost_answers_leave_goes_with_the_next_push_and_the_next_attempt() {
    let table = Engine::Embedded.table().await.unwrap();
    let ends = run_clients(&table, Faulty::client(http(), 0.05, 0.05), Fate::MayCrash).await;
    push_to_everybody(&table, &ends).await;
    check(&table, &ends).await;
}

async fn run_clients(table: &Table, http: aws_sdk_dynamodb::config::SharedHttpClient, fate: Fate) -> Vec<End> {
    let registry = Registry::new(table.client_through(http), &table.name);
    let done = Arc::new(AtomicUsize::new(0));
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut clients = Vec::new();
    for number in 0.. {
        if done.load(Ordering::Relaxed) >= OPERATIONS {
            break;
        }
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let (registry, done) = (registry.clone(), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let end = client(&registry, number, &done, fate).await;
            drop(place);
            end
        }));
    }
    let ends: Vec<_> = join_all(clients).await.into_iter().map(Result::unwrap).collect();
    let open = ends.iter().filter(|end| end.is_open).count();
    assert!((ends.len() / 10..=ends.len() / 2).contains(&open), "{open} of {} are left", ends.len());
    ends
}

/// Connects one client and runs random commands of it side by side. One that did not complete is tried again, as clients
/// do that get no answer.
async fn client(registry: &Registry, number: usize, done: &AtomicUsize, fate: Fate) -> End {
    let user = format!("u{}", number % USERS);
    let connected = connection(&format!("c{number}"), Some(&user), &["t0"]);
    let leaves = fastrand::f64() < 0.7;
    let mut commands: Vec<_> = (0..fastrand::usize(3..8)).map(command).collect();
    if leaves {
        commands.extend([Command::Disconnect; 2]);
        fastrand::shuffle(&mut commands);
    }
    done.fetch_add(1 + commands.len(), Ordering::Relaxed);
    let Some(outcome) = alive(fate, registry.connect(&connected)).await else {
        // API Gateway turns the client away.
        return End { connection: connected, is_open: false, kept: Vec::new() };
    };
    outcome.unwrap();
    let kept = join_all(commands.iter().map(|command| complete(registry, &connected, *command, fate))).await;
    End { is_open: !leaves, kept: kept.into_iter().flatten().collect(), connection: connected }
}

fn command(number: usize) -> Command {
    let (one, other) = (fastrand::usize(..SHARED_TOPICS), fastrand::usize(..SHARED_TOPICS));
    match fastrand::u8(..5) {
        0 | 1 => Command::Subscribe(one, other, place()),
        2 | 3 => Command::Unsubscribe(one, other, place()),
        _ => Command::Keep(number),
    }
}

fn place() -> Option<Place> {
    fastrand::bool().then(|| Place::new(NOW, fastrand::u64(..10)))
}

/// What an operation came to, unless it crashed.
async fn alive<T>(fate: Fate, operation: impl Future<Output = T>) -> Option<T> {
    match fate {
        Fate::MayCrash if fastrand::f64() < 0.3 => {
            tokio::time::timeout(LONGEST_LIFE.mul_f64(fastrand::f64()), operation).await.ok()
        }
        _ => Some(operation.await),
    }
}

/// Runs a command until it is answered; returns the topic that is kept for it. API Gateway says once that a client is
/// gone, whatever becomes of it.
async fn complete(registry: &Registry, connected: &Connection, command: Command, fate: Fate) -> Option<Topic> {
    loop {
        match alive(fate, run(registry, connected, command)).await {
            None if matches!(command, Command::Disconnect) => return None,
            None => {}
            Some(outcome) => {
                assert!(matches!(outcome, Ok(()) | Err(RegistryError::NotConnected)), "{outcome:?}");
                return outcome.ok().and(kept(command));
            }
        }
    }
}

fn kept(command: Command) -> Option<Topic> {
    match command {
        Command::Keep(number) => Some(topic(&format!("kept{number}"))),
        _ => None,
    }
}

async fn run(registry: &Registry, connected: &Connection, command: Command) -> Result<(), RegistryError> {
    let pair = |one, other| [topic(&format!("t{one}")), topic(&format!("s{other}"))];
    match command {
        Command::Subscribe(one, other, Some(place)) => {
            registry.subscribe_at(place, &connected.id, &pair(one, other)).await
        }
        Command::Unsubscribe(one, other, Some(place)) => {
            registry.unsubscribe_at(place, &connected.id, &pair(one, other)).await
        }
        Command::Subscribe(one, other, None) => registry.subscribe(&connected.id, &pair(one, other)).await,
        Command::Unsubscribe(one, other, None) => registry.unsubscribe(&connected.id, &pair(one, other)).await,
        Command::Keep(_) => registry.subscribe(&connected.id, &Vec::from_iter(kept(command))).await,
        Command::Disconnect => registry.disconnect(&connected.id, &connected.socket).await.map(drop),
    }
}

/// Pushes to every audience, of which the sockets of closed connections are found gone.
async fn push_to_everybody(table: &Table, ends: &[End]) {
    let registry = registry(table);
    let open: BTreeSet<_> = ends.iter().filter(|end| end.is_open).map(|end| &end.connection.id).collect();
    let users = (0..USERS).map(|number| Target::User(UserId::parse(format!("u{number}")).unwrap()));
    let shared = (0..SHARED_TOPICS).flat_map(|number| [format!("t{number}"), format!("s{number}")]);
    let topics = shared.chain((0..8).map(|number| format!("kept{number}"))).map(|name| Target::Topic(topic(&name)));
    for target in users.chain(topics).chain([Target::Everyone]) {
        for member in read(&registry, &[target], &Interval::whole()).await {
            if !open.contains(&member.connection) {
                registry.remove_gone(&member).await.unwrap();
            }
        }
    }
}

/// Every open connection has its row and what it keeps, every membership its connection, and every connection its
/// memberships.
async fn check(table: &Table, ends: &[End]) {
    let said = said(table).await;
    let open: BTreeSet<_> = ends.iter().filter(|end| end.is_open).map(|end| end.connection.id.to_string()).collect();
    assert_eq!(said.connections.keys().cloned().collect::<BTreeSet<_>>(), open);
    let surplus: Vec<_> = said.found.iter().filter(|key| !said.expected.contains(key)).collect();
    let missing: Vec<_> = said.expected.iter().filter(|key| !said.found.contains(key)).collect();
    assert!(surplus.is_empty() && missing.is_empty(), "surplus: {surplus:?}, missing: {missing:?}");
    for end in ends.iter().filter(|end| end.is_open) {
        let has = topics(&said.connections[end.connection.id.as_str()]);
        assert!(end.kept.iter().all(|topic| has.contains(topic.as_str())), "{} has {has:?}", end.connection.id);
    }
}
