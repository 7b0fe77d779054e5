//! Audiences of every size, whole and in parts.

use std::collections::HashSet;

use tests::engine::Table;
use tidings::notification::Target;
use tidings::registry::{Audience, Interval};
use tidings::{ConnectionId, UserId};

use super::{NOW, connection, fill, on_both_engines, read, registry, topic};

on_both_engines!(
    a_topic_of_25_000_is_read_to_its_end_page_by_page,
    everyone_is_read_in_the_order_of_sort_keys_each_once,
    intervals_share_an_audience_without_gap_or_overlap,
    an_interval_that_ends_where_a_page_ends_is_read_to_its_end,
    a_member_of_several_audiences_comes_once_under_the_first_that_names_it,
    what_has_expired_is_not_read,
    connections_that_are_known_by_id_are_read_whole_and_the_others_left_out,
);

async fn a_topic_of_25_000_is_read_to_its_end_page_by_page(table: Table) {
    fill(&table, "big", 25_000).await;
    let target = [Target::Topic(topic("big"))];
    // A thousand rows a page, and pages as large as DynamoDB makes them: 1 MB.
    for (rows, most, pages) in [(1_000, 1_000, 25..=26), (i32::MAX, 24_999, 3..=8)] {
        let mut members = registry(&table).with_page_rows(rows).members(&target, &Interval::whole(), NOW);
        let mut seen = HashSet::new();
        let mut count = 0;
        loop {
            let page = members.next().await.unwrap();
            if page.is_empty() {
                break;
            }
            count += 1;
            assert!(page.len() <= most, "a page of {} is held at once", page.len());
            seen.extend(page.into_iter().map(|member| member.connection));
        }
        assert_eq!(seen.len(), 25_000);
        assert!(pages.contains(&count), "{count} pages");
    }
}

async fn everyone_is_read_in_the_order_of_sort_keys_each_once(table: Table) {
    let registry = registry(&table);
    for index in 0..200 {
        registry.connect(&connection(&format!("c{index}"), Some("u"), &[])).await.unwrap();
    }
    for rows in [3, 1_000] {
        let members = read(&registry.clone().with_page_rows(rows), &[Target::Everyone], &Interval::whole()).await;
        assert_eq!(members.len(), 200);
        assert!(members.windows(2).all(|pair| pair[0].sort_key < pair[1].sort_key));
    }
}

async fn intervals_share_an_audience_without_gap_or_overlap(table: Table) {
    let registry = registry(&table);
    for index in 0..200 {
        registry.connect(&connection(&format!("c{index}"), None, &["t"])).await.unwrap();
    }
    for target in [Target::Everyone, Target::Topic(topic("t"))] {
        let target = [target];
        let whole = read(&registry, &target, &Interval::whole()).await;
        let last = whole[199].sort_key.clone();
        let bounds =
            [None, Some("3f".to_owned()), Some(whole[77].sort_key.clone()), Some("ff".to_owned()), Some(last), None];
        let mut parts = Vec::new();
        for bound in bounds.windows(2) {
            let interval = Interval { after: bound[0].clone(), to: bound[1].clone() };
            parts.extend(read(&registry, &target, &interval).await);
        }
        assert_eq!(parts, whole);
    }
}

async fn an_interval_that_ends_where_a_page_ends_is_read_to_its_end(table: Table) {
    fill(&table, "t", 300).await;
    let target = [Target::Topic(topic("t"))];
    let whole = read(&registry(&table), &target, &Interval::whole()).await;
    // Its hundredth member ends a page: DynamoDB does not know that nothing of the interval can follow.
    let interval = Interval { after: None, to: Some(whole[99].sort_key.clone()) };
    for rows in [10, 25, 100] {
        let registry = registry(&table).with_page_rows(rows);
        assert_eq!(read(&registry, &target, &interval).await, whole[..100], "{rows} rows a page");
    }
    let counted = registry(&table).count(Audience::Topic(&topic("t")), &interval, NOW).await.unwrap();
    assert_eq!(counted, 100);
}

async fn a_member_of_several_audiences_comes_once_under_the_first_that_names_it(table: Table) {
    let registry = registry(&table).with_page_rows(7);
    for index in 0..60 {
        let topics: &[&str] = match index % 3 {
            0 => &["a"],
            1 => &["b"],
            _ => &["a", "b"],
        };
        registry.connect(&connection(&format!("c{index}"), Some("u"), topics)).await.unwrap();
    }
    let named = Target::Connection(ConnectionId::parse("c5").unwrap());
    let absent = Target::Connection(ConnectionId::parse("absent").unwrap());
    let targets = [named, absent, Target::Topic(topic("b")), Target::Topic(topic("a")), Target::Everyone];
    let members = read(&registry, &targets, &Interval::whole()).await;
    assert_eq!(members.len(), 60);
    for member in members {
        let index: usize = member.connection.as_str()[1..].parse().unwrap();
        let expected = match (index, index % 3) {
            (5, _) => 0,
            (_, 0) => 3,
            _ => 2,
        };
        assert_eq!(member.target, expected, "{}", member.connection);
    }
    let user = Target::User(UserId::parse("u").unwrap());
    assert_eq!(read(&registry, &[user, Target::Everyone], &Interval::whole()).await.len(), 60);
}

async fn what_has_expired_is_not_read(table: Table) {
    let registry = registry(&table);
    let mut old = connection("old", None, &["t"]);
    old.connected_at = NOW - 3 * 3_600_000;
    registry.connect(&old).await.unwrap();
    registry.connect(&connection("new", None, &["t"])).await.unwrap();
    let named = Target::Connection(old.id.clone());
    for targets in [vec![Target::Everyone], vec![Target::Topic(topic("t"))], vec![named, Target::Everyone]] {
        assert_eq!(super::ids(&registry, &targets).await, ["new"]);
    }
}

async fn connections_that_are_known_by_id_are_read_whole_and_the_others_left_out(table: Table) {
    let registry = registry(&table);
    let mut expected = Vec::new();
    // More than DynamoDB reads in one batch.
    for index in 0..130 {
        expected.push(connection(&format!("c{index}"), Some("u"), &["a", "b"]));
        registry.connect(&expected[index]).await.unwrap();
    }
    let mut ids: Vec<_> = expected.iter().map(|one| one.id.clone()).collect();
    ids.insert(50, ConnectionId::parse("nobody").unwrap());
    let mut found = registry.connections(&ids).await.unwrap();
    found.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    expected.sort_by(|one, other| one.id.as_str().cmp(other.id.as_str()));
    assert_eq!(found, expected);
    assert_eq!(registry.connections(&[]).await.unwrap(), []);
}
