//! Durable topics: on every connection of a user, in whatever order things happen.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tidings::registry::{MAX_DURABLE_TOPICS_PER_USER, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError};
use tidings::{ConnectionId, Topic, UserId, notification::Target};
use tokio::sync::Semaphore;

use super::{connection, ids, on_both_engines, registry, said, text, topic, topics};

on_both_engines!(
    a_durable_topic_reaches_connections_now_and_those_to_come,
    a_durable_topic_that_is_taken_away_is_gone_everywhere_and_leaves_no_row,
    a_client_may_leave_a_durable_topic_until_it_connects_again,
    no_user_has_more_durable_topics_than_allowed,
    durable_topics_come_on_top_of_as_many_as_a_connection_may_ask_for,
);

fn alice() -> UserId {
    UserId::parse("alice").unwrap()
}

async fn members(registry: &Registry, name: &str) -> Vec<String> {
    ids(registry, &[Target::Topic(topic(name))]).await
}

async fn a_durable_topic_reaches_connections_now_and_those_to_come(table: Table) {
    // Small pages, so that a user's connections are more than one.
    let registry = registry(&table).with_page_rows(2);
    for id in ["a", "b", "c"] {
        registry.connect(&connection(id, Some("alice"), &[])).await.unwrap();
    }
    registry.connect(&connection("other", Some("bob"), &[])).await.unwrap();
    assert_eq!(registry.add_durable_topic(&alice(), &topic("news")).await.unwrap(), 3);
    assert_eq!(registry.add_durable_topic(&alice(), &topic("news")).await.unwrap(), 3);
    let joined = registry.connect(&connection("d", Some("alice"), &["own"])).await.unwrap();
    assert_eq!(joined, [topic("news")]);
    registry.connect(&connection("nobody", None, &[])).await.unwrap();
    assert_eq!(members(&registry, "news").await, ["a", "b", "c", "d"]);
    let read = registry.connection(&ConnectionId::parse("d").unwrap()).await.unwrap().unwrap();
    assert_eq!(read.topics, [topic("news"), topic("own")]);
    assert_eq!(registry.durable_topics(&alice()).await.unwrap(), [topic("news")]);
}

async fn a_durable_topic_that_is_taken_away_is_gone_everywhere_and_leaves_no_row(table: Table) {
    let registry = registry(&table);
    let long = Topic::parse("long/".repeat(200)).unwrap();
    for name in [&topic("news"), &long] {
        registry.add_durable_topic(&alice(), name).await.unwrap();
    }
    let connected = connection("a", Some("alice"), &[]);
    registry.connect(&connected).await.unwrap();
    assert_eq!(registry.remove_durable_topic(&alice(), &topic("news")).await.unwrap(), 1);
    assert!(members(&registry, "news").await.is_empty());
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics, std::slice::from_ref(&long));
    registry.remove_durable_topic(&alice(), &long).await.unwrap();
    assert_eq!(registry.durable_topics(&alice()).await.unwrap(), []);
    registry.remove_durable_topic(&alice(), &long).await.unwrap();
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    assert_eq!(table.rows().await, []);
}

async fn a_client_may_leave_a_durable_topic_until_it_connects_again(table: Table) {
    let registry = registry(&table);
    registry.add_durable_topic(&alice(), &topic("news")).await.unwrap();
    let connected = connection("a", Some("alice"), &[]);
    registry.connect(&connected).await.unwrap();
    registry.unsubscribe(&connected.id, &[topic("news")]).await.unwrap();
    assert!(members(&registry, "news").await.is_empty());
    registry.connect(&connection("b", Some("alice"), &[])).await.unwrap();
    assert_eq!(members(&registry, "news").await, ["b"]);
}

async fn no_user_has_more_durable_topics_than_allowed(table: Table) {
    let registry = registry(&table);
    let names: Vec<_> = (0..=MAX_DURABLE_TOPICS_PER_USER).map(|index| topic(&format!("d{index:03}"))).collect();
    let user = alice();
    let outcomes = join_all(names.iter().map(|name| registry.add_durable_topic(&user, name))).await;
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(RegistryError::TooManyDurableTopics)));
    assert_eq!((refused.count(), outcomes.iter().filter(|outcome| outcome.is_ok()).count()), (1, names.len() - 1));
    let has = registry.durable_topics(&user).await.unwrap();
    assert_eq!(has.len(), MAX_DURABLE_TOPICS_PER_USER);
    // One that is there already is no more than there was.
    registry.add_durable_topic(&user, &has[7]).await.unwrap();
    let connected = connection("a", Some("alice"), &[]);
    assert_eq!(registry.connect(&connected).await.unwrap(), has);
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics, has);
}

async fn durable_topics_come_on_top_of_as_many_as_a_connection_may_ask_for(table: Table) {
    let registry = registry(&table);
    let own: Vec<_> = (0..MAX_TOPICS_PER_CONNECTION).map(|index| format!("t{index:03}")).collect();
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    registry.add_durable_topic(&alice(), &topic("before")).await.unwrap();
    let connected = connection("a", Some("alice"), &own);
    registry.connect(&connected).await.unwrap();
    assert_eq!(registry.add_durable_topic(&alice(), &topic("after")).await.unwrap(), 1);
    assert_eq!(registry.connection(&connected.id).await.unwrap().unwrap().topics.len(), own.len() + 2);
    assert_eq!(
        (members(&registry, "before").await, members(&registry, "after").await),
        (vec!["a".into()], vec!["a".into()])
    );
    // It may not ask for more itself: durable topics count.
    let refused = registry.subscribe(&connected.id, &[topic("one more")]).await;
    assert!(matches!(refused, Err(RegistryError::TooManyTopics { count: 103 })), "{refused:?}");
}

const TRIALS: usize = 150;
const SIDE_BY_SIDE: usize = 12;

/// In each trial a user gets and loses one topic while connections come: everything at once, and every call may fail
/// and be repeated. When all is quiet, each connection has just the durable topics of its user.
#[tokio::test(flavor = "multi_thread")]
async fn no_interleaving_of_changes_and_connections_loses_or_leaves_a_durable_topic() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry =
        Registry::new(table.client_through(Faulty::client(http(), 0.1, 0.05)), &table.name).with_page_rows(2);
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut trials = Vec::new();
    for number in 0..TRIALS {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let registry = registry.clone();
        trials.push(tokio::spawn(async move {
            trial(&registry, number).await;
            drop(place);
        }));
    }
    for trial in trials {
        trial.await.unwrap();
    }
    check(&table).await;
}

async fn trial(registry: &Registry, number: usize) {
    let user = format!("u{number}");
    registry.connect(&connection(&format!("c{number}-before"), Some(&user), &["own"])).await.unwrap();
    let mut steps = [0, 0, 1, 1, 2, 2];
    fastrand::shuffle(&mut steps);
    join_all(steps.iter().enumerate().map(|(index, step)| run(registry, &user, *step, format!("c{number}-{index}"))))
        .await;
}

async fn run(registry: &Registry, user: &str, step: u8, id: String) {
    let (user_id, name) = (UserId::parse(user).unwrap(), topic("durable"));
    match step {
        0 => drop(registry.add_durable_topic(&user_id, &name).await.unwrap()),
        1 => drop(registry.remove_durable_topic(&user_id, &name).await.unwrap()),
        _ => drop(registry.connect(&connection(&id, Some(user), &["own"])).await.unwrap()),
    }
}

/// Connections have what their users have, and memberships say the same.
async fn check(table: &Table) {
    let rows = table.rows().await;
    let durable: HashMap<_, _> =
        rows.iter().filter_map(|row| Some((text(row, "pk").strip_prefix("utop#")?, topics(row)))).collect();
    assert!(durable.values().all(|topics| !topics.is_empty()), "a row without topics is left: {durable:?}");
    let said = said(table).await;
    for (id, row) in &said.connections {
        let mut should = durable.get(text(row, "user")).cloned().unwrap_or_default();
        should.insert("own".to_owned());
        assert_eq!(topics(row), should, "{id} of {}", text(row, "user"));
    }
    assert_eq!(said.connections.len(), 3 * TRIALS);
    assert!(
        (TRIALS / 10..=TRIALS * 9 / 10).contains(&durable.len()),
        "{} users have the topic in the end",
        durable.len()
    );
    assert_eq!(said.found, said.expected);
}
