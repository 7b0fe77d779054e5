//! EventBridge: rules, schedules, and what other services publish there.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Read, Record, parse};
use crate::time::parse_iso;

#[derive(Deserialize)]
struct BusEvent<'a> {
    id: String,
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: Option<String>,
    #[serde(borrow)]
    detail: &'a RawValue,
}

pub(super) fn read(event: &RawValue) -> Read {
    let bus: BusEvent<'_> = parse("EventBridge", event)?;
    Ok(Record {
        item: bus.id.clone(),
        message: None,
        source: format!("aws/events/{}", bus.source),
        id: bus.id,
        at: bus.time.as_deref().and_then(parse_iso),
        event: Some(bus.detail_type),
        data: bus.detail.to_owned(),
        raw: event.to_owned(),
    })
}
