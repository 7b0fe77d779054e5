//! A part of a fan-out, as it travels in the queue.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::{InvalidId, NotificationId};
use crate::notification::{Carrier, InvalidNotification, Notification};
use crate::registry::{Interval, Position, SegmentKey};

/// Most parts that a segment is split into: `SendMessageBatch` takes no more messages.
pub(super) const MAX_PARTS: usize = 10;
/// Slots of the hash that spreads connections over their audiences.
const SLOTS: usize = 256;

/// Why a message is not a segment.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSegment {
    /// It is not JSON of the right shape.
    #[error("the message is not a segment of a fan-out")]
    Shape(#[from] serde_json::Error),
    /// It has no name.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// Its notification is not one.
    #[error(transparent)]
    Notification(#[from] InvalidNotification),
}

/// A part of a notification's audience.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The notification.
    pub notification: Notification,
    /// Its place in the tree.
    pub id: String,
    /// The part of the audience.
    pub interval: Interval,
    /// Where it is not everything in the interval: these sort keys only.
    pub only: Vec<String>,
    /// How often it was handed on.
    pub hops: u32,
    /// When the fan-out began, in milliseconds since the epoch.
    pub since: i64,
}

#[derive(Serialize, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    notification: &'a RawValue,
    segment: Place,
}

#[derive(Serialize, Deserialize)]
struct Place {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<String>,
    hops: u32,
    since: i64,
}

impl Segment {
    /// The whole audience of a notification.
    #[must_use]
    pub fn whole(notification: Notification, now: i64) -> Self {
        let id = "0".to_owned();
        Self { notification, id, interval: Interval::whole(), only: Vec::new(), hops: 0, since: now }
    }

    /// Reads a message of the fan-out queue.
    ///
    /// # Errors
    /// When it is not one.
    pub fn parse(message: &str) -> Result<Self, InvalidSegment> {
        let Message { notification, segment } = serde_json::from_str(message)?;
        // What we sent ourselves has an id and a time of its own.
        let carrier = Carrier { id: NotificationId::parse("segment")?, at: segment.since };
        Ok(Self {
            notification: Notification::parse(notification.get(), &carrier)?,
            id: segment.id,
            interval: Interval { after: segment.after, to: segment.to },
            only: segment.only,
            hops: segment.hops,
            since: segment.since,
        })
    }

    /// The message of the fan-out queue.
    ///
    /// # Errors
    /// Never for a notification that was parsed.
    pub fn to_message(&self) -> Result<String, serde_json::Error> {
        let notification = serde_json::value::to_raw_value(&self.notification)?;
        let segment = Place {
            id: self.id.clone(),
            after: self.interval.after.clone(),
            to: self.interval.to.clone(),
            only: self.only.clone(),
            hops: self.hops,
            since: self.since,
        };
        serde_json::to_string(&Message { notification: &notification, segment })
    }

    pub(super) fn key(&self) -> SegmentKey {
        SegmentKey { notification: self.notification.id.clone(), segment: self.id.clone() }
    }

    /// Where to begin, before anything was done.
    pub(super) fn beginning(&self) -> Position {
        match self.only.as_slice() {
            [] => Position::default(),
            only => Position::only(only.iter().cloned()),
        }
    }

    /// The parts of a plan, as segments of their own.
    pub(super) fn parts(&self, plan: Vec<Interval>) -> Vec<Self> {
        let part = |(index, interval)| Self {
            id: format!("{}.{index}", self.id),
            interval,
            hops: self.hops + 1,
            ..self.clone()
        };
        plan.into_iter().enumerate().map(part).collect()
    }
}

/// The parts that an audience is to be split into, where it is more than `budget` members; `read` of them were read, and
/// `last` is the last one's sort key. `None` where it is not worth it or cannot be done.
#[must_use]
pub fn plan(interval: &Interval, read: usize, last: &str, budget: usize) -> Option<Vec<Interval>> {
    let size = estimate(interval, read, last);
    if size <= budget {
        return None;
    }
    let parts = split(interval, size.div_ceil(budget.max(1)));
    (parts.len() > 1).then_some(parts)
}

/// How many members an interval has, if its first `read` ones end in the slot of `last`: slots are uniform.
#[must_use]
pub fn estimate(interval: &Interval, read: usize, last: &str) -> usize {
    let (first, end) = slots(interval);
    let passed = slot(last).saturating_sub(first);
    // The last slot was read in part: half of it, as far as anybody knows.
    let passed = passed as f64 + 0.5;
    (read as f64 * (end - first) as f64 / passed) as usize
}

/// Splits an interval at the edges of slots into at most `parts` even parts.
#[must_use]
pub fn split(interval: &Interval, parts: usize) -> Vec<Interval> {
    let (first, end) = slots(interval);
    let parts = parts.min(MAX_PARTS).min(end - first);
    if parts < 2 {
        return vec![interval.clone()];
    }
    let edges = (1..parts).map(|part| Some(format!("{:02x}", first + (end - first) * part / parts)));
    let bounds: Vec<_> = [interval.after.clone()].into_iter().chain(edges).chain([interval.to.clone()]).collect();
    bounds.windows(2).map(|pair| Interval { after: pair[0].clone(), to: pair[1].clone() }).collect()
}

/// The slots that an interval touches: from the first up to but not including the last.
fn slots(interval: &Interval) -> (usize, usize) {
    let first = interval.after.as_deref().map_or(0, slot);
    let end = match interval.to.as_deref() {
        None => SLOTS,
        // The bare edge of a slot holds nothing of it.
        Some(to) if to.len() == 2 => slot(to),
        Some(to) => slot(to) + 1,
    };
    (first, end.max(first + 1))
}

fn slot(sort_key: &str) -> usize {
    let digits = sort_key.get(..2).unwrap_or_default();
    usize::from_str_radix(digits, 16).unwrap_or(SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(after: &str, to: &str) -> Interval {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Interval { after: bound(after), to: bound(to) }
    }

    #[test]
    fn parts_cover_the_whole_without_gap_or_overlap() {
        for (whole, parts) in [(Interval::whole(), 10), (interval("40#a", "7f#z"), 3), (interval("10", "12"), 10)] {
            let split = split(&whole, parts);
            assert!(split.len() > 1);
            assert_eq!((&split[0].after, &split[split.len() - 1].to), (&whole.after, &whole.to));
            assert!(split.windows(2).all(|pair| pair[0].to == pair[1].after && pair[0].to.is_some()));
        }
    }

    #[test]
    fn one_slot_cannot_be_split() {
        for one in [interval("40", "41"), interval("40#a", "40#z"), interval("ff", "")] {
            assert_eq!(split(&one, 10), [one]);
        }
    }

    #[test]
    fn sizes_are_estimated_from_the_part_that_was_read() {
        assert_eq!(estimate(&Interval::whole(), 1_000, "02#a"), 102_400);
        assert_eq!(estimate(&interval("80", ""), 1_000, "bf#z"), 2_015);
    }

    #[test]
    fn a_segment_comes_out_of_its_message_as_it_went_in() {
        let carrier = Carrier { id: NotificationId::parse("n").unwrap(), at: 1_795_520_783_000 };
        let text = r#"{"to":[{"topic":"t"},"everyone"],"except":["c"],"data":{"n": 1.0}}"#;
        let mut segment = Segment::whole(Notification::parse(text, &carrier).unwrap(), 7);
        segment.interval = interval("40", "80");
        let read = Segment::parse(&segment.to_message().unwrap()).unwrap();
        assert_eq!(read.to_message().unwrap(), segment.to_message().unwrap());
        assert_eq!((read.notification.id.as_str(), read.since, read.interval), ("n", 7, segment.interval));
    }
}
