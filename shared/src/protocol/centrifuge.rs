//! `centrifuge`: the JSON protocol of Centrifugo, which its official libraries for JavaScript, Python and Go speak.
//!
//! A frame has one or more JSON objects, one to a line, in both directions
//! (<https://centrifugal.dev/docs/transports/client_protocol>). Whatever is zero, empty or false is left out, but of answers to `history` and
//! `presence_stats`. Channels are
//! topics.

mod command;
mod push;
mod reply;

pub use command::{BadFrame, Command, Connect, History, Method, Since, Subscribe, decode};
pub(crate) use push::Moved;
pub(super) use push::encode_moved;
pub use push::{
    Member, disconnect, disconnect_with, encode_message, joined, keep_alive, left, refreshed, subscribed, unsubscribed,
};
pub use reply::{
    Answer, ClientInfo, Connected, ErrorReply, Listed, Page, Publication, Refreshed, Reply, Subscribed, encode,
};

/// The name that clients choose it by, in `?protocol=`: its libraries offer no subprotocol.
pub(super) const NAME: &str = "centrifuge";

/// Why a connection ends, and whether its client comes back: codes from 3500 and from 4500 on keep it away
/// (<https://centrifugal.dev/docs/server/codes>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disconnect {
    /// For the library.
    pub code: u32,
    /// For people.
    pub reason: &'static str,
}

impl Disconnect {
    /// Its token is over.
    pub const EXPIRED: Self = Self { code: 3005, reason: "connection expired" };
    /// What it has may not be all that it should have.
    pub const INSUFFICIENT_STATE: Self = Self { code: 3010, reason: "insufficient state" };
    /// It is to come again at once.
    pub const FORCE_RECONNECT: Self = Self { code: 3011, reason: "force reconnect" };
    /// It sends more than it may.
    pub const TOO_MANY_REQUESTS: Self = Self { code: 3013, reason: "too many requests" };
    /// Its token is not a good one.
    pub const INVALID_TOKEN: Self = Self { code: 3500, reason: "invalid token" };
    /// It sends what is no command.
    pub const BAD_REQUEST: Self = Self { code: 3501, reason: "bad request" };
    /// It never said who it is.
    pub const STALE: Self = Self { code: 3502, reason: "stale" };
    /// A server sends it away.
    pub const FORCE_NO_RECONNECT: Self = Self { code: 3503, reason: "force disconnect" };
    /// It asks for what there is not.
    pub const NOT_AVAILABLE: Self = Self { code: 3508, reason: "not available" };
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// For the library.
    pub code: u32,
    /// For people.
    pub message: &'static str,
    /// Whether it is worth another attempt.
    pub temporary: bool,
}

impl Code {
    /// Our own failure.
    pub const INTERNAL: Self = Self { code: 100, message: "internal server error", temporary: true };
    /// It may not.
    pub const PERMISSION_DENIED: Self = Self { code: 103, message: "permission denied", temporary: false };
    /// There is no such method.
    pub const METHOD_NOT_FOUND: Self = Self { code: 104, message: "method not found", temporary: false };
    /// It is subscribed already.
    pub const ALREADY_SUBSCRIBED: Self = Self { code: 105, message: "already subscribed", temporary: false };
    /// It has as many subscriptions as it may.
    pub const LIMIT_EXCEEDED: Self = Self { code: 106, message: "limit exceeded", temporary: false };
    /// A field is missing or wrong.
    pub const BAD_REQUEST: Self = Self { code: 107, message: "bad request", temporary: false };
    /// The channel does not have it.
    pub const NOT_AVAILABLE: Self = Self { code: 108, message: "not available", temporary: false };
    /// The token is over; another one is to be fetched.
    pub const TOKEN_EXPIRED: Self = Self { code: 109, message: "token expired", temporary: false };
    /// It sends more than it may.
    pub const TOO_MANY_REQUESTS: Self = Self { code: 111, message: "too many requests", temporary: true };
    /// The log does not reach back that far.
    pub const UNRECOVERABLE_POSITION: Self = Self { code: 112, message: "unrecoverable position", temporary: false };
}
