//! What an application's rules see of an event, and what they make of it.

use serde_json::{Map, Value, json};

/// Something that happened at a service of AWS.
///
/// ```
/// use serde_json::json;
/// use tidings_notifier::Event;
///
/// let event = Event::new("aws/sqs/orders", json!({"order": 42}));
/// assert_eq!(event.data["order"], 42);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// Where it comes from: `aws/<service>/<name>`, such as `aws/sqs/orders`.
    pub source: String,
    /// Derived from the service's own id, so that it is the same when the event comes again.
    pub id: String,
    /// When it happened, in milliseconds since the epoch.
    pub at: i64,
    /// The service's own word for what happened, such as `ObjectCreated:Put`; not all have one.
    pub kind: Option<String>,
    /// What a reader of that service expects: the body of a message, the item of a table before and after.
    pub data: Value,
    /// The whole record, as AWS sent it.
    pub record: Value,
}

impl Event {
    /// One of this source with this data, to test a rule with.
    #[must_use]
    pub fn new(source: impl Into<String>, data: Value) -> Self {
        Self { source: source.into(), id: "test".to_owned(), at: 0, kind: None, data, record: Value::Null }
    }
}

/// What a rule asks to be delivered. It is checked as a producer's is once the rule has given it: one that is not valid ends in
/// the dead-letter queue, with what is wrong.
///
/// ```
/// use serde_json::json;
/// use tidings_notifier::Notification;
///
/// let short = Notification::to_topic("orders/42", json!({"state": "shipped"})).with_type("order.shipped");
/// let long = json!({"to": {"topic": "orders/42"}, "type": "order.shipped", "data": {"state": "shipped"}});
/// assert_eq!(short, Notification::from(long));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Notification(Value);

impl Notification {
    /// For all that are subscribed to a topic.
    #[must_use]
    pub fn to_topic(topic: impl Into<String>, data: impl Into<Value>) -> Self {
        Self::to(json!({"topic": topic.into()}), data.into())
    }

    /// For all connections of a user.
    #[must_use]
    pub fn to_user(user: impl Into<String>, data: impl Into<Value>) -> Self {
        Self::to(json!({"user": user.into()}), data.into())
    }

    /// For everyone who is connected.
    #[must_use]
    pub fn to_everyone(data: impl Into<Value>) -> Self {
        Self::to(json!("everyone"), data.into())
    }

    fn to(target: Value, data: Value) -> Self {
        Self(Value::Object(Map::from_iter([("to".to_owned(), target), ("data".to_owned(), data)])))
    }

    /// The application's word for what happened, at most 128 bytes.
    #[must_use]
    pub fn with_type(self, name: impl Into<String>) -> Self {
        self.with("type", name.into().into())
    }

    /// Seconds after which it is not worth delivering any more.
    #[must_use]
    pub fn with_ttl(self, seconds: u32) -> Self {
        self.with("ttl", seconds.into())
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        // What is no object is refused as it is.
        if let Value::Object(fields) = &mut self.0 {
            fields.insert(field.to_owned(), value);
        }
        self
    }

    pub(crate) fn into_json(self) -> String {
        self.0.to_string()
    }
}

/// With all fields of `docs/protocol.md`, such as `except`, or `id`: without one it has the event's, and the second of an event
/// the same with `-2`.
impl From<Value> for Notification {
    fn from(notification: Value) -> Self {
        Self(notification)
    }
}
