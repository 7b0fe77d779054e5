//! How far users have read, and who may wait.

use futures_util::future::join_all;
use tests::engine::Table;
use tidings::UserId;
use tidings::history::Retention;
use tidings::inbox::{Inbox, InboxError, Unread};
use tidings::log::{Epoch, LogName, LogPosition};
use tidings::registry::Registry;

use super::{NOW, on_both_engines, registry};

on_both_engines!(
    a_mark_counts_in_its_own_log_and_only_rises,
    no_more_requests_wait_than_may,
    a_place_is_free_when_its_lease_is_over,
    a_request_that_waits_costs_what_it_should,
);

const KEPT: Retention = Retention { seconds: 300, messages: None, ordered: false };

fn user() -> UserId {
    UserId::parse("u1").unwrap()
}

/// Lets the user's log end there.
async fn ends_at(registry: &Registry, offset: u64) -> Epoch {
    let log = LogName::User(user());
    let head = registry.begin_log(&log, KEPT, NOW).await.unwrap();
    let position = LogPosition { offset, epoch: head.epoch.clone() };
    registry.raise_head(&log, &position, KEPT, NOW).await.unwrap();
    head.epoch
}

async fn a_mark_counts_in_its_own_log_and_only_rises(table: Table) {
    let registry = registry(&table);
    let user = user();
    let inbox = Inbox { user: &user, retention: KEPT, now: NOW };
    let old = LogPosition { offset: 40, epoch: Epoch::parse("old").unwrap() };
    assert!(registry.raise_read_mark(&user, &old).await.unwrap());
    let epoch = ends_at(&registry, 5).await;
    let unread = |count, read| Unread { count, offset: 5, read };
    assert_eq!(registry.unread(&inbox).await.unwrap(), unread(5, 0), "a mark of another epoch is 0");
    let mut marks = Vec::new();
    for (offset, epoch) in [(3, None), (2, Some(&epoch)), (4, Some(&old.epoch)), (0, None), (5, Some(&epoch))] {
        let marked = registry.mark_read(&inbox, offset, epoch).await.unwrap();
        assert_eq!(registry.unread(&inbox).await.unwrap(), marked.unread);
        marks.push((marked.has_risen, marked.unread));
    }
    let same = (false, unread(2, 3));
    assert_eq!(marks, [(true, unread(2, 3)), same, same, same, (true, unread(0, 5))]);
    let ahead = registry.mark_read(&inbox, 6, None).await;
    assert!(matches!(ahead, Err(InboxError::Ahead { offset: 6, end: 5 })), "{ahead:?}");
}

async fn no_more_requests_wait_than_may(table: Table) {
    let registry = registry(&table);
    let taken = join_all((0..8).map(|_| registry.take_poll_lease(3, NOW + 30_000, NOW))).await;
    let mut leases: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
    assert!((1..=3).contains(&leases.len()), "{leases:?}");
    while let Some(lease) = registry.take_poll_lease(3, NOW + 30_000, NOW).await.unwrap() {
        leases.push(lease);
    }
    assert_eq!(leases.len(), 3);
    assert_eq!(registry.take_poll_lease(0, NOW + 30_000, NOW).await.unwrap(), None);
    registry.end_poll_lease(leases.remove(1)).await.unwrap();
    assert!(registry.take_poll_lease(3, NOW + 30_000, NOW).await.unwrap().is_some());
    assert_eq!(registry.take_poll_lease(3, NOW + 30_000, NOW).await.unwrap(), None);
}

async fn a_place_is_free_when_its_lease_is_over(table: Table) {
    let registry = registry(&table);
    let dead = registry.take_poll_lease(1, NOW + 30_000, NOW).await.unwrap().unwrap();
    assert_eq!(registry.take_poll_lease(1, NOW + 59_999, NOW + 29_999).await.unwrap(), None);
    assert!(registry.take_poll_lease(1, NOW + 60_000, NOW + 30_000).await.unwrap().is_some());
    registry.end_poll_lease(dead).await.unwrap();
    assert_eq!(registry.take_poll_lease(1, NOW + 61_000, NOW + 31_000).await.unwrap(), None, "it is another's by now");
}

async fn a_request_that_waits_costs_what_it_should(table: Table) {
    let registry = registry(&table);
    let log = LogName::User(user());
    ends_at(&registry, 1).await;
    let lease = registry.take_poll_lease(20, NOW + 30_000, NOW).await.unwrap().unwrap();
    let before = registry.consumed();
    registry.head(&log).await.unwrap();
    let look = registry.consumed();
    registry.end_poll_lease(lease).await.unwrap();
    let given_back = registry.consumed();
    registry.take_poll_lease(20, NOW + 30_000, NOW).await.unwrap();
    let taken = registry.consumed() - given_back;
    assert_eq!(((look - before).read, (given_back - look).write), (1.0, 1.0));
    assert_eq!((taken.read, taken.write), (1.0, 1.0));
}
