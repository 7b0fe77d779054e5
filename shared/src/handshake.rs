//! What a client says when it connects, and why it is not let in.

use crate::ids::ConnectionId;

/// What a subprotocol begins with that is a token: for clients that cannot set headers. It is never repeated to them.
pub const TOKEN_SUBPROTOCOL: &str = "access_token.";

/// A connection that is younger, in milliseconds, may still be in its handshake: API Gateway says that it is gone until
/// that is through.
pub const LONGEST_HANDSHAKE_MS: i64 = 60_000;

/// A client's request to open a connection, as API Gateway passes it on.
///
/// ```
/// use tidings::{ConnectionId, Handshake};
///
/// let id = ConnectionId::parse("BFHPhfCWIAMCKlQ=")?;
/// let handshake = Handshake::new(id).with_header("X-Api-Key", "k1").with_query("room", "lobby");
/// assert_eq!(handshake.header("x-api-key"), Some("k1"));
/// assert_eq!(handshake.query("room"), Some("lobby"));
/// # Ok::<(), tidings::ids::InvalidId>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshake {
    /// The connection that would come of it.
    pub connection: ConnectionId,
    /// When the client asked, in milliseconds since the epoch; 0 where nobody says.
    pub connected_at: i64,
    /// Where it comes from.
    pub source_ip: Option<String>,
    /// API Gateway's id of the request.
    pub request_id: String,
    headers: Vec<(String, String)>,
    query: Vec<(String, String)>,
}

impl Handshake {
    /// One without headers and query.
    #[must_use]
    pub fn new(connection: ConnectionId) -> Self {
        let (headers, query) = (Vec::new(), Vec::new());
        Self { connection, connected_at: 0, source_ip: None, request_id: String::new(), headers, query }
    }

    /// The same with one header more.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with one query parameter more, decoded.
    #[must_use]
    pub fn with_query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// The first value of a header. Upper and lower case are the same.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header, each line for itself.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_meant = move |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_meant).map(|(_, value)| value.as_str())
    }

    /// The subprotocols that the client offers, a token among them.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let offers = self.headers("sec-websocket-protocol").flat_map(|list| list.split(',')).map(str::trim);
        offers.filter(|offer| !offer.is_empty())
    }

    /// The last value of a query parameter, which is the one that counts where API Gateway gives only one.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().rfind(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All values of a query parameter.
    pub fn queries<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Why a client is not let in. API Gateway passes on the status and nothing else; the reason is for the log.
///
/// ```
/// use tidings::Refusal;
///
/// let refusal = Refusal::new(402, "the trial of this tenant is over");
/// assert_eq!(refusal.status(), 402);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    status: u16,
    reason: String,
}

impl Refusal {
    /// A refusal with a status of 400 to 599; any other is not one, and the client gets 500.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// 401: nobody knows who the client is.
    pub fn unauthorized(reason: impl Into<String>) -> Self {
        Self::new(401, reason)
    }

    /// 403: it may not connect.
    pub fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(403, reason)
    }

    /// The HTTP status that the client gets.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.status {
            400..=599 => self.status,
            _ => 500,
        }
    }

    /// Whether the status is one that refuses.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.status == self.status()
    }
}
