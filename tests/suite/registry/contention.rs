//! Much at once on the same rows, where transactions conflict as they do in DynamoDB.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use futures_util::future::try_join_all;
use tests::conflicts::Conflicts;
use tests::engine::{Table, http};
use tidings::registry::{Audience, Connection, Interval, Registry, RegistryError};
use tidings::{Topic, UserId};

use super::{NOW, connection, on_both_engines, topic};

on_both_engines!(
    transactions_that_meet_on_an_item_are_cancelled,
    a_thousand_connections_of_one_user_change_and_come_back_without_a_conflict,
);

/// So that the other test proves something.
async fn transactions_that_meet_on_an_item_are_cancelled(table: Table) {
    let conflicts = Conflicts::default();
    let client = table.client_through(conflicts.client(http()));
    let put = |sk: &str| {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let put = Put::builder().table_name(&table.name).item("pk", text("p")).item("sk", text(sk)).build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let transact = |items: &[&str]| {
        let writes = items.iter().map(|sk| put(sk)).collect();
        client.transact_write_items().set_transact_items(Some(writes)).send()
    };
    let (one, other, elsewhere) = tokio::join!(transact(&["a", "b"]), transact(&["b", "c"]), transact(&["d"]));
    assert!(one.is_ok() && elsewhere.is_ok(), "{one:?} {elsewhere:?}");
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = other.unwrap_err().into_service_error()
    else {
        panic!("it should be cancelled");
    };
    let codes: Vec<_> = cancelled.cancellation_reasons().iter().map(|reason| reason.code().unwrap()).collect();
    assert_eq!((codes, conflicts.refused()), (vec!["TransactionConflict", "None"], 1));
    // One after the other they do not meet.
    transact(&["b", "c"]).await.unwrap();
    assert_eq!((conflicts.transactions(), conflicts.refused()), (4, 1));
}

const CONNECTIONS: usize = 1_000;
const RECONNECTING: usize = 200;
const FRAMES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(4);
/// On a machine that is busy with something else a call takes longer, whatever is asked for: then each may take so many
/// times as long as reading the connections one by one does.
const TIMES_READING: u32 = 8;

async fn a_thousand_connections_of_one_user_change_and_come_back_without_a_conflict(table: Table) {
    let conflicts = Conflicts::default();
    let registry = Registry::new(table.client_through(conflicts.client(http())), &table.name);
    let mut present: Vec<_> = (0..CONNECTIONS).map(|index| of_one_user(&format!("c{index}"))).collect();
    for some in present.chunks(50) {
        try_join_all(some.iter().map(|one| registry.connect(one))).await.unwrap();
    }
    let reading = Instant::now();
    for some in present.chunks(50) {
        try_join_all(some.iter().map(|one| registry.connection(&one.id))).await.unwrap();
    }
    let patience = PATIENCE.max(reading.elapsed() * TIMES_READING);
    let took = change_and_come_back(&registry, &mut present).await;
    assert_eq!((conflicts.transactions(), conflicts.refused()), (0, 0));
    assert!(took.iter().all(|took| *took <= patience), "it took {took:?}, and {patience:?} are allowed");
}

/// The user gets a durable topic; many of its connections come back, while another connection sends many frames; and the
/// user loses the topic. Returns how long each took.
async fn change_and_come_back(registry: &Registry, present: &mut [Connection]) -> [Duration; 3] {
    let (user, news) = (UserId::parse("service").unwrap(), topic("news"));
    let chatty = connection("chatty", None, &[]);
    registry.connect(&chatty).await.unwrap();
    let start = Instant::now();
    assert_eq!(registry.add_durable_topic(&user, &news).await.unwrap(), CONNECTIONS);
    let got = start.elapsed();
    assert_eq!(listeners(registry, &news).await, CONNECTIONS);
    let reconnecting = present.iter_mut().take(RECONNECTING).enumerate();
    let reconnecting = reconnecting.map(|(index, old)| reconnect(registry, old, format!("r{index}")));
    let topics: Vec<_> = (0..FRAMES).map(|index| topic(&format!("t{index}"))).collect();
    let frames = topics.iter().map(|topic| registry.subscribe(&chatty.id, std::slice::from_ref(topic)));
    let start = Instant::now();
    tokio::try_join!(try_join_all(reconnecting), try_join_all(frames)).unwrap();
    let came_back = start.elapsed();
    assert_eq!(listeners(registry, &news).await, CONNECTIONS);
    for topic in &topics {
        assert_eq!(listeners(registry, topic).await, 1, "{topic}");
    }
    let start = Instant::now();
    assert_eq!(registry.remove_durable_topic(&user, &news).await.unwrap(), CONNECTIONS);
    let lost = start.elapsed();
    assert_eq!(listeners(registry, &news).await, 0);
    [got, came_back, lost]
}

fn of_one_user(id: &str) -> Connection {
    connection(id, Some("service"), &[])
}

async fn reconnect(registry: &Registry, one: &mut Connection, id: String) -> Result<(), RegistryError> {
    let old = std::mem::replace(one, of_one_user(&id));
    tokio::try_join!(registry.disconnect(&old.id, &old.socket), registry.connect(one))?;
    Ok(())
}

async fn listeners(registry: &Registry, topic: &Topic) -> usize {
    let count = registry.count(Audience::Topic(topic), &Interval::whole(), NOW).await.unwrap();
    usize::try_from(count).unwrap()
}
