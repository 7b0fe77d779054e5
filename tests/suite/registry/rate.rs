//! The rate limit that all workers share.

use std::time::Duration;

use tests::engine::Table;
use tidings::registry::{Granted, RateLimit, Registry, Wanted};

use super::{NOW, on_both_engines, registry};

on_both_engines!(
    reservations_follow_each_other,
    what_nobody_reserved_is_lost_after_a_fifth_of_a_second,
    whoever_would_wait_too_long_is_told_for_how_long,
    many_at_once_get_reservations_of_their_own,
    a_row_that_is_an_hour_ahead_is_put_right,
    what_one_learns_all_know_and_only_the_first_of_an_epoch_counts,
    while_nothing_goes_through_one_at_a_time_probes
);

const RATE: f64 = 8_000.0;
const MS: i64 = 1_000;
/// In microseconds since the epoch.
const START: i64 = NOW * 1_000;

fn wanted(posts: usize) -> Wanted {
    Wanted { posts, patience: Duration::from_millis(300), configured: RATE, ok_at: 0 }
}

/// When a reservation begins, after the start, in milliseconds.
async fn begin(registry: &Registry, known: &mut RateLimit, posts: usize, at: i64) -> Option<i64> {
    match registry.reserve(known, &wanted(posts), at).await.unwrap() {
        Granted::Posts { begin, count, interval } => {
            assert!(count as usize == posts.min(200) && interval == Duration::from_micros(125), "{count} {interval:?}");
            Some((begin - START) / MS)
        }
        Granted::Wait(_) | Granted::Blocked => None,
    }
}

async fn reservations_follow_each_other(table: Table) {
    let (registry, mut known) = (registry(&table), RateLimit::new(RATE));
    for number in 0..4 {
        // 25 ms of the rate at most, however many are wanted.
        assert_eq!(begin(&registry, &mut known, 1_000, START + number).await, Some(number * 25 - 200));
    }
    assert_eq!(begin(&registry, &mut known, 8, START).await, Some(-100));
    assert_eq!(begin(&registry, &mut known, 8, START).await, Some(-99));
}

async fn what_nobody_reserved_is_lost_after_a_fifth_of_a_second(table: Table) {
    let (registry, mut known) = (registry(&table), RateLimit::new(RATE));
    begin(&registry, &mut known, 200, START).await;
    assert_eq!(begin(&registry, &mut known, 200, START + 20 * MS).await, Some(-175));
    assert_eq!(begin(&registry, &mut known, 200, START + 300 * MS).await, Some(100));
}

async fn whoever_would_wait_too_long_is_told_for_how_long(table: Table) {
    let (registry, mut known) = (registry(&table), RateLimit::new(RATE));
    let mut given = 0;
    while begin(&registry, &mut known, 200, START).await.is_some() {
        given += 1;
    }
    // The first one begins 200 ms ago, the last one 300 ms from now.
    assert_eq!(given, 21);
    let answer = registry.reserve(&mut known, &wanted(200), START).await.unwrap();
    assert_eq!(answer, Granted::Wait(Duration::from_millis(25)));
    // And nothing was taken by those who got none. Whoever is more patient still gets something.
    assert_eq!(begin(&registry, &mut known, 200, START + 25 * MS).await, Some(325));
    let small = Wanted { patience: Duration::from_millis(1_500), ..wanted(200) };
    assert!(matches!(registry.reserve(&mut known, &small, START).await.unwrap(), Granted::Posts { .. }));
}

async fn many_at_once_get_reservations_of_their_own(table: Table) {
    let registry = registry(&table);
    let reservations = (0..12).map(|_| async {
        let mut known = RateLimit::new(RATE);
        begin(&registry, &mut known, 200, START).await
    });
    let mut begins = futures_util::future::join_all(reservations).await;
    begins.sort_unstable();
    let expected: Vec<_> = (0..12).map(|number| Some(number * 25 - 200)).collect();
    assert_eq!(begins, expected);
}

async fn a_row_that_is_an_hour_ahead_is_put_right(table: Table) {
    let (registry, mut ahead) = (registry(&table), RateLimit::new(RATE));
    begin(&registry, &mut ahead, 200, START + 3_600_000 * MS).await;
    let mut known = RateLimit::new(RATE);
    assert_eq!(begin(&registry, &mut known, 200, START).await, Some(-200));
    assert_eq!(begin(&registry, &mut known, 200, START).await, Some(-175));
}

async fn what_one_learns_all_know_and_only_the_first_of_an_epoch_counts(table: Table) {
    let (registry, mut one, mut other) = (registry(&table), RateLimit::new(RATE), RateLimit::new(RATE));
    begin(&registry, &mut one, 1, START).await;
    begin(&registry, &mut other, 1, START).await;
    let cut = one.learnt.cut(RATE, 0.5, START);
    registry.learn(&mut one, cut).await.unwrap();
    assert_eq!(one.learnt.rate(RATE, START), 3_760.0);
    // The other one saw the same overload, of posts of the epoch that is over.
    let late = other.learnt.cut(RATE, 0.9, START);
    registry.learn(&mut other, late).await.unwrap();
    assert_eq!(other.learnt, one.learnt);
    // And its next reservation is at the new rate: 94 posts in 25 ms.
    let Granted::Posts { count, .. } = registry.reserve(&mut other, &wanted(1_000), START).await.unwrap() else {
        panic!("it should be granted")
    };
    assert_eq!(count, 94);
}

async fn while_nothing_goes_through_one_at_a_time_probes(table: Table) {
    let (registry, mut known) = (registry(&table), RateLimit::new(RATE));
    begin(&registry, &mut known, 1, START).await;
    for _ in 0..4 {
        let cut = known.learnt.cut(RATE, 1.0, START);
        registry.learn(&mut known, cut).await.unwrap();
    }
    assert!(known.learnt.is_at_floor(RATE));
    let mut fresh = RateLimit::new(RATE);
    assert_eq!(registry.reserve(&mut fresh, &wanted(100), START + MS).await.unwrap(), Granted::Blocked);
    assert_eq!(fresh.learnt.blocked_since, known.learnt.blocked_since);
    let probe = registry.reserve(&mut known, &wanted(100), START + 300 * MS).await.unwrap();
    assert!(matches!(probe, Granted::Posts { count: 5, .. }), "{probe:?}");
    assert_eq!(registry.reserve(&mut fresh, &wanted(100), START + 301 * MS).await.unwrap(), Granted::Blocked);
    // What goes through brings it back, for all.
    let mut steps = 0;
    while known.learnt.blocked_since.is_some() {
        let up = known.learnt.recover(START + 400 * MS);
        registry.learn(&mut known, up).await.unwrap();
        steps += 1;
    }
    assert_eq!(steps, 7);
    let answer = registry.reserve(&mut fresh, &wanted(100), START + 500 * MS).await.unwrap();
    assert!(matches!(answer, Granted::Posts { count: 100, .. }), "{answer:?}");
}
