//! The API's calls. Messages are those of AWS.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::message::{Accepted, Published, Texts};
use super::{DEDUPLICATION, Sns, State, Subscribed};
use crate::sqs::{Attribute, Content};
use tidings_local_stack::Subscriber;

/// Largest message with its attributes, and largest batch, in bytes.
const MOST_BYTES: usize = 256 * 1024;
/// Most messages of a batch.
const MOST_ENTRIES: usize = 10;
/// Longest subject, in characters.
const LONGEST_SUBJECT: usize = 100;

/// Why a call fails: the error's code and one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// As AWS calls it.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into() }
}

fn invalid(message: impl std::fmt::Display) -> Refusal {
    refusal("InvalidParameter", format!("Invalid parameter: {message}"))
}

/// Carries out a call.
pub(super) fn call(sns: &Sns, action: &str, input: &Value) -> Result<Value, Refusal> {
    let topic = || input["TopicArn"].as_str().unwrap_or_default();
    match action {
        "Publish" => publish(sns, target(input)?, input).map(|accepted| accepted.to_json()),
        "PublishBatch" => publish_batch(sns, topic(), input),
        "CreateTopic" => create(sns, input),
        "ListTopics" => {
            let topics: Vec<_> = sns.topics().keys().map(|arn| json!({"TopicArn": arn})).collect();
            Ok(json!({"Topics": topics}))
        }
        "ListSubscriptions" => Ok(json!({"Subscriptions": listed(sns, &mut sns.0.subscriptions.iter())})),
        "ListSubscriptionsByTopic" => {
            known(sns, topic())?;
            Ok(json!({"Subscriptions": listed(sns, &mut sns.subscribers(topic()))}))
        }
        "GetTopicAttributes" => attributes_of(sns, topic()),
        _ => Err(refusal(
            "InvalidAction",
            format!("{action} is not served here: topics and subscriptions are the template's"),
        )),
    }
}

/// Which topic a message is for.
fn target(input: &Value) -> Result<&str, Refusal> {
    if input["PhoneNumber"].is_string() {
        return Err(invalid("PhoneNumber Reason: text messages are not emulated, publish to a topic"));
    }
    let given = input["TopicArn"].as_str().or_else(|| input["TargetArn"].as_str());
    given.ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))
}

fn known(sns: &Sns, arn: &str) -> Result<(), Refusal> {
    if sns.topics().contains_key(arn) { Ok(()) } else { Err(refusal("NotFound", "Topic does not exist")) }
}

/// Publishes one message.
pub(super) fn publish(sns: &Sns, arn: &str, input: &Value) -> Result<Accepted, Refusal> {
    let subject = subject(input)?;
    let attributes = attributes(input)?;
    let texts = texts(input)?;
    if size(input) > MOST_BYTES {
        return Err(invalid("Message too long"));
    }
    let text = |name: &str| input[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let (group, given) = (text("MessageGroupId"), text("MessageDeduplicationId"));
    let mut topics = sns.topics();
    let state = topics.get_mut(arn).ok_or_else(|| refusal("NotFound", "Topic does not exist"))?;
    let deduplication = deduplication(state, group.as_deref(), given, &texts)?;
    if let Some(earlier) = deduplication.as_ref().and_then(|id| earlier(state, id)) {
        return Ok(earlier);
    }
    let accepted = Accepted { id: Uuid::new_v4().to_string(), sequence: next(state) };
    if let Some(id) = &deduplication {
        state.recent.insert(id.clone(), (Instant::now(), accepted.clone()));
    }
    let mut published = Published {
        topic: arn.to_owned(),
        subject,
        subscribers: Vec::new(),
        filtered: 0,
        accepted: accepted.clone(),
        texts,
        attributes,
        timestamp: timestamp(),
        group,
        deduplication,
    };
    let all: Vec<_> = sns.subscribers(arn).cloned().collect();
    published.subscribers = all.iter().filter(|subscribed| published.is_for(subscribed)).cloned().collect();
    published.filtered = all.len() - published.subscribers.len();
    // Still under the lock: messages of a topic go out in the order of their sequence numbers.
    sns.send(published);
    Ok(accepted)
}

impl Accepted {
    fn to_json(&self) -> Value {
        let mut output = json!({"MessageId": self.id});
        if let Some(sequence) = &self.sequence {
            output["SequenceNumber"] = sequence.clone().into();
        }
        output
    }
}

fn subject(input: &Value) -> Result<Option<String>, Refusal> {
    let Some(subject) = input["Subject"].as_str() else { return Ok(None) };
    let is_right = !subject.is_empty()
        && subject.chars().count() <= LONGEST_SUBJECT
        && subject.chars().all(|character| !character.is_control())
        && !subject.starts_with(' ');
    if is_right { Ok(Some(subject.to_owned())) } else { Err(invalid("Subject")) }
}

fn texts(input: &Value) -> Result<Texts, Refusal> {
    let message = input["Message"].as_str().unwrap_or_default();
    if message.is_empty() {
        return Err(invalid("Empty message"));
    }
    match input["MessageStructure"].as_str() {
        None | Some("") => Ok(Texts { default: message.to_owned(), by_protocol: BTreeMap::new() }),
        Some("json") => {
            let parsed: Value = serde_json::from_str(message)
                .map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
            let texts = parsed.as_object().into_iter().flatten();
            let texts = texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())));
            let mut by_protocol: BTreeMap<_, _> = texts.collect();
            let default = by_protocol.remove("default");
            let default =
                default.ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))?;
            Ok(Texts { default, by_protocol })
        }
        Some(_) => Err(invalid("MessageStructure")),
    }
}

/// What counts against the limit: the message, and attributes with their names and types.
fn size(input: &Value) -> usize {
    let attributes = input["MessageAttributes"].as_object().into_iter().flatten();
    let attributes = attributes.map(|(name, attribute)| {
        let parts = ["DataType", "StringValue", "BinaryValue"].iter().filter_map(|part| attribute[part].as_str());
        name.len() + parts.map(str::len).sum::<usize>()
    });
    input["Message"].as_str().map_or(0, str::len) + attributes.sum::<usize>()
}

fn attributes(input: &Value) -> Result<BTreeMap<String, Attribute>, Refusal> {
    let given = input["MessageAttributes"].as_object().into_iter().flatten();
    given.map(|(name, value)| Ok((name.clone(), attribute(name, value)?))).collect()
}

fn attribute(name: &str, value: &Value) -> Result<Attribute, Refusal> {
    let wrong = |why: &str| refusal("ParameterValueInvalid", format!("The message attribute '{name}' {why}"));
    let data_type = value["DataType"].as_str().unwrap_or_default();
    let content = match data_type.split('.').next() {
        Some("String") => value["StringValue"].as_str().map(|text| Content::Text(text.to_owned())),
        Some("Number") => {
            let text = value["StringValue"].as_str().unwrap_or_default();
            if text.parse::<f64>().is_err() {
                return Err(wrong("with type 'Number' must use field 'StringValue', and a number."));
            }
            Some(Content::Text(text.to_owned()))
        }
        Some("Binary") => {
            value["BinaryValue"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()).map(Content::Binary)
        }
        _ => {
            let why = "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and \
                       String.";
            return Err(wrong(why));
        }
    };
    let is_there = |content: &Content| match content {
        Content::Text(text) => !text.is_empty(),
        Content::Binary(bytes) => !bytes.is_empty(),
    };
    match content.filter(is_there) {
        Some(content) => Ok(Attribute { data_type: data_type.to_owned(), content }),
        None => Err(wrong("must contain non-empty message attribute value.")),
    }
}

/// The id by which a FIFO topic knows a message again; other topics have none.
fn deduplication(
    state: &State,
    group: Option<&str>,
    given: Option<String>,
    texts: &Texts,
) -> Result<Option<String>, Refusal> {
    if !state.topic.fifo {
        return match given {
            Some(_) => Err(invalid(
                "MessageDeduplicationId Reason: The request includes a parameter that is not valid for this topic type",
            )),
            None => Ok(None),
        };
    }
    if group.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    match given {
        Some(id) => Ok(Some(id)),
        None if state.topic.content_based_deduplication => {
            Ok(Some(Sha256::digest(&texts.default).iter().map(|byte| format!("{byte:02x}")).collect()))
        }
        None => Err(invalid(
            "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        )),
    }
}

/// What became of the message with this deduplication id, within five minutes.
fn earlier(state: &mut State, id: &str) -> Option<Accepted> {
    state.recent.retain(|_, (at, _)| at.elapsed() < DEDUPLICATION);
    state.recent.get(id).map(|(_, accepted)| accepted.clone())
}

fn next(state: &mut State) -> Option<String> {
    state.topic.fifo.then(|| {
        state.sequence += 1;
        state.sequence.to_string()
    })
}

/// To the millisecond, as envelopes have it.
fn timestamp() -> String {
    let now = DateTime::from(SystemTime::now());
    // It fails only for years beyond 9999.
    let seconds = DateTime::from_secs(now.secs()).fmt(Format::DateTime).unwrap_or_default();
    format!("{}.{:03}Z", seconds.trim_end_matches('Z'), now.subsec_nanos() / 1_000_000)
}

fn publish_batch(sns: &Sns, arn: &str, input: &Value) -> Result<Value, Refusal> {
    let entries = input["PublishBatchRequestEntries"].as_array().map_or(&[][..], Vec::as_slice);
    if entries.is_empty() {
        return Err(refusal("EmptyBatchRequest", "The batch request doesn't contain any entries."));
    }
    if entries.len() > MOST_ENTRIES {
        return Err(refusal(
            "TooManyEntriesInBatchRequest",
            "The batch request contains more entries than permissible.",
        ));
    }
    let ids: std::collections::BTreeSet<_> = entries.iter().filter_map(|entry| entry["Id"].as_str()).collect();
    if ids.len() < entries.len() {
        return Err(refusal("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id."));
    }
    if entries.iter().map(size).sum::<usize>() > MOST_BYTES {
        return Err(refusal(
            "BatchRequestTooLong",
            "The length of all the batch messages put together is more than the limit.",
        ));
    }
    known(sns, arn)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let mut result = match publish(sns, arn, entry) {
            Ok(accepted) => accepted.to_json(),
            Err(refusal) => json!({"Code": refusal.code, "Message": refusal.message, "SenderFault": true}),
        };
        result["Id"] = entry["Id"].clone();
        if result["Code"].is_null() { &mut successful } else { &mut failed }.push(result);
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn create(sns: &Sns, input: &Value) -> Result<Value, Refusal> {
    let name = input["Name"].as_str().unwrap_or_default();
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    let is_name = !plain.is_empty()
        && name.len() <= 256
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is = |attribute: &str| input["Attributes"][attribute].as_str() == Some("true");
    if !is_name || is("FifoTopic") != name.ends_with(".fifo") {
        return Err(invalid("Topic Name"));
    }
    Ok(json!({"TopicArn": sns.create(name, is("ContentBasedDeduplication"))}))
}

fn listed(sns: &Sns, subscriptions: &mut dyn Iterator<Item = &std::sync::Arc<Subscribed>>) -> Vec<Value> {
    let row = |subscribed: &std::sync::Arc<Subscribed>| {
        let endpoint = match &subscribed.subscription.subscriber {
            Subscriber::Function { id } => id,
            Subscriber::Queue { arn, .. } => arn,
        };
        json!({
            "SubscriptionArn": subscribed.arn,
            "Owner": sns.0.account,
            "Protocol": subscribed.protocol(),
            "Endpoint": endpoint,
            "TopicArn": subscribed.subscription.topic,
        })
    };
    subscriptions.map(row).collect()
}

fn attributes_of(sns: &Sns, arn: &str) -> Result<Value, Refusal> {
    known(sns, arn)?;
    let confirmed = sns.subscribers(arn).count().to_string();
    let topics = sns.topics();
    let mut attributes = json!({
        "TopicArn": arn,
        "Owner": sns.0.account,
        "SubscriptionsConfirmed": confirmed,
        "SubscriptionsPending": "0",
        "SubscriptionsDeleted": "0",
    });
    if let Some(State { topic, .. }) = topics.get(arn).filter(|state| state.topic.fifo) {
        attributes["FifoTopic"] = "true".into();
        attributes["ContentBasedDeduplication"] = topic.content_based_deduplication.to_string().into();
    }
    Ok(json!({"Attributes": attributes}))
}

#[cfg(test)]
mod tests;
