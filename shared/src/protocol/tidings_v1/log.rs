//! What `tidings.v1.json` says of logs: `since`, `history`, `read`, and the replies that have messages in them.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::encode_message;
use crate::ids::{ConnectionId, Topic};
use crate::log::{Epoch, LogPosition, MOST_OFFSET, Since};
use crate::notification::Target;
use crate::protocol::{ClientError, History, MAX_MESSAGES_PER_COMMAND, Read, Subscribe, Told};

/// Messages of a `history` that does not say how many.
const DEFAULT_LIMIT: usize = 100;

/// Reads `subscribe` with `"user":true`; `None` where it is about topics.
pub(super) fn user(fields: &mut Map<String, Value>) -> Result<Option<Subscribe>, ClientError> {
    if !take_flag(fields, "user")? {
        return Ok(None);
    }
    if let Some(other) = ["topic", "topics"].into_iter().find(|name| fields.contains_key(*name)) {
        return Err(bad(format!("`user` and `{other}` are both there; send a frame for each")));
    }
    let since = fields.remove("since").map(|since| read_since("since", since)).transpose()?;
    refuse_the_rest(fields)?;
    Ok(Some(Subscribe::User(since)))
}

/// Gives each topic where the client is: `since` is one place for one `topic`, and places by name for `topics`.
pub(super) fn with_since(
    topics: Vec<Topic>,
    is_list: bool,
    since: Option<Value>,
) -> Result<Vec<(Topic, Option<Since>)>, ClientError> {
    let mut places = match since {
        None => Map::new(),
        Some(place) if !is_list => {
            let since = read_since("since", place)?;
            return Ok(topics.into_iter().map(|topic| (topic, Some(since.clone()))).collect());
        }
        Some(Value::Object(places)) => places,
        Some(_) => return Err(bad("`since` is not an object; give a place for each topic, by its name")),
    };
    let known = topics.into_iter().map(|topic| {
        let place = places.remove(topic.as_str());
        let since = place.map(|place| read_since(&format!("since.{topic}"), place)).transpose()?;
        Ok((topic, since))
    });
    let known = known.collect::<Result<_, _>>()?;
    match places.keys().next() {
        Some(unknown) => {
            Err(bad(format!("`since.{unknown}` is not one of `topics`; leave it out, or subscribe to it")))
        }
        None => Ok(known),
    }
}

pub(super) fn history(mut fields: Map<String, Value>) -> Result<History, ClientError> {
    let is_of_user = take_flag(&mut fields, "user")?;
    let topic = match (fields.remove("topic"), is_of_user) {
        (None, true) => None,
        (Some(Value::String(name)), false) => {
            Some(Topic::parse(name).map_err(|error| bad(format!("`topic` is not valid; {error}")))?)
        }
        (Some(_), true) => return Err(bad("`user` and `topic` are both there; use one")),
        (Some(_), false) => return Err(bad("`topic` is not a string; name the topic in a string")),
        (None, false) => return Err(bad("`topic` is missing; name one, or say \"user\":true")),
    };
    let since = fields.remove("since").map(|since| read_since("since", since)).transpose()?;
    let limit = match fields.remove("limit") {
        None => DEFAULT_LIMIT,
        Some(limit) => {
            let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.filter(|limit| (1..=MAX_MESSAGES_PER_COMMAND).contains(limit));
            limit.ok_or_else(|| bad(format!("`limit` is out of range; use 1 to {MAX_MESSAGES_PER_COMMAND}")))?
        }
    };
    let reverse = take_flag(&mut fields, "reverse")?;
    refuse_the_rest(&fields)?;
    Ok(History { topic, since, limit, reverse })
}

pub(super) fn read(mut fields: Map<String, Value>) -> Result<Read, ClientError> {
    let example = "use {\"offset\":46}, perhaps with the \"epoch\", as it came with the last message that was read";
    let offset = fields.remove("offset").and_then(|offset| offset.as_u64()).filter(|offset| *offset <= MOST_OFFSET);
    let offset = offset.ok_or_else(|| bad(format!("`offset` is not a whole number from 0 on; {example}")))?;
    let epoch = fields.remove("epoch").map(|epoch| epoch.as_str().and_then(|epoch| Epoch::parse(epoch).ok()));
    let epoch =
        epoch.map(|epoch| epoch.ok_or_else(|| bad(format!("`epoch` is not an epoch; {example}")))).transpose()?;
    refuse_the_rest(&fields)?;
    Ok(Read { offset, epoch })
}

pub(super) fn take_flag(fields: &mut Map<String, Value>, name: &str) -> Result<bool, ClientError> {
    match fields.remove(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(bad(format!("`{name}` is not true or false; use one of them, or leave it out"))),
    }
}

/// Reads `{"offset":41,"epoch":"k3f9"}`, perhaps with the `connection` that the client had.
fn read_since(field: &str, since: Value) -> Result<Since, ClientError> {
    let example = "use {\"offset\":41,\"epoch\":\"k3f9\"} as it came with the last message";
    let Value::Object(mut fields) = since else {
        return Err(bad(format!("`{field}` is not an object; {example}")));
    };
    let offset = fields.remove("offset").and_then(|offset| offset.as_u64()).filter(|offset| *offset <= MOST_OFFSET);
    let offset = offset.ok_or_else(|| bad(format!("`{field}.offset` is not a whole number from 0 on; {example}")))?;
    let epoch = match fields.remove("epoch") {
        Some(Value::String(epoch)) => Epoch::parse(epoch).ok(),
        _ => None,
    };
    let epoch = epoch.ok_or_else(|| bad(format!("`{field}.epoch` is not an epoch; {example}")))?;
    let connection = match fields.remove("connection") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => {
            Some(ConnectionId::parse(id).map_err(|error| bad(format!("`{field}.connection` is not valid; {error}")))?)
        }
        Some(_) => return Err(bad(format!("`{field}.connection` is not a string; give the id that the client had"))),
    };
    match fields.keys().next() {
        Some(unknown) => Err(bad(format!("`{field}.{unknown}` is not known; {example}"))),
        None => Ok(Since { position: LogPosition { offset, epoch }, connection }),
    }
}

pub(super) fn refuse_the_rest(fields: &Map<String, Value>) -> Result<(), ClientError> {
    match fields.keys().next() {
        Some(unknown) => Err(bad(format!("`{unknown}` is not known here; leave it out"))),
        None => Ok(()),
    }
}

fn bad(message: impl Into<String>) -> ClientError {
    ClientError::bad_request(message)
}

/// What a log has, as it stands in replies; nothing for an audience without a log.
#[derive(Serialize, Default)]
pub(super) struct LogReply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Box<RawValue>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<bool>,
}

impl<'a> LogReply<'a> {
    /// Of one that was subscribed to: messages only where the client said where it is.
    pub(super) fn subscribed(told: Option<&'a Told>) -> Self {
        let Some(told) = told else { return Self::default() };
        let whole = Self::of(told);
        match told.recovered {
            Some(_) => whole,
            None => Self { messages: None, more: None, ..whole },
        }
    }

    pub(super) fn of(told: &'a Told) -> Self {
        Self {
            offset: Some(told.position.offset),
            epoch: Some(told.position.epoch.as_str()),
            recovered: told.recovered,
            messages: Some(told.messages.iter().filter_map(message).collect()),
            more: Some(told.more),
        }
    }
}

/// The frame that the message would be pushed in.
fn message(message: &crate::notification::Notification) -> Option<Box<RawValue>> {
    let target = message.to.first().unwrap_or(&Target::Everyone);
    let text = String::from_utf8(encode_message(message, target).to_vec()).ok()?;
    RawValue::from_string(text).ok()
}

/// Logs by the names of their topics, in the order in which they were asked for.
pub(super) struct Topics<'a>(pub(super) &'a [(Topic, Option<Told>)]);

impl Serialize for Topics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let logs = self.0.iter();
        serializer.collect_map(logs.map(|(topic, told)| (topic.as_str(), LogReply::subscribed(told.as_ref()))))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::tidings_v1::decode;
    use crate::protocol::{Command, Reply, ReplyBody};

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    fn since(offset: u64) -> Since {
        let position = LogPosition { offset, epoch: Epoch::parse("k3f9").unwrap() };
        Since { position, connection: None }
    }

    #[test]
    fn each_topic_says_where_its_client_is() {
        let place = json!({"offset": 41, "epoch": "k3f9"});
        for (frame, expected) in [
            (
                json!({"action": "subscribe", "topics": ["a", "b"], "since": {"a": place}}),
                Subscribe::Topics(vec![(topic("a"), Some(since(41))), (topic("b"), None)]),
            ),
            (
                json!({"action": "subscribe", "topic": "a", "since": place}),
                Subscribe::Topics(vec![(topic("a"), Some(since(41)))]),
            ),
            (json!({"action": "subscribe", "user": true, "since": place}), Subscribe::User(Some(since(41)))),
            (json!({"action": "subscribe", "user": true}), Subscribe::User(None)),
        ] {
            assert_eq!(decode(&frame.to_string()).unwrap().command, Command::Subscribe(expected), "{frame}");
        }
    }

    #[test]
    fn history_is_asked_for_a_topic_or_the_own_user() {
        let read = |frame: Value| match decode(&frame.to_string()).unwrap().command {
            Command::History(history) => history,
            other => panic!("{other:?}"),
        };
        let asked = read(json!({"action": "history", "topic": "a"}));
        assert_eq!(asked, History { topic: Some(topic("a")), since: None, limit: 100, reverse: false });
        let place = json!({"offset": 0, "epoch": "k3f9"});
        let asked = read(json!({"action": "history", "user": true, "since": place, "limit": 7, "reverse": true}));
        assert_eq!(asked, History { topic: None, since: Some(since(0)), limit: 7, reverse: true });
    }

    #[test]
    fn a_mark_has_an_offset_and_perhaps_an_epoch() {
        let read = |frame: Value| decode(&frame.to_string()).map(|request| request.command);
        let mark = |epoch: Option<&str>| {
            Command::Read(Read { offset: 46, epoch: epoch.map(|epoch| Epoch::parse(epoch).unwrap()) })
        };
        assert_eq!(read(json!({"action": "read", "offset": 46})).unwrap(), mark(None));
        assert_eq!(
            read(json!({"action": "read", "offset": 46, "epoch": "k3f9", "id": 5})).unwrap(),
            mark(Some("k3f9"))
        );
        assert_eq!(read(json!({"action": "unread", "id": 4})).unwrap(), Command::Unread);
        for (frame, error) in [
            (json!({"action": "read"}), "`offset` is not a whole number from 0 on; use {\"offset\":46}"),
            (json!({"action": "read", "offset": -1}), "`offset` is not a whole number from 0 on; use"),
            (json!({"action": "read", "offset": 1, "epoch": 7}), "`epoch` is not an epoch; use"),
            (json!({"action": "read", "offset": 1, "epoch": "K!"}), "`epoch` is not an epoch; use"),
            (json!({"action": "read", "offset": 1, "user": "u"}), "`user` is not known here; leave it out"),
            (json!({"action": "unread", "user": "u"}), "`user` is not known here; leave it out"),
        ] {
            let told = read(frame.clone()).unwrap_err().error.message;
            assert!(told.starts_with(error), "{frame}: {told}");
        }
    }

    #[test]
    fn what_is_malformed_names_its_field_and_the_fix() {
        let place = json!({"offset": 41, "epoch": "k3f9"});
        for (frame, error) in [
            (json!({"topic": "a", "since": 1}), "`since` is not an object; use {\"offset\":41"),
            (json!({"topic": "a", "since": {"offset": -1, "epoch": "k"}}), "`since.offset` is not a whole number"),
            (json!({"topic": "a", "since": {"offset": 1}}), "`since.epoch` is not an epoch; use"),
            (json!({"topic": "a", "since": {"offset": 1, "epoch": "K!"}}), "`since.epoch` is not an epoch; use"),
            (json!({"topics": ["a"], "since": {"b": place}}), "`since.b` is not one of `topics`; leave it out"),
            (json!({"topics": ["a"], "since": {"a": 7}}), "`since.a` is not an object; use"),
            (json!({"topic": "a", "user": true}), "`user` and `topic` are both there; send a frame for each"),
            (json!({"user": "u1"}), "`user` is not true or false; use one of them"),
            (json!({"topic": "a", "until": 1}), "`until` is not known here; leave it out"),
        ] {
            let mut frame = frame;
            frame["action"] = "subscribe".into();
            let told = decode(&frame.to_string()).unwrap_err().error.message;
            assert!(told.starts_with(error), "{frame}: {told}");
        }
        for (frame, error) in [
            (json!({"topic": "a", "limit": 0}), "`limit` is out of range; use 1 to 1000"),
            (json!({}), "`topic` is missing; name one, or say \"user\":true"),
            (json!({"topic": "a", "user": true}), "`user` and `topic` are both there; use one"),
        ] {
            let mut frame = frame;
            frame["action"] = "history".into();
            let told = decode(&frame.to_string()).unwrap_err().error.message;
            assert!(told.starts_with(error), "{frame}: {told}");
        }
    }

    #[test]
    fn replies_have_messages_as_they_are_pushed() {
        let text = r#"{"id":"n","to":{"topic":"a"},"data":1,"at":1795520783000,"log":{"topic":"a","offset":42,"epoch":"k3f9"}}"#;
        let defaults = crate::notification::Defaults { id: crate::NotificationId::parse("x").unwrap(), at: 0 };
        let message = crate::notification::Notification::parse_own(text, &defaults).unwrap();
        let position = |offset| LogPosition { offset, epoch: Epoch::parse("k3f9").unwrap() };
        let told = Told { position: position(42), recovered: Some(true), messages: vec![message], more: false };
        let new = Told { position: position(7), recovered: None, messages: vec![], more: false };
        let body = ReplyBody::Subscribed(vec![(topic("a"), Some(told)), (topic("b"), Some(new)), (topic("c"), None)]);
        let pushed = r#"{"type":"message","id":"n","topic":"a","offset":42,"epoch":"k3f9","at":1795520783000,"ttl":3600,"data":1}"#;
        let expected = [
            r#"{"type":"ack","topics":{"a":{"offset":42,"epoch":"k3f9","recovered":true,"messages":["#,
            pushed,
            r#"],"more":false},"b":{"offset":7,"epoch":"k3f9"},"c":{}}}"#,
        ];
        assert_eq!(crate::protocol::tidings_v1::encode_reply(&Reply { id: None, body }), expected.concat());
    }
}
