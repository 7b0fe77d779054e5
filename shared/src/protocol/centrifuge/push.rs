//! What a client is told unasked.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Disconnect;
use super::reply::{ClientInfo, Publication, Refreshed, Subscribed, data};
use crate::notification::{Notification, Payload, Target};

#[derive(Serialize)]
struct Frame<'a> {
    push: Push<'a>,
}

#[derive(Default, Serialize)]
struct Push<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(rename = "pub", skip_serializing_if = "Option::is_none")]
    publication: Option<Publication>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<Member<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leave: Option<Member<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsubscribe: Option<Ended<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe: Option<&'a Subscribed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<&'a Refreshed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect: Option<Ended<'a>>,
}

#[derive(Serialize)]
struct Message {
    data: Box<RawValue>,
}

/// Who came or left.
#[derive(Debug, Clone, Serialize)]
pub struct Member<'a> {
    /// Who.
    pub info: &'a ClientInfo,
}

#[derive(Serialize)]
struct Ended<'a> {
    code: u32,
    reason: &'a str,
}

fn text(push: Push<'_>) -> String {
    // Texts, numbers and JSON: there is nothing here that cannot be written.
    serde_json::to_string(&Frame { push }).unwrap_or_default()
}

/// The frame of a notification for connections that are reached through `target`: a publication of a channel where that is
/// a topic, else a message. Only where `is_recoverable` it has an offset: the libraries take it for their position.
#[must_use]
pub fn encode_message(notification: &Notification, target: &Target, is_recoverable: bool) -> Bytes {
    let push = match target {
        Target::Topic(topic) => Push {
            channel: Some(topic.as_str()),
            publication: Some(Publication::of(notification, is_recoverable)),
            ..Push::default()
        },
        _ => Push { message: Some(Message { data: data(&notification.payload) }), ..Push::default() },
    };
    text(push).into()
}

/// Somebody came.
#[must_use]
pub fn joined(channel: &str, info: &ClientInfo) -> String {
    text(Push { channel: Some(channel), join: Some(Member { info }), ..Push::default() })
}

/// Somebody left.
#[must_use]
pub fn left(channel: &str, info: &ClientInfo) -> String {
    text(Push { channel: Some(channel), leave: Some(Member { info }), ..Push::default() })
}

/// What a notification says of a connection, which has come to a channel or left it, to those who follow that.
#[must_use]
pub(in crate::protocol) fn encode_moved(notification: &Notification, target: &Target) -> Bytes {
    let channel = match target {
        Target::Watchers(topic) => topic.watched().unwrap_or_default(),
        _ => "",
    };
    let moved = match &notification.payload {
        Payload::Json(moved) => serde_json::from_str(moved.get()).ok(),
        // We never write them so.
        Payload::Text(_) | Payload::Binary(_) => None,
    };
    match moved {
        Some(Moved::Joined(info)) => joined(channel, &info).into(),
        Some(Moved::Left(info)) => left(channel, &info).into(),
        // Nothing happens there.
        None => text(Push { channel: Some(""), ..Push::default() }).into(),
    }
}

/// What became of a connection, as it travels to those who follow a channel.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Moved {
    /// It has come.
    Joined(ClientInfo),
    /// It has left.
    Left(ClientInfo),
}

/// A server has subscribed the client.
#[must_use]
pub fn subscribed(channel: &str, subscription: &Subscribed) -> String {
    text(Push { channel: Some(channel), subscribe: Some(subscription), ..Push::default() })
}

/// A server has set when the connection's time is over.
#[must_use]
pub fn refreshed(refreshed: &Refreshed) -> String {
    text(Push { refresh: Some(refreshed), ..Push::default() })
}

/// A subscription ended. With a code from 2500 on the library subscribes again and recovers.
#[must_use]
pub fn unsubscribed(channel: &str, code: u32, reason: &str) -> String {
    text(Push { channel: Some(channel), unsubscribe: Some(Ended { code, reason }), ..Push::default() })
}

/// The connection is about to end. API Gateway's close frames cannot carry a code of ours, so the libraries are told first:
/// they obey it.
#[must_use]
pub fn disconnect(Disconnect { code, reason }: Disconnect) -> String {
    disconnect_with(code, reason)
}

/// The same, with a code and a reason of an application.
#[must_use]
pub fn disconnect_with(code: u32, reason: &str) -> String {
    text(Push { disconnect: Some(Ended { code, reason }), ..Push::default() })
}

/// A sign of life.
#[must_use]
pub fn keep_alive() -> &'static str {
    "{}"
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ids::{NotificationId, Topic, UserId};
    use crate::notification::Defaults;
    use crate::protocol::Protocol;

    fn pushed(target: &Target, is_recoverable: bool) -> Value {
        let text = r#"{"to":[{"topic":"c"},{"user":"u"}],"data":{"a":1},"log":{"log":{"topic":"c"},"offset":7,"epoch":"abc"}}"#;
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 1 };
        let mut notification = Notification::parse(r#"{"to":{"topic":"c"},"data":{"a":1}}"#, &defaults).unwrap();
        if let Ok(own) = Notification::parse_own(text, &defaults) {
            notification = own;
        }
        serde_json::from_slice(&encode_message(&notification, target, is_recoverable)).unwrap()
    }

    #[test]
    fn a_topic_is_a_channel_and_everything_else_a_message() {
        let topic = Target::Topic(Topic::parse("c").unwrap());
        assert_eq!(pushed(&topic, false), json!({"push": {"channel": "c", "pub": {"data": {"a": 1}}}}));
        let user = Target::User(UserId::parse("u").unwrap());
        assert_eq!(pushed(&user, false), json!({"push": {"message": {"data": {"a": 1}}}}));
    }

    #[test]
    fn who_follows_a_channel_is_told_which_connections_come_and_leave() {
        let topic = Topic::parse("room/1").unwrap();
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 1 };
        let followers = serde_json::to_string(topic.following().watched().unwrap()).unwrap();
        for (moved, push) in [("joined", "join"), ("left", "leave")] {
            let data = format!(r#"{{"{moved}":{{"user":"u1","client":"c1"}}}}"#);
            let text = format!(r#"{{"to":{{"watchers":{followers}}},"data":{data}}}"#);
            let notification = Notification::parse_own(&text, &defaults).unwrap();
            let frame = Protocol::Centrifuge.encode_message(&notification, &notification.to[0], true);
            let told: Value = serde_json::from_slice(&frame).unwrap();
            let info = json!({"info": {"user": "u1", "client": "c1"}});
            assert_eq!(told, json!({"push": {"channel": "room/1", push: info}}));
            assert!(Notification::parse(&text, &defaults).is_err(), "no producer says so");
        }
    }

    #[test]
    fn a_client_is_told_why_its_connection_ends_before_it_does() {
        let told: Value = serde_json::from_str(&disconnect(Disconnect::INVALID_TOKEN)).unwrap();
        assert_eq!(told, json!({"push": {"disconnect": {"code": 3500, "reason": "invalid token"}}}));
        let told: Value = serde_json::from_str(&unsubscribed("c", 2500, "insufficient state")).unwrap();
        assert_eq!(told["push"]["unsubscribe"]["code"], 2500);
    }
}
