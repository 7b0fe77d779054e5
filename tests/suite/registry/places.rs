//! Commands of one connection that are carried out in another order than they were sent in.

use std::sync::Arc;

use futures_util::future::join_all;
use tests::engine::{Engine, Row, Table, http};
use tests::faults::Faulty;
use tidings::UserId;
use tidings::notification::Target;
use tidings::registry::{Audience, Connection, Interval, MAX_TOPICS_PER_CONNECTION, Place, Registry, RegistryError};
use tokio::sync::Semaphore;

use super::{NOW, connection, ids, on_both_engines, registry, said, text, topic, topics};

on_both_engines!(
    an_older_command_changes_nothing_and_is_done,
    what_is_unsubscribed_from_before_it_is_subscribed_to_stays_so,
    of_commands_of_one_place_the_last_that_runs_counts,
    numbers_tell_commands_of_one_millisecond_apart,
    a_server_counts_above_the_commands_before_it_and_below_the_next,
    a_durable_topic_that_comes_and_goes_counts_in_the_same_way,
    who_has_left_is_in_no_audience_and_in_no_count,
    who_has_left_keeps_a_row_for_a_minute_and_none_after_its_connection,
    what_a_connection_has_left_does_not_count_among_its_topics,
    a_row_remembers_only_so_much_of_what_was_left,
    a_subscription_for_which_there_is_no_room_any_more_ends_and_somebody_is_told,
);

/// The place of the command that was sent at this moment.
fn at(moment: i64) -> Place {
    Place::new(NOW + moment, 0)
}

async fn connected(registry: &Registry) -> Connection {
    let connected = connection("a", Some("alice"), &[]);
    registry.connect(&connected).await.unwrap();
    connected
}

async fn is_member(registry: &Registry, name: &str) -> bool {
    let found = !ids(registry, &[Target::Topic(topic(name))]).await.is_empty();
    let row = registry.connection(&connection("a", None, &[]).id).await.unwrap().unwrap();
    assert_eq!(row.topics.contains(&topic(name)), found, "the row and its membership disagree");
    found
}

async fn membership(table: &Table, name: &str) -> Row {
    let rows = table.rows().await;
    rows.into_iter().find(|row| text(row, "pk") == format!("topic#{name}")).unwrap()
}

async fn an_older_command_changes_nothing_and_is_done(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    registry.subscribe_at(at(3), &id, &[topic("x")]).await.unwrap();
    registry.unsubscribe_at(at(2), &id, &[topic("x")]).await.unwrap();
    assert!(is_member(&registry, "x").await);
    registry.unsubscribe_at(at(5), &id, &[topic("x")]).await.unwrap();
    let left = membership(&table, "x").await;
    registry.subscribe_at(at(4), &id, &[topic("x")]).await.unwrap();
    assert!(!is_member(&registry, "x").await);
    assert_eq!(membership(&table, "x").await, left);
    // Of a command with several topics each counts for itself.
    registry.subscribe_at(at(4), &id, &[topic("x"), topic("y")]).await.unwrap();
    assert_eq!((is_member(&registry, "x").await, is_member(&registry, "y").await), (false, true));
    registry.subscribe_at(at(6), &id, &[topic("x")]).await.unwrap();
    assert!(is_member(&registry, "x").await);
}

async fn what_is_unsubscribed_from_before_it_is_subscribed_to_stays_so(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    registry.unsubscribe_at(at(2), &id, &[topic("x")]).await.unwrap();
    registry.subscribe_at(at(1), &id, &[topic("x")]).await.unwrap();
    assert!(!is_member(&registry, "x").await);
    registry.subscribe_at(at(3), &id, &[topic("x")]).await.unwrap();
    assert!(is_member(&registry, "x").await);
}

async fn of_commands_of_one_place_the_last_that_runs_counts(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    for _ in 0..2 {
        registry.subscribe_at(at(1), &id, &[topic("x")]).await.unwrap();
        assert!(is_member(&registry, "x").await);
        registry.unsubscribe_at(at(1), &id, &[topic("x")]).await.unwrap();
        assert!(!is_member(&registry, "x").await);
    }
}

async fn numbers_tell_commands_of_one_millisecond_apart(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    let numbered = |number| Place::new(NOW, number);
    registry.subscribe_at(numbered(u64::MAX), &id, &[topic("x")]).await.unwrap();
    registry.unsubscribe_at(numbered(u64::MAX - 1), &id, &[topic("x")]).await.unwrap();
    assert!(is_member(&registry, "x").await);
    registry.unsubscribe_at(at(1), &id, &[topic("x")]).await.unwrap();
    registry.subscribe_at(numbered(u64::MAX), &id, &[topic("x")]).await.unwrap();
    assert!(!is_member(&registry, "x").await);
}

async fn a_server_counts_above_the_commands_before_it_and_below_the_next(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    let names = [topic("x")];
    registry.subscribe_at(at(5), &id, &names).await.unwrap();
    registry.unsubscribe(&id, &names).await.unwrap();
    for earlier in [4, 5] {
        registry.subscribe_at(at(earlier), &id, &names).await.unwrap();
        assert!(!is_member(&registry, "x").await, "{earlier}");
    }
    registry.subscribe(&id, &names).await.unwrap();
    assert_eq!(membership(&table, "x").await["raised"].as_n().unwrap(), "2");
    for earlier in [4, 5] {
        registry.unsubscribe_at(at(earlier), &id, &names).await.unwrap();
        assert!(is_member(&registry, "x").await, "{earlier}");
    }
    registry.unsubscribe_at(at(6), &id, &names).await.unwrap();
    assert!(!is_member(&registry, "x").await);
    assert!(!membership(&table, "x").await.contains_key("raised"));
}

async fn a_durable_topic_that_comes_and_goes_counts_in_the_same_way(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    let (alice, news) = (UserId::parse("alice").unwrap(), topic("news"));
    registry.subscribe_at(at(5), &id, std::slice::from_ref(&news)).await.unwrap();
    registry.remove_durable_topic(&alice, &news).await.unwrap();
    registry.subscribe_at(at(4), &id, std::slice::from_ref(&news)).await.unwrap();
    assert!(!is_member(&registry, "news").await);
    registry.add_durable_topic(&alice, &news).await.unwrap();
    registry.unsubscribe_at(at(5), &id, std::slice::from_ref(&news)).await.unwrap();
    assert!(is_member(&registry, "news").await);
    registry.unsubscribe_at(at(6), &id, std::slice::from_ref(&news)).await.unwrap();
    assert!(!is_member(&registry, "news").await);
}

async fn who_has_left_is_in_no_audience_and_in_no_count(table: Table) {
    let registry = registry(&table);
    for (index, id) in ["a", "b", "c"].into_iter().enumerate() {
        registry.connect(&connection(id, None, &["x"])).await.unwrap();
        if index > 0 {
            registry.unsubscribe_at(at(1), &connection(id, None, &[]).id, &[topic("x")]).await.unwrap();
        }
    }
    assert_eq!(ids(&registry, &[Target::Topic(topic("x"))]).await, ["a"]);
    let audience = Audience::Topic(&topic("x"));
    let page = registry.page(audience, None, 10, NOW).await.unwrap();
    assert_eq!(page.connections.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(registry.count(audience, &Interval::whole(), NOW).await.unwrap(), 1);
    assert_eq!(table.rows().await.iter().filter(|row| text(row, "pk") == "topic#x").count(), 3);
}

async fn who_has_left_keeps_a_row_for_a_minute_and_none_after_its_connection(table: Table) {
    let registry = registry(&table);
    let connected = connected(&registry).await;
    registry.subscribe_at(at(1), &connected.id, &[topic("x"), topic("y")]).await.unwrap();
    let now = || tidings::clock::Clock::System.milliseconds() / 1_000;
    let before = now();
    registry.unsubscribe_at(at(2), &connected.id, &[topic("x")]).await.unwrap();
    registry.unsubscribe(&connected.id, &[topic("y")]).await.unwrap();
    for name in ["x", "y"] {
        let row = membership(&table, name).await;
        let expires_at: i64 = row["expires_at"].as_n().unwrap().parse().unwrap();
        assert!((before + 60..=now() + 60).contains(&expires_at), "{row:?}");
        assert!(["protocol", "user", "connected_at"].iter().all(|name| !row.contains_key(*name)), "{row:?}");
    }
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    assert_eq!(table.rows().await, []);
}

async fn what_a_connection_has_left_does_not_count_among_its_topics(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    let names = |first: char| -> Vec<_> {
        (0..MAX_TOPICS_PER_CONNECTION).map(|index| topic(&format!("{first}{index}"))).collect()
    };
    registry.subscribe_at(at(1), &id, &names('a')).await.unwrap();
    let refused = registry.subscribe_at(at(2), &id, &[topic("b0")]).await;
    assert!(matches!(refused, Err(RegistryError::TooManyTopics { count: 101 })), "{refused:?}");
    registry.unsubscribe_at(at(3), &id, &names('a')).await.unwrap();
    registry.subscribe_at(at(4), &id, &names('b')).await.unwrap();
    // Those that come late take no room either.
    registry.subscribe_at(at(2), &id, &[topic("a0")]).await.unwrap_err();
    let row = registry.connection(&id).await.unwrap().unwrap();
    assert_eq!(row.topics.len(), MAX_TOPICS_PER_CONNECTION);
    assert!(row.topics.iter().all(|topic| topic.as_str().starts_with('b')));
}

async fn a_row_remembers_only_so_much_of_what_was_left(table: Table) {
    let registry = registry(&table);
    let connected = connected(&registry).await;
    let mut most = 0;
    for index in 0..40 {
        let names = [topic(&format!("t{index}"))];
        registry.subscribe_at(at(index), &connected.id, &names).await.unwrap();
        registry.unsubscribe_at(at(index), &connected.id, &names).await.unwrap();
        let rows = table.rows().await;
        let row = rows.iter().find(|row| text(row, "pk") == "subs#a").unwrap();
        most = most.max(row.get("left_topics").map_or(0, |left| left.as_ss().unwrap().len()));
    }
    assert_eq!(most, 16);
    // The others go by themselves.
    registry.disconnect(&connected.id, &connected.socket).await.unwrap();
    let rows = table.rows().await;
    assert!(!rows.is_empty() && rows.iter().all(|row| row["state"].as_s().unwrap() == "left"), "{rows:?}");
}

/// As a later subscribe leaves it whose topic an earlier unsubscribe takes from the row just then, while a third command
/// takes its room.
async fn a_subscription_for_which_there_is_no_room_any_more_ends_and_somebody_is_told(table: Table) {
    let registry = registry(&table);
    let id = connected(&registry).await.id;
    registry.subscribe_at(at(3), &id, &[topic("x")]).await.unwrap();
    let newer = membership(&table, "x").await;
    registry.unsubscribe_at(at(4), &id, &[topic("x")]).await.unwrap();
    let names: Vec<_> = (0..MAX_TOPICS_PER_CONNECTION).map(|index| topic(&format!("t{index}"))).collect();
    registry.subscribe_at(at(5), &id, &names).await.unwrap();
    table.client().put_item().table_name(&table.name).set_item(Some(newer)).send().await.unwrap();
    let refused = registry.unsubscribe_at(at(2), &id, &[topic("x")]).await;
    assert!(matches!(refused, Err(RegistryError::TooManyTopics { count: 101 })), "{refused:?}");
    assert!(!is_member(&registry, "x").await);
}

const TRIALS: usize = 400;
const COMMANDS: usize = 8;
const SIDE_BY_SIDE: usize = 12;

/// In each trial a client sends commands for two topics, which run all at once; every call may fail, also after it was done,
/// and is repeated. When all is quiet, each topic is what the last command for it has asked for.
#[tokio::test(flavor = "multi_thread")]
async fn in_whatever_order_commands_run_the_one_that_was_sent_last_counts() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client_through(Faulty::client(http(), 0.1, 0.05)), &table.name);
    let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut trials = Vec::new();
    for number in 0..TRIALS {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let registry = registry.clone();
        trials.push(tokio::spawn(async move {
            let meant = trial(&registry, &connection(&format!("c{number}"), None, &[])).await;
            drop(place);
            meant
        }));
    }
    let mut meant = Vec::new();
    for trial in trials {
        meant.push(trial.await.unwrap());
    }
    let said = said(&table).await;
    for (number, meant) in meant.iter().enumerate() {
        let has = topics(&said.connections[&format!("c{number}")]);
        assert_eq!(&Vec::from_iter(has), meant, "trial {number}");
    }
    assert_eq!(said.found, said.expected);
    let joined: usize = meant.iter().map(Vec::len).sum();
    assert!((TRIALS / 2..=TRIALS * 3 / 2).contains(&joined), "{joined} memberships of {}", 2 * TRIALS);
}

/// What the client is subscribed to in the end, if it got what it meant, sorted.
async fn trial(registry: &Registry, connected: &Connection) -> Vec<String> {
    registry.connect(connected).await.unwrap();
    let mut commands: Vec<_> =
        (0..COMMANDS).map(|moment| (moment as i64, ["x", "y"][fastrand::usize(..2)], fastrand::bool())).collect();
    let last = |name: &str| commands.iter().rfind(|(_, of, _)| *of == name).is_some_and(|(_, _, joins)| *joins);
    let meant = ["x", "y"].into_iter().filter(|name| last(name)).map(str::to_owned).collect();
    fastrand::shuffle(&mut commands);
    let run = |(moment, name, joins): (i64, &'static str, bool)| async move {
        let names = [topic(name)];
        match joins {
            true => registry.subscribe_at(at(moment), &connected.id, &names).await.unwrap(),
            false => registry.unsubscribe_at(at(moment), &connected.id, &names).await.unwrap(),
        }
    };
    join_all(commands.into_iter().map(run)).await;
    meant
}
