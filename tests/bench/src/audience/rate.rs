//! The row of the rate limit in the stand-in for DynamoDB: reserves where a condition holds, and counts its writes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use hyper::StatusCode;
use serde_json::json;

use super::Read;
use crate::server::Reply;

/// Its key: now, and before workers learnt from answers what the quota lets through (commit 7377266).
const KEYS: [&str; 2] = ["rate", "pace"];
/// A rate that no quota cuts, in posts a second.
const UNBOUNDED: &str = "1000000000";

/// The row.
#[derive(Debug, Default)]
pub(super) struct RateRow {
    /// Up to when posts are reserved, in microseconds since the epoch.
    until: AtomicI64,
    writes: AtomicU64,
}

impl RateRow {
    /// Whether the request is for this row.
    pub(super) fn is_meant(read: &Read) -> bool {
        read.key.get("pk").is_some_and(|pk| KEYS.contains(&pk.text.as_str()))
    }

    /// Nobody has reserved any posts.
    pub(super) fn rest(&self) {
        self.until.store(0, Ordering::Relaxed);
    }

    /// Requests to write it since the last call, refused ones among them: DynamoDB charges those as well.
    pub(super) fn take_writes(&self) -> u64 {
        self.writes.swap(0, Ordering::Relaxed)
    }

    /// Changes it where the request's condition holds.
    pub(super) fn update(&self, read: &Read) -> Reply {
        self.writes.fetch_add(1, Ordering::Relaxed);
        let changed =
            self.until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| after(read, until).or(Some(until)));
        let (Ok(before) | Err(before)) = changed;
        match after(read, before) {
            Some(until) => Reply::json(json!({"Attributes": attributes(until)}).to_string()),
            None => {
                let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                let body = json!({"__type": kind, "Item": attributes(before)}).to_string();
                Reply { status: StatusCode::BAD_REQUEST, ..Reply::json(body) }
            }
        }
    }
}

/// Up to when posts are reserved after the change; `None` where its condition does not hold.
fn after(read: &Read, until: i64) -> Option<i64> {
    let number = |name: &str| read.expression_attribute_values.get(name)?.number.parse::<i64>().ok();
    let length = number(":length").or_else(|| number(":turn"));
    match (length, number(":until"), number(":oldest"), number(":latest"), number(":seen")) {
        // Behind the last reservation.
        (Some(length), _, Some(oldest), Some(latest), _) => {
            (oldest..=latest).contains(&until).then_some(until + length)
        }
        // From now on, for nobody reserved for a while: as the row was seen, or up to a moment.
        (_, Some(next), _, _, Some(seen)) => (seen == until).then_some(next),
        (_, Some(next), Some(oldest), _, _) => (until < oldest).then_some(next),
        // What was learnt of the quota.
        _ => Some(until),
    }
}

fn attributes(until: i64) -> serde_json::Value {
    let number = |value: &str| json!({"N": value});
    let (until, zero, rate) = (number(&until.to_string()), number("0"), number(UNBOUNDED));
    json!({
        "reserved_until": until, "taken_until": until, "base_rate": rate, "good_rate": rate,
        "epoch": zero, "changed_at": zero, "probe_at": zero, "ok_at": zero,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(key: &str, values: &[(&str, i64)]) -> Read {
        let values: Value =
            values.iter().map(|(name, value)| ((*name).to_owned(), json!({"N": value.to_string()}))).collect();
        serde_json::from_value(json!({"Key": {"pk": {"S": key}}, "ExpressionAttributeValues": values})).unwrap()
    }

    fn until(reply: &Reply, name: &str) -> String {
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body.get("Attributes").is_some(), reply.status == StatusCode::OK);
        let row = body.get("Attributes").unwrap_or(&body["Item"]);
        row[name]["N"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_reservation_is_behind_the_last_one_or_refused_with_the_row() {
        let row = RateRow::default();
        let anew = row.update(&request("rate", &[(":epoch", 0), (":until", 1_000), (":seen", 0)]));
        assert_eq!((anew.status, until(&anew, "reserved_until")), (StatusCode::OK, "1000".to_owned()));
        let next = request("rate", &[(":epoch", 0), (":length", 50), (":oldest", 900), (":latest", 1_020)]);
        assert_eq!(until(&row.update(&next), "reserved_until"), "1050");
        let refused = row.update(&next);
        assert_eq!((refused.status, until(&refused, "reserved_until")), (StatusCode::BAD_REQUEST, "1050".to_owned()));
        let late = row.update(&request("rate", &[(":epoch", 0), (":until", 9_000), (":seen", 1_000)]));
        assert_eq!((late.status, until(&late, "reserved_until")), (StatusCode::BAD_REQUEST, "1050".to_owned()));
        assert_eq!((row.take_writes(), row.take_writes()), (4, 0));
    }

    #[test]
    fn an_older_notifier_takes_turns_of_the_same_row() {
        let row = RateRow::default();
        let next = request("pace", &[(":turn", 60), (":oldest", 900), (":latest", 2_000)]);
        assert_eq!(row.update(&next).status, StatusCode::BAD_REQUEST);
        let first = request("pace", &[(":until", 1_060), (":oldest", 900)]);
        assert_eq!(until(&row.update(&first), "taken_until"), "1060");
        assert_eq!(row.update(&first).status, StatusCode::BAD_REQUEST);
        assert_eq!(until(&row.update(&next), "taken_until"), "1120");
    }

    #[test]
    fn only_updates_of_the_row_are_meant_for_it() {
        assert!(RateRow::is_meant(&request("rate", &[])) && RateRow::is_meant(&request("pace", &[])));
        assert!(!RateRow::is_meant(&request("work#sqs#bench-00000000", &[(":until", 1)])));
    }
}
