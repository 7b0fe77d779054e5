//! `json.webpubsub.azure.v1`: the JSON protocol of Azure Web PubSub, which its official libraries speak, and
//! `json.reliable.webpubsub.azure.v1`, which they offer by default.
//!
//! A frame has one JSON object, in both directions
//! (<https://learn.microsoft.com/azure/azure-web-pubsub/reference-json-webpubsub-subprotocol>). Without a `sequenceId` and
//! without a `reconnectionToken` both are the same: libraries then acknowledge nothing and come back as new connections. With
//! them the latter recovers what was missed, out of an outbox.

mod command;
mod message;

pub use command::{Asked, BadFrame, Command, Event, Send, decode};
pub use message::{
    AckError, ErrorName, ack, connected, disconnected, encode_message, invocation_refused, keep_alive, numbered, pong,
    refused, reply, stream_refused,
};

/// The names that clients offer.
pub(super) const SUBPROTOCOL: &str = "json.webpubsub.azure.v1";
pub(super) const RELIABLE_SUBPROTOCOL: &str = "json.reliable.webpubsub.azure.v1";

/// What the names of subprotocols begin with whose frames are binary.
const BINARY: &str = "protobuf.";
/// What they end in.
const OURS: &str = ".webpubsub.azure.v1";

/// Whether a subprotocol is one of Web PubSub's whose frames are binary: API Gateway closes a connection for such a frame.
#[must_use]
pub fn is_binary(subprotocol: &str) -> bool {
    subprotocol.starts_with(BINARY) && subprotocol.ends_with(OURS)
}
