//! What an application says to a handshake.

use tidings::function::BoxFuture;
use tidings::{Context, Handshake, Refusal, Topic};

pub(crate) type Hook<S> = Box<dyn Fn(Context<S>, Handshake) -> BoxFuture<Result<Welcome, Refusal>> + Send + Sync>;

/// What a client gets beside what it asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Welcome {
    pub(crate) topics: Vec<Topic>,
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
}
