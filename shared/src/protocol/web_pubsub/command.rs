//! What a client sends.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::notification::Payload;

/// Longest name of an event.
const LONGEST_EVENT: usize = 128;
/// Most seconds that a message to a group may be worth something, 0 for no end of its own.
const LONGEST_TTL: u32 = 300;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Command {
    /// The client's number of it; `None` where it wants no answer. 0 is a number.
    pub ack_id: Option<u64>,
    /// What is asked for.
    pub asked: Asked,
}

/// What a client can ask for.
#[derive(Debug, Clone)]
pub enum Asked {
    /// Be told of a group.
    Join(String),
    /// Not be told of it any more.
    Leave(String),
    /// Say something to a group.
    Send(Send),
    /// Something for the application.
    Event(Event),
    /// Show that both ends are alive.
    Ping,
    /// Up to where it has everything.
    SequenceAck(u64),
    /// An event that is to be answered, by its own number.
    Invoke(String),
    /// That is not to be answered any more.
    CancelInvocation,
    /// A part of a stream of this id, the first one or another.
    Stream(String),
    /// The end of one.
    EndStream,
    /// State that is kept for a group.
    GroupState,
}

/// A message to a group.
#[derive(Debug, Clone)]
pub struct Send {
    /// To which.
    pub group: String,
    /// Whether the sender itself gets nothing.
    pub no_echo: bool,
    /// Seconds after which it is not worth delivering; `None` where it does not say.
    pub ttl: Option<u32>,
    /// What.
    pub payload: Payload,
}

/// An event for the application.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Payload,
}

/// A frame that is none of this protocol's, or a command with a mistake in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct BadFrame {
    /// The command's number, where that could be read.
    pub ack_id: Option<u64>,
    /// What is wrong, and the fix.
    pub problem: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    #[serde(rename = "type")]
    kind: String,
    ack_id: Option<u64>,
    group: Option<String>,
    event: Option<String>,
    no_echo: Option<bool>,
    ttl_seconds: Option<u32>,
    data_type: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    stream: Option<Stream>,
    stream_id: Option<String>,
    invocation_id: Option<String>,
    sequence_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    stream_id: String,
}

/// Understands a client's frame.
///
/// # Errors
/// When it is no JSON object of this protocol's, or a command with a mistake in it.
pub fn decode(frame: &str) -> Result<Command, BadFrame> {
    let wire: Wire<'_> = serde_json::from_str(frame)
        .map_err(|error| BadFrame { ack_id: None, problem: format!("the frame is no command: {error}") })?;
    let ack_id = wire.ack_id;
    match asked(wire) {
        Ok(asked) => Ok(Command { ack_id, asked }),
        Err(problem) => Err(BadFrame { ack_id, problem }),
    }
}

fn asked(wire: Wire<'_>) -> Result<Asked, String> {
    Ok(match wire.kind.to_ascii_lowercase().as_str() {
        "joingroup" => Asked::Join(named(wire.group, "group")?),
        "leavegroup" => Asked::Leave(named(wire.group, "group")?),
        "sendtogroup" => match wire.stream {
            Some(stream) => Asked::Stream(stream.stream_id),
            None => Asked::Send(send(wire)?),
        },
        "event" => Asked::Event(event(wire)?),
        "ping" => Asked::Ping,
        "sequenceack" => Asked::SequenceAck(wire.sequence_id.ok_or("`sequenceId` is missing; give a number")?),
        "invoke" => Asked::Invoke(named(wire.invocation_id, "invocationId")?),
        "cancelinvocation" => Asked::CancelInvocation,
        "streamdata" => Asked::Stream(named(wire.stream_id, "streamId")?),
        "streamend" => Asked::EndStream,
        "setgroupstate" | "subscribegroupstate" | "unsubscribegroupstate" => Asked::GroupState,
        _ => return Err("`type` is not known; use joinGroup, leaveGroup, sendToGroup, event or ping".to_owned()),
    })
}

fn named(name: Option<String>, field: &str) -> Result<String, String> {
    name.ok_or_else(|| format!("`{field}` is missing; give a string"))
}

fn send(wire: Wire<'_>) -> Result<Send, String> {
    let ttl = match wire.ttl_seconds {
        None | Some(0) => None,
        Some(seconds @ 1..=LONGEST_TTL) => Some(seconds),
        Some(_) => return Err(format!("`ttlSeconds` is out of range; use 0 to {LONGEST_TTL}")),
    };
    let payload = payload(wire.data_type.as_deref(), wire.data)?;
    Ok(Send { group: named(wire.group, "group")?, no_echo: wire.no_echo.unwrap_or_default(), ttl, payload })
}

fn event(wire: Wire<'_>) -> Result<Event, String> {
    let payload = payload(wire.data_type.as_deref(), wire.data)?;
    let name = named(wire.event, "event")?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let is_first = name.chars().next().is_some_and(|letter| letter.is_ascii_alphabetic());
    match is_first && name.chars().all(fits) && name.len() <= LONGEST_EVENT {
        true => Ok(Event { name, payload }),
        false => {
            Err("`event` is not valid; use a letter, then up to 127 letters, digits and characters of _.-".to_owned())
        }
    }
}

fn payload(kind: Option<&str>, data: Option<&RawValue>) -> Result<Payload, String> {
    let data = data.ok_or("`data` is missing or null; give a value")?;
    let text = || serde_json::from_str::<String>(data.get()).map_err(|_| "`data` is not a string".to_owned());
    match kind.unwrap_or("json") {
        "json" => Ok(Payload::Json(data.to_owned())),
        "text" => text().map(Payload::Text),
        "binary" => {
            let text = text()?;
            crate::decode_base64(&text).ok_or("`data` is not base64")?;
            Ok(Payload::Binary(text))
        }
        _ => Err("`dataType` is not known; use json, text or binary".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frame: &str) -> Command {
        decode(frame).unwrap_or_else(|error| panic!("{frame}: {error}"))
    }

    fn sent(frame: &str) -> (Option<u64>, Send) {
        match read(frame) {
            Command { ack_id, asked: Asked::Send(send) } => (ack_id, send),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_of_the_official_libraries_are_understood() {
        let join = read(r#"{"type":"joinGroup","group":"g1","ackId":1}"#);
        assert!(matches!((join.ack_id, join.asked), (Some(1), Asked::Join(group)) if group == "g1"));
        let leave = read(r#"{"type":"leaveGroup","group":"g1","ackId":0}"#);
        assert!(matches!((leave.ack_id, leave.asked), (Some(0), Asked::Leave(_))), "0 is a number");
        let frame =
            r#"{"type":"sendToGroup","group":"g1","ackId":2,"noEcho":false,"dataType":"json","data":{"b" : 1.0}}"#;
        let (ack_id, json) = sent(frame);
        assert!(matches!(json.payload, Payload::Json(data) if data.get() == r#"{"b" : 1.0}"#));
        assert_eq!((ack_id, json.no_echo, json.ttl), (Some(2), false, None));
        let (ack_id, text) = sent(r#"{"type":"sendToGroup","group":"g1","noEcho":true,"dataType":"text","data":"hi"}"#);
        assert!(matches!(text.payload, Payload::Text(text) if text == "hi"));
        assert_eq!((ack_id, text.no_echo), (None, true));
        let (_, binary) =
            sent(r#"{"type":"sendToGroup","group":"g1","dataType":"binary","data":"AQID","ttlSeconds":5}"#);
        assert!(matches!((binary.payload, binary.ttl), (Payload::Binary(_), Some(5))));
        let event = read(r#"{"type":"event","event":"ev","ackId":9223372036854775807,"dataType":"text","data":"t"}"#);
        assert_eq!(event.ack_id, Some(9_223_372_036_854_775_807));
        assert!(matches!(event.asked, Asked::Event(event) if event.name == "ev"));
        assert!(matches!(read(r#"{"type":"PING"}"#).asked, Asked::Ping));
        assert!(matches!(read(r#"{"type":"sequenceAck","sequenceId":5}"#).asked, Asked::SequenceAck(5)));
        let last = read(r#"{"type":"sendToGroup","group":"g","data":0,"ackId":18446744073709551615}"#);
        assert_eq!(last.ack_id, Some(u64::MAX));
    }

    #[test]
    fn what_newer_libraries_ask_for_is_known_by_name() {
        let stream = r#"{"type":"sendToGroup","group":"g","noEcho":false,"stream":{"streamId":"s","idleTimeoutMs":1}}"#;
        assert!(matches!(read(stream).asked, Asked::Stream(id) if id == "s"));
        let data = r#"{"type":"streamData","streamId":"s","streamSequenceId":1,"dataType":"text","data":"x"}"#;
        assert!(matches!(read(data).asked, Asked::Stream(_)));
        assert!(matches!(read(r#"{"type":"streamEnd","streamId":"s"}"#).asked, Asked::EndStream));
        let invoke =
            r#"{"type":"invoke","invocationId":"1","target":"event","event":"e","dataType":"text","data":"x"}"#;
        assert!(matches!(read(invoke).asked, Asked::Invoke(id) if id == "1"));
        assert!(matches!(read(r#"{"type":"setGroupState","group":"g","ackId":1}"#).asked, Asked::GroupState));
    }

    #[test]
    fn a_mistake_is_named_with_the_number_of_its_command() {
        for (frame, ack_id, start) in [
            ("", None, "the frame is no command"),
            ("[]", None, "the frame is no command"),
            ("{}", None, "the frame is no command: missing field `type`"),
            (r#"{"type":"joinGroup","group":"g","ackId":-1}"#, None, "the frame is no command"),
            (r#"{"type":"joinGroup","group":"g","ackId":1.5}"#, None, "the frame is no command"),
            (r#"{"type":"joinGroup","group":7,"ackId":1}"#, None, "the frame is no command"),
            (r#"{"type":"fly","ackId":1}"#, Some(1), "`type` is not known"),
            (r#"{"type":"sequenceAck"}"#, None, "`sequenceId` is missing"),
            (r#"{"type":"joinGroup","ackId":1}"#, Some(1), "`group` is missing"),
            (r#"{"type":"sendToGroup","group":"g","ackId":1}"#, Some(1), "`data` is missing"),
            (r#"{"type":"sendToGroup","group":"g","data":null}"#, None, "`data` is missing or null"),
            (r#"{"type":"sendToGroup","group":"g","data":1,"dataType":"text"}"#, None, "`data` is not a string"),
            (r#"{"type":"sendToGroup","group":"g","data":"%","dataType":"binary"}"#, None, "`data` is not base64"),
            (r#"{"type":"sendToGroup","group":"g","data":1,"dataType":"protobuf"}"#, None, "`dataType` is not known"),
            (r#"{"type":"sendToGroup","group":"g","data":1,"ttlSeconds":301}"#, None, "`ttlSeconds` is out of range"),
            (r#"{"type":"event","event":"1a","data":1}"#, None, "`event` is not valid"),
            (r#"{"type":"event","data":1,"ackId":3}"#, Some(3), "`event` is missing"),
        ] {
            let bad = decode(frame).unwrap_err();
            assert!(bad.ack_id == ack_id && bad.problem.starts_with(start), "{frame}: {bad:?}");
        }
    }
}
