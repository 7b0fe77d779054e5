//! Where a letter came from, told by its body and by the queue that gave it up.

use serde_json::{Value, json};

/// Where a letter is to go again.
#[derive(Debug, PartialEq)]
pub(super) enum Origin {
    /// Into the queue that it was a message of.
    Queue {
        /// The queue's name.
        name: String,
        /// The message's body.
        body: String,
    },
    /// To the notifier, as this event.
    Event(Value),
}

impl Origin {
    /// Tells it from the letter's body, and from the ARN of the queue that gave it up after too many tries, if one did.
    pub(super) fn of(body: &str, source: Option<&str>) -> Self {
        if let Some(name) = source.and_then(|arn| arn.rsplit(':').next()) {
            return Self::Queue { name: name.to_owned(), body: body.to_owned() };
        }
        let Ok(letter) = serde_json::from_str::<Value>(body) else { return Self::Event(json!(body)) };
        let is = |service: &str| letter["eventSource"] == service;
        if is("aws:sqs")
            && let Some(name) = letter["eventSourceARN"].as_str().and_then(|arn| arn.rsplit(':').next())
        {
            return Self::Queue { name: name.to_owned(), body: letter["body"].as_str().unwrap_or_default().to_owned() };
        }
        if is("aws:s3") || is("aws:dynamodb") || is("aws:kinesis") || letter["EventSource"] == "aws:sns" {
            return Self::Event(json!({"Records": [letter]}));
        }
        // Lambda's own words for an asynchronous invocation that failed.
        match letter.get("requestPayload") {
            Some(payload) => Self::Event(payload.clone()),
            None => Self::Event(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(value: Value) -> Origin {
        Origin::Event(value)
    }

    #[test]
    fn each_letter_goes_where_it_came_from() {
        let sqs = json!({"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:r:1:orders", "body": "{}"});
        let queue = |name: &str, body: &str| Origin::Queue { name: name.to_owned(), body: body.to_owned() };
        let s3 = json!({"eventSource": "aws:s3", "s3": {}});
        let sns = json!({"EventSource": "aws:sns", "Sns": {}});
        let bus = json!({"detail-type": "t", "detail": {}});
        let failed = json!({"requestContext": {}, "requestPayload": {"to": "everyone", "data": 1}});
        for (body, source, expected) in [
            (sqs, None, queue("orders", "{}")),
            (json!({"any": 1}), Some("arn:aws:sqs:r:1:fan-out"), queue("fan-out", r#"{"any":1}"#)),
            (s3.clone(), None, event(json!({"Records": [s3]}))),
            (sns.clone(), None, event(json!({"Records": [sns]}))),
            (bus.clone(), None, event(bus)),
            (failed, None, event(json!({"to": "everyone", "data": 1}))),
        ] {
            assert_eq!(Origin::of(&body.to_string(), source), expected, "{body}");
        }
    }
}
