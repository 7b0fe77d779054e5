//! How one connection talks: the strategy that its client chose when it connected.
//!
//! A protocol is pure: a text frame becomes a [`Request`], a [`Reply`] or a notification becomes a text frame. What a
//! command does is the default route's business, so another protocol is another pair of functions, nothing else.

pub mod centrifuge;
mod own;
mod raw;
mod spoken;
mod tidings_v1;
pub mod web_pubsub;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::handshake::Handshake;
use crate::ids::{ConnectionId, Topic, UserId};
use crate::log::{Epoch, LogPosition, Place, Since};
use crate::notification::{Defaults, Fields, InvalidNotification, Notification, Origin, Target};
use crate::presence::Here;
use crate::unread::Unread;

pub use own::{Own, bring};
pub use spoken::Spoken;

/// Most topics that one `subscribe` or `unsubscribe` may name: with the connection itself they are one transaction.
pub const MAX_TOPICS_PER_COMMAND: usize = 50;

/// Most messages that one `history` may ask for.
pub const MAX_MESSAGES_PER_COMMAND: usize = 1_000;

/// The protocols a client can choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// `tidings.v1.json`: enveloped messages, commands with acknowledgements.
    #[default]
    TidingsV1Json,
    /// `raw`: the client receives the bare data; its commands are those of `tidings.v1.json`.
    Raw,
    /// `centrifuge`: what Centrifugo's official libraries speak, in JSON.
    Centrifuge,
    /// `webpubsub`: what Azure Web PubSub's official libraries speak, in JSON.
    WebPubSub,
    /// `webpubsub.reliable`: the same, of clients that would recover.
    WebPubSubReliable,
    /// `webpubsub.outbox`: the same, of clients that do, for there is an outbox for each.
    WebPubSubOutbox,
    /// `webpubsub.raw`: its clients that offer no subprotocol. They receive the bare data, and send it.
    WebPubSubRaw,
    /// What the application [brings](bring).
    Own,
}

/// A client's frame, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the client calls it; its reply carries the same.
    pub id: Option<RequestId>,
    /// What is asked for.
    pub command: Command,
}

/// A client's name for one of its requests: a string of at most 128 bytes or a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// A number, in the digits the client wrote.
    Number(serde_json::Number),
    /// A string.
    Text(String),
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Be told of topics from now on, and of what was missed.
    Subscribe(Subscribe),
    /// Not be told of these topics any more; 1 to [`MAX_TOPICS_PER_COMMAND`], none twice.
    Unsubscribe(Vec<Topic>),
    /// Show that both ends are alive.
    Ping,
    /// Say who this connection is and what it is subscribed to.
    Whoami,
    /// Say what was said before.
    History(History),
    /// Say who is subscribed to a topic.
    Presence(Topic),
    /// Say how many of its messages the connection's user has not read.
    Unread,
    /// Note how far the connection's user has read its messages.
    Read(Read),
    /// Notify others.
    Publish(Publish),
    /// An action that the application registered; the protocol does not know its fields.
    Application {
        /// The action's name.
        action: String,
        /// The whole frame's fields but `action` and `id`.
        body: Map<String, Value>,
    },
}

/// What a client wants to be told of from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscribe {
    /// Topics, each with where the client is, if it says so; 1 to [`MAX_TOPICS_PER_COMMAND`], none twice.
    Topics(Vec<(Topic, Option<Since>)>),
    /// The same, and who comes to these topics and leaves them.
    Watched(Vec<(Topic, Option<Since>)>),
    /// The connection's own user. A connection is always told of its user's messages; this says what was missed.
    User(Option<Since>),
}

/// What a client wants to be told again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Of a topic; `None` for the connection's own user.
    pub topic: Option<Topic>,
    /// From behind this place on, or before it in reverse.
    pub since: Option<Since>,
    /// No more messages than this, 1 to [`MAX_MESSAGES_PER_COMMAND`].
    pub limit: usize,
    /// The newest first.
    pub reverse: bool,
}

/// How far a client's user has read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The last message that it has read.
    pub offset: u64,
    /// In which life of its log; `None` for the present one.
    pub epoch: Option<Epoch>,
}

/// A notification from a client, before it is known who the client is.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Whom it is for: a topic or a user.
    pub target: Target,
    /// The client's idempotency key, at most 64 bytes.
    pub key: Option<String>,
    fields: Fields,
}

impl Request {
    /// One that has no id.
    #[must_use]
    pub fn new(command: Command) -> Self {
        Self { id: None, command }
    }
}

impl Command {
    /// To be told of a topic from now on.
    ///
    /// # Errors
    /// When that is no topic; the error is for the client.
    pub fn subscribe(topic: &str) -> Result<Self, BadFrame> {
        Ok(Self::Subscribe(Subscribe::Topics(vec![(topic_of(topic)?, None)])))
    }

    /// Not to be told of a topic any more.
    ///
    /// # Errors
    /// When that is no topic; the error is for the client.
    pub fn unsubscribe(topic: &str) -> Result<Self, BadFrame> {
        Ok(Self::Unsubscribe(vec![topic_of(topic)?]))
    }

    /// To tell the subscribers of a topic something.
    ///
    /// # Errors
    /// When that is no topic; the error is for the client.
    pub fn publish(topic: &str, data: &Value) -> Result<Self, BadFrame> {
        // JSON can be written.
        let data = to_raw_value(data).unwrap_or_default();
        Ok(Self::Publish(Publish::to_topic(topic_of(topic)?, &data)))
    }
}

fn topic_of(text: &str) -> Result<Topic, BadFrame> {
    Topic::parse(text)
        .map_err(|error| BadFrame::from(ClientError::bad_request(format!("the topic is not valid: {error}"))))
}

impl From<ClientError> for BadFrame {
    /// A command with a mistake in it, without an id.
    fn from(error: ClientError) -> Self {
        Self { id: None, error, is_command: true }
    }
}

impl Publish {
    /// Data for the subscribers of a topic.
    #[must_use]
    pub fn to_topic(topic: Topic, data: &RawValue) -> Self {
        // A topic and JSON can be written.
        let target = to_raw_value(&json!({"topic": topic})).unwrap_or_default();
        let fields = [("to".to_owned(), target), ("data".to_owned(), data.to_owned())].into_iter().collect();
        Self { target: Target::Topic(topic), key: None, fields }
    }

    /// The notification that it asks for, as one that `from` caused.
    ///
    /// # Errors
    /// When it is not well formed; the error names the field and the fix.
    pub fn into_notification(self, defaults: &Defaults, from: Origin) -> Result<Notification, InvalidNotification> {
        let mut notification = Notification::from_fields(self.fields, defaults)?;
        notification.from = Some(from);
        Ok(notification)
    }
}

impl PartialEq for Publish {
    fn eq(&self, other: &Self) -> bool {
        let text = |publish: &Self| {
            publish.fields.iter().map(|(name, raw)| (name.clone(), raw.to_string())).collect::<Vec<_>>()
        };
        (&self.target, &self.key, text(self)) == (&other.target, &other.key, text(other))
    }
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The id of the request, where it had one.
    pub id: Option<RequestId>,
    /// What is answered.
    pub body: ReplyBody,
}

/// What is answered.
#[derive(Debug, Clone)]
pub enum ReplyBody {
    /// It is done.
    Ack,
    /// It is subscribed, and this is what its logs have; a topic without a log has nothing.
    Subscribed(Vec<(Topic, Option<Told>)>),
    /// The same of the connection's own user.
    SubscribedUser(Option<Told>),
    /// What a log has.
    History {
        /// Of which topic; `None` for the connection's own user.
        topic: Option<Topic>,
        /// What it has.
        told: Told,
    },
    /// Who is in a topic.
    Presence {
        /// Which.
        topic: Topic,
        /// Who.
        here: Here,
    },
    /// What the connection's user has not read.
    Unread(Unread),
    /// It is done, and this is what an application's action had to say.
    AckWith(Value),
    /// The answer to a ping.
    Pong,
    /// The answer to `whoami`.
    Whoami(Whoami),
    /// It is not done.
    Error(ClientError),
}

/// What a message's frame has that the stored notification has not, in bytes, at most.
pub(crate) const ENVELOPE_BYTES: usize = 128;

/// What a client is told of a log.
#[derive(Debug, Clone)]
pub struct Told {
    /// Where the log ends.
    pub position: LogPosition,
    /// Whether the log has all that came since the client was here; `None` where it did not say.
    pub recovered: Option<bool>,
    /// What it asked for. What is missing up to the last of them is not for this client.
    pub messages: Vec<Notification>,
    /// Whether there is more of it behind the last message.
    pub more: bool,
}

impl Told {
    /// As much of it as there is room for, in bytes; what is left is told as `more`. The first message of a reply always
    /// fits, so that whoever asks again gets on.
    #[must_use]
    pub fn within(mut self, bytes: &mut usize, mut is_first: bool) -> Self {
        let fitting = self.messages.iter().take_while(|message| {
            let size = size(message);
            let fits = size <= *bytes || std::mem::take(&mut is_first);
            *bytes = bytes.saturating_sub(size);
            fits
        });
        let fitting = fitting.count();
        self.more |= fitting < self.messages.len();
        self.messages.truncate(fitting);
        self
    }
}

/// What a message takes in a reply, at most, in bytes.
fn size(message: &Notification) -> usize {
    // A notification that was parsed can be written.
    serde_json::to_string(message).map_or(0, |text| text.len()) + ENVELOPE_BYTES
}

/// Who a connection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Whoami {
    /// Its id, by which it can be notified.
    pub connection: ConnectionId,
    /// Its user, unless it is anonymous.
    pub user: Option<UserId>,
    /// When it connected, in milliseconds since the epoch.
    #[serde(rename = "connectedAt")]
    pub connected_at: i64,
    /// What it is subscribed to, in alphabetical order.
    pub topics: Vec<Topic>,
}

/// What a client is told when its request is not carried out. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: names the field and the fix.
    pub message: String,
}

/// For what kind of reason a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The frame is not what the protocol expects. Sending it again will not help.
    BadRequest,
    /// No such action. Sending it again will not help.
    UnknownAction,
    /// The connection may not do this.
    Forbidden,
    /// The connection would exceed its limit of topics.
    TooManyTopics,
    /// The connection sends more than it may; one that goes on is closed.
    TooManyRequests,
    /// The registry does not know the connection any more: connect again.
    NotConnected,
    /// A code of the application's own.
    #[serde(untagged)]
    Application(&'static str),
}

impl ErrorCode {
    /// The code as clients see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::UnknownAction => "UnknownAction",
            Self::Forbidden => "Forbidden",
            Self::TooManyTopics => "TooManyTopics",
            Self::TooManyRequests => "TooManyRequests",
            Self::NotConnected => "NotConnected",
            Self::Application(code) => code,
        }
    }
}

/// A frame that could not be understood.
#[derive(Debug, Clone, PartialEq)]
pub struct BadFrame {
    /// The id, where at least that could be read.
    pub id: Option<RequestId>,
    /// What is wrong with it.
    pub error: ClientError,
    /// Whether it is a command, with a mistake in it; else it is nothing of this protocol's, and an application may know it.
    pub is_command: bool,
}

impl ClientError {
    /// An error of the given kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A [`ErrorCode::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }
}

/// What a log has, as a JSON object: the fields of a `history` reply of `tidings.v1.json`, in which messages are as they are
/// pushed.
#[must_use]
pub fn encode_told(told: &Told) -> String {
    tidings_v1::encode_told(told)
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 8] = [
        Self::TidingsV1Json,
        Self::Raw,
        Self::Centrifuge,
        Self::WebPubSub,
        Self::WebPubSubReliable,
        Self::WebPubSubOutbox,
        Self::WebPubSubRaw,
        Self::Own,
    ];

    /// The name a client chooses it by in `?protocol=`, and that rows carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TidingsV1Json => "tidings.v1.json",
            Self::Raw => "raw",
            Self::Centrifuge => centrifuge::NAME,
            Self::WebPubSub => "webpubsub",
            Self::WebPubSubReliable => "webpubsub.reliable",
            Self::WebPubSubOutbox => "webpubsub.outbox",
            Self::WebPubSubRaw => "webpubsub.raw",
            Self::Own => own::brought().map_or("", own::Own::name),
        }
    }

    /// The name a client offers it by in `Sec-WebSocket-Protocol`; `None` for one that nobody offers.
    #[must_use]
    pub fn subprotocol(self) -> Option<&'static str> {
        match self {
            Self::TidingsV1Json | Self::Raw => Some(self.name()),
            Self::Own => own::brought().map(own::Own::name),
            Self::Centrifuge | Self::WebPubSubRaw => None,
            Self::WebPubSub => Some(web_pubsub::SUBPROTOCOL),
            Self::WebPubSubReliable | Self::WebPubSubOutbox => Some(web_pubsub::RELIABLE_SUBPROTOCOL),
        }
    }

    /// The protocol of this name, if there is one. Names are case-sensitive, as subprotocols are.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| !name.is_empty() && protocol.name() == name)
    }

    /// Whether clients of another product speak it, so that a stack has to say that it does too.
    #[must_use]
    pub fn is_foreign(self) -> bool {
        self == Self::Centrifuge || self.is_web_pubsub()
    }

    /// Whether its clients send other frames than ours do, so that whoever reads one has to know.
    #[must_use]
    pub fn has_other_frames(self) -> bool {
        !matches!(self, Self::TidingsV1Json | Self::Raw)
    }

    /// Whether it is one of Azure Web PubSub.
    #[must_use]
    pub fn is_web_pubsub(self) -> bool {
        self.family() == Self::WebPubSub
    }

    /// Whether its clients are told that they are connected, and why they are closed, as those of Web PubSub are: to one that
    /// receives bare data, each frame would be data.
    #[must_use]
    pub fn has_system_frames(self) -> bool {
        self.is_web_pubsub() && self != Self::WebPubSubRaw
    }

    /// Whether what is for a connection is numbered and kept until its client has it, and another socket may carry it on.
    #[must_use]
    pub fn has_outbox(self) -> bool {
        self == Self::WebPubSubOutbox
    }

    /// The one that a stack names where it speaks this one.
    fn family(self) -> Self {
        match self {
            Self::WebPubSubReliable | Self::WebPubSubOutbox | Self::WebPubSubRaw => Self::WebPubSub,
            protocol => protocol,
        }
    }

    /// The protocol that a handshake names, among those that a stack speaks where it offers them; `None` where it names none,
    /// or none that is known.
    #[must_use]
    pub fn of_handshake(handshake: &Handshake, spoken: &Spoken) -> Option<Self> {
        let offered = handshake.subprotocols().find_map(|name| spoken.offered(name));
        offered.or_else(|| handshake.query("protocol").and_then(Self::from_name))
    }

    /// Whether its clients say who they are in their first frame, and are nobody until then.
    #[must_use]
    pub fn identifies_in_a_frame(self) -> bool {
        self == Self::Centrifuge
    }

    /// Understands a text frame of a client of ours, or of a protocol of the application's own.
    ///
    /// # Errors
    /// When it cannot be understood; the error is what the client is to be told.
    pub fn decode(self, frame: &str) -> Result<Request, BadFrame> {
        match own::brought().filter(|_| self == Self::Own) {
            Some(own) => own.decode(frame),
            None => tidings_v1::decode(frame),
        }
    }

    /// The text frame of a reply to such a client; `None` where it waits for none.
    #[must_use]
    pub fn encode_reply(self, reply: &Reply) -> Option<String> {
        match own::brought().filter(|_| self == Self::Own) {
            Some(own) => own.encode_reply(reply),
            None => Some(tidings_v1::encode_reply(reply)),
        }
    }

    /// The text frame that tells a client that its connection lives; `None` where clients see to that themselves.
    #[must_use]
    pub fn keep_alive(self) -> Option<Bytes> {
        match self {
            Self::TidingsV1Json | Self::Raw | Self::WebPubSubRaw | Self::Own => None,
            Self::Centrifuge => Some(centrifuge::keep_alive().into()),
            Self::WebPubSub | Self::WebPubSubReliable | Self::WebPubSubOutbox => Some(web_pubsub::keep_alive().into()),
        }
    }

    /// Whether its clients come back for what they missed.
    #[must_use]
    pub fn recovers(self) -> bool {
        matches!(self, Self::TidingsV1Json | Self::Centrifuge | Self::WebPubSubOutbox)
    }

    /// The text frame that says what the connection's user has not read, unasked; `None` where the protocol has none.
    #[must_use]
    pub fn encode_unread(self, unread: &Unread) -> Option<String> {
        match self {
            Self::TidingsV1Json => Some(tidings_v1::encode_unread(unread)),
            _ => None,
        }
    }

    /// The text frame that stands for a message which is not for the connection, so that its client knows of no gap; `None`
    /// where the protocol has none.
    #[must_use]
    pub fn encode_skip(self, place: &Place) -> Option<Bytes> {
        match self {
            Self::TidingsV1Json => Some(tidings_v1::encode_skip(place)),
            _ => None,
        }
    }

    /// The text frame of a notification for connections that are reached through `target`. `is_ordered` says whether
    /// everybody gets the messages of its log one after the other.
    #[must_use]
    pub fn encode_message(self, notification: &Notification, target: &Target, is_ordered: bool) -> Bytes {
        let said_in = notification.topic.clone().map(Target::Topic);
        let target = said_in.as_ref().unwrap_or(target);
        match self {
            Self::Own => match own::brought() {
                Some(own) => own.encode_message(notification, target).into(),
                None => raw::encode_message(notification),
            },
            Self::WebPubSubRaw => raw::encode_message(notification),
            // Only clients of Centrifugo's follow single connections.
            Self::Centrifuge if matches!(target, Target::Watchers(topic) if topic.is_watching()) => {
                centrifuge::encode_moved(notification, target)
            }
            Self::WebPubSub | Self::WebPubSubReliable | Self::WebPubSubOutbox => {
                self.encode_for_web_pubsub(notification, target)
            }
            // As replies, they are the same for all of ours.
            _ if matches!(target, Target::Watchers(_)) => tidings_v1::encode_message(notification, target),
            _ if matches!(target, Target::Quiet | Target::Newcomer(_)) => self.keep_alive().unwrap_or_default(),
            Self::Centrifuge => centrifuge::encode_message(notification, target, is_ordered),
            Self::TidingsV1Json => tidings_v1::encode_message(notification, target),
            Self::Raw => raw::encode_message(notification),
        }
    }

    /// What is for our own clients is a sign of life to theirs.
    fn encode_for_web_pubsub(self, notification: &Notification, target: &Target) -> Bytes {
        match target {
            Target::Newcomer(connection) => {
                let user = notification.from.as_ref().and_then(|from| from.user.as_ref());
                web_pubsub::connected(connection, user, None).into()
            }
            Target::Watchers(_) | Target::Quiet => self.keep_alive().unwrap_or_default(),
            _ => web_pubsub::encode_message(notification, target),
        }
    }
}
