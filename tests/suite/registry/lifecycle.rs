//! Connect, subscribe, unsubscribe, disconnect, one after the other.

use aws_sdk_dynamodb::types::AttributeValue;
use tests::engine::Table;
use tidings::notification::Target;
use tidings::registry::{Interval, RegistryError};
use tidings::{ConnectionId, Socket, Topic, UserId};

use super::{connection, ids, on_both_engines, read, registry, topic};

on_both_engines!(
    what_connects_is_found_by_everything_it_named,
    a_subscription_lasts_until_it_is_taken_back,
    nothing_is_left_of_a_connection_that_disconnects,
    a_disconnect_may_come_twice_or_for_nobody,
    a_disconnect_of_an_old_socket_leaves_a_moved_connection_alone,
    a_connection_that_is_gone_cannot_subscribe_and_leaves_no_orphan,
    the_limit_of_topics_holds_and_counts_each_topic_once,
    initial_topics_beyond_one_batch_are_all_written,
    an_orphaned_membership_goes_with_the_push_that_finds_it,
);

async fn what_connects_is_found_by_everything_it_named(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", Some("alice"), &["orders/1", "orders/2"]);
    registry.connect(&connected).await.unwrap();
    assert_eq!(registry.connection(&connected.id).await.unwrap(), Some(connected.clone()));
    for target in [
        Target::Connection(connected.id.clone()),
        Target::User(UserId::parse("alice").unwrap()),
        Target::Topic(topic("orders/1")),
        Target::Topic(topic("orders/2")),
        Target::Everyone,
    ] {
        let members = read(&registry, std::slice::from_ref(&target), &Interval::whole()).await;
        let found: Vec<_> = members.iter().map(|member| (&member.connection, member.connected_at)).collect();
        assert_eq!(found, [(&connected.id, connected.connected_at)], "{target:?}");
    }
}

async fn a_subscription_lasts_until_it_is_taken_back(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", None, &[]);
    registry.connect(&connected).await.unwrap();
    let topics = [topic("x"), topic("y")];
    registry.subscribe(&connected.id, &topics).await.unwrap();
    registry.subscribe(&connected.id, &topics).await.unwrap();
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics, topics);
    assert_eq!(ids(&registry, &[Target::Topic(topic("y"))]).await, ["a"]);
    registry.unsubscribe(&connected.id, &[topic("y"), topic("never")]).await.unwrap();
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics, [topic("x")]);
    assert!(ids(&registry, &[Target::Topic(topic("y"))]).await.is_empty());
}

async fn nothing_is_left_of_a_connection_that_disconnects(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", Some("alice"), &["x"]);
    registry.connect(&connected).await.unwrap();
    registry.subscribe(&connected.id, &[topic("y"), Topic::parse("long/".repeat(100)).unwrap()]).await.unwrap();
    let was = registry.disconnect(&connected.id, &connected.socket).await.unwrap().unwrap();
    assert_eq!((was.user, was.topics.len()), (connected.user, 3));
    assert_eq!(table.rows().await, []);
}

async fn a_disconnect_may_come_twice_or_for_nobody(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", None, &[]);
    registry.connect(&connected).await.unwrap();
    assert!(registry.disconnect(&connected.id, &connected.socket).await.unwrap().is_some());
    assert!(registry.disconnect(&connected.id, &connected.socket).await.unwrap().is_none());
}

async fn a_disconnect_of_an_old_socket_leaves_a_moved_connection_alone(table: Table) {
    let registry = registry(&table);
    let mut moved = connection("a", Some("alice"), &["x"]);
    moved.socket = Socket::parse("b").unwrap();
    registry.connect(&moved).await.unwrap();
    assert!(registry.disconnect(&moved.id, &moved.id.first_socket()).await.unwrap().is_none());
    assert_eq!(registry.connection(&moved.id).await.unwrap(), Some(moved.clone()));
    assert!(registry.disconnect(&moved.id, &moved.socket).await.unwrap().is_some());
    assert_eq!(table.rows().await, []);
}

async fn a_connection_that_is_gone_cannot_subscribe_and_leaves_no_orphan(table: Table) {
    let registry = registry(&table);
    let nobody = ConnectionId::parse("nobody").unwrap();
    for outcome in
        [registry.subscribe(&nobody, &[topic("x")]).await, registry.unsubscribe(&nobody, &[topic("x")]).await]
    {
        assert!(matches!(outcome, Err(RegistryError::NotConnected)), "{outcome:?}");
    }
    assert_eq!(table.rows().await, []);
}

async fn the_limit_of_topics_holds_and_counts_each_topic_once(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", None, &[]);
    registry.connect(&connected).await.unwrap();
    let names: Vec<_> = (0..101).map(|index| topic(&format!("t{index:03}"))).collect();
    registry.subscribe(&connected.id, &names[..50]).await.unwrap();
    registry.subscribe(&connected.id, &names[50..99]).await.unwrap();
    let refused = registry.subscribe(&connected.id, &names[98..]).await;
    assert!(matches!(refused, Err(RegistryError::TooManyTopics { count: 101 })), "{refused:?}");
    registry.subscribe(&connected.id, &names[51..100]).await.unwrap();
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics, names[..100]);
    assert!(ids(&registry, &[Target::Topic(names[100].clone())]).await.is_empty());
}

async fn initial_topics_beyond_one_batch_are_all_written(table: Table) {
    let registry = registry(&table);
    let names: Vec<_> = (0..100).map(|index| format!("t{index:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    registry.connect(&connection("a", Some("alice"), &names)).await.unwrap();
    // Its own row and those of two audiences come on top.
    assert_eq!(table.rows().await.len(), 103);
    let refused = registry.connect(&connection("b", None, &[&names[..], &["one more"]].concat())).await;
    assert!(matches!(refused, Err(RegistryError::TooManyTopics { count: 101 })), "{refused:?}");
    assert_eq!(table.rows().await.len(), 103);
}

async fn an_orphaned_membership_goes_with_the_push_that_finds_it(table: Table) {
    let registry = registry(&table);
    let connected = connection("a", Some("alice"), &["x"]);
    registry.connect(&connected).await.unwrap();
    let rows = table.rows().await;
    let row = rows.iter().find(|row| super::text(row, "pk").starts_with("subs#")).unwrap();
    let key = |name: &str| AttributeValue::S(super::text(row, name).to_owned());
    table
        .client()
        .delete_item()
        .table_name(&table.name)
        .key("pk", key("pk"))
        .key("sk", key("sk"))
        .send()
        .await
        .unwrap();
    for target in [Target::User(UserId::parse("alice").unwrap()), Target::Topic(topic("x")), Target::Everyone] {
        let members = read(&registry, std::slice::from_ref(&target), &Interval::whole()).await;
        registry.remove_gone(&members[0]).await.unwrap();
    }
    assert_eq!(table.rows().await, []);
}
