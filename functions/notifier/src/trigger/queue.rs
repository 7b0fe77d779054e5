//! SQS, and what other services put into a queue.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::metrics::Trigger;

use super::{Message, Read, Record, json_or_text, last_of_arn, parse, topic};

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
}

/// The one attribute of a message that matters here: what one of our own functions marked it with.
#[derive(Deserialize)]
struct Marks {
    trigger: Option<Mark>,
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
    serde_json::from_str::<Arn>(record.get()).is_ok_and(|record| record.arn.ends_with(".fifo"))
}

pub(super) fn read(record: &RawValue) -> Read {
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
            at: number(sqs.attributes.sent_timestamp.as_ref()),
            event: None,
            data: json_or_text(&sqs.body),
            raw: record.to_owned(),
        },
    };
    let receives = number(sqs.attributes.approximate_receive_count.as_ref()).unwrap_or(1);
    let receives = u32::try_from(receives).unwrap_or(u32::MAX);
    let mark = sqs.message_attributes.and_then(|marks| marks.trigger?.string_value);
    let trigger = mark.and_then(|name| Trigger::of_name(&name));
    read.item = sqs.message_id;
    read.message = Some(Message { queue, receipt: sqs.receipt_handle, receives, body: sqs.body, trigger });
    Ok(read)
}
