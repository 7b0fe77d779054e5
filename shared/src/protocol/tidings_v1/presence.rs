//! What `tidings.v1.json` says of who is in a topic: the command `presence`, its reply, and who came and left.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{frame, log};
use crate::ids::Topic;
use crate::notification::{Notification, Payload};
use crate::protocol::ClientError;

/// What is said of a topic.
#[derive(Serialize)]
pub(super) struct InTopic<'a, T> {
    pub(super) topic: &'a Topic,
    #[serde(flatten)]
    pub(super) rest: T,
}

pub(super) fn presence(mut fields: Map<String, Value>) -> Result<Topic, ClientError> {
    let topic = match fields.remove("topic") {
        Some(Value::String(name)) => {
            Topic::parse(name).map_err(|error| ClientError::bad_request(format!("`topic` is not valid; {error}")))?
        }
        Some(_) => return Err(ClientError::bad_request("`topic` is not a string; name the topic in a string")),
        None => return Err(ClientError::bad_request("`topic` is missing; name the topic in a string")),
    };
    log::refuse_the_rest(&fields)?;
    Ok(topic)
}

/// Who came and who left, unasked.
pub(super) fn encode_changes(notification: &Notification, topic: &Topic) -> Bytes {
    let rest: Map<String, Value> = match &notification.payload {
        Payload::Json(changes) => serde_json::from_str(changes.get()).unwrap_or_default(),
        // We never write them so.
        Payload::Text(_) | Payload::Binary(_) => Map::new(),
    };
    Bytes::from(frame("presence", None, InTopic { topic, rest }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::notification::{Defaults, Target};
    use crate::presence::{Here, Present};
    use crate::protocol::tidings_v1::decode;
    use crate::protocol::{Command, Protocol, Reply, ReplyBody, Subscribe};
    use crate::{NotificationId, UserId};

    fn topic(name: &str) -> Topic {
        Topic::parse(name).unwrap()
    }

    #[test]
    fn presence_is_asked_for_and_subscribed_to_by_topic() {
        let command = |frame: &str| decode(frame).unwrap().command;
        assert_eq!(command(r#"{"action":"presence","topic":"a","id":3}"#), Command::Presence(topic("a")));
        let watched = Command::Subscribe(Subscribe::Watched(vec![(topic("a"), None)]));
        assert_eq!(command(r#"{"action":"subscribe","topic":"a","presence":true}"#), watched);
        let plain = Command::Subscribe(Subscribe::Topics(vec![(topic("a"), None)]));
        assert_eq!(command(r#"{"action":"subscribe","topic":"a","presence":false}"#), plain);
    }

    #[test]
    fn what_is_malformed_is_told_with_its_field_and_the_fix() {
        for (frame, start) in [
            (r#"{"action":"presence"}"#, "`topic` is missing"),
            (r#"{"action":"presence","topic":7}"#, "`topic` is not a string"),
            (r#"{"action":"presence","topic":""}"#, "`topic` is not valid; a topic is empty"),
            (r#"{"action":"presence","topic":"\u0001a"}"#, "`topic` is not valid; a topic has control characters"),
            (r#"{"action":"presence","topic":"a","limit":1}"#, "`limit` is not known here"),
            (r#"{"action":"subscribe","topic":"a","presence":"yes"}"#, "`presence` is not true or false"),
            (r#"{"action":"subscribe","user":true,"presence":true}"#, "`presence` is not known here"),
        ] {
            let told = decode(frame).unwrap_err().error.message;
            assert!(told.starts_with(start), "{frame}: {told}");
        }
    }

    #[test]
    fn the_reply_says_how_many_and_who() {
        let users = vec![Present { user: UserId::parse("u1").unwrap(), connections: 2, since: 5 }];
        let here = Here { count: 1, connections: 2, users, more: false, change: 9 };
        let text = crate::protocol::tidings_v1::encode_reply(&Reply {
            id: None,
            body: ReplyBody::Presence { topic: topic("a"), here },
        });
        let users = json!([{"user": "u1", "connections": 2, "since": 5}]);
        let expected =
            json!({"type": "presence", "topic": "a", "count": 1, "connections": 2, "users": users, "change": 9});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn changes_are_pushed_alike_to_clients_of_every_protocol_that_can_ask_for_them() {
        let text = r#"{"to":{"watchers":"a"},"data":{"change":9,"joined":["u2"]}}"#;
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 0 };
        assert!(Notification::parse(text, &defaults).is_err(), "a producer cannot say it");
        let notification = Notification::parse_own(text, &defaults).unwrap();
        let target = Target::Watchers(topic("a"));
        for protocol in [Protocol::TidingsV1Json, Protocol::Raw, Protocol::Centrifuge] {
            let frame = protocol.encode_message(&notification, &target, false);
            assert_eq!(&frame[..], br#"{"type":"presence","topic":"a","change":9,"joined":["u2"]}"#);
        }
        let sign_of_life = Protocol::WebPubSub.keep_alive();
        assert_eq!(Some(Protocol::WebPubSub.encode_message(&notification, &target, false)), sign_of_life);
    }
}
