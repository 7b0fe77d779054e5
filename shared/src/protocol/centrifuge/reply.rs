//! What a client is answered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Code;
use crate::log::LogPosition;
use crate::notification::{Notification, Payload};
use crate::presence::Client;

/// The answer to one command.
#[derive(Debug, Clone, Serialize)]
pub struct Reply {
    /// The command's.
    pub id: u32,
    /// What is answered.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What is answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Who the client is now.
    Connect(Connected),
    /// It is subscribed.
    Subscribe(Subscribed),
    /// It is not subscribed any more.
    Unsubscribe {},
    /// It is said.
    Publish {},
    /// Who is there, by connection.
    Presence {
        /// Each connection.
        presence: BTreeMap<String, ClientInfo>,
    },
    /// How many are there.
    PresenceStats {
        /// Connections.
        num_clients: u64,
        /// Users.
        num_users: u64,
    },
    /// What was said.
    History(Page),
    /// What the application answers.
    Rpc {
        /// That.
        data: Box<RawValue>,
    },
    /// The connection's token is taken.
    Refresh(Refreshed),
    /// A subscription's token is taken.
    SubRefresh(Refreshed),
    /// It is not done.
    Error(ErrorReply),
}

/// Who a client is now.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Connected {
    /// Its connection.
    pub client: String,
    /// The server's version.
    pub version: &'static str,
    /// Whether its token ends.
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    /// When, in seconds from now.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u64,
    /// After how many seconds without a word it may take the connection for dead.
    #[serde(skip_serializing_if = "is_zero")]
    pub ping: u64,
    /// What it is subscribed to by its token.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subs: BTreeMap<String, Subscribed>,
}

/// A subscription.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Subscribed {
    /// Whether its token ends.
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    /// When, in seconds from now.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u64,
    /// Whether what is missed can be told later.
    #[serde(skip_serializing_if = "is_false")]
    pub recoverable: bool,
    /// In which life of the log.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// What was missed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publications: Vec<Publication>,
    /// Whether that is all.
    #[serde(skip_serializing_if = "is_false")]
    pub recovered: bool,
    /// Where the client is: what it asked for where it recovered, else where the log ends.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Whether messages carry offsets.
    #[serde(skip_serializing_if = "is_false")]
    pub positioned: bool,
    /// Whether it asked for what it missed.
    #[serde(skip_serializing_if = "is_false")]
    pub was_recovering: bool,
    /// What a server says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// A message.
#[derive(Debug, Clone, Serialize)]
pub struct Publication {
    /// What is said.
    pub data: Box<RawValue>,
    /// By which client, where a client said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub info: Option<ClientInfo>,
    /// Its place in its log.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: u64,
}

/// A client, as others see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientInfo {
    /// Its user; empty for who is anonymous.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Its connection; empty where it is not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// What its token says of it (`info`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conn_info: Option<Value>,
}

impl From<Client> for ClientInfo {
    fn from(Client { connection, user, info }: Client) -> Self {
        Self {
            user: user.map(String::from).unwrap_or_default(),
            client: connection.into(),
            // It is the JSON of a token.
            conn_info: info.and_then(|info| serde_json::from_str(&info).ok()),
        }
    }
}

/// One page of a channel.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Page {
    /// Messages.
    pub publications: Vec<Publication>,
    /// In which life of the log.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub epoch: String,
    /// Where the log ends.
    pub offset: u64,
}

/// A token that was taken.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Refreshed {
    /// The connection; empty for a subscription's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub client: String,
    /// Whether it ends.
    #[serde(skip_serializing_if = "is_false")]
    pub expires: bool,
    /// When, in seconds from now.
    #[serde(skip_serializing_if = "is_zero")]
    pub ttl: u64,
}

/// Why a command was not carried out.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReply {
    /// For the library.
    pub code: u32,
    /// For people.
    pub message: String,
    /// Whether it is worth another attempt.
    #[serde(skip_serializing_if = "is_false")]
    pub temporary: bool,
}

/// Presence of one channel, as a server asks for it.
pub type Listed = BTreeMap<String, ClientInfo>;

impl From<Code> for Answer {
    fn from(Code { code, message, temporary }: Code) -> Self {
        Self::Error(ErrorReply { code, message: message.to_owned(), temporary })
    }
}

impl Publication {
    /// A message of a channel. It has an offset only where `is_recoverable` says that the library may go by it.
    #[must_use]
    pub fn of(notification: &Notification, is_recoverable: bool) -> Self {
        let offset = notification.log.as_ref().filter(|_| is_recoverable).map_or(0, |place| place.position.offset);
        let info = notification.from.as_ref().map(|from| ClientInfo {
            user: from.user.as_ref().map(ToString::to_string).unwrap_or_default(),
            ..ClientInfo::default()
        });
        Self { data: data(&notification.payload), info, offset }
    }
}

/// The data on one line, which is what keeps objects of a frame apart. Text and binary data are a JSON string.
pub(super) fn data(payload: &Payload) -> Box<RawValue> {
    let text = match payload {
        Payload::Json(data) if data.get().contains(['\n', '\r']) => return compact(data),
        Payload::Json(data) => return data.clone(),
        Payload::Text(text) | Payload::Binary(text) => text,
    };
    // A string can be written.
    serde_json::value::to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The same JSON without line breaks, which it can have between its parts only.
fn compact(data: &RawValue) -> Box<RawValue> {
    let text: String =
        data.get().chars().map(|letter| if matches!(letter, '\n' | '\r') { ' ' } else { letter }).collect();
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

impl Page {
    /// A page of a log that ends at `end`.
    #[must_use]
    pub fn of(end: &LogPosition, publications: Vec<Publication>) -> Self {
        Self { publications, epoch: end.epoch.to_string(), offset: end.offset }
    }
}

/// The frame of these replies; none where there is nothing to say.
#[must_use]
pub fn encode(replies: &[Reply]) -> Option<String> {
    // Texts, numbers and JSON: there is nothing here that cannot be written.
    let lines: Vec<_> = replies.iter().map(|reply| serde_json::to_string(reply).unwrap_or_default()).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::NotificationId;
    use crate::notification::Defaults;

    fn notification(data: &str) -> Notification {
        let text = format!(r#"{{"to":{{"topic":"c"}},"data":{data}}}"#);
        let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: 1 };
        Notification::parse(&text, &defaults).unwrap()
    }

    fn line(answer: Answer) -> serde_json::Value {
        serde_json::from_str(&encode(&[Reply { id: 3, answer }]).unwrap()).unwrap()
    }

    #[test]
    fn whatever_is_zero_is_left_out_as_the_libraries_expect_it() {
        assert_eq!(line(Answer::Subscribe(Subscribed::default())), json!({"id": 3, "subscribe": {}}));
        assert_eq!(line(Answer::Unsubscribe {}), json!({"id": 3, "unsubscribe": {}}));
        let connected = Connected { client: "c".into(), version: "v", ..Connected::default() };
        assert_eq!(line(Answer::Connect(connected)), json!({"id": 3, "connect": {"client": "c", "version": "v"}}));
        let denied = json!({"id": 3, "error": {"code": 103, "message": "permission denied"}});
        assert_eq!(line(Code::PERMISSION_DENIED.into()), denied);
        assert_eq!(line(Code::INTERNAL.into())["error"]["temporary"], true);
        assert_eq!(encode(&[]), None);
    }

    #[test]
    fn several_replies_are_lines_of_one_frame_and_data_never_breaks_a_line() {
        let publication = Publication::of(&notification("{\n \"a\": \"x\\ny\"}"), true);
        let subscribed = Subscribed { publications: vec![publication], ..Subscribed::default() };
        let replies =
            [Reply { id: 1, answer: Answer::Subscribe(subscribed) }, Reply { id: 2, answer: Answer::Publish {} }];
        let frame = encode(&replies).unwrap();
        let lines: Vec<serde_json::Value> = frame.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["subscribe"]["publications"], json!([{"data": {"a": "x\ny"}}]));
        assert_eq!(lines[1], json!({"id": 2, "publish": {}}));
    }
}
