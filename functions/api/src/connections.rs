//! Looking at connections, and closing them.

use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use tidings::clock::Clock;
use tidings::handshake::LONGEST_HANDSHAKE_MS;
use tidings::registry::{Audience, Connection, Interval};
use tidings::{ConnectionId, Topic, UserId, fanout, hex};

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::query::Query;
use crate::response::Response;

/// Connections of a page where the caller does not say.
const PAGE: u16 = 100;
/// The most there can be in one.
const MOST: u16 = 1_000;
/// The page that a count begins with: small audiences end within it.
const FIRST_LOOK: u16 = 1_000;
/// Parts that a large audience is counted in, side by side.
const PARTS: usize = 10;
/// How long and how often a connection is tried to be closed that may be in its handshake.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(250);

/// A connection, as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    id: &'a ConnectionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserId>,
    protocol: &'static str,
    /// Milliseconds since the epoch.
    connected_at: i64,
}

impl<'a> Listed<'a> {
    fn new(connection: &'a Connection) -> Self {
        let Connection { id, user, protocol, connected_at, .. } = connection;
        Self { id, user: user.as_ref(), protocol: protocol.name(), connected_at: *connected_at }
    }
}

#[derive(Serialize)]
struct Page<'a> {
    connections: Vec<Listed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct Count {
    count: u64,
    estimated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    #[serde(flatten)]
    listed: Listed<'a>,
    topics: Vec<&'a Topic>,
    /// Whether API Gateway has its socket, where it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<bool>,
    /// Milliseconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_at: Option<i64>,
}

/// Whose connections are meant.
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    user: Option<UserId>,
    topic: Option<Topic>,
}

impl Filter {
    fn take(query: &mut Query) -> Result<Self, Problem> {
        let filter = Self { user: query.take_id("user", UserId::parse)?, topic: query.take_id("topic", Topic::parse)? };
        match filter {
            Self { user: Some(_), topic: Some(_) } => {
                Err(Problem::invalid("topic", "`user` is given too; give one of them, or none for all connections"))
            }
            filter => Ok(filter),
        }
    }

    fn audience(&self) -> Audience<'_> {
        match (&self.user, &self.topic) {
            (Some(user), _) => Audience::User(user),
            (None, Some(topic)) => Audience::Topic(topic),
            (None, None) => Audience::Everyone,
        }
    }
}

/// One page of an audience's connections.
pub(crate) async fn list(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let mut query = event.query()?;
    let filter = Filter::take(&mut query)?;
    let limit = query.take_number("limit", 1..=u64::from(MOST))?.and_then(|limit| u16::try_from(limit).ok());
    let after = query.take("next").map(|cursor| read_cursor(&cursor)).transpose()?;
    query.finish()?;
    let page = deps.registry.page(filter.audience(), after.as_ref(), limit.unwrap_or(PAGE), now()).await?;
    let connections = page.connections.iter().map(Listed::new).collect();
    Ok(Response::json(200, &Page { connections, next: page.next.as_ref().map(cursor) }))
}

/// How many connections an audience has: counted, or told from its first page.
pub(crate) async fn count(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let mut query = event.query()?;
    let filter = Filter::take(&mut query)?;
    let estimate = query.take_flag("estimate")?;
    query.finish()?;
    let (audience, now) = (filter.audience(), now());
    let first = deps.registry.page(audience, None, FIRST_LOOK, now).await?;
    let read = first.connections.len();
    let Some(last) = first.next else {
        return Ok(Response::json(200, &Count { count: read as u64, estimated: false }));
    };
    let rest = Interval::beyond(&last);
    if estimate {
        let last = rest.after.unwrap_or_default();
        let count = fanout::estimate(&Interval::whole(), read, &last) as u64;
        return Ok(Response::json(200, &Count { count, estimated: true }));
    }
    let parts = fanout::split(&rest, PARTS);
    let counts = try_join_all(parts.iter().map(|part| deps.registry.count(audience, part, now))).await?;
    let count = read as u64 + counts.into_iter().sum::<u64>();
    Ok(Response::json(200, &Count { count, estimated: false }))
}

/// One connection, with what API Gateway knows of it.
pub(crate) async fn show(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let id = event.path_parameter("id", ConnectionId::parse)?;
    event.query()?.finish()?;
    let connection = deps.registry.connection(&id).await?.filter(|connection| !connection.is_expired(now()));
    let connection = connection.ok_or(Problem::NoSuchConnection)?;
    let (open, last_active_at) = match deps.sockets.last_active(&connection.socket).await {
        Ok(active) => (Some(active.is_some()), active),
        Err(error) => {
            tracing::warn!(connection.id = %id, %error, "could not ask API Gateway about a connection");
            (None, None)
        }
    };
    let topics: Vec<_> = connection.topics.iter().filter(|topic| !topic.is_watching()).collect();
    let shown = Shown { listed: Listed::new(&connection), topics, open, last_active_at };
    Ok(Response::json(200, &shown))
}

/// Closes the socket and forgets the connection.
pub(crate) async fn close(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    let id = event.path_parameter("id", ConnectionId::parse)?;
    event.query()?.finish()?;
    close_one(deps, &id).await.map(|()| Response::empty(204))
}

/// The same for whoever asks.
pub(crate) async fn close_one(deps: &Deps, id: &ConnectionId) -> Result<(), Problem> {
    let started = tokio::time::Instant::now();
    let mut known = false;
    loop {
        let connection = deps.registry.connection(id).await?;
        known |= connection.is_some();
        // A socket without a row is closed too: its client gets nothing and does not know it.
        let socket = connection.as_ref().map_or_else(|| id.first_socket(), |connection| connection.socket.clone());
        let closed = deps.sockets.close(&socket).await.map_err(|error| Problem::internal(&error))?;
        match connection {
            None if !closed && !known => return Err(Problem::NoSuchConnection),
            Some(young) if !closed && now() - young.connected_at < LONGEST_HANDSHAKE_MS => {
                if started.elapsed() >= PATIENCE {
                    return Err(Problem::StillOpening);
                }
                tokio::time::sleep(PAUSE).await;
            }
            _ => {
                deps.registry.disconnect(id, &socket).await?;
                tracing::info!(connection.id = %id, closed, "closed a connection");
                return Ok(());
            }
        }
    }
}

/// A place in an audience. Opaque to callers, so that it can change.
fn cursor(last: &ConnectionId) -> String {
    hex::encode(last.as_str().as_bytes())
}

fn read_cursor(text: &str) -> Result<ConnectionId, Problem> {
    let refused =
        || Problem::invalid("next", "it is not from an answer of this API; take `next` of the last page as it is");
    let id = hex::decode(text).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(refused)?;
    ConnectionId::parse(id).map_err(|_| refused())
}

fn now() -> i64 {
    Clock::System.milliseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_nothing_else_is_taken_for_one() {
        let id = ConnectionId::parse("BFHPhfCWIAMCKlQ=").unwrap();
        assert_eq!(read_cursor(&cursor(&id)).unwrap(), id);
        for bad in ["", "4", "4g", "+1", "4A", "ff", "23", "20", "ä", &"41".repeat(129)] {
            assert!(read_cursor(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_filter_or_none_names_an_audience() {
        let filter = |query: &str| Filter::take(&mut Query::parse(query).unwrap());
        assert_eq!(filter("").unwrap().audience(), Audience::Everyone);
        assert_eq!(filter("user=u").unwrap().audience(), Audience::User(&UserId::parse("u").unwrap()));
        assert_eq!(filter("topic=a%2Fb").unwrap().audience(), Audience::Topic(&Topic::parse("a/b").unwrap()));
        for bad in ["user=u&topic=t", "user=", "topic="] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }
}
