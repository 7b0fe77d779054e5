//! What each operation costs, in the units that DynamoDB bills.

use tests::engine::{Engine, Table};
use tidings::UserId;
use tidings::notification::Target;
use tidings::registry::{Consumed, Interval};

use super::{connection, fill, on_both_engines, read, registry, topic};

on_both_engines!(
    attributes_cost_nothing_while_the_row_is_small,
    each_operation_costs_what_it_should,
    durable_topics_cost_what_they_should,
    everyone_costs_a_read_of_each_of_64_partitions,
    every_page_of_members_costs_what_its_bytes_cost
);

fn units(read: f64, write: f64) -> Consumed {
    Consumed { read, write }
}

async fn each_operation_costs_what_it_should(table: Table) {
    let registry = registry(&table);
    let connected = connection("BFHPhfCWIAMCKlQ=", Some("alice"), &[]);
    let before = registry.consumed();
    registry.connect(&connected).await.unwrap();
    let connect = registry.consumed();
    registry.subscribe(&connected.id, &[topic("orders/42")]).await.unwrap();
    let subscribe = registry.consumed();
    registry.subscribe(&connected.id, &[topic("orders/43"), topic("orders/44")]).await.unwrap();
    let two = registry.consumed();
    registry.unsubscribe(&connected.id, &[topic("orders/43"), topic("orders/44")]).await.unwrap();
    let unsubscribe = registry.consumed();
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    let disconnect = registry.consumed();
    // The connection, everyone and its user; the connection again, with the user's durable topics, for which nothing is
    // there. DynamoDB Local takes nothing for what is not there.
    let absent = if table.engine == Engine::Embedded { 1.0 } else { 0.0 };
    assert_eq!(connect - before, units(1.0 + absent, 3.0));
    // The connection, and each topic; the connection again.
    assert_eq!(subscribe - connect, units(1.0, 2.0));
    assert_eq!(two - subscribe, units(1.0, 3.0));
    assert_eq!(unsubscribe - two, units(1.0, 3.0));
    // The connection, everyone, its user and its topic, and those that it has left.
    assert_eq!(disconnect - unsubscribe, units(0.0, 6.0));
}

/// What an application keeps with a connection is in the connection's row, and nowhere else.
async fn attributes_cost_nothing_while_the_row_is_small(table: Table) {
    let registry = registry(&table);
    for (kept, more) in [(500, 0.0), (1_000, 1.0)] {
        let mut connected = connection("BFHPhfCWIAMCKlQ=", None, &[]);
        connected.attributes.insert("note", "x".repeat(kept)).unwrap();
        let before = registry.consumed();
        registry.connect(&connected).await.unwrap();
        let connect = registry.consumed();
        registry.subscribe(&connected.id, &[topic("orders/42")]).await.unwrap();
        let subscribe = registry.consumed();
        let read = registry.connection(&connected.id).await.unwrap().unwrap();
        let reading = registry.consumed();
        let removed = registry.disconnect(&connected.id, &connected.socket).await.unwrap().unwrap();
        let disconnect = registry.consumed();
        // The row is rounded up to 1 KB in writes, and to 4 KB in reads.
        assert_eq!(connect - before, units(1.0, 2.0 + more));
        assert_eq!(subscribe - connect, units(1.0, 2.0 + more));
        assert_eq!(reading - subscribe, units(1.0, 0.0));
        assert_eq!(disconnect - reading, units(0.0, 3.0 + more));
        assert_eq!((read.attributes, removed.attributes), (connected.attributes.clone(), connected.attributes));
    }
}

async fn durable_topics_cost_what_they_should(table: Table) {
    let registry = registry(&table);
    let (user, orders) = (UserId::parse("alice").unwrap(), topic("orders/42"));
    let before = registry.consumed();
    registry.connect(&connection("nobody", None, &[])).await.unwrap();
    let anonymous = registry.consumed();
    registry.add_durable_topic(&user, &orders).await.unwrap();
    let added = registry.consumed();
    registry.connect(&connection("a", Some("alice"), &[])).await.unwrap();
    let connected = registry.consumed();
    registry.remove_durable_topic(&user, &orders).await.unwrap();
    let removed = registry.consumed();
    // Who has no user pays nothing for one.
    assert_eq!(anonymous - before, units(1.0, 2.0));
    // The row, and again; nobody is connected, which costs the smallest read. DynamoDB Local takes nothing for it.
    let smallest = if table.engine == Engine::Embedded { 1.0 } else { 0.0 };
    assert_eq!(added - anonymous, units(1.0 + smallest, 1.0));
    // The connection, everyone and its user, then the connection and the topic; twice the connection and the row.
    assert_eq!(connected - added, units(4.0, 5.0));
    // The row, and its end; the connection, found, and the topic; the connection and the row again.
    let cost = removed - connected;
    assert_eq!(cost.write, 4.0);
    assert!((2.0..=3.0).contains(&cost.read), "{cost:?}");
}

async fn everyone_costs_a_read_of_each_of_64_partitions(table: Table) {
    let registry = registry(&table);
    let own: Vec<_> = (0..8).map(|index| format!("{index:01000}")).collect();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    for index in 0..300 {
        registry.connect(&connection(&format!("c{index}"), None, &own[..index % 8])).await.unwrap();
    }
    let before = registry.consumed();
    let everyone = read(&registry, &[Target::Everyone], &Interval::whole()).await;
    assert_eq!(everyone.len(), 300);
    // However many topics these have.
    assert_eq!(registry.consumed() - before, units(64.0, 0.0));
}

async fn every_page_of_members_costs_what_its_bytes_cost(table: Table) {
    fill(&table, "orders/42", 3_000).await;
    let registry = registry(&table);
    let members = read(&registry, &[Target::Topic(topic("orders/42"))], &Interval::whole()).await;
    assert_eq!(members.len(), 3_000);
    let read = registry.consumed().read;
    // A row is about 95 bytes; 4 KB are one unit when read consistently, on every page. One more tells the end.
    assert!((69.0..=73.0).contains(&read), "{read} read units");
}
