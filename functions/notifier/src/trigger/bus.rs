//! EventBridge: rules, schedules, and what other services publish there.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings::notification::scope;
use tidings::trigger::Trigger;

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
    let source = format!("aws/events/{}", bus.source);
    Ok(Record {
        item: bus.id.clone(),
        message: None,
        id: bus.id,
        scope: scope(Trigger::EventBridge, &[&source]),
        order: None,
        until: None,
        at: bus.time.as_deref().and_then(parse_iso),
        event: Some(bus.detail_type),
        data: bus.detail.to_owned(),
        raw: event.to_owned(),
        source,
    })
}
