//! What the gateway lets others see: the events that it records, and its open connections.

use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::Request;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::connections::Connection;
use super::ending::Ending;
use super::events::Origin;
use super::request::Handshake;
use super::{Gateway, Shared};
use tidings_local_observe::{
    self as observe, Close, Direction, Event, Frame, Observer, Push, Text, mask, milliseconds,
};

/// Headers of a handshake that a developer may want to see.
const SHOWN_HEADERS: [&str; 4] = ["Host", "Origin", "User-Agent", "Authorization"];

/// An open connection, as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenConnection {
    /// Its id.
    pub id: String,
    /// The API that it belongs to.
    pub api_id: String,
    /// The stage that it belongs to.
    pub stage: String,
    /// When it was made, in epoch milliseconds.
    pub connected_at: i64,
    /// When data last went through, in epoch milliseconds.
    pub last_active_at: i64,
    /// The client's address.
    pub source_ip: String,
    /// Whom the authorizer took it for; absent without an authorizer.
    pub principal: Option<String>,
    /// The subprotocol that was chosen, tokens masked.
    pub subprotocol: Option<String>,
    /// Messages from the client.
    pub received: u64,
    /// Messages to the client.
    pub sent: u64,
}

impl From<&Connection> for OpenConnection {
    fn from(connection: &Connection) -> Self {
        let Origin { connection_id, api_id, stage, connected_at, identity, .. } = &connection.origin;
        let principal = connection.authorizer.as_ref().and_then(|context| context.get("principalId"));
        Self {
            id: connection_id.clone(),
            api_id: api_id.clone(),
            stage: stage.clone(),
            connected_at: *connected_at,
            last_active_at: connection.last_active_at(),
            source_ip: identity.source_ip.clone(),
            principal: principal.and_then(Value::as_str).map(str::to_owned),
            subprotocol: connection.traffic.subprotocol.get().cloned(),
            received: connection.traffic.received.load(Ordering::Relaxed),
            sent: connection.traffic.sent.load(Ordering::Relaxed),
        }
    }
}

impl Gateway {
    /// The connections that are open now, oldest first.
    #[must_use]
    pub fn connections(&self) -> Vec<OpenConnection> {
        let mut open: Vec<_> = self.0.connections.all().iter().map(|one| OpenConnection::from(&**one)).collect();
        open.sort_by(|one, other| (one.connected_at, &one.id).cmp(&(other.connected_at, &other.id)));
        open
    }

    /// Closes a connection as `DELETE @connections` does; `false` if there is none of this id.
    pub fn disconnect(&self, id: &str) -> bool {
        let connection = self.0.connections.remove(id);
        connection.inspect(|connection| connection.delete()).is_some()
    }
}

/// A handshake that is under way.
pub(super) struct Attempt {
    observer: Observer,
    started: Instant,
    path: String,
    handshake: Handshake,
}

impl Attempt {
    pub(super) fn new(shared: &Shared, request: &Request, handshake: &Handshake) -> Self {
        Self {
            observer: shared.settings.observer.clone(),
            started: Instant::now(),
            path: request.uri().path().to_owned(),
            handshake: handshake.clone(),
        }
    }

    /// Records how it ended.
    pub(super) fn end(self, connection: Option<&str>, status: StatusCode, subprotocols: &[HeaderValue]) {
        let Self { observer, started, path, handshake } = self;
        observer.record(|| {
            let headers = SHOWN_HEADERS.iter().filter_map(|name| {
                let value = handshake.header(name)?;
                Some(((*name).to_owned(), mask::value(name, value)))
            });
            Event::Handshake(observe::Handshake {
                connection: connection.map(str::to_owned),
                path,
                query: handshake.query().iter().map(|(name, value)| (name.clone(), mask::value(name, value))).collect(),
                offered: mask::subprotocols(entries(handshake.header("sec-websocket-protocol").unwrap_or_default())),
                headers: headers.collect(),
                source_ip: handshake.source_ip(),
                status: status.as_u16(),
                subprotocol: shown_subprotocol(subprotocols),
                duration_ms: milliseconds(started),
            })
        });
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn shown_subprotocol(chosen: &[HeaderValue]) -> Option<String> {
    let chosen = chosen.iter().filter_map(|value| value.to_str().ok()).flat_map(entries);
    let masked = mask::subprotocols(chosen);
    (!masked.is_empty()).then(|| masked.join(", "))
}

impl Shared {
    /// Records a handshake that is refused at once. Requests that ask for no WebSocket are not recorded.
    pub(super) fn saw_refusal(&self, request: &Request, status: StatusCode) {
        if request.headers().contains_key(header::UPGRADE) {
            Attempt::new(self, request, &Handshake::new(request)).end(None, status, &[]);
        }
    }

    /// Notes the subprotocol of a connection that has just been let in.
    pub(super) fn note_subprotocol(&self, connection: &Connection, subprotocols: &[HeaderValue]) {
        if let Some(shown) = shown_subprotocol(subprotocols) {
            // It is set once, before anyone else sees the connection.
            let _ = connection.traffic.subprotocol.set(shown);
        }
    }

    /// Records a message from a client with the route that was chosen for it.
    pub(super) fn saw_message(&self, connection: &Connection, route: Option<&str>, text: &str) {
        self.saw_frame(connection, Direction::In, route, false, text);
    }

    /// Records what a route sends back.
    pub(super) fn saw_reply(&self, connection: &Connection, route: &str, text: &str) {
        self.saw_frame(connection, Direction::Out, Some(route), false, text);
    }

    /// Records one of API Gateway's own error frames.
    pub(super) fn saw_error_frame(&self, connection: &Connection, route: Option<&str>, text: &str) {
        self.saw_frame(connection, Direction::Out, route, true, text);
    }

    fn saw_frame(&self, connection: &Connection, direction: Direction, route: Option<&str>, error: bool, text: &str) {
        self.settings.observer.record(|| {
            let route = route.map(str::to_owned);
            Event::Frame(Frame {
                connection: connection.id().to_owned(),
                direction,
                route,
                error,
                body: Text::of(text),
            })
        });
    }

    /// Records a call of `@connections`.
    pub(super) fn saw_push(&self, id: &str, method: &http::Method, status: StatusCode, message: Option<&str>) {
        self.settings.observer.record(|| {
            Event::Push(Push {
                connection: mask::text(id).into_owned(),
                method: method.to_string(),
                status: status.as_u16(),
                body: message.map(Text::of),
            })
        });
    }

    /// Records the end of a connection.
    pub(super) fn saw_close(&self, connection: &Connection, ending: &Ending) {
        self.settings.observer.record(|| {
            Event::Close(Close {
                connection: connection.id().to_owned(),
                code: ending.code,
                reason: Text::of(&ending.reason),
                by: ending.by(),
            })
        });
    }
}
