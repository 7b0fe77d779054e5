//! What an invocation is about, read off its event.

use serde::Deserialize;

/// What the console says of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Trigger {
    /// Its kind, as `MESSAGE` or `sqs`.
    pub event: String,
    /// The connection that it is about.
    pub connection: Option<String>,
    /// The route that was chosen.
    pub route: Option<String>,
}

/// The fields that tell events apart; everything else is skipped.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    request_context: Option<Context>,
    #[serde(rename = "type")]
    kind: Option<String>,
    method_arn: Option<String>,
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    event_type: Option<String>,
    route_key: Option<String>,
    connection_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    /// SNS spells it with a capital letter.
    #[serde(alias = "EventSource")]
    event_source: Option<String>,
}

impl Trigger {
    /// Reads an event. What has none of the known shapes was invoked by hand or by another program.
    pub fn of(payload: &[u8]) -> Self {
        let direct = || Self { event: "direct".to_owned(), ..Self::default() };
        let Ok(shape) = serde_json::from_slice::<Shape>(payload) else { return direct() };
        if let Some(context) = shape.request_context {
            let is_authorizer = shape.kind.as_deref() == Some("REQUEST") && shape.method_arn.is_some();
            let event = if is_authorizer { "authorizer".to_owned() } else { context.event_type.unwrap_or_default() };
            return Self { event, connection: context.connection_id, route: context.route_key };
        }
        let source = shape.records.and_then(|records| {
            let count = records.len();
            let source = records.into_iter().next()?.event_source?;
            Some(if count > 1 { format!("{source} ×{count}") } else { source })
        });
        match source.or(shape.detail_type) {
            Some(event) => Self { event, ..Self::default() },
            None => direct(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_apart() {
        let context = json!({"eventType": "MESSAGE", "routeKey": "$default", "connectionId": "c=", "extra": {}});
        let authorizer = json!({"type": "REQUEST", "methodArn": "arn:…", "requestContext": context});
        for (event, expected) in [
            (json!({"requestContext": context, "body": "{}"}), ("MESSAGE", Some("c="), Some("$default"))),
            (authorizer, ("authorizer", Some("c="), Some("$default"))),
            (json!({"Records": [{"eventSource": "aws:sqs"}, {"eventSource": "aws:sqs"}]}), ("aws:sqs ×2", None, None)),
            (json!({"Records": [{"EventSource": "aws:sns"}]}), ("aws:sns", None, None)),
            (json!({"detail-type": "Order shipped", "source": "shop"}), ("Order shipped", None, None)),
            (json!({"to": "everyone", "type": "t"}), ("direct", None, None)),
            (json!({"Records": []}), ("direct", None, None)),
            (json!(null), ("direct", None, None)),
        ] {
            let trigger = Trigger::of(event.to_string().as_bytes());
            let seen = (trigger.event.as_str(), trigger.connection.as_deref(), trigger.route.as_deref());
            assert_eq!(seen, expected, "{event}");
        }
    }
}
