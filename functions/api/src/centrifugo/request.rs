//! What a server asks for, in Centrifugo's words. Pure.
//!
//! Read as Centrifugo reads it: fields that a method does not know do not matter, and `null` is as good as nothing.

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidings::protocol::centrifuge::Since;

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Publish,
    Broadcast,
    Subscribe,
    Unsubscribe,
    Disconnect,
    History,
    HistoryRemove,
    Presence,
    PresenceStats,
    Info,
    Rpc,
    Refresh,
    Channels,
    Batch,
}

impl Method {
    /// All of them, in the order in which Centrifugo looks for them in a command of a batch.
    const ALL: [Self; 14] = [
        Self::Publish,
        Self::Broadcast,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::History,
        Self::HistoryRemove,
        Self::Presence,
        Self::PresenceStats,
        Self::Info,
        Self::Rpc,
        Self::Refresh,
        Self::Channels,
        Self::Batch,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::Info => "info",
            Self::Rpc => "rpc",
            Self::Refresh => "refresh",
            Self::Channels => "channels",
            Self::Batch => "batch",
        }
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What a method is given: each reads what is its own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Arguments {
    #[serde(deserialize_with = "lenient")]
    pub(super) channel: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) channels: Vec<String>,
    /// `null` is something that can be said.
    #[serde(deserialize_with = "given")]
    pub(super) data: Option<Box<RawValue>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) b64data: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) skip_history: bool,
    #[serde(deserialize_with = "lenient")]
    pub(super) idempotency_key: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) user: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) client: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) whitelist: Vec<String>,
    pub(super) disconnect: Option<Farewell>,
    #[serde(deserialize_with = "lenient")]
    pub(super) expired: bool,
    #[serde(deserialize_with = "lenient")]
    pub(super) expire_at: i64,
    #[serde(deserialize_with = "lenient")]
    pub(super) limit: i64,
    pub(super) since: Option<Since>,
    #[serde(deserialize_with = "lenient")]
    pub(super) reverse: bool,
    #[serde(deserialize_with = "lenient")]
    pub(super) pattern: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) method: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) commands: Vec<Option<Named>>,
    #[serde(deserialize_with = "lenient")]
    pub(super) parallel: bool,
    #[serde(deserialize_with = "lenient")]
    tags: BTreeMap<String, String>,
    #[serde(deserialize_with = "lenient")]
    version: u64,
    #[serde(deserialize_with = "lenient")]
    session: String,
    info: Option<IgnoredAny>,
    #[serde(deserialize_with = "lenient")]
    b64info: String,
    r#override: Option<IgnoredAny>,
    recover_since: Option<IgnoredAny>,
}

/// Why a connection ends.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Farewell {
    #[serde(deserialize_with = "lenient")]
    pub(super) code: u32,
    #[serde(deserialize_with = "lenient")]
    pub(super) reason: String,
}

/// A command of a batch: what its methods are given, by their names.
pub(super) type Named = BTreeMap<String, Option<Box<RawValue>>>;

/// What is given, and nothing for `null`.
fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl Arguments {
    /// Reads them from a body or from a command of a batch.
    pub(super) fn read(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim_start().starts_with('[') {
            // A list of the fields' values would do otherwise.
            return Err(serde_json::Error::invalid_type(Unexpected::Seq, &"an object"));
        }
        serde_json::from_str(text)
    }

    /// The first that is asked for of what there is nothing for here.
    pub(super) fn unserved(&self, method: Method) -> Option<&'static str> {
        use Method::{Broadcast, Disconnect, Publish, Refresh, Subscribe, Unsubscribe};
        let asked: [(&[Method], &'static str, bool); 8] = [
            (&[Publish, Broadcast], "tags", !self.tags.is_empty()),
            (&[Publish, Broadcast], "version", self.version != 0),
            (&[Subscribe, Unsubscribe, Disconnect, Refresh], "session", !self.session.is_empty()),
            (&[Subscribe, Refresh], "info", self.info.is_some()),
            (&[Subscribe], "b64info", !self.b64info.is_empty()),
            (&[Subscribe], "override", self.r#override.is_some()),
            (&[Subscribe], "recover_since", self.recover_since.is_some()),
            (&[Subscribe], "expire_at", self.expire_at != 0),
        ];
        let mut asked = asked.into_iter().filter(|(methods, ..)| methods.contains(&method));
        asked.find(|(.., is_asked)| *is_asked).map(|(_, name, _)| name)
    }

    /// What is to be said, as JSON; nothing where there is none, or where what stands in base64 is no JSON.
    pub(super) fn said(&self) -> Option<Box<RawValue>> {
        if self.b64data.is_empty() {
            return self.data.clone();
        }
        let bytes = tidings::decode_base64(&self.b64data)?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// The method that a command of a batch names, with what it is given.
pub(super) fn command(named: &Named) -> Option<(Method, &RawValue)> {
    let given = |method: Method| Some((method, named.get(method.name())?.as_deref()?));
    Method::ALL.into_iter().filter(|method| *method != Method::Batch).find_map(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Arguments {
        Arguments::read(text).unwrap()
    }

    #[test]
    fn every_method_has_its_name() {
        for method in Method::ALL {
            assert_eq!(Method::of(method.name()), Some(method));
        }
        for other in ["", "Publish", "connections", "map_publish"] {
            assert_eq!(Method::of(other), None, "{other}");
        }
    }

    #[test]
    fn data_is_kept_letter_by_letter_and_null_can_be_said() {
        assert_eq!(read(r#"{"data":{"b" : 1.0}}"#).said().unwrap().get(), r#"{"b" : 1.0}"#);
        assert_eq!(read(r#"{"data":null}"#).said().unwrap().get(), "null");
        assert!(read("{}").said().is_none());
        assert_eq!(read(r#"{"b64data":"eyJhIjoxfQ==","data":2}"#).said().unwrap().get(), r#"{"a":1}"#);
        for bad in ["?", "/w==", "aGVsbG8="] {
            assert!(read(&format!(r#"{{"b64data":"{bad}"}}"#)).said().is_none(), "{bad}");
        }
    }

    #[test]
    fn null_is_nothing_and_another_type_is_no_request() {
        let arguments = read(r#"{"channel":null,"whitelist":null,"since":null,"limit":null,"unknown":[1]}"#);
        assert!(arguments.channel.is_empty() && arguments.since.is_none());
        for bad in ["", "[]", "1", r#"{"channel":1}"#, r#"{"channels":"a"}"#, r#"{"limit":"3"}"#, r#"{"commands":[1]}"#]
        {
            assert!(Arguments::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_served_is_named_where_its_method_has_it() {
        let asked = |method, text: &str| read(text).unserved(method);
        assert_eq!(asked(Method::Publish, r#"{"tags":{"a":"b"}}"#), Some("tags"));
        assert_eq!(asked(Method::History, r#"{"tags":{"a":"b"}}"#), None);
        assert_eq!(asked(Method::Publish, r#"{"tags":{},"version":0,"delta":true}"#), None);
        assert_eq!(asked(Method::Subscribe, r#"{"recover_since":{"offset":1,"epoch":"a"}}"#), Some("recover_since"));
        assert_eq!(asked(Method::Subscribe, r#"{"override":null,"info":null}"#), None);
        assert_eq!(asked(Method::Refresh, r#"{"expire_at":7}"#), None);
        assert_eq!(asked(Method::Disconnect, r#"{"session":"s"}"#), Some("session"));
    }

    #[test]
    fn a_command_of_a_batch_is_the_first_method_that_it_names() {
        let arguments = read(
            r#"{"commands":[{"publish":{"channel":"c"}},{"presence":{},"broadcast":{}},null,{},{"fly":{}},{"publish":null},{"batch":{}}]}"#,
        );
        let methods: Vec<_> = arguments
            .commands
            .iter()
            .map(|named| named.as_ref().and_then(command).map(|(method, given)| (method.name(), given.get())))
            .collect();
        assert_eq!(methods[..2], [Some(("publish", r#"{"channel":"c"}"#)), Some(("broadcast", "{}"))]);
        assert_eq!(methods[2..], [None; 5]);
    }
}
