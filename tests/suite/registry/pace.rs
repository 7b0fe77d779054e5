//! The pace that all workers share.

use std::time::Duration;

use tests::engine::Table;

use super::{NOW, on_both_engines, registry};

on_both_engines!(
    turns_follow_each_other,
    what_nobody_took_is_lost_after_a_tenth_of_a_second,
    whoever_would_wait_too_long_gets_no_turn,
    many_at_once_get_turns_of_their_own
);

const TURN: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_millis(490);
const MS: i64 = 1_000;
/// In microseconds since the epoch.
const START: i64 = NOW * 1_000;

async fn turns_follow_each_other(table: Table) {
    let registry = registry(&table);
    for turn in 0..4 {
        let begin = registry.take_turn(TURN, START + turn, PATIENCE).await.unwrap();
        assert_eq!(begin, Some(START + turn * 25 * MS));
    }
}

async fn what_nobody_took_is_lost_after_a_tenth_of_a_second(table: Table) {
    let registry = registry(&table);
    registry.take_turn(TURN, START, PATIENCE).await.unwrap();
    let late = registry.take_turn(TURN, START + 120 * MS, PATIENCE).await.unwrap();
    assert_eq!(late, Some(START + 25 * MS));
    let too_late = registry.take_turn(TURN, START + 200 * MS, PATIENCE).await.unwrap();
    assert_eq!(too_late, Some(START + 200 * MS));
}

async fn whoever_would_wait_too_long_gets_no_turn(table: Table) {
    let registry = registry(&table);
    let mut begins = Vec::new();
    for _ in 0..30 {
        begins.push(registry.take_turn(TURN, START, PATIENCE).await.unwrap());
    }
    let taken = begins.iter().flatten().count();
    // The last one begins 475 ms from now.
    assert_eq!((taken, begins[taken - 1], begins[taken]), (20, Some(START + 475 * MS), None));
    // And nothing was taken by those who got none.
    let later = registry.take_turn(TURN, START + 100 * MS, PATIENCE).await.unwrap();
    assert_eq!(later, Some(START + 500 * MS));
}

async fn many_at_once_get_turns_of_their_own(table: Table) {
    let registry = registry(&table);
    let takes = (0..16).map(|_| registry.take_turn(TURN, START, PATIENCE));
    let mut begins = futures_util::future::try_join_all(takes).await.unwrap();
    begins.sort_unstable();
    let expected: Vec<_> = (0..16).map(|turn| Some(START + turn * 25 * MS)).collect();
    assert_eq!(begins, expected);
}
