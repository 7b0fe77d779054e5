//! `tidings.v1.json`: one JSON object a frame.

mod log;
mod presence;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{
    BadFrame, ClientError, Command, MAX_TOPICS_PER_COMMAND, Publish, Reply, ReplyBody, Request, RequestId, Subscribe,
};
use crate::ids::{InvalidId, Topic, UserId};
use crate::log::Place;
use crate::notification::{Fields, Notification, Origin, Payload, Target};
use crate::protocol::Told;
use crate::unread::Unread;

const EXAMPLE: &str = "send an object such as {\"action\":\"subscribe\",\"topic\":\"orders/42\",\"id\":1}";

/// What a client may say of a notification.
const PUBLISH_FIELDS: [&str; 7] = ["topic", "user", "type", "data", "dataType", "ttl", "key"];

pub(super) fn decode(frame: &str) -> Result<Request, BadFrame> {
    let no_object =
        |message: String| BadFrame { id: None, error: ClientError::bad_request(message), is_command: false };
    let value: Value = serde_json::from_str(frame)
        .map_err(|error| no_object(format!("the frame is not JSON ({error}); {EXAMPLE}")))?;
    let Value::Object(mut fields) = value else {
        return Err(no_object(format!("the frame is not a JSON object; {EXAMPLE}")));
    };
    let is_command = fields.get("action").is_some_and(Value::is_string);
    let id = request_id(fields.remove("id")).map_err(|error| BadFrame { id: None, error, is_command })?;
    match command(fields, frame) {
        Ok(command) => Ok(Request { id, command }),
        Err(error) => Err(BadFrame { id, error, is_command }),
    }
}

fn request_id(id: Option<Value>) -> Result<Option<RequestId>, ClientError> {
    match id {
        None | Some(Value::Null) => Ok(None),
        // API Gateway cannot tell an empty id from none when it answers a ping, so nobody does.
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(RequestId::Number(number))),
        Some(Value::String(text)) if text.len() <= 128 => Ok(Some(RequestId::Text(text))),
        Some(_) => {
            Err(ClientError::bad_request("`id` is not valid; use a whole number or a string of at most 128 bytes"))
        }
    }
}

fn command(mut fields: Map<String, Value>, frame: &str) -> Result<Command, ClientError> {
    let action = match fields.remove("action") {
        Some(Value::String(action)) => action,
        Some(_) => return Err(ClientError::bad_request(format!("`action` is not a string; {EXAMPLE}"))),
        None => return Err(ClientError::bad_request(format!("`action` is missing; {EXAMPLE}"))),
    };
    match action.as_str() {
        "subscribe" => Ok(Command::Subscribe(subscribe(fields)?)),
        "unsubscribe" => Ok(Command::Unsubscribe(topics(fields)?.0)),
        "history" => Ok(Command::History(log::history(fields)?)),
        "presence" => Ok(Command::Presence(presence::presence(fields)?)),
        "unread" => log::refuse_the_rest(&fields).map(|()| Command::Unread),
        "read" => Ok(Command::Read(log::read(fields)?)),
        "publish" => Ok(Command::Publish(publish(frame)?)),
        "ping" => Ok(Command::Ping),
        "whoami" => Ok(Command::Whoami),
        _ => Ok(Command::Application { action, body: fields }),
    }
}

fn subscribe(mut fields: Map<String, Value>) -> Result<Subscribe, ClientError> {
    if let Some(user) = log::user(&mut fields)? {
        return Ok(user);
    }
    let since = fields.remove("since");
    let is_watched = log::take_flag(&mut fields, "presence")?;
    let (topics, is_list) = topics(fields)?;
    let topics = log::with_since(topics, is_list, since)?;
    Ok(if is_watched { Subscribe::Watched(topics) } else { Subscribe::Topics(topics) })
}

/// The topics that a command names, and whether it does so in a list.
fn topics(mut fields: Map<String, Value>) -> Result<(Vec<Topic>, bool), ClientError> {
    let (field, names) = match (fields.remove("topic"), fields.remove("topics")) {
        (Some(one), None) => ("topic", vec![one]),
        (None, Some(Value::Array(list))) => ("topics", list),
        (None, Some(_)) => return Err(ClientError::bad_request("`topics` is not a list; give a list of strings")),
        (Some(_), Some(_)) => return Err(ClientError::bad_request("`topic` and `topics` are both there; use one")),
        (None, None) => {
            return Err(ClientError::bad_request("`topic` is missing; give a string, or a list in `topics`"));
        }
    };
    log::refuse_the_rest(&fields)?;
    if names.is_empty() || names.len() > MAX_TOPICS_PER_COMMAND {
        let message = format!("`topics` has {} entries; give 1 to {MAX_TOPICS_PER_COMMAND} at a time", names.len());
        return Err(ClientError::bad_request(message));
    }
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let Value::String(name) = name else {
            return Err(ClientError::bad_request(format!("`{field}` is not a string; name the topic in a string")));
        };
        let topic =
            Topic::parse(name).map_err(|error| ClientError::bad_request(format!("`{field}` is not valid; {error}")))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    Ok((topics, field == "topics"))
}

/// Reads the frame once more, because data is passed on letter by letter.
fn publish(frame: &str) -> Result<Publish, ClientError> {
    let bad = |message: String| ClientError::bad_request(message);
    let mut fields: Fields =
        serde_json::from_str(frame).map_err(|error| bad(format!("the frame is not JSON ({error})")))?;
    fields.remove("action");
    fields.remove("id");
    if let Some(field) = fields.keys().find(|name| !PUBLISH_FIELDS.contains(&name.as_str())) {
        return Err(bad(format!("`{field}` is not known here; use {}", PUBLISH_FIELDS.join(", "))));
    }
    let mut text = |name: &str| match fields.remove(name).map(|raw| serde_json::from_str::<String>(raw.get())) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(bad(format!("`{name}` is not a string; give a JSON string"))),
    };
    let key = text("key")?;
    if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > 64 || key.chars().any(char::is_control)) {
        return Err(bad("`key` is not valid; use 1 to 64 bytes without control characters".to_owned()));
    }
    let refused = |field: &str, error: InvalidId| bad(format!("`{field}` is not valid; {error}"));
    let target = match (text("topic")?, text("user")?) {
        (Some(topic), None) => Target::Topic(Topic::parse(topic).map_err(|error| refused("topic", error))?),
        (None, Some(user)) => Target::User(UserId::parse(user).map_err(|error| refused("user", error))?),
        _ => return Err(bad("name either a `topic` or a `user`".to_owned())),
    };
    let to = serde_json::value::to_raw_value(&target).map_err(|error| bad(error.to_string()))?;
    fields.insert("to".to_owned(), to);
    Ok(Publish { target, key, fields })
}

pub(super) fn encode_reply(reply: &Reply) -> String {
    let id = reply.id.as_ref();
    match &reply.body {
        ReplyBody::Ack => frame("ack", id, Nothing {}),
        ReplyBody::AckWith(data) => frame("ack", id, Answer { data }),
        ReplyBody::Subscribed(topics) => frame("ack", id, Subscribed { topics: log::Topics(topics) }),
        ReplyBody::SubscribedUser(told) => {
            frame("ack", id, SubscribedUser { user: log::LogReply::subscribed(told.as_ref()) })
        }
        ReplyBody::History { topic, told } => {
            let (topic, user) = (topic.as_ref().map(Topic::as_str), topic.is_none());
            frame("history", id, History { topic, user, log: log::LogReply::of(told) })
        }
        ReplyBody::Presence { topic, here } => frame("presence", id, presence::InTopic { topic, rest: here }),
        ReplyBody::Unread(unread) => frame("unread", id, unread),
        ReplyBody::Pong => frame("pong", id, Nothing {}),
        ReplyBody::Whoami(who) => frame("whoami", id, who),
        ReplyBody::Error(error) => frame("error", id, error),
    }
}

pub(super) fn encode_unread(unread: &Unread) -> String {
    frame("unread", None, unread)
}

pub(super) fn encode_told(told: &Told) -> String {
    // Numbers, texts and messages that were encoded: there is nothing here that cannot be written.
    serde_json::to_string(&log::LogReply::of(told)).unwrap_or_default()
}

/// A reply's frame; the order of its fields is the order on the wire.
#[derive(Serialize)]
struct Frame<'a, T> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Answer<'a> {
    data: &'a Value,
}

#[derive(Serialize)]
struct Subscribed<'a> {
    topics: log::Topics<'a>,
}

#[derive(Serialize)]
struct SubscribedUser<'a> {
    user: log::LogReply<'a>,
}

#[derive(Serialize)]
struct History<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    user: bool,
    #[serde(flatten)]
    log: log::LogReply<'a>,
}

fn frame<T: Serialize>(kind: &'static str, id: Option<&RequestId>, rest: T) -> String {
    // Strings, numbers and JSON values: there is nothing here that cannot be written.
    serde_json::to_string(&Frame { r#type: kind, id, rest }).unwrap_or_default()
}

/// The envelope of a message; the order of its fields is the order on the wire.
#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(flatten)]
    place: InLog<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    at: i64,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'a Origin>,
    #[serde(rename = "dataType", skip_serializing_if = "Option::is_none")]
    data_type: Option<&'static str>,
    data: Data<'a>,
}

/// Where a message stands; of one that is in no log its topic, if it has one.
#[derive(Serialize, Default)]
struct InLog<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    /// Of the connection's own user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<&'a str>,
}

impl<'a> From<&'a Place> for InLog<'a> {
    fn from(place: &'a Place) -> Self {
        let (offset, epoch) = (Some(place.position.offset), Some(place.position.epoch.as_str()));
        Self { topic: place.log.topic().map(Topic::as_str), user: place.log.topic().is_none(), offset, epoch }
    }
}

pub(super) fn encode_skip(place: &Place) -> Bytes {
    Bytes::from(frame("skip", None, InLog::from(place)))
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

pub(super) fn encode_message(notification: &Notification, target: &Target) -> Bytes {
    if let Target::Watchers(topic) = target {
        return presence::encode_changes(notification, topic);
    }
    let (data_type, data) = match &notification.payload {
        Payload::Json(data) => (None, Data::Json(data)),
        Payload::Text(text) => (Some("text"), Data::Text(text)),
        Payload::Binary(text) => (Some("binary"), Data::Text(text)),
    };
    let envelope = Envelope {
        r#type: "message",
        id: notification.id.as_str(),
        place: match (&notification.log, target) {
            (Some(place), _) => InLog::from(place),
            (None, Target::Topic(topic)) => InLog { topic: Some(topic.as_str()), ..InLog::default() },
            (None, _) => InLog::default(),
        },
        event: notification.event.as_deref(),
        at: notification.at,
        ttl: notification.ttl,
        from: notification.from.as_ref(),
        data_type,
        data,
    };
    // Strings, numbers and JSON that was parsed before: there is nothing here that cannot be written.
    Bytes::from(serde_json::to_vec(&envelope).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::NotificationId;
    use crate::notification::Defaults;
    use crate::protocol::{ErrorCode, Protocol};

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    fn notification(text: &str) -> Notification {
        Notification::parse(text, &Defaults { id: NotificationId::parse("n1").unwrap(), at: 7 }).unwrap()
    }

    #[test]
    fn a_connection_that_is_named_is_told_the_topic_that_a_message_belongs_to() {
        let told = notification(r#"{"to":{"connection":"c"},"topic":"room/1","data":1}"#);
        for protocol in [Protocol::TidingsV1Json, Protocol::Centrifuge] {
            let by_name = protocol.encode_message(&told, &told.to[0], false);
            let as_member = protocol.encode_message(&told, &Target::Topic(topic("room/1")), false);
            assert_eq!(by_name, as_member);
        }
    }

    #[test]
    fn commands_are_read_with_the_id_of_their_request() {
        for (frame, command) in [
            (
                r#"{"action":"subscribe","topic":"a","id":1}"#,
                Command::Subscribe(Subscribe::Topics(vec![(topic("a"), None)])),
            ),
            (
                r#"{"id":1,"action":"subscribe","topics":["a","b","a"]}"#,
                Command::Subscribe(Subscribe::Topics(vec![(topic("a"), None), (topic("b"), None)])),
            ),
            (r#"{"action":"unsubscribe","topic":"a","id":1}"#, Command::Unsubscribe(vec![topic("a")])),
            (r#"{"action":"ping","id":1}"#, Command::Ping),
            (r#"{"action":"whoami","id":1}"#, Command::Whoami),
        ] {
            let request = decode(frame).unwrap();
            assert_eq!(request, Request { id: Some(RequestId::Number(1.into())), command }, "{frame}");
        }
    }

    #[test]
    fn an_unknown_action_is_left_to_the_application_with_its_fields() {
        let Command::Application { action, body } = decode(r#"{"action":"chat.send","text":"hi"}"#).unwrap().command
        else {
            panic!("an application's action expected")
        };
        assert_eq!((action.as_str(), Value::Object(body)), ("chat.send", json!({"text": "hi"})));
    }

    #[test]
    fn each_bad_frame_gets_one_error_that_names_the_field_and_the_fix() {
        let many = format!(r#"{{"action":"subscribe","topics":[{}"a"]}}"#, r#""a","#.repeat(50));
        let long = format!(r#"{{"action":"subscribe","topic":"{}"}}"#, "a".repeat(1025));
        for (frame, start) in [
            ("hello", "the frame is not JSON (expected value at line 1 column 1); send an object such as"),
            ("7", "the frame is not a JSON object; send an object"),
            (r#"{"topic":"a"}"#, "`action` is missing; send"),
            (r#"{"action":7}"#, "`action` is not a string; send"),
            (r#"{"action":"subscribe"}"#, "`topic` is missing; give a string"),
            (r#"{"action":"subscribe","topic":7}"#, "`topic` is not a string; name"),
            (r#"{"action":"subscribe","topics":"a"}"#, "`topics` is not a list; give"),
            (r#"{"action":"subscribe","topic":"a","topics":["b"]}"#, "`topic` and `topics` are both there; use one"),
            (r#"{"action":"subscribe","topic":"a\u0000"}"#, "`topic` is not valid; a topic has control characters"),
            (r#"{"action":"ping","id":{}}"#, "`id` is not valid; use"),
            (r#"{"action":"publish","data":1}"#, "name either a `topic` or a `user`"),
            (r#"{"action":"publish","topic":"t","user":"u","data":1}"#, "name either a `topic` or a `user`"),
            (r#"{"action":"publish","topic":7,"data":1}"#, "`topic` is not a string; give"),
            (r#"{"action":"publish","topic":"t","data":1,"from":{}}"#, "`from` is not known here; use topic, user"),
            (r#"{"action":"publish","topic":"t","data":1,"key":""}"#, "`key` is not valid; use"),
            (&many, "`topics` has 51 entries; give 1 to 50 at a time"),
            (&long, "`topic` is not valid; a topic is too long; use 1 to 1024 bytes"),
        ] {
            let error = decode(frame).unwrap_err().error;
            assert_eq!(error.code, ErrorCode::BadRequest, "{frame}");
            assert!(error.message.starts_with(start), "{frame}: {}", error.message);
        }
    }

    #[test]
    fn what_a_client_publishes_is_passed_on_letter_by_letter_as_its_own() {
        let frame = r#"{"action":"publish","id":1,"topic":"t","type":"e","data":{"b": 1.0},"key":"k"}"#;
        let Command::Publish(publish) = decode(frame).unwrap().command else { panic!("a publish expected") };
        assert_eq!((&publish.target, publish.key.as_deref()), (&Target::Topic(topic("t")), Some("k")));
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 7 };
        let notification = publish.into_notification(&defaults, Origin { user: None }).unwrap();
        let text = r#"{"id":"n","to":{"topic":"t"},"type":"e","dataType":"json","data":{"b": 1.0},"at":7,"ttl":3600,"from":{}}"#;
        assert_eq!(serde_json::to_string(&notification).unwrap(), text);
    }

    #[test]
    fn a_bad_command_is_answered_under_its_own_id() {
        assert_eq!(decode(r#"{"id":"x"}"#).unwrap_err().id, Some(RequestId::Text("x".to_owned())));
    }

    #[test]
    fn an_empty_id_is_none() {
        for frame in [r#"{"action":"ping","id":""}"#, r#"{"action":"ping","id":null}"#, r#"{"action":"ping"}"#] {
            assert_eq!(decode(frame).unwrap().id, None, "{frame}");
        }
    }

    #[test]
    fn replies_look_as_documented() {
        let id = Some(RequestId::Number(1.into()));
        let error = ClientError::new(ErrorCode::Forbidden, "no");
        for (id, body, frame) in [
            (id.clone(), ReplyBody::Ack, r#"{"type":"ack","id":1}"#),
            (None, ReplyBody::Pong, r#"{"type":"pong"}"#),
            (id, ReplyBody::Error(error), r#"{"type":"error","id":1,"code":"Forbidden","message":"no"}"#),
        ] {
            assert_eq!(encode_reply(&Reply { id, body }), frame);
        }
    }

    #[test]
    fn a_message_carries_its_topic_only_to_those_reached_by_it() {
        let notification = notification(r#"{"to":[{"topic":"t"},{"user":"u"}],"type":"e","data":{"n": 1}}"#);
        let frame =
            |index: usize| Protocol::TidingsV1Json.encode_message(&notification, &notification.to[index], false);
        let topic = r#"{"type":"message","id":"n1","topic":"t","event":"e","at":7,"ttl":3600,"data":{"n": 1}}"#;
        assert_eq!(frame(0), topic);
        assert_eq!(frame(1), topic.replace(r#""topic":"t","#, ""));
    }

    #[test]
    fn raw_clients_get_the_bare_data() {
        for (text, frame) in [
            (r#"{"to":"everyone","data":{"n": 1}}"#, r#"{"n": 1}"#),
            (r#"{"to":"everyone","data":"say \"hi\"","dataType":"text"}"#, r#"say "hi""#),
            (r#"{"to":"everyone","data":"quoted"}"#, r#""quoted""#),
        ] {
            assert_eq!(Protocol::Raw.encode_message(&notification(text), &Target::Everyone, false), frame);
        }
    }
}
