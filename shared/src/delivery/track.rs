//! How far a delivery is, so that another worker can go on where this one stops.

use std::collections::{BTreeSet, VecDeque};

use crate::registry::Position;

/// Most stragglers that a position names: 4 KB of the segment's row.
const MAX_STRAGGLERS: usize = 200;
/// Most members that a worker which is killed may have served without having written it down.
const MAX_EXPOSED: u64 = 900;
/// Members settled between two savings.
const SAVE_EVERY: u64 = 400;
/// A saving that would say less is not worth its write.
const WORTH_SAVING: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Read,
    Started,
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
    settled: u64,
    /// Settled members that the last saving covers, and the one under way.
    saved: u64,
    saving: Option<u64>,
}

impl Track {
    pub(super) fn new(position: Position) -> Self {
        Self {
            members: VecDeque::new(),
            base: 0,
            cursor: position.cursor,
            unread: position.stragglers,
            settled: 0,
            saved: 0,
            saving: None,
        }
    }

    /// Takes up a member that was read; its number is its name from here on.
    pub(super) fn read(&mut self, sort_key: &str) -> u64 {
        self.unread.remove(sort_key);
        self.members.push_back((sort_key.to_owned(), State::Read));
        self.base + self.members.len() as u64 - 1
    }

    pub(super) fn start(&mut self, number: u64) {
        self.mark(number, State::Started);
    }

    pub(super) fn settle(&mut self, number: u64) {
        self.mark(number, State::Settled);
        self.settled += 1;
        while self.members.front().is_some_and(|(_, state)| *state == State::Settled) {
            self.base += 1;
            if let Some((sort_key, _)) = self.members.pop_front() {
                self.pass(sort_key);
            }
        }
    }

    fn mark(&mut self, number: u64, state: State) {
        let index = usize::try_from(number.saturating_sub(self.base)).unwrap_or(usize::MAX);
        if let Some(member) = self.members.get_mut(index) {
            member.1 = state;
        }
    }

    /// Moves the cursor, never back: stragglers of the last worker lie before it.
    fn pass(&mut self, sort_key: String) {
        if self.cursor.as_ref().is_none_or(|cursor| sort_key > *cursor) {
            self.cursor = Some(sort_key);
        }
    }

    /// Whether another post may start, with `in_flight` under way.
    pub(super) fn may_start(&self, in_flight: usize) -> bool {
        self.settled - self.saved + (in_flight as u64) < MAX_EXPOSED
    }

    /// The position that is worth saving now, if there is one; [`saved`](Self::saved) says when that is done.
    pub(super) fn due(&mut self) -> Option<Position> {
        if self.saving.is_some() || self.settled - self.saved < SAVE_EVERY {
            return None;
        }
        let (position, covered) = self.position();
        if covered - self.saved < WORTH_SAVING {
            return None;
        }
        self.saving = Some(covered);
        Some(position)
    }

    pub(super) fn saved(&mut self) {
        self.saved = self.saving.take().unwrap_or(self.saved);
    }

    /// How far it is, and how many settled members that covers.
    pub(super) fn position(&self) -> (Position, u64) {
        let mut cursor = self.cursor.clone();
        let mut stragglers = self.unread.clone();
        let mut covered =
            self.settled - self.members.iter().filter(|(_, state)| *state == State::Settled).count() as u64;
        for (sort_key, state) in &self.members {
            match state {
                State::Settled => covered += 1,
                State::Started if stragglers.len() < MAX_STRAGGLERS => {
                    stragglers.insert(sort_key.clone());
                }
                State::Read | State::Started => break,
            }
            if cursor.as_ref().is_none_or(|cursor| sort_key > cursor) {
                cursor = Some(sort_key.clone());
            }
        }
        (Position { cursor, stragglers }, covered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[&str]) -> BTreeSet<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn the_cursor_passes_stragglers_and_names_them() {
        let mut track = Track::new(Position::default());
        let numbers: Vec<u64> = ["a", "b", "c", "d"].map(|key| track.read(key)).to_vec();
        for number in &numbers[..3] {
            track.start(*number);
        }
        track.settle(numbers[0]);
        track.settle(numbers[2]);
        let (position, covered) = track.position();
        assert_eq!(position, Position { cursor: Some("c".to_owned()), stragglers: set(&["b"]) });
        assert_eq!(covered, 2);
    }

    #[test]
    fn stragglers_of_the_last_worker_stay_until_they_are_settled() {
        let last = Position { cursor: Some("m".to_owned()), stragglers: set(&["b", "k"]) };
        let mut track = Track::new(last);
        let number = track.read("b");
        track.start(number);
        track.settle(number);
        let (position, _) = track.position();
        assert_eq!(position, Position { cursor: Some("m".to_owned()), stragglers: set(&["k"]) });
    }

    #[test]
    fn posts_stop_until_what_they_did_is_written_down() {
        let mut track = Track::new(Position::default());
        let mut done = 0;
        while track.may_start(0) {
            let number = track.read(&format!("{done:05}"));
            track.start(number);
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
}
