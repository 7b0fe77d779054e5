//! Much at once on the same rows, where transactions conflict as they do in DynamoDB.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use futures_util::future::try_join_all;
use tests::conflicts::Conflicts;
use tests::engine::{Table, http};
use tidings::registry::{Audience, Connection, Interval, Registry};
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

async fn a_thousand_connections_of_one_user_change_and_come_back_without_a_conflict(table: Table) {
    let conflicts = Conflicts::default();
    let registry = Registry::new(table.client_through(conflicts.client(http())), &table.name);
    let (user, news) = (UserId::parse("service").unwrap(), topic("news"));
    let named = |index: usize| connection(&format!("c{index:04}"), Some("service"), &[]);
    let old: Vec<_> = (0..CONNECTIONS).map(named).collect();
    for some in old.chunks(50) {
        try_join_all(some.iter().map(|one| registry.connect(one))).await.unwrap();
    }
    let started = Instant::now();
    assert_eq!(registry.add_durable_topic(&user, &news).await.unwrap(), CONNECTIONS);
    assert_eq!(listeners(&registry, &news).await, CONNECTIONS);
    let new: Vec<_> = (CONNECTIONS..CONNECTIONS + RECONNECTING).map(named).collect();
    let reconnecting = old.iter().zip(&new).map(|(old, new)| reconnect(&registry, old, new));
    let topics: Vec<_> = (0..FRAMES).map(|index| topic(&format!("t{index}"))).collect();
    let frames = topics.iter().map(|topic| registry.subscribe(&old[CONNECTIONS - 1].id, std::slice::from_ref(topic)));
    tokio::try_join!(try_join_all(reconnecting), try_join_all(frames)).unwrap();
    assert_eq!(listeners(&registry, &news).await, CONNECTIONS);
    assert_eq!(registry.remove_durable_topic(&user, &news).await.unwrap(), CONNECTIONS);
    let took = started.elapsed();
    assert_eq!(listeners(&registry, &news).await, 0);
    for topic in &topics {
        assert_eq!(listeners(&registry, topic).await, 1, "{topic}");
    }
    assert_eq!(conflicts.refused(), 0);
    assert!(took < PATIENCE, "it took {took:?}");
}

async fn reconnect(
    registry: &Registry,
    old: &Connection,
    new: &Connection,
) -> Result<(), tidings::registry::RegistryError> {
    tokio::try_join!(registry.disconnect(&old.id, &old.socket), registry.connect(new))?;
    Ok(())
}

async fn listeners(registry: &Registry, topic: &Topic) -> usize {
    let count = registry.count(Audience::Topic(topic), &Interval::whole(), NOW).await.unwrap();
    usize::try_from(count).unwrap()
}
