//! The registry on every engine.

mod capacity;
mod contention;
mod durable;
mod inbox;
mod interleavings;
mod lifecycle;
mod listing;
mod log;
mod places;
mod rate;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use tests::engine::{Row, Table};
use tidings::registry::{Connection, Interval, Member, Registry};
use tidings::{ConnectionId, Topic, UserId, notification::Target};

/// One test on each engine.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(tests::engine::Engine::Embedded.table().await.unwrap()).await;
            })+
        }

        mod dynamodb_local {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(table) = tests::engine::Engine::DynamoDbLocal.table().await {
                    super::$name(table).await;
                }
            })+
        }
    };
}
pub(crate) use on_both_engines;

pub(crate) const NOW: i64 = 1_795_520_783_000;

pub(crate) fn registry(table: &Table) -> Registry {
    Registry::new(table.client(), &table.name)
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::parse(name).unwrap()
}

pub(crate) fn connection(id: &str, user: Option<&str>, topics: &[&str]) -> Connection {
    let mut connection = Connection::new(ConnectionId::parse(id).unwrap());
    connection.user = user.map(|user| UserId::parse(user).unwrap());
    connection.topics = topics.iter().map(|name| topic(name)).collect();
    made_at(NOW, connection)
}

pub(crate) fn made_at(time: i64, mut connection: Connection) -> Connection {
    connection.connected_at = time;
    connection
}

pub(crate) async fn read(registry: &Registry, targets: &[Target], interval: &Interval) -> Vec<Member> {
    let mut members = registry.members(targets, interval, NOW);
    let mut all = Vec::new();
    loop {
        let page = members.next().await.unwrap();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

pub(crate) async fn ids(registry: &Registry, targets: &[Target]) -> Vec<String> {
    let members = read(registry, targets, &Interval::whole()).await;
    let mut ids: Vec<_> = members.into_iter().map(|member| member.connection.to_string()).collect();
    ids.sort();
    ids
}

pub(crate) fn text<'a>(row: &'a Row, attribute: &str) -> &'a str {
    row[attribute].as_s().unwrap()
}

/// What the table says of its connections.
pub(crate) struct Said {
    /// The connections that have a row, with what it says.
    pub(crate) connections: BTreeMap<String, Row>,
    /// The memberships that they should have, as pairs of keys, sorted.
    pub(crate) expected: Vec<(String, String)>,
    /// The memberships that there are.
    pub(crate) found: Vec<(String, String)>,
}

pub(crate) async fn said(table: &Table) -> Said {
    let mut said = Said { connections: BTreeMap::new(), expected: Vec::new(), found: Vec::new() };
    for row in table.rows().await {
        let (pk, sk) = (text(&row, "pk").to_owned(), text(&row, "sk").to_owned());
        if ["conn#", "user#", "topic#"].iter().any(|prefix| pk.starts_with(prefix)) {
            if row.get("state").is_none_or(|state| state.as_s().unwrap() != "left") {
                said.found.push((pk, sk));
            }
        } else if let Some(id) = pk.strip_prefix("subs#") {
            // Four prefixes share a partition.
            let prefix = u8::from_str_radix(&sk[..2], 16).unwrap() / 4 * 4;
            let user = row.get("user").map(|user| format!("user#{}", user.as_s().unwrap()));
            let topics = topics(&row).into_iter().map(|topic| format!("topic#{topic}"));
            let partitions = std::iter::once(format!("conn#{prefix:02x}")).chain(user).chain(topics);
            said.expected.extend(partitions.map(|pk| (pk, sk.clone())));
            said.connections.insert(id.to_owned(), row);
        }
    }
    said.expected.sort();
    said.found.sort();
    said
}

/// The topics that a row lists. How many bytes they have together has to be right, too.
pub(crate) fn topics(row: &Row) -> BTreeSet<String> {
    let topics: BTreeSet<_> =
        row.get("topics").map(|topics| topics.as_ss().unwrap().iter().cloned().collect()).unwrap_or_default();
    let bytes: usize = topics.iter().map(String::len).sum();
    assert_eq!(row["topic_bytes"].as_n().unwrap(), &bytes.to_string(), "{row:?}");
    topics
}

/// Rows that put `count` connections into a topic, without the connections themselves: orphans, for all a reader knows.
pub(crate) async fn fill(table: &Table, name: &str, count: usize) {
    registry(table).connect(&connection("pattern", None, &[name])).await.unwrap();
    let rows = table.rows().await;
    let pattern = rows.iter().find(|row| text(row, "pk").starts_with("topic#")).unwrap().clone();
    registry(table)
        .disconnect(&connection("pattern", None, &[]).id, &connection("pattern", None, &[]).socket)
        .await
        .unwrap();
    let row = |index: usize| {
        let mut row = pattern.clone();
        row.insert("sk".to_owned(), AttributeValue::S(format!("{:02x}#member{index:08}", index % 256)));
        row
    };
    let client = table.client();
    let puts: Vec<_> = (0..count).map(|index| put(row(index))).collect();
    let batches =
        puts.chunks(25).map(|batch| client.batch_write_item().request_items(&table.name, batch.to_vec()).send());
    for batch in batches {
        let left = batch.await.unwrap().unprocessed_items.unwrap_or_default();
        assert!(left.is_empty());
    }
}

fn put(row: Row) -> aws_sdk_dynamodb::types::WriteRequest {
    let put = aws_sdk_dynamodb::types::PutRequest::builder().set_item(Some(row)).build().unwrap();
    aws_sdk_dynamodb::types::WriteRequest::builder().put_request(put).build()
}
