//! How far a delivery is, so that another worker can go on where this one stops.

use std::collections::{BTreeSet, VecDeque};

use crate::registry::Position;

/// Most members that are begun and not settled. A position names them all, in 4 KB of the segment's row, so that handing
/// on is exact, and nothing waits for a member that cannot be named.
pub(super) const MAX_OPEN: usize = 200;
/// Most members that a worker which is killed may have served without having written it down.
const MAX_EXPOSED: u64 = 900;
/// Members settled between two savings.
const SAVE_EVERY: u64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Read,
    Begun,
    Settled,
}

/// The members in the order of their sort keys, from the first that is not settled.
#[derive(Debug)]
pub(super) struct Track {
    members: VecDeque<(String, State)>,
    /// Number of the first in `members`.
    base: u64,
    /// The last sort key before `members`.
    cursor: Option<String>,
    /// Stragglers of the last worker that have not been read again yet.
    unread: BTreeSet<String>,
    /// Members that are begun and not settled.
    open: usize,
    settled: u64,
    /// Settled members that the last saving covers, and the one under way.
    saved: u64,
    saving: Option<u64>,
    /// The last sort key that was read, or that the last worker counted.
    counted: Option<String>,
}

impl Track {
    pub(super) fn new(position: Position) -> Self {
        Self {
            members: VecDeque::new(),
            base: 0,
            cursor: position.cursor,
            unread: position.stragglers,
            open: 0,
            settled: 0,
            saved: 0,
            saving: None,
            counted: position.counted,
        }
    }

    /// Takes up a member that was read; its number is its name from here on. Members come in the order of their keys.
    pub(super) fn read(&mut self, sort_key: &str) -> u64 {
        // Those before it that were not read again have left the audience.
        self.unread = self.unread.split_off(sort_key);
        let state = if self.unread.remove(sort_key) { State::Begun } else { State::Read };
        self.open += usize::from(state == State::Begun);
        if self.counted.as_deref().is_none_or(|counted| sort_key > counted) {
            self.counted = Some(sort_key.to_owned());
        }
        self.members.push_back((sort_key.to_owned(), state));
        self.base + self.members.len() as u64 - 1
    }

    /// The audience is at its end: stragglers that were not read again have left it.
    pub(super) fn end(&mut self) {
        self.unread.clear();
    }

    /// Whether the member may be posted to: it is begun, or one more can be.
    pub(super) fn may_begin(&self, number: u64) -> bool {
        self.state(number) != Some(State::Read) || !self.is_full()
    }

    /// Whether nobody can be begun before somebody is settled.
    pub(super) fn is_full(&self) -> bool {
        self.open + self.unread.len() >= MAX_OPEN
    }

    pub(super) fn begin(&mut self, number: u64) {
        if self.state(number) == Some(State::Read) {
            self.mark(number, State::Begun);
            self.open += 1;
        }
    }

    pub(super) fn settle(&mut self, number: u64) {
        self.open -= usize::from(self.state(number) == Some(State::Begun));
        self.mark(number, State::Settled);
        self.settled += 1;
        while self.members.front().is_some_and(|(_, state)| *state == State::Settled) {
            self.base += 1;
            if let Some((sort_key, _)) = self.members.pop_front() {
                pass(&mut self.cursor, &sort_key);
            }
        }
    }

    fn index(&self, number: u64) -> usize {
        usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    fn state(&self, number: u64) -> Option<State> {
        self.members.get(self.index(number)).map(|(_, state)| *state)
    }

    fn mark(&mut self, number: u64, state: State) {
        let index = self.index(number);
        if let Some(member) = self.members.get_mut(index) {
            member.1 = state;
        }
    }

    /// Whether another post may start before something is saved, with `in_flight` under way.
    pub(super) fn may_start(&self, in_flight: usize) -> bool {
        self.settled - self.saved + (in_flight as u64) < MAX_EXPOSED
    }

    /// The position that is worth saving now, if there is one; [`saved`](Self::saved) says when that is done.
    pub(super) fn due(&mut self) -> Option<Position> {
        if self.saving.is_some() || self.settled - self.saved < SAVE_EVERY {
            return None;
        }
        self.saving = Some(self.settled);
        Some(Position { counted: None, ..self.position() })
    }

    pub(super) fn saved(&mut self) {
        self.saved = self.saving.take().unwrap_or(self.saved);
    }

    /// How far it is. All that is begun lies before all that is only read, so that nothing settled lies behind the cursor.
    pub(super) fn position(&self) -> Position {
        let mut cursor = self.cursor.clone();
        let mut stragglers = self.unread.clone();
        for (sort_key, state) in &self.members {
            match state {
                State::Settled => {}
                State::Begun => {
                    stragglers.insert(sort_key.clone());
                }
                State::Read => break,
            }
            pass(&mut cursor, sort_key);
        }
        let counted = self.counted.clone().filter(|counted| cursor.as_ref().is_none_or(|cursor| counted > cursor));
        Position { cursor, stragglers, counted }
    }
}

/// Moves the cursor, never back: stragglers of the last worker lie before it.
fn pass(cursor: &mut Option<String>, sort_key: &str) {
    if cursor.as_deref().is_none_or(|cursor| sort_key > cursor) {
        *cursor = Some(sort_key.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    fn position(cursor: &str, stragglers: &[&str]) -> Position {
        Position { cursor: Some(cursor.to_owned()), stragglers: set(stragglers), counted: None }
    }

    #[test]
    fn the_cursor_passes_stragglers_and_names_them() {
        let mut track = Track::new(Position::default());
        let numbers: Vec<u64> = ["a", "b", "c", "d"].map(|key| track.read(key)).to_vec();
        for number in &numbers[..3] {
            track.begin(*number);
        }
        track.settle(numbers[0]);
        track.settle(numbers[2]);
        assert_eq!(track.position(), Position { counted: Some("d".to_owned()), ..position("c", &["b"]) });
    }

    #[test]
    fn stragglers_of_the_last_worker_stay_until_they_are_settled() {
        let mut track = Track::new(position("m", &["b", "k"]));
        let number = track.read("b");
        track.begin(number);
        track.settle(number);
        assert_eq!(track.position(), position("m", &["k"]));
    }

    #[test]
    fn stragglers_that_have_left_the_audience_are_named_no_more() {
        let mut track = Track::new(position("m", &["b", "k", "l"]));
        track.read("k");
        assert_eq!(track.position(), position("m", &["k", "l"]));
        track.end();
        assert_eq!(track.position(), position("m", &["k"]));
    }

    #[test]
    fn posts_stop_until_what_they_did_is_written_down() {
        let mut track = Track::new(Position::default());
        let mut done = 0;
        while track.may_start(0) {
            let number = track.read(&format!("{done:05}"));
            track.begin(number);
            track.settle(number);
            done += 1;
        }
        assert_eq!(done, MAX_EXPOSED);
        let position = track.due().unwrap();
        assert_eq!(position.cursor.as_deref(), Some("00899"));
        assert!(!track.may_start(0) && track.due().is_none());
        track.saved();
        assert!(track.may_start(0));
    }

    #[test]
    fn no_more_are_begun_than_a_position_names_and_whoever_is_served_makes_room() {
        let mut track = Track::new(Position::default());
        let numbers: Vec<u64> = (0..2_000).map(|number| track.read(&format!("{number:05}"))).collect();
        let begun = numbers.iter().take_while(|number| {
            let may_begin = track.may_begin(**number);
            if may_begin {
                track.begin(**number);
            }
            may_begin
        });
        assert_eq!(begun.count(), MAX_OPEN);
        assert_eq!(track.position().stragglers.len(), MAX_OPEN);
        // One is throttled for ever, all others are served, and the run goes on to the end.
        let mut served = 0;
        for number in &numbers[1..] {
            assert!(track.may_begin(*number) && track.may_start(0), "{served}");
            track.begin(*number);
            track.settle(*number);
            served += 1;
            if let Some(position) = track.due() {
                assert!(position.stragglers.contains("00000"));
                track.saved();
            }
        }
        assert_eq!((served, track.position()), (1_999, position("01999", &["00000"])));
    }
}
