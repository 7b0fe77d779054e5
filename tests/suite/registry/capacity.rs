//! What each operation costs, in the units that DynamoDB bills.

use tests::engine::{Engine, Table};
use tidings::notification::Target;
use tidings::registry::{Consumed, Interval};

use super::{connection, fill, on_both_engines, read, registry, topic};

on_both_engines!(each_operation_costs_what_it_should, a_thousand_members_cost_what_their_bytes_cost);

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
    // The connection and its user.
    assert_eq!(connect - before, Consumed { read: 0.0, write: 2.0 });
    // One consistent read; a transaction of two items counts each twice. DynamoDB Local says 2 of every transaction.
    let write = if table.engine == Engine::Embedded { 4.0 } else { 2.0 };
    assert_eq!(subscribe - connect, Consumed { read: 1.0, write });
    // The connection, its user and its topic.
    assert_eq!(disconnect - subscribe, Consumed { read: 0.0, write: 3.0 });
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
