//! The sequencer by examples, and against a log that is played by chance.

mod random;

use super::*;
use crate::wire::{Incoming, read};

fn at(offset: u64) -> Position {
    Position { offset, epoch: "e".to_owned() }
}

fn message_of(epoch: &str, offset: u64) -> Message {
    let text =
        format!(r#"{{"type":"message","id":"n","topic":"a","offset":{offset},"epoch":"{epoch}","data":{offset}}}"#);
    let Incoming::Message(message) = read(&text) else { panic!("{text}") };
    message
}

fn message(offset: u64) -> Message {
    message_of("e", offset)
}

/// What was given out: the offsets of messages, and gaps as they are told.
fn told(out: Vec<Output>) -> Vec<String> {
    let told = out.into_iter().map(|output| match output {
        Output::Message(message) => message.position.unwrap().to_string(),
        Output::Missed { from, to } => {
            format!("{from}..{}", to.map_or_else(|| "no log".to_owned(), |to| to.to_string()))
        }
    });
    told.collect()
}

fn extract(offset: u64, messages: &[u64]) -> Extract {
    let messages = messages.iter().map(|offset| message(*offset)).collect();
    Extract { position: at(offset), recovered: Some(true), messages, more: false }
}

/// A sequencer that is subscribed and stands here.
fn standing(offset: u64, now: Instant) -> Sequencer {
    let mut sequencer = Sequencer::default();
    let position = Extract { recovered: None, ..extract(offset, &[]) };
    assert_eq!(sequencer.subscribed(&Asked::Now, Some(position), now), []);
    sequencer
}

fn push(sequencer: &mut Sequencer, offset: u64, now: Instant) -> Vec<String> {
    told(sequencer.pushed(&at(offset), Some(message(offset)), now))
}

#[test]
fn what_comes_early_waits_and_doubles_are_dropped() {
    let now = Instant::now();
    let mut log = standing(4, now);
    assert_eq!(push(&mut log, 6, now), [""; 0]);
    assert_eq!(push(&mut log, 6, now), [""; 0]);
    assert_eq!(push(&mut log, 5, now), ["5/e", "6/e"]);
    assert_eq!(push(&mut log, 5, now), [""; 0]);
    assert_eq!(push(&mut log, 4, now), [""; 0], "before the subscription");
    assert_eq!(log.due(), None);
}

#[test]
fn what_came_before_the_acknowledgement_is_given_out_with_it() {
    let now = Instant::now();
    let mut log = Sequencer::default();
    for offset in [8, 6, 5] {
        assert_eq!(push(&mut log, offset, now), [""; 0]);
    }
    let position = Extract { recovered: None, ..extract(6, &[]) };
    assert_eq!(told(log.subscribed(&Asked::Now, Some(position), now)), ["5/e", "6/e"]);
    assert_eq!(push(&mut log, 7, now), ["7/e", "8/e"]);
}

#[test]
fn an_offset_for_somebody_else_leaves_no_gap() {
    let now = Instant::now();
    let mut log = standing(0, now);
    assert_eq!(push(&mut log, 2, now), [""; 0]);
    assert_eq!(told(log.pushed(&at(1), None, now)), ["2/e"]);
    assert_eq!(log.position(), Some(&at(2)));
}

#[test]
fn a_gap_asks_for_history_after_a_second_and_not_while_it_closes_by_itself() {
    let start = Instant::now();
    let later = |millis| start + Duration::from_millis(millis);
    let mut log = standing(0, start);
    push(&mut log, 2, start);
    assert_eq!(log.need(later(999)), None);
    push(&mut log, 1, later(999));
    push(&mut log, 4, later(999));
    assert_eq!(log.need(later(1_500)), None, "the second gap has a second of its own");
    assert_eq!(log.need(later(1_999)), Some(Need::History(at(2))));
    assert_eq!((log.need(later(9_000)), log.due()), (None, None), "the answer is waited for");
    assert_eq!(told(log.page(&at(2), Some(extract(4, &[3, 4])), later(2_100))), ["3/e", "4/e"]);
    assert_eq!(log.due(), None);
}

#[test]
fn what_history_leaves_out_is_not_for_this_client() {
    let now = Instant::now();
    let mut log = standing(0, now);
    push(&mut log, 5, now);
    log.need(now + GAP_WAIT).unwrap();
    assert_eq!(told(log.page(&at(0), Some(extract(5, &[2, 5])), now)), ["2/e", "5/e"]);
}

#[test]
fn more_is_asked_for_at_once_until_there_is_no_more() {
    let now = Instant::now();
    let mut log = Sequencer::since(Some(at(1)));
    assert_eq!(push(&mut log, 9, now), [""; 0]);
    let part = Extract { more: true, ..extract(8, &[2, 3]) };
    assert_eq!(told(log.subscribed(&Asked::Since(at(1)), Some(part), now)), ["2/e", "3/e"]);
    assert_eq!(log.need(now), Some(Need::History(at(3))));
    let part = Extract { more: true, recovered: None, ..extract(9, &[4, 6]) };
    assert_eq!(told(log.page(&at(3), Some(part), now)), ["4/e", "6/e"]);
    assert_eq!(log.need(now), Some(Need::History(at(6))));
    let rest = Extract { recovered: None, ..extract(9, &[7, 9]) };
    assert_eq!(told(log.page(&at(6), Some(rest), now)), ["7/e", "9/e"]);
    assert_eq!(log.need(now + GAP_WAIT), None);
}

#[test]
fn what_cannot_be_recovered_is_told_and_what_is_left_follows() {
    let now = Instant::now();
    let mut log = Sequencer::since(Some(at(1)));
    let gone = Extract { recovered: Some(false), ..extract(8, &[7, 8]) };
    assert_eq!(told(log.subscribed(&Asked::Since(at(1)), Some(gone), now)), ["1/e..8/e", "7/e", "8/e"]);
    assert_eq!(push(&mut log, 9, now), ["9/e"]);
}

#[test]
fn another_epoch_is_looked_into_by_subscribing_again() {
    let now = Instant::now();
    let other = |offset| Position { offset, epoch: "f".to_owned() };
    let mut log = standing(4, now);
    push(&mut log, 6, now);
    assert_eq!(told(log.pushed(&other(2), Some(message_of("f", 2)), now)), [""; 0]);
    assert_eq!(log.need(now + GAP_WAIT), Some(Need::Subscribe(at(4))));
    let anew = Extract { position: other(1), recovered: Some(false), messages: Vec::new(), more: false };
    let out = told(log.subscribed(&Asked::Check(at(4)), Some(anew), now));
    assert_eq!(out, ["4/e..1/f", "6/e", "2/f"]);
    assert_eq!(push(&mut log, 7, now), [""; 0], "the old log is over");
    assert_eq!(log.due(), None);
}

#[test]
fn a_late_message_of_an_epoch_that_is_over_changes_nothing() {
    let now = Instant::now();
    let late = Position { offset: 9, epoch: "d".to_owned() };
    let mut log = standing(4, now);
    log.pushed(&late, Some(message_of("d", 9)), now);
    assert_eq!(log.need(now), Some(Need::Subscribe(at(4))));
    assert_eq!(told(log.subscribed(&Asked::Check(at(4)), Some(extract(5, &[5])), now)), ["5/e"]);
    log.pushed(&late, Some(message_of("d", 9)), now);
    assert_eq!(log.due(), None, "it is asked once");
}

#[test]
fn a_gap_that_cannot_be_filled_is_told_in_the_end() {
    let start = Instant::now();
    let mut log = standing(0, start);
    push(&mut log, 3, start);
    let mut now = start;
    for _ in 1..MOST_FAILURES {
        now = log.due().unwrap();
        log.need(now).unwrap();
        assert_eq!(log.failed(true, now), []);
    }
    assert!(now - start > GAP_WAIT * 10, "each time later");
    now = log.due().unwrap();
    log.need(now).unwrap();
    assert_eq!(told(log.failed(true, now)), ["0/e..2/e", "3/e"]);
    push(&mut log, 5, now);
    log.need(now + GAP_WAIT).unwrap();
    assert_eq!(told(log.failed(false, now)), ["3/e..4/e", "5/e"], "at once where it is forbidden");
}

#[test]
fn a_position_that_the_server_does_not_know_begins_anew() {
    let now = Instant::now();
    let mut log = Sequencer::since(Some(at(50)));
    let position = Extract { recovered: None, ..extract(8, &[]) };
    assert_eq!(told(log.subscribed(&Asked::Anew, Some(position), now)), ["50/e..8/e"]);
    assert_eq!(push(&mut log, 9, now), ["9/e"]);
}

#[test]
fn a_log_that_is_no_more_is_told_and_messages_are_passed_on() {
    let now = Instant::now();
    let mut log = standing(4, now);
    push(&mut log, 6, now);
    assert_eq!(told(log.subscribed(&Asked::Since(at(4)), None, now)), ["4/e..no log", "6/e"]);
    assert_eq!(push(&mut log, 9, now), ["9/e"]);
    let position = Extract { recovered: None, ..extract(9, &[]) };
    log.subscribed(&Asked::Now, Some(position), now);
    assert_eq!(push(&mut log, 9, now), [""; 0], "there is a log again");
}

#[test]
fn an_acknowledgement_of_a_second_connection_takes_nothing_back() {
    let now = Instant::now();
    let mut log = standing(4, now);
    push(&mut log, 5, now);
    push(&mut log, 6, now);
    assert_eq!(told(log.subscribed(&Asked::Since(at(4)), Some(extract(7, &[5, 6, 7])), now)), ["7/e"]);
    let older = Extract { recovered: Some(false), ..extract(6, &[]) };
    assert_eq!(told(log.subscribed(&Asked::Since(at(4)), Some(older), now)), [""; 0]);
    assert_eq!(log.position(), Some(&at(7)));
}

#[test]
fn what_is_held_has_a_bound_and_history_brings_the_rest() {
    let now = Instant::now();
    let mut log = standing(0, now);
    let last = MOST_HELD as u64 + 10;
    for offset in 2..=last {
        push(&mut log, offset, now);
    }
    assert_eq!(log.held.len(), MOST_HELD);
    assert_eq!(push(&mut log, 1, now).len(), MOST_HELD, "the highest made room");
    assert_eq!(log.need(now + GAP_WAIT), Some(Need::History(at(MOST_HELD as u64))));
}
