//! SQS, and what other services put into a queue.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::notification::{is_scope, scope};
use tidings::trigger::Trigger;

use super::{Message, Read, Record, json_or_text, last_of_arn, parse, topic};

/// How the names of queues end that keep an order.
const FIFO: &str = ".fifo";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    #[serde(default)]
    attributes: Attributes,
    message_attributes: Option<Marks>,
    #[serde(rename = "eventSourceARN")]
    arn: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Attributes {
    sent_timestamp: Option<String>,
    approximate_receive_count: Option<String>,
    message_group_id: Option<String>,
}

/// The attributes of a message that matter here: what one of our own functions marked it with.
#[derive(Deserialize)]
struct Marks {
    trigger: Option<Mark>,
    scope: Option<Mark>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    string_value: Option<String>,
}

#[derive(Deserialize)]
struct Arn {
    #[serde(rename = "eventSourceARN")]
    arn: String,
}

pub(super) fn is_fifo(record: &RawValue) -> bool {
    serde_json::from_str::<Arn>(record.get()).is_ok_and(|record| record.arn.ends_with(FIFO))
}

/// Reads a message. Only those of the queue `ours` can say what brought them: anywhere else such attributes are the
/// producer's, and mean something else.
pub(super) fn read(record: &RawValue, ours: Option<&str>) -> Read {
    let sqs: SqsRecord = parse("SQS", record)?;
    let queue = last_of_arn(&sqs.arn).to_owned();
    let number = |text: Option<&String>| text.and_then(|digits| digits.parse().ok());
    let mut read = match topic::read_envelope(&sqs.body) {
        Some(notice) => notice.into_record(record),
        None => Record {
            item: String::new(),
            message: None,
            source: format!("aws/sqs/{queue}"),
            id: sqs.message_id.clone(),
            scope: scope(Trigger::Sqs, &[&sqs.arn]),
            order: None,
            until: None,
            at: number(sqs.attributes.sent_timestamp.as_ref()),
            event: None,
            data: json_or_text(&sqs.body),
            raw: record.to_owned(),
        },
    };
    let receives = number(sqs.attributes.approximate_receive_count.as_ref()).unwrap_or(1);
    let receives = u32::try_from(receives).unwrap_or(u32::MAX);
    let marks = sqs.message_attributes.filter(|_| ours == Some(queue.as_str()));
    let (trigger, scope) = marks.map_or((None, None), |marks| (marks.trigger, marks.scope));
    let trigger = trigger.and_then(|mark| Trigger::of_name(&mark.string_value?));
    if let Some(scope) = scope.and_then(|mark| mark.string_value).filter(|scope| is_scope(scope)) {
        read.scope = scope;
    }
    read.order = sqs.attributes.message_group_id.filter(|_| queue.ends_with(FIFO));
    read.item = sqs.message_id;
    read.message = Some(Message { queue, receipt: sqs.receipt_handle, receives, body: sqs.body, trigger });
    Ok(read)
}
