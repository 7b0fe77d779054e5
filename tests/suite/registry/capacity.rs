//! What each operation costs, in the units that DynamoDB bills.

use tests::engine::{Engine, Table};
use tidings::UserId;
use tidings::notification::Target;
use tidings::registry::{Consumed, Interval};

use super::{connection, fill, on_both_engines, read, registry, topic};

on_both_engines!(
    each_operation_costs_what_it_should,
    durable_topics_cost_what_they_should,
    a_thousand_members_cost_what_their_bytes_cost
);

async fn each_operation_costs_what_it_should(table: Table) {
    let registry = registry(&table);
    let connected = connection("BFHPhfCWIAMCKlQ=", Some("alice"), &[]);
    let before = registry.consumed();
    registry.connect(&connected).await.unwrap();
    let connect = registry.consumed();
    registry.subscribe(&connected.id, &[topic("orders/42")]).await.unwrap();
    let subscribe = registry.consumed();
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    let disconnect = registry.consumed();
    // The connection and its user, whose durable topics are looked for.
    assert_eq!(connect - before, Consumed { read: 1.0, write: 2.0 });
    // One consistent read; a transaction of two items counts each twice. DynamoDB Local says 2 of every transaction.
    let write = if table.engine == Engine::Embedded { 4.0 } else { 2.0 };
    assert_eq!(subscribe - connect, Consumed { read: 1.0, write });
    // The connection, its user and its topic.
    assert_eq!(disconnect - subscribe, Consumed { read: 0.0, write: 3.0 });
}

async fn durable_topics_cost_what_they_should(table: Table) {
    let registry = registry(&table);
    let (user, orders) = (UserId::parse("alice").unwrap(), topic("orders/42"));
    // In a transaction each item counts twice; DynamoDB Local says 2 of every transaction.
    let transaction = |items: f64| if table.engine == Engine::Embedded { 2.0 * items } else { 2.0 };
    let before = registry.consumed();
    registry.connect(&connection("nobody", None, &[])).await.unwrap();
    let anonymous = registry.consumed();
    registry.add_durable_topic(&user, &orders).await.unwrap();
    let added = registry.consumed();
    registry.connect(&connection("a", Some("alice"), &[])).await.unwrap();
    let connected = registry.consumed();
    registry.add_durable_topic(&user, &orders).await.unwrap();
    let again = registry.consumed();
    // Who has no user pays nothing for it.
    assert_eq!(anonymous - before, Consumed { read: 0.0, write: 1.0 });
    // The row; nobody is connected, which costs the smallest read. DynamoDB Local takes nothing for it.
    let smallest = if table.engine == Engine::Embedded { 1.0 } else { 0.0 };
    assert_eq!(added - anonymous, Consumed { read: smallest, write: 1.0 });
    // The connection and its user; the row, read; the set of topics, one membership and the row, checked.
    assert_eq!(connected - added, Consumed { read: 1.0, write: 2.0 + transaction(3.0) });
    // The row; the connection, found; the same transaction.
    assert_eq!(again - connected, Consumed { read: 1.0, write: 1.0 + transaction(3.0) });
}

async fn a_thousand_members_cost_what_their_bytes_cost(table: Table) {
    fill(&table, "orders/42", 1_000).await;
    let registry = registry(&table);
    let members = read(&registry, &[Target::Topic(topic("orders/42"))], &Interval::whole()).await;
    assert_eq!(members.len(), 1_000);
    let read = registry.consumed().read;
    // A row is about 95 bytes; 4 KB are one unit when read consistently. The half tells that the page was the last.
    assert!((23.0..=24.5).contains(&read), "{read} read units");
}
