//! The calls of the SQS API, as JSON in and JSON out.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::message::{Attribute, Message, md5_of, md5_of_attributes};
use super::queue::{Received, Sent, Take};
use super::refusal::{Code, Refusal};
use super::{LONGEST_WAIT, Sqs};
use tidings_local_stack::QueueSettings;
use tidings_local_stack::queue_attributes;

/// Most entries of one batch.
const MOST_ENTRIES: usize = 10;

/// Most bytes of all messages of one batch.
const BATCH_LIMIT: usize = 1024 * 1024;

type Answer = Result<Value, Refusal>;

/// Does what a request asks for.
pub(super) async fn call(sqs: &Sqs, action: &str, input: Value) -> Answer {
    match action {
        "ReceiveMessage" => receive(sqs, read(input)?).await,
        "SendMessage" => send(sqs, read(input)?),
        "SendMessageBatch" => batch(input, |queue, entries| send_batch(sqs, queue, entries)),
        "DeleteMessage" => {
            let Receipt { queue_url, receipt_handle, .. } = read(input)?;
            sqs.delete(name_in(queue_url.as_deref())?, &receipt_handle).map(|_| json!({}))
        }
        "DeleteMessageBatch" => batch(input, |queue, entries| {
            each(sqs, queue, entries, |entry: Receipt| sqs.delete(queue, &entry.receipt_handle).map(|_| json!({})))
        }),
        "ChangeMessageVisibility" => {
            let receipt: Receipt = read(input)?;
            change_visibility(sqs, name_in(receipt.queue_url.as_deref())?, &receipt)
        }
        "ChangeMessageVisibilityBatch" => batch(input, |queue, entries| {
            each(sqs, queue, entries, |entry: Receipt| change_visibility(sqs, queue, &entry))
        }),
        "PurgeQueue" => sqs.with(name_of(&input)?, |queue, _| queue.purge()).map(|()| json!({})),
        "GetQueueUrl" | "ListQueues" | "ListDeadLetterSourceQueues" => look_up(sqs, action, &input),
        "CreateQueue" => create(sqs, &input),
        "DeleteQueue" => sqs.remove(name_of(&input)?).map(|()| json!({})),
        "GetQueueAttributes" => get_attributes(sqs, &input),
        "SetQueueAttributes" => {
            let name = name_of(&input)?;
            let settings = changed(sqs.settings(name)?.0, &input)?;
            sqs.with(name, |queue, _| queue.settings = settings).map(|()| json!({}))
        }
        other => Err(Refusal::new(Code::UnsupportedOperation, format!("{other} is not emulated locally."))),
    }
}

/// A call's input as a type of ours.
fn read<T: DeserializeOwned>(input: Value) -> Result<T, Refusal> {
    serde_json::from_value(input).map_err(|error| {
        let text = error.to_string();
        match text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            Some(field) => Refusal::missing(field),
            None => Refusal::new(Code::InvalidParameterValue, text),
        }
    })
}

fn name_of(input: &Value) -> Result<&str, Refusal> {
    name_in(input["QueueUrl"].as_str())
}

/// The queue's name is the last part of its URL; the host may be another name of this machine.
fn name_in(url: Option<&str>) -> Result<&str, Refusal> {
    let url = url.filter(|url| !url.is_empty()).ok_or_else(|| Refusal::missing("QueueUrl"))?;
    Ok(url.trim_end_matches('/').rsplit('/').next().unwrap_or(url))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Draft {
    queue_url: Option<String>,
    #[serde(default)]
    message_body: String,
    delay_seconds: Option<u64>,
    #[serde(default)]
    message_attributes: BTreeMap<String, Value>,
    #[serde(default)]
    message_system_attributes: BTreeMap<String, Value>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Receipt {
    queue_url: Option<String>,
    receipt_handle: String,
    visibility_timeout: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wish {
    queue_url: Option<String>,
    max_number_of_messages: Option<u64>,
    visibility_timeout: Option<u64>,
    wait_time_seconds: Option<u64>,
    /// The former name of the next one.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

impl Draft {
    fn message(self) -> Result<(Message, Option<u64>), Refusal> {
        let attributes = self.message_attributes.into_iter().map(|(name, value)| {
            let attribute = Attribute::read(&name, &value)?;
            Ok((name, attribute))
        });
        let message = Message {
            attributes: attributes.collect::<Result<_, Refusal>>()?,
            trace: self.message_system_attributes.get("AWSTraceHeader").and_then(trace),
            group: self.message_group_id,
            deduplication: self.message_deduplication_id,
            ..Message::text(self.message_body)
        };
        Ok((message, self.delay_seconds))
    }
}

fn trace(attribute: &Value) -> Option<String> {
    attribute["StringValue"].as_str().map(str::to_owned)
}

fn send(sqs: &Sqs, draft: Draft) -> Answer {
    let queue = name_in(draft.queue_url.as_deref())?.to_owned();
    let (message, delay) = draft.message()?;
    send_one(sqs, &queue, message, delay)
}

fn send_one(sqs: &Sqs, queue: &str, message: Message, delay: Option<u64>) -> Answer {
    let body = md5_of(&message.body);
    let attributes = md5_of_attributes(&message.attributes);
    let trace = message.trace.clone().map(|text| Attribute::text("String", text));
    let Sent { id, sequence_number } = sqs.send(queue, message, delay)?;
    let name = "AWSTraceHeader".to_owned();
    Ok(without_nulls(json!({
        "MessageId": id,
        "MD5OfMessageBody": body,
        "MD5OfMessageAttributes": attributes,
        "MD5OfMessageSystemAttributes": trace.and_then(|trace| md5_of_attributes([(&name, &trace)])),
        "SequenceNumber": sequence_number,
    })))
}

fn send_batch(sqs: &Sqs, queue: &str, entries: Vec<Value>) -> Answer {
    // What cannot be read is refused below, entry by entry.
    let drafts = entries.iter().filter_map(|entry| read::<Draft>(entry.clone()).ok()?.message().ok());
    let bytes: usize = drafts.map(|(message, _)| message.size()).sum();
    if bytes > BATCH_LIMIT {
        let text = format!("Batch requests cannot be longer than {BATCH_LIMIT} bytes. You have sent {bytes} bytes.");
        return Err(Refusal::new(Code::BatchRequestTooLong, text));
    }
    each(sqs, queue, entries, |draft: Draft| {
        let (message, delay) = draft.message()?;
        send_one(sqs, queue, message, delay)
    })
}

fn change_visibility(sqs: &Sqs, queue: &str, receipt: &Receipt) -> Answer {
    let seconds = receipt.visibility_timeout.ok_or_else(|| Refusal::missing("VisibilityTimeout"))?;
    within("VisibilityTimeout", Some(seconds), 0, 43_200)?;
    sqs.change_visibility(queue, &receipt.receipt_handle, seconds).map(|()| json!({}))
}

fn within(parameter: &str, value: Option<u64>, least: u64, most: u64) -> Result<(), Refusal> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Refusal::value(parameter, value, &format!("Must be between {least} and {most}, if provided.")))
        }
        _ => Ok(()),
    }
}

/// Checks what is common to all batches and gives queue and entries to `work`.
fn batch(mut input: Value, work: impl FnOnce(&str, Vec<Value>) -> Answer) -> Answer {
    let entries = match input["Entries"].take() {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    };
    let mut ids = HashSet::new();
    let id_of = |entry: &Value| entry["Id"].as_str().unwrap_or_default().to_owned();
    if entries.is_empty() {
        let text = "There should be at least one entry in the request.";
        return Err(Refusal::new(Code::EmptyBatchRequest, text));
    }
    if entries.len() > MOST_ENTRIES {
        let text =
            format!("Maximum number of entries per request are {MOST_ENTRIES}. You have sent {}.", entries.len());
        return Err(Refusal::new(Code::TooManyEntriesInBatchRequest, text));
    }
    for id in entries.iter().map(id_of) {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 80 || !id.chars().all(is_fit) {
            let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be \
                        at most 80 letters long.";
            return Err(Refusal::new(Code::InvalidBatchEntryId, text));
        }
        if !ids.insert(id.clone()) {
            return Err(Refusal::new(Code::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
    }
    work(name_of(&input)?, entries)
}

/// Does something for each entry of a batch; one that fails does not keep the others from it.
fn each<T: DeserializeOwned>(sqs: &Sqs, queue: &str, entries: Vec<Value>, work: impl Fn(T) -> Answer) -> Answer {
    // A queue that does not exist is no matter of one entry.
    sqs.settings(queue)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = entry["Id"].clone();
        match read(entry).and_then(&work) {
            Ok(mut result) => {
                result["Id"] = id;
                successful.push(result);
            }
            Err(Refusal { code, message }) => {
                failed.push(json!({"Id": id, "SenderFault": true, "Code": code.query_name(), "Message": message}));
            }
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

async fn receive(sqs: &Sqs, wish: Wish) -> Answer {
    within("MaxNumberOfMessages", wish.max_number_of_messages, 1, 10)?;
    within("WaitTimeSeconds", wish.wait_time_seconds, 0, LONGEST_WAIT)?;
    within("VisibilityTimeout", wish.visibility_timeout, 0, 43_200)?;
    let count = wish.max_number_of_messages.map_or(1, |count| usize::try_from(count).unwrap_or(1));
    let take = Take { count, bytes: usize::MAX, visibility: wish.visibility_timeout };
    let wait = wish.wait_time_seconds.map(Duration::from_secs);
    let messages = sqs.receive(name_in(wish.queue_url.as_deref())?, &take, wait).await?;
    if messages.is_empty() {
        return Ok(json!({}));
    }
    Ok(json!({"Messages": messages.iter().map(|message| shown(message, &wish)).collect::<Vec<_>>()}))
}

/// A message with the attributes that the receiver asked for.
fn shown(received: &Received, wish: &Wish) -> Value {
    let message = &received.message;
    let wanted = |name: &str| {
        wish.message_attribute_names.iter().any(|wish| match wish.as_str() {
            "All" | ".*" => true,
            wish => wish == name || wish.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix)),
        })
    };
    let attributes: Vec<_> = message.attributes.iter().filter(|(name, _)| wanted(name)).collect();
    let names = || wish.attribute_names.iter().chain(&wish.message_system_attribute_names);
    let mut system = received.system_attributes();
    system.retain(|name, _| names().any(|wish| wish == "All" || wish == name));
    let checksum = md5_of_attributes(attributes.iter().copied());
    let attributes: Map<_, _> =
        attributes.into_iter().map(|(name, attribute)| (name.clone(), attribute.to_json())).collect();
    without_nulls(json!({
        "MessageId": message.id,
        "ReceiptHandle": received.receipt,
        "Body": message.body,
        "MD5OfBody": md5_of(&message.body),
        "MD5OfMessageAttributes": checksum,
        "Attributes": Some(system).filter(|system| !system.is_empty()),
        "MessageAttributes": Some(attributes).filter(|attributes| !attributes.is_empty()),
    }))
}

fn look_up(sqs: &Sqs, action: &str, input: &Value) -> Answer {
    let urls = |names: Vec<String>| names.iter().map(|name| sqs.url(name)).collect::<Vec<_>>();
    match action {
        "GetQueueUrl" => {
            let name = input["QueueName"].as_str().ok_or_else(|| Refusal::missing("QueueName"))?;
            sqs.settings(name)?;
            Ok(json!({"QueueUrl": sqs.url(name)}))
        }
        "ListQueues" => {
            let prefix = input["QueueNamePrefix"].as_str().unwrap_or_default();
            let names = sqs.names().into_iter().filter(|name| name.starts_with(prefix)).collect();
            Ok(json!({"QueueUrls": urls(names)}))
        }
        _ => {
            let name = name_of(input)?;
            sqs.settings(name)?;
            Ok(json!({"queueUrls": urls(sqs.sources_of(name))}))
        }
    }
}

fn create(sqs: &Sqs, input: &Value) -> Answer {
    let name = input["QueueName"].as_str().ok_or_else(|| Refusal::missing("QueueName"))?;
    let settings = changed(QueueSettings::default(), input)?;
    let base = if settings.fifo { name.strip_suffix(".fifo") } else { Some(name) };
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if base.is_none_or(|base| base.is_empty() || name.len() > 80 || !base.chars().all(is_fit)) {
        let text = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length, and only the \
                    name of a FIFO queue ends with .fifo";
        return Err(Refusal::new(Code::InvalidParameterValue, text));
    }
    sqs.create(name, settings)?;
    Ok(json!({"QueueUrl": sqs.url(name)}))
}

/// Settings with the attributes of a call.
fn changed(mut settings: QueueSettings, input: &Value) -> Result<QueueSettings, Refusal> {
    for (name, value) in input["Attributes"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        queue_attributes::set(&mut settings, name, value)
            .map_err(|why| Refusal::new(Code::InvalidAttributeValue, format!("The attribute {name} {why}.")))?;
    }
    Ok(settings)
}

fn get_attributes(sqs: &Sqs, input: &Value) -> Answer {
    let name = name_of(input)?;
    let (settings, created) = sqs.settings(name)?;
    let counts = sqs.counts(name)?;
    let mut all = queue_attributes::to_json(&settings);
    let seconds = (created / 1000).to_string();
    for (attribute, value) in [
        ("QueueArn", sqs.arn(name)),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("CreatedTimestamp", seconds.clone()),
        ("LastModifiedTimestamp", seconds),
    ] {
        all.insert(attribute.to_owned(), value.into());
    }
    let names: Option<Vec<String>> = read(input["AttributeNames"].clone())?;
    let names = names.unwrap_or_default();
    if !names.iter().any(|name| name == "All") {
        all.retain(|attribute, _| names.contains(attribute));
    }
    Ok(if all.is_empty() { json!({}) } else { json!({"Attributes": all}) })
}

fn without_nulls(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}
