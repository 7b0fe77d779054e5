#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(feature = "sdk"),
    expect(unreachable_pub, reason = "what takes types of the SDK is only public with them")
)]

pub mod attributes;
pub mod aws;
pub mod caller;
pub mod channel;
pub mod clock;
pub mod config;
pub mod context;
pub mod delivery;
mod error;
pub mod events;
pub mod fanout;
pub mod function;
pub mod going_live;
pub mod handshake;
pub mod hex;
pub mod history;
pub mod ids;
pub mod inbox;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod log;
pub mod logs;
pub mod lookout;
pub mod metrics;
pub mod notification;
pub mod pattern;
pub mod permissions;
pub mod presence;
pub mod protocol;
pub mod queue;
pub mod recovery;
pub mod registry;
pub mod secret;
pub mod trigger;
mod unread;
pub mod web_pubsub;

use ring::digest::{Context as Digest, SHA256};

pub use attributes::Attributes;
pub use caller::{Caller, Claims};
pub use context::Context;
pub use error::Error;
pub use handshake::{Handshake, Refusal};
pub use ids::{ConnectionId, NotificationId, Socket, Topic, UserId};

/// An error and its causes in one line, for the one log line or answer that it gets.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // The SDK's own errors repeat their cause in their text.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A name of 32 hexadecimal digits for what these parts say together.
#[must_use]
pub fn hash(parts: &[&str]) -> String {
    let mut digest = Digest::new(&SHA256);
    for part in parts {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    hex::encode(&digest.finish().as_ref()[..16])
}

/// The bytes that a base64 text stands for; `None` when it is none.
#[must_use]
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    aws_smithy_types::base64::decode(text).ok()
}
