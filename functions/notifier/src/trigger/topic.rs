//! SNS, by itself or in the envelope that it puts into a queue.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings::notification::scope;
use tidings::trigger::Trigger;

use super::{Read, Record, json_or_text, last_of_arn, parse, raw};
use crate::time::parse_iso;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SnsRecord {
    sns: Notice,
}

/// What SNS says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Notice {
    r#type: String,
    message_id: String,
    topic_arn: String,
    subject: Option<String>,
    message: String,
    timestamp: Option<String>,
    /// Ours, not SNS's: see [`Record::until`].
    #[serde(rename = "until")]
    until: Option<i64>,
    #[serde(default)]
    message_attributes: BTreeMap<String, Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    value: String,
}

#[derive(Serialize)]
struct Data<'a> {
    message: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<&'a str, &'a str>,
}

pub(super) fn read(record: &RawValue) -> Read {
    let sns: SnsRecord = parse("SNS", record)?;
    Ok(sns.sns.into_record(record))
}

/// What a queue that is subscribed to a topic receives, unless raw delivery is on.
pub(super) fn read_envelope(body: &str) -> Option<Notice> {
    let notice: Notice = serde_json::from_str(body).ok()?;
    (notice.r#type == "Notification").then_some(notice)
}

impl Notice {
    pub(super) fn into_record(self, record: &RawValue) -> Record {
        let message = json_or_text(&self.message);
        let attributes = self.message_attributes.iter();
        let data = match crate::shape::is_notification(&message) {
            true => message,
            false => raw(&Data {
                message: &message,
                subject: self.subject.as_deref(),
                attributes: attributes.map(|(name, attribute)| (name.as_str(), attribute.value.as_str())).collect(),
            }),
        };
        Record {
            item: self.message_id.clone(),
            message: None,
            source: format!("aws/sns/{}", last_of_arn(&self.topic_arn)),
            id: self.message_id,
            scope: scope(Trigger::Sns, &[&self.topic_arn]),
            order: None,
            until: self.until,
            at: self.timestamp.as_deref().and_then(parse_iso),
            event: None,
            data,
            raw: record.to_owned(),
        }
    }
}
