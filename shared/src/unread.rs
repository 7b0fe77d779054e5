//! What a user has not read.

use serde::Serialize;

use crate::log::LogPosition;

/// What a user has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// How many messages.
    pub count: u64,
    /// Where its log ends.
    pub offset: u64,
    /// Up to where it has read; 0 where it has read nothing of this log.
    pub read: u64,
}

impl Unread {
    /// Of a log that ends at `end`, whose entries up to `floor` are out of reach, read up to `mark`. A mark of another epoch counts
    /// as 0; what is out of reach is not left to read.
    pub(crate) fn of(end: &LogPosition, floor: u64, mark: Option<&LogPosition>) -> Self {
        let read = mark.filter(|mark| mark.epoch == end.epoch).map_or(0, |mark| mark.offset);
        Self { count: end.offset.saturating_sub(read.max(floor)), offset: end.offset, read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    #[test]
    fn what_stands_above_the_mark_and_within_reach_is_unread() {
        let place = |offset, epoch: &str| LogPosition { offset, epoch: Epoch::parse(epoch).unwrap() };
        let end = place(46, "new");
        for (floor, mark, count, read) in [
            (0, None, 46, 0),
            (0, Some(place(43, "new")), 3, 43),
            (0, Some(place(46, "new")), 0, 46),
            (0, Some(place(43, "old")), 46, 0),
            (44, Some(place(43, "new")), 2, 43),
            (46, None, 0, 0),
        ] {
            assert_eq!(Unread::of(&end, floor, mark.as_ref()), Unread { count, offset: 46, read });
        }
    }
}
