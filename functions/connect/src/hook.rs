//! What an application says to a handshake.

use serde_json::Value;
use tidings::attributes::InvalidAttribute;
use tidings::function::BoxFuture;
use tidings::{Attributes, Context, Handshake, Refusal, Topic};

pub(crate) type Hook<S> = Box<dyn Fn(Context<S>, Handshake) -> BoxFuture<Result<Welcome, Refusal>> + Send + Sync>;

/// What a client gets beside what it asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Welcome {
    pub(crate) topics: Vec<Topic>,
    pub(crate) attributes: Attributes,
}

impl Welcome {
    /// Nothing beside.
    pub fn new() -> Self {
        Self::default()
    }

    /// A topic more, whatever the client's permissions.
    ///
    /// # Errors
    /// When it is no topic: 400, for its name comes of the client in most cases.
    pub fn topic(mut self, topic: impl AsRef<str>) -> Result<Self, Refusal> {
        let topic = topic.as_ref();
        let parsed = Topic::parse(topic);
        self.topics.push(parsed.map_err(|error| Refusal::new(400, format!("{topic:?} is no topic: {error}")))?);
        Ok(self)
    }

    /// Something that is kept with the connection, for actions and for its end: `Context::attributes` gives it back.
    ///
    /// # Errors
    /// When all attributes together have more than [`MAX_ATTRIBUTE_BYTES`](tidings::attributes::MAX_ATTRIBUTE_BYTES) as JSON:
    /// 400, for the value comes of the client in most cases. When the name is none: 500, for that is the program's.
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Result<Self, Refusal> {
        self.attributes.insert(name, value).map_err(|error| match error {
            InvalidAttribute::TooLarge { .. } => Refusal::new(400, error.to_string()),
            _ => Refusal::new(500, error.to_string()),
        })?;
        Ok(self)
    }
}
