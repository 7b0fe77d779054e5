//! Every key and attribute name of the table, and the ordering that they give it.
//!
//! | item | `pk` | `sk` |
//! | --- | --- | --- |
//! | connection, with its topics | `subs#<connection id>` | `<hash prefix>#<connection id>` |
//! | membership of everyone | `conn#<first hash prefix of four>` | `<hash prefix>#<connection id>` |
//! | membership of a user | `user#<user id>` | `<hash prefix>#<connection id>` |
//! | segment of a fan-out | `work#<scope>#<notification id>` | `<segment id>` |
//! | its notification | `work#<scope>#<notification id>` | `payload` |
//! | durable topics of a user | `utop#<user id>` | `topics` |
//! | the rate limit of posts | `rate` | `rate` |
//! | head of a log | `head#<audience>` | `head` |
//! | lane of an ordered topic | `lane#<audience>` | `lane` |
//! | entry of a log | `log#<audience>#<epoch>` | the offset, in 20 digits |
//! | how far a user has read | `inbox#<user id>` | `read` |
//! | connection that has not said who it is | `opening#<minute>` | `<hash prefix>#<connection id>` |
//! | up to when quiet connections were kept alive | `keep-alive` | `keep-alive` |
//! | requests that wait for a message | `polls` | `polls` |
//! | who is in a topic | `here#<audience>` | `<user id>#<connection id>` |
//! | what was told of a user | `pres#<audience>` | `<user id>` |
//! | whose turn it is to tell of a topic | `told#<audience>` | `told` |
//! | whose time is over then | `ends#<5 minutes>#<hex digit>` | a hash of topic, user and connection |
//! | up to where these were looked at | `ends` | `ends` |
//! | membership of a topic | `topic#<topic>`, or `topic-sha256#<hex>` over 256 bytes | `<hash prefix>#<connection id>` |
//!
//! The hash prefix is one byte of a hash of the connection id, as two hex digits. Every audience is so sorted by the same,
//! evenly spread key: any interval of it can be read by itself, and several audiences merge like sorted lists.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use ring::digest::{SHA256, digest};

use crate::hex;
use crate::ids::{ConnectionId, NotificationId, Topic, UserId};
use crate::log::{Epoch, LogName};

/// Partition key.
pub const PK: &str = "pk";
/// Sort key.
pub const SK: &str = "sk";
/// When the row stops to count, in seconds since the epoch; the table's TTL attribute.
pub const EXPIRES_AT: &str = "expires_at";
/// When the connection was made, in milliseconds since the epoch.
pub const CONNECTED_AT: &str = "connected_at";
/// The name of the connection's protocol.
pub const PROTOCOL: &str = "protocol";
/// The socket that carries the connection; absent while it is the first one.
pub const SOCKET: &str = "socket";
/// The topics that a connection or all connections of a user are subscribed to, a string set; absent when there are none.
pub const TOPICS: &str = "topics";
/// What an application keeps with the connection, as JSON; absent when it is nothing.
pub(super) const ATTRIBUTES: &str = "attributes";
/// What a client's own frame said of it, as JSON; absent where the authorizer said all.
pub(super) const SESSION: &str = "session";
/// How many bytes the names of these topics have together.
pub(super) const TOPIC_BYTES: &str = "topic_bytes";
/// The connection's user; absent when it is anonymous.
pub const USER: &str = "user";
/// The place of the command that wrote a membership; absent where no command has. See [`super::Place`].
pub(super) const PLACE: &str = "place";
/// How often a server has written a membership since that command; absent where none has.
pub(super) const RAISED: &str = "raised";
/// [`LEFT`] where a membership is none any more. [`PENDING`] or [`LIVE`] where it is one of a client that must get nothing
/// twice and nothing out of order; absent for all others.
pub(super) const STATE: &str = "state";
/// What [`STATE`] is of a membership whose subscribe is at work.
pub(super) const PENDING: &str = "pending";
/// What [`STATE`] is of one that is told.
pub(super) const LIVE: &str = "live";
/// What [`STATE`] is of a connection that has left.
pub(super) const LEFT: &str = "left";
/// Topics that a connection has left lately, a string set: their memberships have a row still.
pub(super) const LEFT_TOPICS: &str = "left_topics";

/// When the right to work on a segment ends, in milliseconds since the epoch.
pub(super) const LEASE: &str = "lease";
/// Whose right it is.
pub(super) const OWNER: &str = "owner";
/// The last sort key that a segment's worker has passed.
pub(super) const CURSOR: &str = "cursor";
/// Sort keys up to the cursor that are still to be served, a string set.
pub(super) const STRAGGLERS: &str = "stragglers";
/// The parts that a segment was split into: a list of pairs of bounds.
pub(super) const PLAN: &str = "plan";
/// Whether a segment is done.
pub(super) const DONE: &str = "done";
/// What an audience was counted up to, a sort key.
pub(super) const COUNTED: &str = "counted";
/// The hash of a notification's content: an id that comes again with another one is a mistake.
pub(super) const HASH: &str = "hash";
/// A notification, as JSON.
pub(super) const NOTIFICATION: &str = "notification";
/// Up to when posts are reserved, in microseconds since the epoch.
pub(super) const RESERVED_UNTIL: &str = "reserved_until";
/// Counts what was learnt of the quota; which life of a log it is.
pub(super) const EPOCH: &str = "epoch";
/// Posts a second just after the last change of the rate.
pub(super) const BASE_RATE: &str = "base_rate";
/// Posts a second before the overload.
pub(super) const GOOD_RATE: &str = "good_rate";
/// When the rate changed last, in microseconds since the epoch.
pub(super) const CHANGED_AT: &str = "changed_at";
/// Since when nothing goes through, in microseconds since the epoch; absent where something does.
pub(super) const BLOCKED_SINCE: &str = "blocked_since";
/// When somebody may try again whether anything goes through, in microseconds since the epoch.
pub(super) const PROBE_AT: &str = "probe_at";
/// When a post was last taken, in microseconds since the epoch.
pub(super) const OK_AT: &str = "ok_at";

/// Where a log ends, as far as its head knows.
pub(super) const OFFSET: &str = "offset";
/// Up to which offset a log's entries are out of reach.
pub(super) const FLOOR: &str = "floor";
/// Up to which offset a lane has pushed everything.
pub(super) const NEXT: &str = "next";
/// Up to which offset a lane is pushing messages now.
pub(super) const BATCH_END: &str = "batch_end";
/// How far strict members are that a lane has begun with: offsets by sort key, 0 where nobody knows.
pub(super) const BEGUN: &str = "begun";
/// Whether a lane's last holder gave it back without knowing who has what.
pub(super) const UNSURE: &str = "unsure";
/// What made a lane's holder work, where that comes again, should it die; empty where it does not.
pub(super) const CAUSE: &str = "cause";
/// Until when a message is on its way that looks whether a lane goes on, in milliseconds since the epoch.
pub(super) const WAKES_AT: &str = "wakes_at";
/// Since when a membership is pending, or a connection is in a topic, in milliseconds since the epoch.
pub(super) const SINCE: &str = "since";
/// Up to which offset its client has everything.
pub(super) const LIVE_FROM: &str = "live_from";
/// Up to which offset a lane has passed it while it was pending.
pub(super) const PASSED: &str = "passed";
/// What names an entry of a log.
pub(super) const ID: &str = "id";
/// Where a log ended when a notification for it was first taken up: offset and epoch.
pub(super) const FROM: &str = "from";
pub(super) const FROM_EPOCH: &str = "from_epoch";

/// Who looked last at a user.
pub(super) const VERSION: &str = "version";
/// Whether the last change was that the user came.
pub(super) const TOLD: &str = "told";
/// When that was, in milliseconds since the epoch; no two changes of a user, or lists of a topic, have the same.
pub(super) const CHANGE: &str = "change";
/// Whether that was sent.
pub(super) const SENT: &str = "sent";
/// From when on the next list may be told of a topic, in milliseconds since the epoch.
pub(super) const FROM_THEN: &str = "from_then";
/// The topic that a row is about, where its key does not say it.
pub(super) const TOPIC: &str = "topic";
/// When a connection's time is over, in seconds since the epoch.
pub(super) const ENDS_AT: &str = "ends_at";
/// The first five minutes whose ends are not all looked at.
pub(super) const SPAN: &str = "span";

/// Above every sort key of a member.
pub(super) const ABOVE_ALL: &str = "g";

/// Topics whose names are longer are hashed in keys, so that no key costs much more than its row.
const LONGEST_PLAIN_TOPIC: usize = 256;

/// Hash prefixes that share a partition of everyone, which has 64 partitions so. DynamoDB writes 1,000 units a second to one
/// partition of its own, and puts ours there by a hash: few of them would fall together, and hold back a table that is
/// warmed for more. Each also costs one read to look at, so there are not more.
const PREFIXES_TOGETHER: u8 = 4;

/// The key of one item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl Key {
    /// The row that says what a connection is.
    pub(super) fn connection(connection: &ConnectionId) -> Self {
        Self { pk: format!("subs#{connection}"), sk: sort_key(connection) }
    }

    pub(super) fn everyone(connection: &ConnectionId) -> Self {
        let prefix = hash_prefix(connection);
        Self { pk: everyone_partition(prefix - prefix % PREFIXES_TOGETHER), sk: sort_key(connection) }
    }

    pub(super) fn user(user: &UserId, connection: &ConnectionId) -> Self {
        Self { pk: user_partition(user), sk: sort_key(connection) }
    }

    pub(super) fn topic(topic: &Topic, connection: &ConnectionId) -> Self {
        Self { pk: topic_partition(topic), sk: sort_key(connection) }
    }

    pub(super) fn durable_topics(user: &UserId) -> Self {
        Self { pk: format!("utop#{user}"), sk: TOPICS.to_owned() }
    }

    pub(super) fn head(log: &LogName) -> Self {
        Self { pk: format!("head#{}", audience(log)), sk: "head".to_owned() }
    }

    pub(super) fn lane(topic: &Topic) -> Self {
        Self { pk: format!("lane#{}", topic_partition(topic)), sk: "lane".to_owned() }
    }

    /// How far a user has read its messages.
    pub(super) fn read_mark(user: &UserId) -> Self {
        Self { pk: format!("inbox#{user}"), sk: "read".to_owned() }
    }

    /// A connection that has not said who it is, among those of the same minute.
    pub(super) fn opening(minute: i64, connection: &ConnectionId) -> Self {
        Self { pk: opening_partition(minute), sk: sort_key(connection) }
    }

    /// The requests that wait for a message.
    pub(super) fn polls() -> Self {
        Self { pk: "polls".to_owned(), sk: "polls".to_owned() }
    }

    /// That a connection is in a topic.
    pub(super) fn here(topic: &Topic, user: Option<&UserId>, connection: &ConnectionId) -> Self {
        let user = user.map(UserId::as_str).unwrap_or_default();
        Self { pk: here_partition(topic), sk: format!("{user}#{connection}") }
    }

    /// What was told of a user in a topic, or of its connections.
    pub(super) fn told_of(topic: Option<&Topic>, user: &UserId) -> Self {
        let pk = topic.map_or_else(|| format!("pres#{}", user_partition(user)), told_of_partition);
        Self { pk, sk: user.to_string() }
    }

    /// Whose turn it is to tell of a topic.
    pub(super) fn telling(topic: &Topic) -> Self {
        Self { pk: format!("told#{}", topic_partition(topic)), sk: "told".to_owned() }
    }

    /// That the time of a connection is over in these five minutes.
    pub(super) fn end(span: i64, topic: Option<&Topic>, user: &UserId, connection: &ConnectionId) -> Self {
        let topic = topic.map(Topic::as_str).unwrap_or_default();
        let sk = crate::hash(&[topic, user.as_str(), connection.as_str()]);
        Self { pk: ends_partition(span, &sk[..1]), sk }
    }

    /// Up to where ends were looked at.
    /// Up to which minute quiet connections were kept alive.
    pub(super) fn kept_alive() -> Self {
        Self { pk: "keep-alive".to_owned(), sk: "keep-alive".to_owned() }
    }

    pub(super) fn ends() -> Self {
        Self { pk: "ends".to_owned(), sk: "ends".to_owned() }
    }

    pub(super) fn rate() -> Self {
        Self { pk: "rate".to_owned(), sk: "rate".to_owned() }
    }

    /// The key of a row.
    pub(super) fn of(row: &HashMap<String, AttributeValue>) -> Option<Self> {
        let text = |name: &str| row.get(name)?.as_s().ok().cloned();
        Some(Self { pk: text(PK)?, sk: text(SK)? })
    }

    pub(super) fn attributes(self) -> HashMap<String, AttributeValue> {
        HashMap::from([(PK.to_owned(), AttributeValue::S(self.pk)), (SK.to_owned(), AttributeValue::S(self.sk))])
    }
}

fn hash_prefix(connection: &ConnectionId) -> u8 {
    digest(&SHA256, connection.as_str().as_bytes()).as_ref()[0]
}

/// The sort key of everything that a connection owns.
pub(super) fn sort_key(connection: &ConnectionId) -> String {
    format!("{}#{connection}", hex::encode(&[hash_prefix(connection)]))
}

fn everyone_partition(first_prefix: u8) -> String {
    format!("conn#{}", hex::encode(&[first_prefix]))
}

/// The connection that a sort key of an audience belongs to.
#[must_use]
pub fn connection_of(sort_key: &str) -> Option<ConnectionId> {
    ConnectionId::parse(sort_key.get(3..)?).ok()
}

pub(super) fn user_partition(user: &UserId) -> String {
    format!("user#{user}")
}

/// Connections that were made in a minute since the epoch and have not said who they are.
pub(super) fn opening_partition(minute: i64) -> String {
    format!("opening#{minute}")
}

/// Everybody who is in a topic.
pub(super) fn here_partition(topic: &Topic) -> String {
    format!("here#{}", topic_partition(topic))
}

/// The user and the connection that a sort key of [`Key::here`] names; an anonymous connection has no user.
pub(super) fn here_of(sort_key: &str) -> Option<(Option<UserId>, &str)> {
    let (user, connection) = sort_key.rsplit_once('#')?;
    let user = if user.is_empty() { None } else { Some(UserId::parse(user).ok()?) };
    Some((user, connection))
}

/// What was told of the users of a topic.
pub(super) fn told_of_partition(topic: &Topic) -> String {
    format!("pres#{}", topic_partition(topic))
}

/// A part of the connections whose time is over in the same five minutes: a hex digit spreads them over sixteen.
pub(super) fn ends_partition(span: i64, digit: &str) -> String {
    format!("ends#{span}#{digit}")
}

pub(super) fn work_partition(scope: &str, notification: &NotificationId) -> String {
    format!("work#{scope}#{notification}")
}

/// The entries of a log.
pub(super) fn log_partition(log: &LogName, epoch: &Epoch) -> String {
    format!("log#{}#{epoch}", audience(log))
}

/// The log whose head has this partition key, for who looks at all rows of a table; `None` where it has not, or names the topic by
/// a hash.
#[must_use]
pub fn log_of_head(partition: &str) -> Option<LogName> {
    match partition.strip_prefix("head#")?.split_once('#')? {
        ("topic", name) => Topic::parse(name).ok().map(LogName::Topic),
        ("user", name) => UserId::parse(name).ok().map(LogName::User),
        _ => None,
    }
}

/// The partition key of the entries of a log, by that of its head.
#[must_use]
pub fn entries_of_head(partition: &str, epoch: &str) -> Option<String> {
    Some(format!("log#{}#{epoch}", partition.strip_prefix("head#")?))
}

/// The sort key of an entry: as text in the order of offsets.
pub(super) fn entry(offset: u64) -> String {
    format!("{offset:020}")
}

/// The audience of a log, as its memberships name it.
fn audience(log: &LogName) -> String {
    match log {
        LogName::Topic(topic) => topic_partition(topic),
        LogName::User(user) => user_partition(user),
    }
}

pub(super) fn topic_partition(topic: &Topic) -> String {
    if topic.as_str().len() <= LONGEST_PLAIN_TOPIC {
        return format!("topic#{topic}");
    }
    format!("topic-sha256#{}", hex::encode(digest(&SHA256, topic.as_str().as_bytes()).as_ref()))
}

/// A part of an audience: the sort keys above `after` up to and including `to`; a bound that is absent does not bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interval {
    /// Exclusive lower bound.
    pub after: Option<String>,
    /// Inclusive upper bound.
    pub to: Option<String>,
}

impl Interval {
    /// Everything.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// Everything behind a connection, in the order that all audiences have.
    #[must_use]
    pub fn beyond(connection: &ConnectionId) -> Self {
        Self { after: Some(sort_key(connection)), to: None }
    }

    /// What is left behind a sort key of the interval; `None` when nothing can follow it. DynamoDB says that a page which
    /// ends at the upper bound goes on, and refuses to read from there.
    pub(super) fn behind(&self, sort_key: String) -> Option<Self> {
        let rest = Self { after: Some(sort_key), to: self.to.clone() };
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether the sort key lies in the interval.
    #[must_use]
    pub fn contains(&self, sort_key: &str) -> bool {
        self.after.as_deref().is_none_or(|after| sort_key > after) && self.to.as_deref().is_none_or(|to| sort_key <= to)
    }

    /// The condition on the sort key, and the values of its placeholders. DynamoDB allows one condition, and `BETWEEN`
    /// includes both ends: a space after the lower bound excludes it, since ids have no character as low as a space.
    pub(super) fn condition(&self) -> (&'static str, Vec<(&'static str, String)>) {
        match (&self.after, &self.to) {
            (None, None) => ("pk = :pk", Vec::new()),
            (Some(after), None) => ("pk = :pk AND sk > :after", vec![(":after", after.clone())]),
            (None, Some(to)) => ("pk = :pk AND sk <= :to", vec![(":to", to.clone())]),
            (Some(after), Some(to)) => {
                ("pk = :pk AND sk BETWEEN :after AND :to", vec![(":after", format!("{after} ")), (":to", to.clone())])
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!((&self.after, &self.to), (Some(after), Some(to)) if after >= to)
    }

    /// The partitions of everyone that can hold something of the interval, in the order of their sort keys.
    pub(super) fn everyone_partitions(&self) -> Vec<String> {
        if self.is_empty() {
            return Vec::new();
        }
        let first_prefixes = (0..=u8::MAX).step_by(usize::from(PREFIXES_TOGETHER));
        first_prefixes.filter(|first| self.meets_prefixes_from(*first)).map(everyone_partition).collect()
    }

    /// Whether the hash prefixes that share a partition, from `first` on, can hold something of the interval.
    fn meets_prefixes_from(&self, first: u8) -> bool {
        let next = first.checked_add(PREFIXES_TOGETHER).map_or(ABOVE_ALL.to_owned(), |next| hex::encode(&[next]));
        self.after.as_deref().is_none_or(|after| after < next.as_str())
            && self.to.as_deref().is_none_or(|to| to >= hex::encode(&[first]).as_str())
    }

    /// The partition `pk` alone, unless the interval is empty.
    pub(super) fn partition(&self, pk: String) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { vec![pk] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(after: &str, to: &str) -> Interval {
        let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Interval { after: bound(after), to: bound(to) }
    }

    #[test]
    fn a_sort_key_leads_back_to_its_connection() {
        let connection = ConnectionId::parse("BFHPhfCWIAMCKlQ=").unwrap();
        assert_eq!(connection_of(&sort_key(&connection)), Some(connection));
    }

    #[test]
    fn long_topics_are_hashed_and_cannot_meet_a_plain_one() {
        let long = Topic::parse("t".repeat(257)).unwrap();
        let key = topic_partition(&long);
        assert_eq!(key.len(), "topic-sha256#".len() + 64);
        assert_ne!(topic_partition(&Topic::parse(&key[6..]).unwrap()), key);
        assert_eq!(topic_partition(&Topic::parse("t".repeat(256)).unwrap()), format!("topic#{}", "t".repeat(256)));
    }

    #[test]
    fn a_head_leads_to_its_log_and_to_its_entries() {
        let epoch = Epoch::parse("k3f9").unwrap();
        let long = "t".repeat(257);
        for (log, is_named) in [("orders#42", true), ("u1", true), (&long, false)]
            .map(|(name, is_named)| (LogName::Topic(Topic::parse(name).unwrap()), is_named))
        {
            let head = Key::head(&log).pk;
            assert_eq!(log_of_head(&head), is_named.then(|| log.clone()), "{head}");
            assert_eq!(entries_of_head(&head, epoch.as_str()), Some(log_partition(&log, &epoch)));
        }
        let user = LogName::User(UserId::parse("u1").unwrap());
        assert_eq!(log_of_head(&Key::head(&user).pk), Some(user));
        assert_eq!((log_of_head("topic#a"), entries_of_head("log#topic#a#e", "e")), (None, None));
    }

    #[test]
    fn bounds_exclude_below_and_include_above() {
        let part = interval("40", "7f#zz");
        for (key, inside) in [("40", false), ("40#a", true), ("3f#zzz", false), ("7f#zz", true), ("7f#zzz", false)] {
            assert_eq!(part.contains(key), inside, "{key}");
        }
        assert!(interval("ff", "").contains("ff#zzz"));
    }

    #[test]
    fn nothing_is_left_behind_the_upper_bound() {
        let part = interval("40", "7f#zz");
        assert_eq!(part.behind("50#a".to_owned()), Some(interval("50#a", "7f#zz")));
        assert_eq!(part.behind("7f#zz".to_owned()), None);
        assert_eq!(interval("", "").behind("ff#a".to_owned()), Some(interval("ff#a", "")));
    }

    #[test]
    fn only_partitions_that_can_hold_something_are_read() {
        for (after, to, first, last, count) in [
            ("", "", "conn#00", "conn#fc", 64),
            ("40", "7f#zz", "conn#40", "conn#7c", 16),
            ("3f#zz", "40", "conn#3c", "conn#40", 2),
            ("ff#a", "", "conn#fc", "conn#fc", 1),
            ("fd", "", "conn#fc", "conn#fc", 1),
            ("", "03#a", "conn#00", "conn#00", 1),
        ] {
            let partitions = interval(after, to).everyone_partitions();
            let found = (partitions[0].as_str(), partitions[partitions.len() - 1].as_str(), partitions.len());
            assert_eq!(found, (first, last, count), "{after:?} {to:?}");
        }
        assert!(interval("7f", "7f").everyone_partitions().is_empty());
    }

    #[test]
    fn every_connection_is_in_one_of_the_partitions_of_everyone() {
        for index in 0..1_000 {
            let connection = ConnectionId::parse(format!("c{index}")).unwrap();
            let Key { pk, sk } = Key::everyone(&connection);
            let just_it = Interval { after: Some(sk[..2].to_owned()), to: Some(sk) };
            assert_eq!(just_it.everyone_partitions(), [pk]);
        }
    }
}
