//! Everything at once: whatever the order, no orphan stays and no connection is open but unknown.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tidings::registry::{Connection, Registry, RegistryError};
use tokio::sync::Semaphore;

use super::{connection, text, topic};

const OPERATIONS: usize = 10_000;
const SIDE_BY_SIDE: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn random_interleavings_with_conflicts_and_throttling_leave_no_orphan_and_nobody_unknown() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client_through(Faulty::client(http(), 0.2)), &table.name);
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
            let open = client(&registry, number, &done).await;
            drop(place);
            open
        }));
    }
    let ends = join_all(clients).await.into_iter().map(Result::unwrap);
    let open: HashSet<String> = ends.flatten().map(|connection| connection.id.to_string()).collect();
    assert!(!open.is_empty(), "some connections should be left");
    check(&table, &open).await;
}

/// Connects one client, runs random commands of it side by side, and says whether it is still connected.
async fn client(registry: &Registry, number: usize, done: &AtomicUsize) -> Option<Connection> {
    let connected = connection(&format!("c{number}"), Some(&format!("u{}", number % 50)), &["t0"]);
    registry.connect(&connected).await.unwrap();
    let leaves = fastrand::f64() < 0.7;
    let mut commands: Vec<u8> = (0..fastrand::usize(3..8)).map(|_| fastrand::u8(0..2)).collect();
    if leaves {
        commands.extend([2, 2]);
        fastrand::shuffle(&mut commands);
    }
    done.fetch_add(1 + commands.len(), Ordering::Relaxed);
    join_all(commands.into_iter().map(|command| run(registry, &connected, command))).await;
    (!leaves).then_some(connected)
}

async fn run(registry: &Registry, connected: &Connection, command: u8) {
    let topics = [topic(&format!("t{}", fastrand::u8(0..6))), topic(&format!("s{}", fastrand::u8(0..6)))];
    let outcome = match command {
        0 => registry.subscribe(&connected.id, &topics).await,
        1 => registry.unsubscribe(&connected.id, &topics).await,
        _ => registry.disconnect(&connected.id, &connected.socket).await.map(|_| ()),
    };
    assert!(matches!(outcome, Ok(()) | Err(RegistryError::NotConnected)), "{outcome:?}");
}

/// Every open connection has its row, every membership its connection, and every connection its memberships.
async fn check(table: &Table, open: &HashSet<String>) {
    let (mut known, mut expected, mut memberships) = (HashSet::new(), HashSet::new(), HashSet::new());
    for row in table.rows().await {
        let (pk, sk) = (text(&row, "pk").to_owned(), text(&row, "sk").to_owned());
        if !pk.starts_with("conn#") {
            memberships.insert((pk, sk));
            continue;
        }
        known.insert(sk[3..].to_owned());
        expected.insert((format!("user#{}", text(&row, "user")), sk.clone()));
        let topics = row.get("topics").map(|topics| topics.as_ss().unwrap().clone()).unwrap_or_default();
        expected.extend(topics.into_iter().map(|topic| (format!("topic#{topic}"), sk.clone())));
    }
    assert_eq!(&known, open);
    assert_eq!(memberships, expected);
}
