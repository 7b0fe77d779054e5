//! Every key of the table, and the ordering that they give it. `names` has those of the attributes.
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
//! | outbox of a connection that recovers | `outbox#<connection id>` | `row` |
//! | entry of an outbox | `outbox#<connection id>` | its number, in 20 digits |
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

use super::names::{PK, SK, TOPICS};
use crate::hex;
use crate::ids::{ConnectionId, NotificationId, Topic, UserId};
use crate::log::{Epoch, LogName};

/// Above every sort key of a member.
pub(super) const ABOVE_ALL: &str = "g";

/// The sort key of the row beside an outbox's entries: above those of all of them.
pub(super) const OUTBOX_ROW: &str = "row";

/// Topics whose names are longer are hashed in keys, so that no key costs much more than its row.
const LONGEST_PLAIN_TOPIC: usize = 256;

/// Hash prefixes that share a partition of everyone, which has 64 partitions so. DynamoDB writes 1,000 units a second to one
/// partition of its own, and puts ours there by a hash: few of them would fall together, and hold back a table that is
/// warmed for more. Each also costs one read to look at, so there are not more.
pub(super) const PREFIXES_TOGETHER: u8 = 4;

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

    /// The outbox of a connection.
    pub(super) fn outbox(connection: &ConnectionId) -> Self {
        Self { pk: format!("outbox#{connection}"), sk: OUTBOX_ROW.to_owned() }
    }

    /// An entry of an outbox.
    pub(super) fn kept(connection: &ConnectionId, number: u64) -> Self {
        Self { sk: entry(number), ..Self::outbox(connection) }
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

pub(super) fn everyone_partition(first_prefix: u8) -> String {
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

/// The sort key of an entry of a log or an outbox: as text in the order of numbers.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
