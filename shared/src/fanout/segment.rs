//! A part of a fan-out, as it travels in the queue.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::delivery::Retry;
use crate::ids::{InvalidId, NotificationId, Topic};
use crate::notification::{Defaults, InvalidNotification, MAX_TTL_SECONDS, Notification, Target};
use crate::registry::{Interval, Position, SegmentKey};

/// Most parts that a segment is split into: few enough for one request to SQS.
pub(super) const MAX_PARTS: usize = 10;
/// Prefixes of the hash that spreads connections over their audiences.
const SLOTS: usize = 256;
/// The id of a whole audience.
pub(super) const WHOLE: &str = "0";
/// Ends the id of a segment in those of the members that it handed on by name.
const BY_NAME: char = '!';

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
    /// What the notification's id is unique in.
    pub scope: String,
    /// Its place in the tree.
    pub id: String,
    /// The part of the audience.
    pub interval: Interval,
    /// Where it is not everything in the interval: these sort keys only. All of them were counted by an earlier report.
    pub only: Vec<String>,
    /// The last sort key that was counted by an earlier report.
    pub counted: Option<String>,
    /// How often it was handed on because the time was up, or split.
    pub hops: u32,
    /// How often its members were delayed because they were throttled.
    pub waits: u32,
    /// Why its members are tried again, if they are.
    pub retry: Retry,
    /// Whether it was handed on because nothing got through.
    pub is_overloaded: bool,
    /// Whether the notification is stored.
    pub is_stored: bool,
    /// What the whole notification says to whom, whenever it is said: another one must not have its id.
    pub hash: String,
}

/// A message of the fan-out queue, before its notification was read.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message<'a> {
    /// The id of a notification that is stored, or all of it.
    #[serde(borrow)]
    notification: &'a RawValue,
    pub(super) scope: String,
    segment: Place,
}

#[derive(Debug, Serialize, Deserialize)]
struct Place {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    only: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: Option<String>,
    #[serde(default)]
    hops: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    waits: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    retry: Retry,
    #[serde(default, skip_serializing_if = "is_default")]
    overloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// When the notification happened, for whoever reads a dead letter.
    #[serde(default)]
    at: i64,
    /// Lets the notification live so many seconds from its `at`: somebody may send the segment once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> Message<'a> {
    pub(super) fn parse(message: &'a str) -> Result<Self, InvalidSegment> {
        Ok(serde_json::from_str(message)?)
    }

    /// The key of the segment whose notification is stored, where the message only refers to it.
    pub(super) fn reference(&self) -> Result<Option<SegmentKey>, InvalidSegment> {
        match serde_json::from_str::<String>(self.notification.get()) {
            Ok(id) => {
                let notification = NotificationId::parse(id)?;
                Ok(Some(SegmentKey { scope: self.scope.clone(), notification, segment: self.segment.id.clone() }))
            }
            Err(_) => Ok(None),
        }
    }

    /// The segment, with the notification that was stored or that came along.
    pub(super) fn into_segment(self, stored: Option<&str>) -> Result<Segment, InvalidSegment> {
        // What we wrote ourselves has an id and a time of its own.
        let defaults = Defaults { id: NotificationId::parse("segment")?, at: 0 };
        let text = stored.unwrap_or(self.notification.get());
        let mut notification = Notification::parse_own(text, &defaults)?;
        let Place { id, after, to, only, counted, hops, waits, retry, overloaded, hash, at: _, ttl } = self.segment;
        notification.ttl = notification.ttl.max(ttl.unwrap_or_default().min(MAX_TTL_SECONDS));
        Ok(Segment {
            hash: hash.unwrap_or_else(|| hash_of(&notification)),
            notification,
            scope: self.scope,
            id,
            interval: Interval { after, to },
            only,
            counted,
            hops,
            waits,
            retry,
            is_overloaded: overloaded,
            is_stored: stored.is_some(),
        })
    }
}

impl Segment {
    /// The whole audience of a notification whose id is unique in `scope`.
    #[must_use]
    pub fn whole(notification: Notification, scope: impl Into<String>) -> Self {
        Self {
            hash: hash_of(&notification),
            notification,
            scope: scope.into(),
            id: WHOLE.to_owned(),
            interval: Interval::whole(),
            only: Vec::new(),
            counted: None,
            hops: 0,
            waits: 0,
            retry: Retry::No,
            is_overloaded: false,
            is_stored: false,
        }
    }

    /// Whether it is a whole audience, that nobody has looked at yet.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_root() && self.hops == 0
    }

    /// Whether it is a whole audience, or all that is left of one: neither a part of it nor some by name.
    pub(super) fn is_root(&self) -> bool {
        !self.id.contains(['.', BY_NAME])
    }

    /// The part of it for one of the notification's targets, by its index.
    pub(super) fn for_target(&self, index: usize) -> Self {
        let to = self.notification.to.get(index).cloned().into_iter().collect();
        Self { id: format!("t{index}"), ..self.for_targets(to) }
    }

    /// The part of it for these targets.
    pub(super) fn for_targets(&self, to: Vec<Target>) -> Self {
        Self { notification: Notification { to, ..self.notification.clone() }, ..self.clone() }
    }

    /// The message of the fan-out queue, which refers to the notification.
    ///
    /// # Errors
    /// Never for a notification that was parsed.
    pub fn to_message(&self) -> Result<String, serde_json::Error> {
        self.write(&self.notification.id)
    }

    /// The same with the notification in it: a dead letter needs nothing else.
    ///
    /// # Errors
    /// Never for a notification that was parsed.
    pub fn to_letter(&self) -> Result<String, serde_json::Error> {
        self.write(&self.notification)
    }

    fn write<T: Serialize>(&self, notification: &T) -> Result<String, serde_json::Error> {
        let notification = serde_json::value::to_raw_value(notification)?;
        let segment = Place {
            id: self.id.clone(),
            after: self.interval.after.clone(),
            to: self.interval.to.clone(),
            only: self.only.clone(),
            counted: self.counted.clone(),
            hops: self.hops,
            waits: self.waits,
            retry: self.retry,
            overloaded: self.is_overloaded,
            hash: Some(self.hash.clone()),
            at: self.notification.at,
            ttl: Some(self.notification.ttl),
        };
        serde_json::to_string(&Message { notification: &notification, scope: self.scope.clone(), segment })
    }

    /// Its row's name.
    #[must_use]
    pub fn key(&self) -> SegmentKey {
        let notification = self.notification.id.clone();
        SegmentKey { scope: self.scope.clone(), notification, segment: self.id.clone() }
    }

    /// Where to begin, before anything was done.
    pub(super) fn beginning(&self) -> Position {
        match self.only.as_slice() {
            [] => Position { counted: self.counted.clone(), ..Position::default() },
            only => Position::only(only.iter().cloned()),
        }
    }

    /// The parts of a plan, as segments of their own.
    pub(super) fn parts(&self, plan: Vec<Interval>) -> Vec<Self> {
        let part = |(index, interval)| Self {
            id: format!("{}.{index}", self.id),
            interval,
            hops: self.hops + 1,
            is_overloaded: false,
            ..self.clone()
        };
        plan.into_iter().enumerate().map(part).collect()
    }

    /// What a dead letter keeps of it, for these targets alone, at `now` (milliseconds since the epoch). It is a fan-out of its
    /// own, whose rows are not those of this segment, nor of what was kept of it before: those may be done.
    pub(super) fn kept_for(&self, to: Vec<Target>, now: i64) -> Self {
        // Who is left out is no target by name, and a user's connections are still to be left out.
        let notification = Notification { to, ..self.notification.clone() };
        let hash = hash_of(&notification);
        let id = format!("letter{}", crate::hash(&[&self.id, &hash, &now.to_string()]));
        Self { id, hash, ..Self::whole(notification, self.scope.clone()) }
    }

    /// Some of its members, by name. The id says whom, so that whoever sends it twice does no harm, and whoever sends
    /// others sends something else.
    pub(super) fn by_name(&self, only: &[String], retry: Retry, waits: u32) -> Self {
        let base = self.id.split(BY_NAME).next().unwrap_or_default();
        let names: Vec<&str> = only.iter().map(String::as_str).collect();
        let id = format!("{base}{BY_NAME}{waits}.{}", crate::hash(&names));
        Self { id, only: only.to_vec(), retry, waits, is_overloaded: false, ..self.clone() }
    }
}

/// What a notification says to whom.
fn hash_of(notification: &Notification) -> String {
    let Notification { to, except, topic, event, payload, .. } = notification;
    // A notification that was parsed can be written.
    let text = |value: serde_json::Result<String>| value.unwrap_or_default();
    let (to, except) = (text(serde_json::to_string(to)), text(serde_json::to_string(except)));
    let (event, payload) = (event.as_deref().unwrap_or_default(), text(serde_json::to_string(payload)));
    let topic = topic.as_ref().map(Topic::as_str);
    let parts = [&to, &except, event, &payload].into_iter().chain(topic);
    crate::hash(&parts.collect::<Vec<&str>>())
}

/// The parts that an audience is to be split into, where it is more than `budget` members; `read` of them were read, and
/// `last` is the last one's sort key. `None` where it is not worth it or cannot be done.
#[must_use]
pub fn plan(interval: &Interval, read: usize, last: &str, budget: usize) -> Option<Vec<Interval>> {
    divide(interval, estimate(interval, read, last), budget)
}

/// The same for an audience whose size is known.
pub(super) fn divide(interval: &Interval, size: usize, budget: usize) -> Option<Vec<Interval>> {
    if size <= budget {
        return None;
    }
    let parts = split(interval, size.div_ceil(budget.max(1)));
    (parts.len() > 1).then_some(parts)
}

/// How many members an interval has, if its first `read` ones end in the prefix of `last`: prefixes are uniform.
#[must_use]
pub fn estimate(interval: &Interval, read: usize, last: &str) -> usize {
    let (first, end) = prefixes(interval);
    let passed = prefix(last).saturating_sub(first);
    // The last prefix was read in part: half of it, as far as anybody knows.
    let passed = passed as f64 + 0.5;
    (read as f64 * (end - first) as f64 / passed) as usize
}

/// Splits an interval at the edges of prefixes into at most `parts` even parts.
#[must_use]
pub fn split(interval: &Interval, parts: usize) -> Vec<Interval> {
    let (first, end) = prefixes(interval);
    let parts = parts.min(MAX_PARTS).min(end - first);
    if parts < 2 {
        return vec![interval.clone()];
    }
    let edges = (1..parts).map(|part| Some(format!("{:02x}", first + (end - first) * part / parts)));
    let bounds: Vec<_> = [interval.after.clone()].into_iter().chain(edges).chain([interval.to.clone()]).collect();
    bounds.windows(2).map(|pair| Interval { after: pair[0].clone(), to: pair[1].clone() }).collect()
}

/// The prefixes that an interval touches: from the first up to but not including the last.
fn prefixes(interval: &Interval) -> (usize, usize) {
    let first = interval.after.as_deref().map_or(0, prefix);
    let end = match interval.to.as_deref() {
        None => SLOTS,
        // The bare edge of a prefix holds nothing of it.
        Some(to) if to.len() == 2 => prefix(to),
        Some(to) => prefix(to) + 1,
    };
    (first, end.max(first + 1))
}

fn prefix(sort_key: &str) -> usize {
    let digits = sort_key.get(..2).unwrap_or_default();
    usize::from_str_radix(digits, 16).unwrap_or(SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::log::{Epoch, LogPosition, Place};

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
    fn one_prefix_cannot_be_split() {
        for one in [interval("40", "41"), interval("40#a", "40#z"), interval("ff", "")] {
            assert_eq!(split(&one, 10), [one]);
        }
    }

    #[test]
    fn sizes_are_estimated_from_the_part_that_was_read() {
        assert_eq!(estimate(&Interval::whole(), 1_000, "02#a"), 102_400);
        assert_eq!(estimate(&interval("80", ""), 1_000, "bf#z"), 2_015);
    }

    fn segment() -> Segment {
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 1_795_520_783_000 };
        let text = r#"{"to":[{"topic":"t"},"everyone"],"except":["c"],"data":{"n": 1.0}}"#;
        let mut segment = Segment::whole(Notification::parse(text, &defaults).unwrap(), "sqs-1");
        segment.interval = interval("40", "80");
        segment.retry = Retry::Throttled { since: 7 };
        segment
    }

    #[test]
    fn a_segment_refers_to_its_notification_and_comes_out_of_its_message_as_it_went_in() {
        let segment = segment();
        let text = segment.to_message().unwrap();
        let message = Message::parse(&text).unwrap();
        assert_eq!(message.reference().unwrap().unwrap(), segment.key());
        let stored = serde_json::to_string(&segment.notification).unwrap();
        let read = message.into_segment(Some(&stored)).unwrap();
        assert!(read.is_stored);
        assert_eq!(read.to_letter().unwrap(), segment.to_letter().unwrap());
    }

    #[test]
    fn a_letter_has_everything_in_it() {
        let segment = segment();
        let text = segment.to_letter().unwrap();
        let message = Message::parse(&text).unwrap();
        assert!(message.reference().unwrap().is_none());
        let read = message.into_segment(None).unwrap();
        assert_eq!((read.retry, read.is_stored), (segment.retry, false));
        assert_eq!(read.to_letter().unwrap(), text);
    }

    #[test]
    fn members_by_name_are_a_segment_of_their_own_whose_id_does_not_grow() {
        let first = segment().by_name(&["40#a".to_owned()], Retry::Throttled { since: 7 }, 1);
        let second = first.by_name(&["40#a".to_owned()], Retry::Throttled { since: 7 }, 2);
        let others = segment().by_name(&["40#b".to_owned()], Retry::Throttled { since: 7 }, 1);
        assert_eq!(first.id.len(), second.id.len());
        assert!(first.id != second.id && first.id != others.id && first.id.starts_with("0!1."));
        assert_eq!(second.only, ["40#a"]);
    }

    #[test]
    fn what_is_kept_is_a_fan_out_of_its_own_each_time_for_those_alone_with_its_place_in_the_log() {
        let (mut segment, kept) = (segment(), vec![Target::User(UserId::parse("u").unwrap())]);
        let position = LogPosition { offset: 7, epoch: Epoch::parse("k3f9").unwrap() };
        segment.notification.log = Some(Place { log: kept[0].log().unwrap(), position });
        let [first, second] = [1, 2].map(|now| segment.kept_for(kept.clone(), now));
        assert!(first.is_whole() && first.is_root() && first.id != segment.id && first.id != second.id);
        assert_eq!((&first.notification.to, &first.scope), (&kept, &segment.scope));
        let read = Message::parse(&first.to_letter().unwrap()).unwrap().into_segment(None).unwrap();
        assert_eq!((read.notification.log, read.interval), (segment.notification.log, Interval::whole()));
    }

    #[test]
    fn the_hash_is_of_what_is_said_to_whom_and_not_of_when() {
        let (one, mut other) = (segment().notification, segment().notification);
        other.at += 1;
        assert_eq!(hash_of(&one), hash_of(&other));
        other.except.clear();
        assert_ne!(hash_of(&one), hash_of(&other));
    }
}
