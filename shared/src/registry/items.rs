//! Rows and what they mean: the one place where connections and memberships become items and come back.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::keys::Key;
use super::names::{
    ACKED, ATTRIBUTES, CONNECTED_AT, EXPIRES_AT, GRANTS, LEFT, LEFT_TOPICS, PROTOCOL, SESSION, SK, SOCKET, STATE,
    TOPIC_BYTES, TOPICS, USER, WEB_PUBSUB,
};
use crate::attributes::Attributes;
use crate::ids::{ConnectionId, Socket, Topic, UserId};
use crate::protocol::Protocol;
use crate::web_pubsub::{Client, Grants};

pub(super) type Item = HashMap<String, AttributeValue>;

/// API Gateway closes a connection after two hours; a quarter of an hour more covers what comes late.
const LIFETIME_SECONDS: i64 = 2 * 3_600 + 900;
/// One that moves from socket to socket lives for a day.
const LONG_LIFETIME_SECONDS: i64 = 24 * 3_600;

/// A connection that moves from socket to socket does so for so long, in milliseconds: the last socket may live out its
/// own life.
pub const LONGEST_MOVING_MS: i64 = (LONG_LIFETIME_SECONDS - LIFETIME_SECONDS) * 1_000;

/// One client's presence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Its id.
    pub id: ConnectionId,
    /// The socket that carries it now.
    pub socket: Socket,
    /// Its user, unless it is anonymous.
    pub user: Option<UserId>,
    /// How it talks.
    pub protocol: Protocol,
    /// When it was made, in milliseconds since the epoch.
    pub connected_at: i64,
    /// What it is subscribed to: its own, at most [`super::MAX_TOPICS_PER_CONNECTION`] of at most
    /// [`super::MAX_TOPIC_BYTES`] together, and its user's durable topics, within the same bounds.
    pub topics: Vec<Topic>,
    /// What the application keeps with it. Memberships do not have them.
    pub attributes: Attributes,
    /// What its first frame said, where that is how its client says who it is. Memberships do not have it.
    pub session: Option<Session>,
    /// What is kept of a client of Web PubSub. Memberships do not have it.
    pub web_pubsub: Option<WebPubSub>,
}

/// What is kept of a client of Web PubSub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebPubSub {
    /// Its hub and roles. The groups that its token names are among its topics.
    pub client: Client,
    /// What servers have granted and denied it.
    pub grants: Grants,
    /// Numbers of the commands of its that were done last, in the order in which that was noted.
    pub acked: Vec<u64>,
}

impl WebPubSub {
    /// A new client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client: Client { groups: Vec::new(), ..client }, grants: Grants::default(), acked: Vec::new() }
    }
}

/// What a client's own frame said of it, so that every later one obeys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    /// What it may do, separated by spaces.
    pub permissions: String,
    /// When its token ends, in seconds since the epoch; `None` where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// What others are shown of it, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<String>,
}

impl Connection {
    /// What others are shown of it, as JSON, if its client has said so.
    pub(crate) fn shown(&self) -> Option<&String> {
        self.session.as_ref()?.info.as_ref()
    }

    /// An anonymous one of the default protocol, on its first socket, without topics and attributes, made in 1970.
    #[must_use]
    pub fn new(id: ConnectionId) -> Self {
        Self {
            socket: id.first_socket(),
            user: None,
            protocol: Protocol::default(),
            connected_at: 0,
            topics: Vec::new(),
            attributes: Attributes::new(),
            session: None,
            web_pubsub: None,
            id,
        }
    }

    /// Whether it has outlived the longest life of a connection at `now` (milliseconds since the epoch).
    #[must_use]
    pub fn is_expired(&self, now: i64) -> bool {
        self.expires_at() <= now / 1_000
    }

    /// In seconds since the epoch.
    pub(super) fn expires_at(&self) -> i64 {
        let seconds = if self.protocol.has_outbox() { LONG_LIFETIME_SECONDS } else { LIFETIME_SECONDS };
        self.connected_at / 1_000 + seconds
    }
}

/// What puts a connection into an audience.
#[derive(Debug, Clone, Copy)]
pub(super) enum Membership<'a> {
    Everyone,
    User(&'a UserId),
    Topic(&'a Topic),
}

impl Membership<'_> {
    fn key(self, connection: &ConnectionId) -> Key {
        match self {
            Self::Everyone => Key::everyone(connection),
            Self::User(user) => Key::user(user, connection),
            Self::Topic(topic) => Key::topic(topic, connection),
        }
    }
}

/// The row that puts `connection` into an audience. With [`leave`], the only way memberships are written; those of topics
/// that a connection joins and leaves later are updates to it.
pub(super) fn join(connection: &Connection, membership: Membership<'_>) -> Item {
    let mut item = membership.key(&connection.id).attributes();
    describe(connection, &mut item);
    item
}

/// The key of the row that [`join`] made.
pub(super) fn leave(connection: &ConnectionId, membership: Membership<'_>) -> Key {
    membership.key(connection)
}

/// Everything that puts the connection into an audience.
pub(super) fn memberships(connection: &Connection) -> impl Iterator<Item = Membership<'_>> {
    let user = connection.user.iter().map(Membership::User);
    let topics = connection.topics.iter().map(Membership::Topic);
    std::iter::once(Membership::Everyone).chain(user).chain(topics)
}

/// The row that says what a connection is.
pub(super) fn connection_item(connection: &Connection) -> Item {
    let mut item = Key::connection(&connection.id).attributes();
    describe(connection, &mut item);
    let bytes = topic_bytes(&connection.topics).to_string();
    item.insert(TOPIC_BYTES.to_owned(), AttributeValue::N(bytes));
    if !connection.topics.is_empty() {
        item.insert(TOPICS.to_owned(), topic_set(&connection.topics));
    }
    if let Some(session) = &connection.session {
        // Texts and a number can be written.
        let session = serde_json::to_string(session).unwrap_or_default();
        item.insert(SESSION.to_owned(), AttributeValue::S(session));
    }
    if let Some(kept) = &connection.web_pubsub {
        // Names can be written.
        let client = serde_json::to_string(&kept.client).unwrap_or_default();
        item.insert(WEB_PUBSUB.to_owned(), AttributeValue::S(client));
        if !kept.grants.is_empty() {
            item.insert(GRANTS.to_owned(), AttributeValue::S(kept.grants.to_json()));
        }
        if !kept.acked.is_empty() {
            item.insert(ACKED.to_owned(), numbers(&kept.acked));
        }
    }
    if !connection.attributes.is_empty() {
        item.insert(ATTRIBUTES.to_owned(), AttributeValue::S(connection.attributes.to_json()));
    }
    item
}

pub(super) fn topic_set<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> AttributeValue {
    AttributeValue::Ss(topics.into_iter().map(Topic::to_string).collect())
}

/// How many bytes these names have together.
pub(super) fn topic_bytes<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> usize {
    topics.into_iter().map(|topic| topic.as_str().len()).sum()
}

/// What the connection's row and its memberships have in common.
fn describe(connection: &Connection, item: &mut Item) {
    let mut put = |name: &str, value| item.insert(name.to_owned(), value);
    put(PROTOCOL, AttributeValue::S(connection.protocol.name().to_owned()));
    put(CONNECTED_AT, AttributeValue::N(connection.connected_at.to_string()));
    put(EXPIRES_AT, AttributeValue::N(connection.expires_at().to_string()));
    if let Some(user) = &connection.user {
        put(USER, AttributeValue::S(user.to_string()));
    }
    if connection.socket != connection.id.first_socket() {
        put(SOCKET, AttributeValue::S(connection.socket.to_string()));
    }
}

/// Reads a connection's row or one of its memberships; the latter have neither topics nor attributes.
pub(super) fn read(item: &Item) -> Result<Connection, RegistryError> {
    let id = required(item, SK).and_then(|sort_key| {
        super::keys::connection_of(sort_key).ok_or_else(|| malformed(SK, "does not end in a connection id"))
    })?;
    let protocol = required(item, PROTOCOL)?;
    Ok(Connection {
        socket: match text(item, SOCKET) {
            Some(socket) => Socket::parse(socket).map_err(|_| malformed(SOCKET, "is not a socket id"))?,
            None => id.first_socket(),
        },
        user: match text(item, USER) {
            Some(user) => Some(UserId::parse(user).map_err(|_| malformed(USER, "is not a user"))?),
            None => None,
        },
        protocol: Protocol::from_name(protocol).ok_or_else(|| malformed(PROTOCOL, "is not a protocol"))?,
        connected_at: number(item, CONNECTED_AT)?,
        topics: topics(item)?,
        attributes: match text(item, ATTRIBUTES) {
            Some(kept) => Attributes::from_json(kept).ok_or_else(|| malformed(ATTRIBUTES, "is not a JSON object"))?,
            None => Attributes::new(),
        },
        session: match text(item, SESSION).map(|text| serde_json::from_str(text)) {
            Some(session) => Some(session.map_err(|_| malformed(SESSION, "is not what a client said"))?),
            None => None,
        },
        web_pubsub: web_pubsub(item)?,
        id,
    })
}

fn web_pubsub(item: &Item) -> Result<Option<WebPubSub>, RegistryError> {
    let Some(client) = text(item, WEB_PUBSUB) else { return Ok(None) };
    let client = serde_json::from_str(client).map_err(|_| malformed(WEB_PUBSUB, "is no client"))?;
    let grants = match text(item, GRANTS).map(|text| serde_json::from_str(text)) {
        Some(grants) => grants.map_err(|_| malformed(GRANTS, "says nothing of groups"))?,
        None => Grants::default(),
    };
    let acked = item.get(ACKED).and_then(|value| value.as_l().ok()).into_iter().flatten();
    let acked = acked.filter_map(|number| number.as_n().ok()?.parse().ok()).collect();
    Ok(Some(WebPubSub { client, grants, acked }))
}

/// A list of whole numbers.
pub(super) fn numbers(numbers: &[u64]) -> AttributeValue {
    AttributeValue::L(numbers.iter().map(|number| AttributeValue::N(number.to_string())).collect())
}

/// The same, for rows among many: one that cannot be read is left out and logged.
pub(super) fn readable(item: &Item) -> Option<Connection> {
    read(item).inspect_err(|error| tracing::error!(%error, "skipped a row that cannot be read")).ok()
}

/// The row's place in its audience.
pub(super) fn sort_key(item: &Item) -> String {
    text(item, SK).cloned().unwrap_or_default()
}

/// Whether the row has outlived its connection. DynamoDB deletes expired rows late, up to days.
pub(super) fn is_expired(item: &Item, now: i64) -> bool {
    number(item, EXPIRES_AT).is_ok_and(|expires_at| expires_at <= now / 1_000)
}

/// Whether a membership is one: who has left keeps a row for a while.
pub(super) fn is_member(item: &Item) -> bool {
    text(item, STATE).is_none_or(|state| state != LEFT)
}

/// Whether a membership counts at `now`, in milliseconds since the epoch.
pub(super) fn counts(item: &Item, now: i64) -> bool {
    is_member(item) && !is_expired(item, now)
}

/// The topics that a row lists, sorted.
pub(super) fn topics(item: &Item) -> Result<Vec<Topic>, RegistryError> {
    set_of_topics(item, TOPICS)
}

/// The topics that the connection of a row has left lately, sorted.
pub(super) fn left_topics(item: &Item) -> Result<Vec<Topic>, RegistryError> {
    set_of_topics(item, LEFT_TOPICS)
}

fn set_of_topics(item: &Item, name: &'static str) -> Result<Vec<Topic>, RegistryError> {
    let names = match item.get(name) {
        None => return Ok(Vec::new()),
        Some(value) => value.as_ss().map_err(|_| malformed(name, "is not a string set"))?,
    };
    let topics: Result<Vec<_>, _> = names.iter().map(|name| Topic::parse_own(name)).collect();
    let mut topics = topics.map_err(|_| malformed(name, "holds something else than topics"))?;
    topics.sort_unstable();
    Ok(topics)
}

pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a String> {
    item.get(name).and_then(|value| value.as_s().ok())
}

fn required<'a>(item: &'a Item, name: &'static str) -> Result<&'a str, RegistryError> {
    text(item, name).map(String::as_str).ok_or_else(|| malformed(name, "is missing or not a string"))
}

pub(super) fn number(item: &Item, name: &'static str) -> Result<i64, RegistryError> {
    let value = item.get(name).and_then(|value| value.as_n().ok()).and_then(|digits| digits.parse().ok());
    value.ok_or_else(|| malformed(name, "is missing or not a whole number"))
}

pub(super) fn decimal(item: &Item, name: &'static str) -> Result<f64, RegistryError> {
    let value = item.get(name).and_then(|value| value.as_n().ok()).and_then(|digits| digits.parse().ok());
    value.filter(|value: &f64| value.is_finite()).ok_or_else(|| malformed(name, "is missing or not a number"))
}

fn malformed(attribute: &'static str, problem: &'static str) -> RegistryError {
    RegistryError::Malformed { attribute, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let id = ConnectionId::parse("BFHPhfCWIAMCKlQ=").unwrap();
        let mut attributes = Attributes::new();
        attributes.insert("room", "lobby").unwrap();
        Connection {
            user: Some(UserId::parse("u").unwrap()),
            protocol: Protocol::Raw,
            connected_at: 1_795_520_783_123,
            topics: vec![Topic::parse("a").unwrap(), Topic::parse("b").unwrap()],
            attributes,
            ..Connection::new(id)
        }
    }

    #[test]
    fn a_connection_comes_back_from_its_row_as_it_was() {
        assert_eq!(read(&connection_item(&connection())).unwrap(), connection());
        let moved = Connection { socket: Socket::parse("other").unwrap(), ..Connection::new(connection().id) };
        assert_eq!(read(&connection_item(&moved)).unwrap(), moved);
        let client = serde_json::from_str(r#"{"hub":"h","roles":["webpubsub.sendToGroup"]}"#).unwrap();
        let grants = Grants::default().with(crate::web_pubsub::Right::SendToGroup, Some("g"), false).unwrap();
        let kept = WebPubSub { grants, acked: vec![0, 7, u64::MAX], ..WebPubSub::new(client) };
        let of_a_hub = Connection { web_pubsub: Some(kept), ..connection() };
        assert_eq!(read(&connection_item(&of_a_hub)).unwrap(), of_a_hub);
    }

    #[test]
    fn a_membership_says_all_that_a_push_needs() {
        let topic = Topic::parse("a").unwrap();
        let read = read(&join(&connection(), Membership::Topic(&topic))).unwrap();
        assert_eq!(read, Connection { topics: Vec::new(), attributes: Attributes::new(), ..connection() });
    }

    #[test]
    fn a_row_without_what_it_must_have_is_an_error_that_names_the_attribute() {
        for attribute in [SK, PROTOCOL, CONNECTED_AT] {
            let mut item = connection_item(&connection());
            item.remove(attribute);
            assert!(read(&item).unwrap_err().to_string().contains(attribute), "{attribute}");
        }
    }

    #[test]
    fn everything_expires_a_quarter_of_an_hour_after_the_longest_life() {
        let item = connection_item(&connection());
        let end = 1_795_520_783_000 + (2 * 3_600 + 900) * 1_000;
        assert!(!is_expired(&item, end - 1));
        assert!(is_expired(&item, end));
    }
}
