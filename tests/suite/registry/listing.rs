//! Looking at audiences: listed page by page, and counted.

use tests::engine::Table;
use tidings::registry::{Audience, Interval, Registry};
use tidings::{ConnectionId, UserId};

use super::{NOW, connection, fill, on_both_engines, registry, topic};

on_both_engines!(
    every_audience_is_listed_in_pages_without_gap_or_repetition,
    an_audience_is_counted_whole_and_in_parts,
    what_has_expired_is_neither_listed_nor_counted,
);

/// The ids of an audience, in pages of `limit`, and how many pages that were.
async fn listed(registry: &Registry, audience: Audience<'_>, limit: u16) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut after) = (Vec::new(), 0, None::<ConnectionId>);
    loop {
        let page = registry.page(audience, after.as_ref(), limit, NOW).await.unwrap();
        assert!(page.connections.len() <= usize::from(limit));
        pages += 1;
        ids.extend(page.connections.into_iter().map(|one| one.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => return (ids, pages),
        }
    }
}

async fn every_audience_is_listed_in_pages_without_gap_or_repetition(table: Table) {
    let registry = registry(&table);
    for index in 0..60 {
        registry.connect(&connection(&format!("c{index}"), Some(["u", "v"][index % 2]), &["t"])).await.unwrap();
    }
    let (user, topic) = (UserId::parse("u").unwrap(), topic("t"));
    for (audience, count) in [(Audience::Everyone, 60), (Audience::User(&user), 30), (Audience::Topic(&topic), 60)] {
        let (whole, _) = listed(&registry, audience, 1_000).await;
        for limit in [1, 7, 60] {
            let (ids, pages) = listed(&registry, audience, limit).await;
            assert_eq!(ids, whole, "{audience:?} by {limit}");
            assert!(pages >= count / usize::from(limit), "{pages} pages");
        }
        let mut unique = whole.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((whole.len(), unique.len()), (count, count));
    }
    let page = registry.page(Audience::User(&user), None, 1, NOW).await.unwrap();
    let one = &page.connections[0];
    assert_eq!((one.user.as_ref(), one.connected_at), (Some(&user), NOW));
}

async fn an_audience_is_counted_whole_and_in_parts(table: Table) {
    fill(&table, "big", 3_000).await;
    let registry = registry(&table);
    let big = topic("big");
    let audience = Audience::Topic(&big);
    assert_eq!(registry.count(audience, &Interval::whole(), NOW).await.unwrap(), 3_000);
    let mut sum = 0;
    for part in tidings::fanout::split(&Interval::whole(), 7) {
        sum += registry.count(audience, &part, NOW).await.unwrap();
    }
    assert_eq!(sum, 3_000);
    assert_eq!(registry.count(Audience::Everyone, &Interval::whole(), NOW).await.unwrap(), 0);
}

async fn what_has_expired_is_neither_listed_nor_counted(table: Table) {
    let registry = registry(&table);
    for index in 0..30 {
        let mut one = connection(&format!("c{index}"), None, &["t"]);
        if index != 17 {
            one.connected_at = NOW - 3 * 3_600_000;
        }
        registry.connect(&one).await.unwrap();
    }
    for audience in [Audience::Everyone, Audience::Topic(&topic("t"))] {
        for limit in [1, 5, 100] {
            assert_eq!(listed(&registry, audience, limit).await.0, ["c17"]);
        }
        assert_eq!(registry.count(audience, &Interval::whole(), NOW).await.unwrap(), 1);
    }
}
