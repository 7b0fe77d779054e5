//! What a client is told. Every frame has a `type`: the library for .NET ends its connection for one that has none.

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::ids::{ConnectionId, UserId};
use crate::notification::{Notification, Payload, Target};
use crate::web_pubsub::group_of;

/// The number of an answer that nobody waits for: the largest that all libraries can read.
const NOBODY_WAITS: u64 = i64::MAX as u64;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AckError {
    /// For programs.
    pub name: ErrorName,
    /// For people.
    pub message: String,
}

/// For what kind of reason a command was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ErrorName {
    /// A field is missing or wrong.
    BadRequest,
    /// The client may not.
    Forbidden,
    /// It is done already; the libraries take that for a success.
    Duplicate,
    /// Our own failure, or the application's.
    InternalServerError,
    /// There is no such thing here.
    NotSupported,
    /// A name of the application's own.
    #[serde(untagged)]
    Application(&'static str),
}

impl AckError {
    /// An error of this kind.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { name, message: message.into() }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Frame<'a> {
    System {
        event: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        connection_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnection_token: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
    },
    Ack {
        ack_id: u64,
        success: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a AckError>,
    },
    Message {
        from: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from_user_id: Option<&'a str>,
        #[serde(flatten)]
        payload: &'a Payload,
    },
    Pong,
    InvokeResponse {
        invocation_id: &'a str,
        success: bool,
        error: &'a AckError,
    },
    StreamClosed {
        stream_id: &'a str,
        error: &'a AckError,
    },
}

impl Frame<'_> {
    fn text(&self) -> String {
        // Texts, numbers and JSON: there is nothing here that cannot be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The first frame of a connection. With a token its client recovers it, without one it begins anew.
#[must_use]
pub fn connected(connection: &ConnectionId, user: Option<&UserId>, reconnection_token: Option<&str>) -> String {
    let (user_id, connection_id) = (user.map(UserId::as_str), Some(connection.as_str()));
    Frame::System { event: "connected", user_id, connection_id, reconnection_token, message: None }.text()
}

/// A frame with its number: what is above it came later, and what is below is dropped.
#[must_use]
pub fn numbered(frame: &str, sequence_id: u64) -> String {
    match frame.strip_suffix('}') {
        Some(open) => format!("{open},\"sequenceId\":{sequence_id}}}"),
        None => frame.to_owned(),
    }
}

/// The last frame of a connection: API Gateway's close frames cannot carry a reason of ours.
#[must_use]
pub fn disconnected(reason: &str) -> String {
    let (user_id, connection_id, reconnection_token) = (None, None, None);
    Frame::System { event: "disconnected", user_id, connection_id, reconnection_token, message: Some(reason) }.text()
}

/// A command is done.
#[must_use]
pub fn ack(ack_id: u64) -> String {
    Frame::Ack { ack_id, success: true, error: None }.text()
}

/// A command is not done.
#[must_use]
pub fn refused(ack_id: u64, error: &AckError) -> String {
    Frame::Ack { ack_id, success: false, error: Some(error) }.text()
}

/// The answer to a ping.
#[must_use]
pub fn pong() -> String {
    Frame::Pong.text()
}

/// A sign of life. No other frame is harmless to all libraries: a `pong` is logged as an error by the one for Python.
#[must_use]
pub fn keep_alive() -> String {
    ack(NOBODY_WAITS)
}

/// What an application answers to an event.
#[must_use]
pub fn reply(data: &Value) -> String {
    // JSON can be written.
    let payload = serde_json::value::to_raw_value(data).map_or_else(|_| Payload::Text(String::new()), Payload::Json);
    Frame::Message { from: "server", group: None, from_user_id: None, payload: &payload }.text()
}

/// An invocation is not carried out.
#[must_use]
pub fn invocation_refused(invocation_id: &str, error: &AckError) -> String {
    Frame::InvokeResponse { invocation_id, success: false, error }.text()
}

/// A stream is not opened.
#[must_use]
pub fn stream_refused(stream_id: &str, error: &AckError) -> String {
    Frame::StreamClosed { stream_id, error }.text()
}

/// The frame of a notification for connections that are reached through `target`: from a group where that is one, else from
/// a server.
#[must_use]
pub fn encode_message(notification: &Notification, target: &Target) -> Bytes {
    let group = match target {
        Target::Topic(topic) => group_of(topic),
        _ => None,
    };
    let from = if group.is_some() { "group" } else { "server" };
    let from_user_id = notification.from.as_ref().and_then(|from| from.user.as_ref()).map(UserId::as_str);
    Frame::Message { from, group, from_user_id, payload: &notification.payload }.text().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NotificationId;
    use crate::notification::Defaults;

    fn pushed(notification: &str) -> String {
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 1 };
        let notification = Notification::parse(notification, &defaults).unwrap();
        String::from_utf8(encode_message(&notification, &notification.to[0]).to_vec()).unwrap()
    }

    #[test]
    fn a_message_of_a_group_says_which_and_from_whom() {
        let text = pushed(r#"{"to":{"topic":"h/g/1"},"data":{"b" : 1.0},"from":{"user":"u2"}}"#);
        let expected =
            r#"{"type":"message","from":"group","group":"g/1","fromUserId":"u2","dataType":"json","data":{"b" : 1.0}}"#;
        assert_eq!(text, expected);
        let anonymous = pushed(r#"{"to":{"topic":"h/g"},"data":"AQID","dataType":"binary","from":{}}"#);
        let expected = r#"{"type":"message","from":"group","group":"g","dataType":"binary","data":"AQID"}"#;
        assert_eq!(anonymous, expected, "what there is not is left out");
    }

    #[test]
    fn everything_else_is_from_a_server() {
        for target in [r#"{"topic":"h"}"#, r#"{"user":"u1"}"#, r#"{"connection":"c1="}"#, r#""everyone""#] {
            let text = pushed(&format!(r#"{{"to":{target},"data":"five","dataType":"text"}}"#));
            assert_eq!(text, r#"{"type":"message","from":"server","dataType":"text","data":"five"}"#);
        }
        assert_eq!(
            reply(&serde_json::json!({"a": 1})),
            r#"{"type":"message","from":"server","dataType":"json","data":{"a":1}}"#
        );
    }

    #[test]
    fn answers_are_as_the_libraries_expect_them() {
        let connection = ConnectionId::parse("cid1=").unwrap();
        let user = UserId::parse("u1").unwrap();
        let expected = r#"{"type":"system","event":"connected","userId":"u1","connectionId":"cid1="}"#;
        assert_eq!(connected(&connection, Some(&user), None), expected);
        let recovers = connected(&connection, None, Some("a.b-c"));
        let expected = r#"{"type":"system","event":"connected","connectionId":"cid1=","reconnectionToken":"a.b-c"}"#;
        assert_eq!(recovers, expected);
        assert_eq!(
            connected(&connection, None, None),
            r#"{"type":"system","event":"connected","connectionId":"cid1="}"#
        );
        assert_eq!(disconnected("why"), r#"{"type":"system","event":"disconnected","message":"why"}"#);
        assert_eq!(ack(0), r#"{"type":"ack","ackId":0,"success":true}"#);
        assert_eq!(keep_alive(), r#"{"type":"ack","ackId":9223372036854775807,"success":true}"#);
        let error = AckError::new(ErrorName::Forbidden, "no");
        let expected = r#"{"type":"ack","ackId":1,"success":false,"error":{"name":"Forbidden","message":"no"}}"#;
        assert_eq!(refused(1, &error), expected);
        let own = AckError::new(ErrorName::Application("RoomIsFull"), "");
        assert!(refused(1, &own).contains(r#""name":"RoomIsFull""#));
        assert_eq!(numbered(r#"{"type":"message"}"#, 7), r#"{"type":"message","sequenceId":7}"#);
        assert_eq!(pong(), r#"{"type":"pong"}"#);
        let error = AckError::new(ErrorName::NotSupported, "no");
        let expected = r#"{"type":"invokeResponse","invocationId":"1","success":false,"error":{"name":"NotSupported","message":"no"}}"#;
        assert_eq!(invocation_refused("1", &error), expected);
        let expected = r#"{"type":"streamClosed","streamId":"s","error":{"name":"NotSupported","message":"no"}}"#;
        assert_eq!(stream_refused("s", &error), expected);
    }
}
