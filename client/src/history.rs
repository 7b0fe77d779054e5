//! Reading a log.

use serde_json::{Map, Value, json};

use crate::message::Message;
use crate::position::{Log, Position};
use crate::wire;

/// Which part of a log is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    since: Option<Position>,
    limit: Option<u32>,
    reverse: bool,
}

impl History {
    /// The newest messages, at most this many.
    #[must_use]
    pub fn newest(limit: u32) -> Self {
        Self { since: None, limit: Some(limit), reverse: true }
    }

    /// The messages that follow a position.
    #[must_use]
    pub fn after(position: Position) -> Self {
        Self { since: Some(position), limit: None, reverse: false }
    }

    /// At most this many. The server has a bound of its own, and gives fewer where messages are large.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        Self { limit: Some(limit), ..self }
    }

    pub(crate) fn command(&self, log: &Log) -> Map<String, Value> {
        let (name, value) = wire::named(log);
        let mut command = Map::new();
        command.insert("action".to_owned(), "history".into());
        command.insert(name.to_owned(), value);
        command.extend(self.since.as_ref().map(|since| ("since".to_owned(), json!(since))));
        command.extend(self.limit.map(|limit| ("limit".to_owned(), limit.into())));
        if self.reverse {
            command.insert("reverse".to_owned(), true.into());
        }
        command
    }
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Page {
    /// Where the log stands: the position of its newest message. `None` where there is no log.
    pub position: Option<Position>,
    /// The messages by offset, lower ones first.
    pub messages: Vec<Message>,
    /// Whether there is more: after the last message, or before the first one where the newest were asked for.
    pub more: bool,
}

impl Page {
    /// Reads the answer of the server.
    pub(crate) fn read(log: &Log, text: &str) -> Result<Self, serde_json::Error> {
        let Some(extract) = wire::page(log, text)? else {
            return Ok(Self { position: None, messages: Vec::new(), more: false });
        };
        let mut messages = extract.messages;
        messages.sort_by_key(|message| message.position.as_ref().map_or(0, |position| position.offset));
        Ok(Self { position: Some(extract.position), messages, more: extract.more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_asked_for_backwards_and_given_forwards() {
        let log = Log::topic("a");
        let command = Value::Object(History::newest(2).command(&log));
        assert_eq!(command, json!({"action": "history", "topic": "a", "limit": 2, "reverse": true}));
        let since = Position { offset: 3, epoch: "e".to_owned() };
        let command = Value::Object(History::after(since).limit(5).command(&Log::User));
        let since = json!({"offset": 3, "epoch": "e"});
        assert_eq!(command, json!({"action": "history", "user": true, "since": since, "limit": 5}));
        let message = |offset: u64| json!({"type": "message", "id": "n", "offset": offset, "data": offset});
        let page =
            json!({"type": "history", "offset": 9, "epoch": "e", "messages": [message(9), message(8)], "more": true});
        let page = Page::read(&log, &page.to_string()).unwrap();
        assert_eq!(page.messages.iter().map(|message| message.data.clone()).collect::<Vec<_>>(), [json!(8), json!(9)]);
        assert_eq!((page.position.unwrap().offset, page.more), (9, true));
        assert_eq!(Page::read(&log, r#"{"type":"history"}"#).unwrap().position, None);
    }
}
