//! A message, as it reaches an application.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::position::{Log, Position};

/// A message.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// The notification's id; empty where the server gave none.
    pub id: String,
    /// The topic or the user whom it was for, where the server says so: messages for everyone, for a connection, and for users
    /// without a log have none.
    pub log: Option<Log>,
    /// Its place in that log, where there is one.
    pub position: Option<Position>,
    /// The notification's `type`, where it has one.
    pub event: Option<String>,
    /// When it happened, in milliseconds since the epoch of Unix.
    pub at: i64,
    /// For how many seconds it matters, counted from `at`.
    pub ttl: Option<u64>,
    /// The client that caused it, where one did.
    pub from: Option<Origin>,
    /// What `data` is.
    pub data_type: DataType,
    /// What was sent: any JSON; a string where it is text, and base64 in a string where it is binary.
    pub data: Value,
    pub(crate) json: String,
}

/// The client that caused a message.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Origin {
    /// Its user, unless it is anonymous.
    pub user: Option<String>,
}

/// What the data of a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum DataType {
    /// Any JSON.
    #[default]
    Json,
    /// Text, in a string.
    Text,
    /// Bytes, as base64 in a string.
    Binary,
}

impl Message {
    /// What was sent, read into a type of the application's own.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.data)
    }

    /// The topic, where it was for one.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        match &self.log {
            Some(Log::Topic(name)) => Some(name),
            _ => None,
        }
    }

    /// The whole message as JSON, as the server wrote it.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.json
    }
}
