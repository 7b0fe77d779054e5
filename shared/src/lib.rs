#![doc = include_str!("../README.md")]

pub mod aws;
pub mod config;
pub mod delivery;
pub mod ids;
pub mod notification;
pub mod protocol;
pub mod registry;

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
