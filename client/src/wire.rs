//! The frames of `tidings.v1.json`: commands that are sent, and what comes. Nothing here does any I/O.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::error::Refusal;
use crate::message::{DataType, Message, Origin};
use crate::position::{Log, Position};

/// How many topics a command may have.
const MOST_TOPICS: usize = 50;

/// How many bytes of names and positions go into one command: a frame has at most 32 KB.
const MOST_BYTES: usize = 24_000;

/// The most messages that a client asks for at a time; the server gives fewer where they are large.
const PAGE: u32 = 100;

/// The code of what API Gateway complains about.
const GATEWAY: &str = "ApiGateway";

/// A ping that API Gateway answers by itself.
pub(crate) const PING: &str = r#"{"action":"ping"}"#;

/// What came.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Message(Message),
    /// The offset is not for this client.
    Skip(Log, Position),
    /// An answer to the command of this id; what it says is read by whoever knows the command.
    Reply(u64),
    /// A complaint that belongs to no command.
    Error(Refusal),
    /// The answer to a ping without an id.
    Pong,
    /// Something of the application's own, or of API Gateway's.
    Other,
}

/// A part of a log, in an acknowledgement or a page of history.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Extract {
    /// Where the log stood.
    pub(crate) position: Position,
    /// Whether all after the position that was asked from is covered. Absent where nothing was to be recovered.
    pub(crate) recovered: Option<bool>,
    pub(crate) messages: Vec<Message>,
    /// Whether there is more after the last of the messages.
    pub(crate) more: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    r#type: Option<&'a str>,
    id: Option<Value>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    id: String,
    topic: Option<String>,
    #[serde(default)]
    user: bool,
    offset: Option<u64>,
    epoch: Option<String>,
    event: Option<String>,
    #[serde(default)]
    at: i64,
    ttl: Option<u64>,
    from: Option<Origin>,
    #[serde(rename = "dataType", default)]
    data_type: DataType,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Skip {
    topic: Option<String>,
    #[serde(default)]
    user: bool,
    offset: u64,
    epoch: String,
}

#[derive(Deserialize)]
struct Gateway {
    message: String,
    #[serde(rename = "requestId")]
    _request_id: String,
}

#[derive(Deserialize)]
struct Part {
    offset: Option<u64>,
    epoch: Option<String>,
    recovered: Option<bool>,
    #[serde(default)]
    messages: Vec<Box<RawValue>>,
    #[serde(default)]
    more: bool,
}

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    topics: BTreeMap<String, Part>,
    user: Option<Part>,
}

/// Reads a frame. What does not look like a frame of this protocol is [`Incoming::Other`].
pub(crate) fn read(text: &str) -> Incoming {
    let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return Incoming::Other };
    match (head.r#type, head.id.as_ref().and_then(Value::as_u64)) {
        (Some("message"), _) => message(text, None).map_or(Incoming::Other, Incoming::Message),
        (Some("skip"), _) => match serde_json::from_str::<Skip>(text) {
            Ok(skip) => log(skip.topic, skip.user).map_or(Incoming::Other, |log| {
                Incoming::Skip(log, Position { offset: skip.offset, epoch: skip.epoch })
            }),
            Err(_) => Incoming::Other,
        },
        (Some(_), Some(id)) => Incoming::Reply(id),
        (Some("pong"), None) => Incoming::Pong,
        (Some("error"), None) => refusal(text).map_or(Incoming::Other, Incoming::Error),
        (None, None) => of_gateway(text).map_or(Incoming::Other, Incoming::Error),
        _ => Incoming::Other,
    }
}

/// A complaint of API Gateway itself: a function failed, or there are too many frames of all clients. It does not say which
/// command it is about.
fn of_gateway(text: &str) -> Option<Refusal> {
    let Gateway { message, .. } = serde_json::from_str(text).ok()?;
    Some(Refusal { code: GATEWAY.to_owned(), message })
}

/// The complaint in a frame, if it is one.
pub(crate) fn refusal(text: &str) -> Option<Refusal> {
    let head = serde_json::from_str::<Head<'_>>(text).ok()?;
    if head.r#type == Some("error") { serde_json::from_str(text).ok() } else { None }
}

/// What an acknowledgement says of each log; those without one are `None`.
pub(crate) fn acknowledged(text: &str) -> Result<Vec<(Log, Option<Extract>)>, serde_json::Error> {
    let ack: Ack = serde_json::from_str(text)?;
    let topics = ack.topics.into_iter().map(|(name, part)| (Log::Topic(name), part));
    let parts = topics.chain(ack.user.map(|part| (Log::User, part)));
    Ok(parts.map(|(log, part)| (log.clone(), extract(&log, part))).collect())
}

/// A page of history; `None` where there is no log.
pub(crate) fn page(log: &Log, text: &str) -> Result<Option<Extract>, serde_json::Error> {
    Ok(extract(log, serde_json::from_str(text)?))
}

fn extract(log: &Log, part: Part) -> Option<Extract> {
    let position = Position { offset: part.offset?, epoch: part.epoch? };
    let given = part.messages.iter().filter_map(|raw| message(raw.get(), Some((log, &position.epoch))));
    let messages = given.collect();
    Some(Extract { messages, recovered: part.recovered, more: part.more, position })
}

/// A message. In a part of a log it may leave out what all of the part have in common.
fn message(text: &str, part_of: Option<(&Log, &str)>) -> Option<Message> {
    let mut envelope: Envelope = serde_json::from_str(text).ok()?;
    let mut json = text.to_owned();
    if let Some((of, epoch)) =
        part_of.filter(|_| envelope.epoch.is_none() || !(envelope.user || envelope.topic.is_some()))
    {
        json = written_out(text, of, epoch)?;
        envelope = serde_json::from_str(&json).ok()?;
    }
    Some(Message {
        id: envelope.id,
        log: log(envelope.topic, envelope.user),
        position: envelope.offset.zip(envelope.epoch).map(|(offset, epoch)| Position { offset, epoch }),
        event: envelope.event,
        at: envelope.at,
        ttl: envelope.ttl,
        from: envelope.from,
        data_type: envelope.data_type,
        data: envelope.data,
        json,
    })
}

fn written_out(text: &str, log: &Log, epoch: &str) -> Option<String> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let (name, value) = named(log);
    fields.insert(name.to_owned(), value);
    fields.insert("epoch".to_owned(), epoch.into());
    Some(Value::Object(fields).to_string())
}

fn log(topic: Option<String>, user: bool) -> Option<Log> {
    topic.map(Log::Topic).or(user.then_some(Log::User))
}

/// How a command names a log.
pub(crate) fn named(log: &Log) -> (&'static str, Value) {
    match log {
        Log::Topic(name) => ("topic", name.as_str().into()),
        Log::User => ("user", true.into()),
    }
}

/// The subscriptions as they go into commands: at most 50 topics in each, and the user's log in one of its own.
pub(crate) fn batches(logs: Vec<(Log, Option<Position>)>) -> Vec<Vec<(Log, Option<Position>)>> {
    let mut batches: Vec<Vec<_>> = Vec::new();
    let mut bytes = 0;
    let (user, topics): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(log, _)| *log == Log::User);
    for (log, since) in topics {
        // A name stands twice where there is a position; each byte may be escaped.
        let size = log.to_string().len() * 2 + since.as_ref().map_or(0, |since| since.epoch.len() + 64);
        match batches.last_mut().filter(|batch| batch.len() < MOST_TOPICS && bytes + size < MOST_BYTES) {
            Some(batch) => batch.push((log, since)),
            None => {
                batches.push(vec![(log, since)]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    batches.extend(user.into_iter().map(|user| vec![user]));
    batches
}

/// The command for one batch; with `presence` the server also tells who comes to the topics and leaves them.
pub(crate) fn subscribe(id: u64, batch: &[(Log, Option<Position>)], presence: bool) -> String {
    if let [(Log::User, since)] = batch {
        let mut command = json!({"action": "subscribe", "user": true, "id": id});
        if let Some(since) = since {
            command["since"] = json!(since);
        }
        return command.to_string();
    }
    let mut command = json!({"action": "subscribe", "topics": topics(batch.iter().map(|(log, _)| log)), "id": id});
    let since = batch.iter().filter_map(|(log, since)| Some((topic(log)?.to_owned(), json!(since.as_ref()?))));
    let since: Map<String, Value> = since.collect();
    if !since.is_empty() {
        command["since"] = since.into();
    }
    if presence {
        command["presence"] = presence.into();
    }
    command.to_string()
}

/// The command that ends subscriptions.
pub(crate) fn unsubscribe(id: u64, log: &Log) -> String {
    let (name, value) = named(log);
    json!({"action": "unsubscribe", name: value, "id": id}).to_string()
}

/// The command that asks for what comes after a position.
pub(crate) fn history(id: u64, log: &Log, since: &Position) -> String {
    let (name, value) = named(log);
    json!({"action": "history", name: value, "since": since, "limit": PAGE, "id": id}).to_string()
}

fn topic(log: &Log) -> Option<&str> {
    match log {
        Log::Topic(name) => Some(name),
        Log::User => None,
    }
}

fn topics<'a>(logs: impl Iterator<Item = &'a Log>) -> Vec<&'a str> {
    logs.filter_map(topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { offset, epoch: "e".to_owned() }
    }

    #[test]
    fn a_message_keeps_its_text_and_says_where_it_stands() {
        let text = r#"{"type":"message","id":"n","topic":"a","offset":46,"epoch":"e","event":"x","at":7,"ttl":60,"from":{"user":"u"},"dataType":"text","data":"hi"}"#;
        let Incoming::Message(message) = read(text) else { panic!("a message expected") };
        assert_eq!((message.as_json(), message.topic()), (text, Some("a")));
        assert_eq!((message.position.as_ref(), message.data_type), (Some(&at(46)), DataType::Text));
        assert_eq!(message.from.as_ref().unwrap().user.as_deref(), Some("u"));
        let Incoming::Message(message) = read(r#"{"type":"message","data":1}"#) else { panic!("a message expected") };
        assert_eq!((message.log, message.position, message.data), (None, None, json!(1)));
        let user = r#"{"type":"message","id":"n","user":true,"offset":1,"epoch":"e","data":1}"#;
        let Incoming::Message(message) = read(user) else { panic!("a message expected") };
        assert_eq!(message.log, Some(Log::User));
    }

    #[test]
    fn every_frame_is_told_apart() {
        let skip = r#"{"type":"skip","topic":"a","offset":3,"epoch":"e"}"#;
        assert_eq!(read(skip), Incoming::Skip(Log::topic("a"), at(3)));
        assert_eq!(read(r#"{"type":"skip","user":true,"offset":3,"epoch":"e"}"#), Incoming::Skip(Log::User, at(3)));
        assert_eq!(read(r#"{"type":"ack","id":7}"#), Incoming::Reply(7));
        assert_eq!(read(r#"{"type":"pong"}"#), Incoming::Pong);
        let error = r#"{"type":"error","code":"Forbidden","message":"no"}"#;
        let refusal = Refusal { code: "Forbidden".to_owned(), message: "no".to_owned() };
        assert_eq!(read(error), Incoming::Error(refusal));
        let failed = r#"{"message":"Internal server error","connectionId":"c","requestId":"r"}"#;
        let refusal = Refusal { code: "ApiGateway".to_owned(), message: "Internal server error".to_owned() };
        assert_eq!(read(failed), Incoming::Error(refusal));
        for other in ["", "hello", "7", "{}", r#"{"type":"skip"}"#, r#"{"message":"of an application"}"#] {
            assert_eq!(read(other), Incoming::Other, "{other}");
        }
    }

    #[test]
    fn an_acknowledgement_gives_each_log_and_what_its_messages_leave_out() {
        let text = r#"{"type":"ack","id":1,"topics":{"a":{"offset":2,"epoch":"e","recovered":true,
            "messages":[{"type":"message","id":"n","offset":2,"data":1}],"more":false},"b":{}}}"#;
        let logs = acknowledged(text).unwrap();
        assert_eq!(logs[1], (Log::topic("b"), None));
        let extract = logs[0].1.as_ref().unwrap();
        assert_eq!((&extract.position, extract.recovered, extract.more), (&at(2), Some(true), false));
        let message = &extract.messages[0];
        assert_eq!((message.topic(), message.position.as_ref()), (Some("a"), Some(&at(2))));
        assert!(message.as_json().contains(r#""topic":"a""#), "{}", message.as_json());
        let user = r#"{"type":"ack","id":6,"user":{"offset":9,"epoch":"p"}}"#;
        assert_eq!(acknowledged(user).unwrap()[0].0, Log::User);
        assert_eq!(acknowledged(r#"{"type":"ack","id":1}"#).unwrap(), []);
    }

    #[test]
    fn commands_look_as_documented() {
        let batch = [(Log::topic("a"), Some(at(41))), (Log::topic("b"), None)];
        let sent: Value = serde_json::from_str(&subscribe(1, &batch, false)).unwrap();
        let since = json!({"a": {"offset": 41, "epoch": "e"}});
        assert_eq!(sent, json!({"action": "subscribe", "topics": ["a", "b"], "since": since, "id": 1}));
        let sent: Value = serde_json::from_str(&subscribe(1, &batch[1..], true)).unwrap();
        assert_eq!(sent, json!({"action": "subscribe", "topics": ["b"], "presence": true, "id": 1}));
        let sent: Value = serde_json::from_str(&subscribe(6, &[(Log::User, Some(at(3)))], true)).unwrap();
        assert_eq!(sent, json!({"action": "subscribe", "user": true, "since": {"offset": 3, "epoch": "e"}, "id": 6}));
        let sent: Value = serde_json::from_str(&history(2, &Log::topic("a"), &at(0))).unwrap();
        assert_eq!(
            sent,
            json!({"action": "history", "topic": "a", "since": {"offset": 0, "epoch": "e"}, "limit": 100, "id": 2})
        );
    }

    #[test]
    fn no_command_has_more_than_fifty_topics_or_is_too_large() {
        let topics = |count: usize, length: usize| {
            let names = (0..count).map(move |n| format!("{n:0>length$}"));
            names.map(|name| (Log::Topic(name), Some(at(1)))).collect::<Vec<_>>()
        };
        let counts = |logs| batches(logs).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(topics(101, 4)), [50, 50, 1]);
        let large = batches(topics(20, 1_024));
        assert!(
            large.len() > 1 && large.iter().all(|batch| subscribe(1, batch, true).len() < 32_768),
            "{}",
            large.len()
        );
        let mut logs = topics(2, 4);
        logs.insert(1, (Log::User, None));
        assert_eq!(counts(logs), [2, 1]);
        assert_eq!(counts(Vec::new()), [0; 0]);
    }
}
