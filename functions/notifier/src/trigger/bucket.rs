//! S3's own event notifications.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Read, Record, parse};
use crate::time::parse_iso;
use tidings::hash;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Record {
    event_name: String,
    event_time: Option<String>,
    s3: Entity,
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
    let S3Record { event_name, event_time, s3 } = parse("S3", record)?;
    // S3 gives no id: the sequencer orders the events of one key, and is the same in a redelivery.
    let sequencer = s3.object.sequencer.or(s3.object.version).unwrap_or_default();
    let id = format!("s3-{}", hash(&[&s3.bucket.name, &s3.object.key, &sequencer, &event_name]));
    Ok(Record {
        item: id.clone(),
        message: None,
        source: format!("aws/s3/{}", s3.bucket.name),
        id,
        at: event_time.as_deref().and_then(parse_iso),
        event: Some(event_name),
        data: record.to_owned(),
        raw: record.to_owned(),
    })
}
