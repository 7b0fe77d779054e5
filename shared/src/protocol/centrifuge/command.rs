//! What a client sends.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Most commands that one frame may have: as many as a connection may have subscriptions, and some more.
const MOST_COMMANDS: usize = 256;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Command {
    /// The client's number of it; 0 where it wants no reply. It counts on over reconnects.
    pub id: u32,
    /// What is asked for.
    pub method: Method,
}

/// What a client can ask for.
#[derive(Debug, Clone)]
pub enum Method {
    /// Who it is. Always first.
    Connect(Connect),
    /// Be told of a channel.
    Subscribe(Subscribe),
    /// Not be told of it any more.
    Unsubscribe {
        /// Of which.
        channel: String,
    },
    /// Say something in a channel.
    Publish {
        /// In which.
        channel: String,
        /// What; `None` where nothing is given, which `null` is not.
        data: Option<Box<RawValue>>,
    },
    /// Who is in a channel.
    Presence {
        /// In which.
        channel: String,
    },
    /// How many are in a channel.
    PresenceStats {
        /// In which.
        channel: String,
    },
    /// What was said in a channel.
    History(History),
    /// An action of the application.
    Rpc {
        /// Its name.
        method: String,
        /// What it is given; JSON's `null` where nothing is.
        data: Option<Box<RawValue>>,
    },
    /// A new token of the connection.
    Refresh {
        /// The token.
        token: String,
    },
    /// A new token of a subscription.
    SubRefresh {
        /// Of which channel.
        channel: String,
        /// The token.
        token: String,
    },
    /// A message that wants no reply. Centrifugo has nothing for it either.
    Send,
    /// The answer to a keep-alive.
    Pong,
    /// Something that no server knows.
    Unknown,
}

/// Who a client is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Connect {
    /// Its token.
    pub token: String,
    /// What it calls itself, such as `js`.
    pub name: String,
    /// Where it is in subscriptions that its token gave it before.
    pub subs: BTreeMap<String, Subscribe>,
}

/// A subscription.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subscribe {
    /// To which channel; empty among those of `connect`, which name it beside.
    pub channel: String,
    /// What permits it, where the connection's own permissions do not.
    pub token: String,
    /// Whether it says where it is.
    pub recover: bool,
    /// The last message that it has.
    pub offset: u64,
    /// In which life of the log; empty where it has none yet.
    pub epoch: String,
    /// Bits: 2 wants an error instead of `recovered: false`.
    pub flag: i64,
    /// Whether it wants to be told who comes and goes.
    pub join_leave: bool,
    /// A filter of publications, which is not served.
    pub tf: Option<Box<RawValue>>,
    /// Another kind of subscription, which is not served.
    #[serde(rename = "type")]
    pub kind: i64,
}

impl Subscribe {
    /// Whether it wants an error where what it missed cannot be told.
    #[must_use]
    pub fn rejects_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

/// What a client wants to be told again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct History {
    /// Of which channel.
    pub channel: String,
    /// No more than this; 0 for none, -1 for all.
    pub limit: i64,
    /// From where on.
    pub since: Option<Since>,
    /// The newest first.
    pub reverse: bool,
}

/// A place in a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Since {
    /// The message.
    pub offset: u64,
    /// In which life of the log.
    pub epoch: String,
}

/// A frame that ends the connection: what Centrifugo answers with code 3501.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the frame {problem}")]
pub struct BadFrame {
    /// Which line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    id: u32,
    connect: Option<Connect>,
    subscribe: Option<Subscribe>,
    unsubscribe: Option<Channel>,
    publish: Option<Publish>,
    presence: Option<Channel>,
    presence_stats: Option<Channel>,
    history: Option<History>,
    rpc: Option<Rpc>,
    refresh: Option<Refresh>,
    sub_refresh: Option<Refresh>,
    send: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Channel {
    channel: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Publish {
    channel: String,
    #[serde(deserialize_with = "given")]
    data: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rpc {
    method: String,
    data: Option<Box<RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refresh {
    channel: String,
    token: String,
}

/// JSON that is there, and be it `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Understands a client's frame. A trailing line break does not matter.
///
/// # Errors
/// When a line is no command; the connection ends.
pub fn decode(frame: &str) -> Result<Vec<Command>, BadFrame> {
    let lines = frame.lines().map(str::trim).filter(|line| !line.is_empty());
    let commands: Vec<_> = lines
        .enumerate()
        .map(|(index, line)| one(line).map_err(|problem| BadFrame { line: index + 1, problem }))
        .collect::<Result<_, _>>()?;
    match commands.len() {
        0 => Err(BadFrame { line: 1, problem: "is empty".to_owned() }),
        1..=MOST_COMMANDS => Ok(commands),
        _ => {
            Err(BadFrame { line: MOST_COMMANDS + 1, problem: format!("is one more than the {MOST_COMMANDS} allowed") })
        }
    }
}

fn one(line: &str) -> Result<Command, String> {
    if !line.starts_with('{') {
        return Err("is no JSON object".to_owned());
    }
    let wire: Wire = serde_json::from_str(line).map_err(|error| format!("is no command: {error}"))?;
    let is_empty =
        line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|rest| rest.trim().is_empty());
    let id = wire.id;
    let method = if is_empty { Method::Pong } else { method(wire) };
    match method.channel() {
        Some("") => Err("names no channel".to_owned()),
        _ => Ok(Command { id, method }),
    }
}

impl Method {
    /// The channel that it is about, if it has to be about one.
    fn channel(&self) -> Option<&str> {
        match self {
            Self::Subscribe(Subscribe { channel, .. })
            | Self::Unsubscribe { channel }
            | Self::Publish { channel, .. }
            | Self::Presence { channel }
            | Self::PresenceStats { channel }
            | Self::History(History { channel, .. })
            | Self::SubRefresh { channel, .. } => Some(channel),
            Self::Connect(_) | Self::Rpc { .. } | Self::Refresh { .. } | Self::Send | Self::Pong | Self::Unknown => {
                None
            }
        }
    }
}

fn method(wire: Wire) -> Method {
    let Wire { id: _, connect, subscribe, unsubscribe, publish, presence, presence_stats, .. } = wire;
    let Wire { history, rpc, refresh, sub_refresh, send, .. } = wire;
    let known = [
        connect.map(Method::Connect),
        subscribe.map(Method::Subscribe),
        unsubscribe.map(|Channel { channel }| Method::Unsubscribe { channel }),
        publish.map(|Publish { channel, data }| Method::Publish { channel, data }),
        presence.map(|Channel { channel }| Method::Presence { channel }),
        presence_stats.map(|Channel { channel }| Method::PresenceStats { channel }),
        history.map(Method::History),
        rpc.map(|Rpc { method, data }| Method::Rpc { method, data }),
        refresh.map(|Refresh { channel: _, token }| Method::Refresh { token }),
        sub_refresh.map(|Refresh { channel, token }| Method::SubRefresh { channel, token }),
        send.map(|_| Method::Send),
    ];
    known.into_iter().flatten().next().unwrap_or(Method::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_of_the_javascript_library_is_a_connect_and_all_its_subscribes() {
        let frame = "{\"connect\":{\"token\":\"t\",\"name\":\"js\"},\"id\":1}\n{\"subscribe\":{\"channel\":\"chat:x\",\"flag\":1},\"id\":2}\n\
                     {\"subscribe\":{\"channel\":\"c\",\"flag\":3,\"recover\":true,\"offset\":2,\"epoch\":\"E\"},\"id\":3}\n";
        let commands = decode(frame).unwrap();
        assert_eq!(commands.iter().map(|command| command.id).collect::<Vec<_>>(), [1, 2, 3]);
        let Method::Connect(connect) = &commands[0].method else { panic!("{commands:?}") };
        assert_eq!((connect.token.as_str(), connect.name.as_str()), ("t", "js"));
        let Method::Subscribe(plain) = &commands[1].method else { panic!("{commands:?}") };
        assert!(!plain.recover && !plain.rejects_unrecovered());
        let Method::Subscribe(again) = &commands[2].method else { panic!("{commands:?}") };
        assert_eq!((again.recover, again.offset, again.epoch.as_str()), (true, 2, "E"));
        assert!(again.rejects_unrecovered());
    }

    #[test]
    fn data_is_kept_letter_by_letter_and_an_empty_object_is_a_pong() {
        let commands =
            decode("{\"id\":7,\"publish\":{\"channel\":\"c\",\"data\":{\"b\" : 1.0,\"a\":null}}}\n{}").unwrap();
        let Method::Publish { data, .. } = &commands[0].method else { panic!("{commands:?}") };
        assert_eq!(data.as_ref().unwrap().get(), r#"{"b" : 1.0,"a":null}"#);
        for (text, expected) in [(r#","data":null"#, Some("null")), ("", None)] {
            let commands = decode(&format!("{{\"id\":7,\"publish\":{{\"channel\":\"c\"{text}}}}}")).unwrap();
            let Method::Publish { data, .. } = &commands[0].method else { panic!("{commands:?}") };
            assert_eq!(data.as_deref().map(RawValue::get), expected);
        }
        assert!(matches!(commands[1], Command { id: 0, method: Method::Pong }));
        assert!(matches!(decode(r#"{"id":1,"fly":{}}"#).unwrap()[0].method, Method::Unknown));
    }

    #[test]
    fn what_is_no_command_ends_the_connection_with_its_line() {
        for (frame, line, start) in [
            ("", 1, "is empty"),
            ("[]", 1, "is no JSON object"),
            ("{}\nx", 2, "is no JSON object"),
            ("{\"id\":\"1\"}", 1, "is no command"),
            ("{\"id\":1,\"publish\":{\"data\":1}}", 1, "names no channel"),
            ("{\"id\":1,\"history\":{\"channel\":\"\"}}", 1, "names no channel"),
        ] {
            let error = decode(frame).unwrap_err();
            assert!(error.line == line && error.problem.starts_with(start), "{frame}: {error}");
        }
        assert!(decode(&"{}\n".repeat(257)).unwrap_err().problem.contains("256"));
    }
}
