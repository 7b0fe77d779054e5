//! A message, and what its subscribers get of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::Subscribed;
use crate::sqs::{self, Attribute, Content};
use tidings_local_stack::Subscriber;

/// What stands where AWS signs: nothing here can be verified.
const UNSIGNED: &str = "EXAMPLE";

/// A message, and the subscriptions that get it.
#[derive(Debug, Clone)]
pub struct Published {
    /// The topic's ARN.
    pub topic: String,
    /// `Subject`, if it has one.
    pub subject: Option<String>,
    /// Who gets it, in the template's order.
    pub subscribers: Vec<Arc<Subscribed>>,
    /// Who is subscribed and has a filter policy that keeps it away.
    pub filtered: usize,
    pub(super) accepted: Accepted,
    pub(super) texts: Texts,
    pub(super) attributes: BTreeMap<String, Attribute>,
    pub(super) timestamp: String,
    pub(super) group: Option<String>,
    pub(super) deduplication: Option<String>,
}

/// What a publisher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) id: String,
    /// Only of FIFO topics.
    pub(super) sequence: Option<String>,
}

/// The text of a message: one, or by protocol (`MessageStructure: json`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) default: String,
    pub(super) by_protocol: BTreeMap<String, String>,
}

impl Texts {
    fn of(&self, protocol: &str) -> &str {
        self.by_protocol.get(protocol).unwrap_or(&self.default)
    }
}

impl Published {
    /// What filter policies look at.
    pub(super) fn is_for(&self, subscribed: &Subscribed) -> bool {
        let Some(filter) = &subscribed.subscription.filter else { return true };
        filter.lets_through(&comparable(&self.attributes), self.texts.of(subscribed.protocol()))
    }

    /// The text that most subscribers get.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.texts.default
    }

    /// What a function gets (Lambda Developer Guide, "Invoking Lambda functions with Amazon SNS notifications").
    #[must_use]
    pub fn event(&self, subscribed: &Subscribed) -> Value {
        let mut sns = self.envelope(subscribed);
        for (there, here) in [("SigningCertURL", "SigningCertUrl"), ("UnsubscribeURL", "UnsubscribeUrl")] {
            sns.remove(there);
            sns.insert(here.to_owned(), UNSIGNED.into());
        }
        // A function is told of what there is not, too.
        sns.entry("Subject").or_insert(Value::Null);
        sns.entry("MessageAttributes").or_insert_with(|| json!({}));
        json!({"Records": [{
            "EventSource": "aws:sns",
            "EventVersion": "1.0",
            "EventSubscriptionArn": subscribed.arn,
            "Sns": sns,
        }]})
    }

    /// What a queue gets: the message itself with its attributes if delivery is raw, else all of it as JSON.
    #[must_use]
    pub fn queue_message(&self, subscribed: &Subscribed) -> sqs::Message {
        let raw = subscribed.subscription.raw;
        let body = match raw {
            true => self.texts.of(subscribed.protocol()).to_owned(),
            false => Value::Object(self.envelope(subscribed)).to_string(),
        };
        let is_fifo = |name: &str| name.ends_with(".fifo");
        let to_fifo = matches!(&subscribed.subscription.subscriber, Subscriber::Queue { name, .. } if is_fifo(name));
        sqs::Message {
            attributes: if raw { self.attributes.clone() } else { BTreeMap::new() },
            group: self.group.clone(),
            deduplication: self.deduplication.clone().filter(|_| to_fifo),
            ..sqs::Message::text(body)
        }
    }

    /// SNS Developer Guide, "Parsing Amazon SNS message formats".
    fn envelope(&self, subscribed: &Subscribed) -> Map<String, Value> {
        let mut envelope = Map::new();
        let mut put = |name: &str, value: Value| envelope.insert(name.to_owned(), value);
        put("Type", "Notification".into());
        put("MessageId", self.accepted.id.clone().into());
        if let Some(sequence) = &self.accepted.sequence {
            put("SequenceNumber", sequence.clone().into());
        }
        put("TopicArn", self.topic.clone().into());
        if let Some(subject) = &self.subject {
            put("Subject", subject.clone().into());
        }
        put("Message", self.texts.of(subscribed.protocol()).into());
        put("Timestamp", self.timestamp.clone().into());
        put("SignatureVersion", "1".into());
        for name in ["Signature", "SigningCertURL", "UnsubscribeURL"] {
            put(name, UNSIGNED.into());
        }
        if !self.attributes.is_empty() {
            let attributes = self.attributes.iter().map(|(name, attribute)| (name.clone(), shown(attribute)));
            put("MessageAttributes", Value::Object(attributes.collect()));
        }
        envelope
    }
}

/// An attribute as the envelope has it.
fn shown(attribute: &Attribute) -> Value {
    let value = match &attribute.content {
        Content::Text(text) => text.clone(),
        Content::Binary(bytes) => BASE64_STANDARD.encode(bytes),
    };
    json!({"Type": attribute.data_type, "Value": value})
}

/// Attributes as filter policies compare them; bytes are not.
fn comparable(attributes: &BTreeMap<String, Attribute>) -> Map<String, Value> {
    let values = attributes.iter().filter_map(|(name, attribute)| {
        let Content::Text(text) = &attribute.content else { return None };
        let value = match attribute.data_type.as_str() {
            "Number" => serde_json::from_str(text).ok().filter(Value::is_number)?,
            "String.Array" => serde_json::from_str(text).ok().filter(|value: &Value| !value.is_object())?,
            _ => text.clone().into(),
        };
        Some((name.clone(), value))
    });
    values.collect()
}
