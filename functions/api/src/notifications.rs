//! Queueing notifications.

use std::time::Duration;

use serde_json::json;
use serde_json::value::RawValue;
use tidings::NotificationId;
use tidings::delivery::{DeliveryError, check_size};
use tidings::notification::{Defaults, Notification};

use crate::Deps;
use crate::event::Event;
use crate::problem::Problem;
use crate::response::Response;

/// Most notifications of one request: SQS takes no more at once, so that they are one request to the queue.
const MAX_NOTIFICATIONS: usize = 10;
/// Longest body, in bytes: what SQS took in one batch before it took more.
const MAX_BODY: usize = 256 * 1_024;
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Answers 202 once everything is on the queue. One notification is answered with its id, a list with a list.
pub(crate) async fn notify(deps: &Deps, event: &Event) -> Result<Response, Problem> {
    event.query()?.finish()?;
    let body = event.json_body(MAX_BODY, "send fewer notifications at once, or less `data`")?;
    let notifications = parse(event, &body)?;
    let ids: Vec<_> = notifications.iter().map(|notification| notification.id.clone()).collect();
    // A notification that was parsed can be written.
    let messages = notifications.iter().map(|notification| serde_json::to_string(notification).unwrap_or_default());
    let queue = deps.notifications.scoped(event.scope());
    let sent = queue.send(messages.collect(), event.caller(), Duration::ZERO).await;
    sent.map_err(|error| Problem::internal(&error))?;
    for notification in &notifications {
        tracing::info!(notification.id = %notification.id, "queued");
    }
    let answer = if is_list(&body) { json!({ "ids": ids }) } else { json!({ "id": ids[0] }) };
    Ok(Response::json(202, &answer))
}

fn is_list(body: &str) -> bool {
    body.trim_start().starts_with('[')
}

fn parse(event: &Event, body: &str) -> Result<Vec<Notification>, Problem> {
    let key = key(event)?;
    if !is_list(body) {
        let id = key.clone().map_or_else(|| derived(event, event.request_id().to_owned()), Ok)?;
        let notification = notification(body, &id, event, "")?;
        return match key {
            Some(key) if key != notification.id => {
                Err(Problem::invalid(IDEMPOTENCY_KEY, "it is not the notification's `id`; give one of them"))
            }
            _ => Ok(vec![notification]),
        };
    }
    let list: Vec<&RawValue> =
        serde_json::from_str(body).map_err(|error| Problem::invalid("body", format!("it is not JSON ({error})")))?;
    if list.is_empty() || list.len() > MAX_NOTIFICATIONS {
        let detail = format!("it has {} notifications; give 1 to {MAX_NOTIFICATIONS}", list.len());
        return Err(Problem::invalid("body", detail));
    }
    list.iter()
        .enumerate()
        .map(|(index, text)| {
            let base = key.as_ref().map_or(event.request_id(), NotificationId::as_str);
            let id = derived(event, format!("{base}-{index}"))?;
            notification(text.get(), &id, event, &format!("[{index}]."))
        })
        .collect()
}

/// The caller's own key. Only ASCII, for nobody says how other bytes of a header are to be read: two different keys could
/// become one on their way.
fn key(event: &Event) -> Result<Option<NotificationId>, Problem> {
    let Some(key) = event.header(IDEMPOTENCY_KEY) else { return Ok(None) };
    if !key.is_ascii() {
        return Err(Problem::invalid(
            IDEMPOTENCY_KEY,
            "it has other characters than those of ASCII; give an `id` in the body",
        ));
    }
    NotificationId::parse(key).map(Some).map_err(|error| Problem::invalid(IDEMPOTENCY_KEY, error))
}

/// An id that the caller did not choose as it stands.
fn derived(event: &Event, id: String) -> Result<NotificationId, Problem> {
    match NotificationId::parse(id) {
        Ok(id) => Ok(id),
        Err(error) if event.header(IDEMPOTENCY_KEY).is_some() => Err(Problem::invalid(IDEMPOTENCY_KEY, error)),
        Err(error) => Err(Problem::internal(&error)),
    }
}

/// Reads one notification; `place` is where it is in the body.
fn notification(text: &str, id: &NotificationId, event: &Event, place: &str) -> Result<Notification, Problem> {
    let defaults = Defaults { id: id.clone(), at: event.time() };
    let notification = Notification::parse(text, &defaults).map_err(|error| Problem::Invalid {
        field: format!("{place}{}", error.field),
        detail: match place.trim_end_matches('.') {
            "" => error.to_string(),
            place => format!("{place}: {error}"),
        },
    })?;
    match check_size(&notification) {
        Err(DeliveryError::PayloadTooLarge { bytes, most }) => {
            let (field, fix) = (format!("{place}data"), "make `data` smaller, or send a reference to it");
            Err(Problem::TooLarge { field, bytes, most, fix })
        }
        _ => Ok(notification),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tidings::delivery::MAX_MESSAGE_BYTES;

    use super::*;

    fn ids(key: Option<&str>, body: &Value) -> Result<Vec<String>, String> {
        let headers = key.map(|key| json!({"idempotency-key": key}));
        let context = json!({"requestId": "JKJaXmPLvHcESHA=", "timeEpoch": 1_795_520_783_000_i64});
        let event: Event = serde_json::from_value(json!({"headers": headers, "requestContext": context})).unwrap();
        let parsed = parse(&event, &body.to_string()).map_err(|problem| problem.detail())?;
        Ok(parsed.into_iter().map(|notification| notification.id.to_string()).collect())
    }

    #[test]
    fn ids_are_the_callers_or_come_from_the_request() {
        let (plain, named) = (json!({"to": "everyone", "data": 1}), json!({"id": "n", "to": "everyone", "data": 1}));
        for (key, body, expected) in [
            (None, plain.clone(), vec!["JKJaXmPLvHcESHA="]),
            (Some("k"), plain.clone(), vec!["k"]),
            (None, named.clone(), vec!["n"]),
            (Some("n"), named.clone(), vec!["n"]),
            (None, json!([plain, named]), vec!["JKJaXmPLvHcESHA=-0", "n"]),
            (Some("k"), json!([plain, named, plain]), vec!["k-0", "n", "k-2"]),
        ] {
            assert_eq!(ids(key, &body).unwrap(), expected, "{key:?} {body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let plain = json!({"to": "everyone", "data": 1});
        for (key, body, start) in [
            (None, json!({"data": 1}), "`to` is missing; use"),
            (None, json!([plain, {"to": {"topic": ""}, "data": 1}]), "[1]: `to.topic` is not valid; a topic is empty"),
            (None, json!([]), "`body`: it has 0 notifications; give 1 to 10"),
            (None, Value::from(vec![plain.clone(); 11]), "`body`: it has 11 notifications; give 1 to 10"),
            (None, json!("text"), "`notification` is not a JSON object"),
            (Some("other"), json!({"id": "n", "to": "everyone", "data": 1}), "`Idempotency-Key`: it is not the not"),
            (Some(""), plain.clone(), "`Idempotency-Key`: a notification id is empty"),
            (Some("k\u{fffd}"), plain.clone(), "`Idempotency-Key`: it has other characters than those of ASCII"),
            (Some(&"k".repeat(255)), json!([plain]), "`Idempotency-Key`: a notification id is too long"),
            (
                None,
                json!({"to": "everyone", "data": "x".repeat(MAX_MESSAGE_BYTES)}),
                "`data`: the message would have 131",
            ),
            (
                None,
                json!([plain, {"to": "everyone", "data": "x".repeat(MAX_MESSAGE_BYTES)}]),
                "`[1].data`: the message would have 131",
            ),
        ] {
            let detail = ids(key, &body).unwrap_err();
            assert!(detail.starts_with(start), "{detail}");
        }
    }
}
