//! The toolkit's extension point: actions that an application adds to what clients can ask for.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidings::function::BoxFuture;
use tidings::protocol::{ClientError, ErrorCode, ReplyBody};
use tidings::{Context, Error};

pub(crate) type Action<S> =
    Box<dyn Fn(Context<S>, Map<String, Value>) -> BoxFuture<Result<Reply, Error>> + Send + Sync>;
pub(crate) type Otherwise<S> = Box<dyn Fn(Context<S>, String) -> BoxFuture<Result<Reply, Error>> + Send + Sync>;

/// Names of what every client can ask for; an application cannot take them.
const BUILT_IN: [&str; 8] = ["subscribe", "unsubscribe", "history", "unread", "read", "publish", "ping", "whoami"];

/// What an action answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply(Option<Value>);

impl Reply {
    /// An acknowledgement that carries `data`.
    #[must_use]
    pub fn with(data: Value) -> Self {
        Self(Some(data))
    }

    /// What it carries.
    #[must_use]
    pub fn data(&self) -> Option<&Value> {
        self.0.as_ref()
    }

    pub(crate) fn into_body(self) -> ReplyBody {
        self.0.map_or(ReplyBody::Ack, ReplyBody::AckWith)
    }
}

/// `()` acknowledges.
impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::default()
    }
}

/// The application's actions by name, and what it makes of all other frames.
pub(crate) struct Actions<S> {
    by_name: BTreeMap<&'static str, Action<S>>,
    pub(crate) otherwise: Option<Otherwise<S>>,
}

impl<S: 'static> Actions<S> {
    pub(crate) fn new() -> Self {
        Self { by_name: BTreeMap::new(), otherwise: None }
    }

    pub(crate) fn add<B, R, F>(
        &mut self,
        name: &'static str,
        handler: impl Fn(Context<S>, B) -> F + Send + Sync + 'static,
    ) where
        B: DeserializeOwned,
        R: Into<Reply>,
        F: Future<Output = Result<R, Error>> + Send + 'static,
    {
        let action: Action<S> = Box::new(move |context, body| match read::<B>(body) {
            Ok(body) => {
                let answer = handler(context, body);
                Box::pin(async { answer.await.map(Into::into) })
            }
            Err(error) => {
                let error = Error::bad_request(format!("the fields of {name:?} are not valid: {error}"));
                Box::pin(std::future::ready(Err(error)))
            }
        });
        let taken = BUILT_IN.contains(&name) || self.by_name.insert(name, action).is_some();
        assert!(!taken, "the action {name:?} is there already");
    }

    pub(crate) fn add_otherwise<R, F>(&mut self, handler: impl Fn(Context<S>, String) -> F + Send + Sync + 'static)
    where
        R: Into<Reply>,
        F: Future<Output = Result<R, Error>> + Send + 'static,
    {
        let otherwise: Otherwise<S> = Box::new(move |context, text| {
            let answer = handler(context, text);
            Box::pin(async { answer.await.map(Into::into) })
        });
        assert!(self.otherwise.replace(otherwise).is_none(), "other frames have a handler already");
    }

    /// The action of this name; what the client is told where there is none.
    pub(crate) fn of(&self, name: &str) -> Result<&Action<S>, ClientError> {
        self.by_name.get(name).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> ClientError {
        let known: Vec<_> = BUILT_IN.into_iter().chain(self.by_name.keys().copied()).collect();
        let name: String = name.chars().take(64).collect();
        ClientError::new(ErrorCode::UnknownAction, format!("`action` {name:?} is not known; use {}", known.join(", ")))
    }
}

/// The fields of a frame as an action wants them; `()` for none.
fn read<B: DeserializeOwned>(body: Map<String, Value>) -> Result<B, serde_json::Error> {
    let is_empty = body.is_empty();
    serde_json::from_value(Value::Object(body)).or_else(|error| match is_empty {
        true => serde_json::from_value(Value::Null).map_err(|_| error),
        false => Err(error),
    })
}

impl<S> fmt::Debug for Actions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_without_fields_takes_nothing_and_refuses_what_it_is_given() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        assert!(read::<()>(Map::new()).is_ok());
        assert!(read::<()>(object(serde_json::json!({"a": 1}))).is_err());
        assert_eq!(read::<Map<String, Value>>(Map::new()).unwrap(), Map::new());
        let missing = read::<std::collections::HashMap<String, u8>>(object(serde_json::json!({"a": "x"})));
        assert!(missing.unwrap_err().to_string().starts_with("invalid type: string"));
    }

    #[test]
    fn an_unknown_action_is_told_which_ones_there_are() {
        let mut actions = Actions::<()>::new();
        actions.add("chat.send", async |_, (): ()| Ok(()));
        let message = actions.unknown("nope").message;
        assert_eq!(
            message,
            "`action` \"nope\" is not known; use subscribe, unsubscribe, history, unread, read, publish, ping, whoami, chat.send"
        );
    }
}
