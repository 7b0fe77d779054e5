//! S3's own event notifications.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::hash;
use tidings::notification::scope;
use tidings::trigger::Trigger;

use super::{Read, Record, parse};
use crate::time::parse_iso;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Record {
    event_name: String,
    event_time: Option<String>,
    #[serde(default)]
    response_elements: ResponseElements,
    s3: Entity,
}

#[derive(Deserialize, Default)]
struct ResponseElements {
    #[serde(rename = "x-amz-request-id")]
    request: Option<String>,
}

#[derive(Deserialize)]
struct Entity {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    sequencer: Option<String>,
    #[serde(rename = "versionId")]
    version: Option<String>,
}

pub(super) fn read(record: &RawValue) -> Read {
    let S3Record { event_name, event_time, response_elements, s3 } = parse("S3", record)?;
    let Object { key, sequencer, version } = s3.object;
    let at = event_time.as_deref();
    // S3 gives no id. The sequencer orders the events of one key, and is the same in a redelivery; but only puts and
    // deletes have one. For all others the request that caused them and its time are.
    let happened = match &sequencer {
        Some(sequencer) => ["sequencer", sequencer, ""],
        None => ["request", at.unwrap_or_default(), response_elements.request.as_deref().unwrap_or_default()],
    };
    let what = [s3.bucket.name.as_str(), &key, version.as_deref().unwrap_or_default(), &event_name];
    let id = format!("s3-{}", hash(&[what.as_slice(), happened.as_slice()].concat()));
    let source = format!("aws/s3/{}", s3.bucket.name);
    Ok(Record {
        item: id.clone(),
        message: None,
        id,
        scope: scope(Trigger::S3, &[&source]),
        order: None,
        until: None,
        at: at.and_then(parse_iso),
        event: Some(event_name),
        data: record.to_owned(),
        raw: record.to_owned(),
        source,
    })
}
