//! On-failure destinations: what Lambda tells a queue about an event or a batch that it gave up.
//!
//! The shapes are those of the Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations" and
//! "Retaining discarded batches for a DynamoDB event source".

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::Invocation;
use tidings_local_services::sqs::Message;

/// Why Lambda gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// An event failed too often.
    RetriesExhausted,
    /// An event got too old.
    EventAgeExceeded,
    /// A batch of a stream failed too often.
    RetryAttemptsExhausted,
    /// The records of a batch got too old.
    RecordAgeExceeded,
}

/// What is common to both.
#[derive(Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) function_arn: &'a str,
    pub(crate) condition: Condition,
    pub(crate) invocations: u32,
    /// The last answer of the function, if it gave one.
    pub(crate) response: Option<&'a Invocation>,
}

/// The records of a stream that were given up.
#[derive(Debug)]
pub(crate) struct StreamBatch<'a> {
    pub(crate) shard: &'a str,
    pub(crate) stream_arn: &'a str,
    pub(crate) size: usize,
    /// Sequence number and arrival of the first record and of the last one.
    pub(crate) ends: [(&'a str, OffsetDateTime); 2],
}

/// The message about an event.
pub(crate) fn of_event(failure: &Failure<'_>, payload: &[u8]) -> Message {
    let mut message = failure.to_json();
    message["requestPayload"] = json_or_text(payload);
    if let Some(response) = failure.response {
        message["responsePayload"] = json_or_text(&response.payload);
    }
    Message::text(message.to_string())
}

/// The message about records of a table's stream; it names them and does not hold them.
pub(crate) fn of_stream_batch(failure: &Failure<'_>, batch: &StreamBatch<'_>) -> Message {
    let mut message = failure.to_json();
    let [(first, first_arrival), (last, last_arrival)] = batch.ends;
    message["DDBStreamBatchInfo"] = json!({
        "shardId": batch.shard,
        "startSequenceNumber": first,
        "endSequenceNumber": last,
        "approximateArrivalOfFirstRecord": seconds(first_arrival),
        "approximateArrivalOfLastRecord": seconds(last_arrival),
        "batchSize": batch.size,
        "streamArn": batch.stream_arn,
    });
    Message::text(message.to_string())
}

impl Failure<'_> {
    fn to_json(&self) -> Value {
        let response = self.response.map(|response| {
            json!({"statusCode": 200, "executedVersion": "$LATEST", "functionError": response.function_error})
        });
        json!({
            "version": "1.0",
            "timestamp": now(),
            "requestContext": {
                "requestId": self.request_id,
                "functionArn": self.function_arn,
                "condition": format!("{:?}", self.condition),
                "approximateInvokeCount": self.invocations,
            },
            "responseContext": response,
        })
    }
}

fn json_or_text(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // It fails only for years that have more than four digits.
    OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}

fn seconds(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    time.format(&format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn invocation() -> Invocation {
        Invocation {
            request_id: "id".to_owned(),
            payload: r#"{"errorMessage":"no"}"#.into(),
            function_error: Some("Unhandled".to_owned()),
            duration: Duration::ZERO,
            log: String::new(),
        }
    }

    fn body(message: &Message) -> Value {
        let mut body: Value = serde_json::from_str(&message.body).unwrap();
        let timestamp = body.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert_eq!(timestamp.as_str().unwrap().len(), "2019-11-14T18:16:05.568Z".len());
        body
    }

    #[test]
    fn an_event_that_failed_is_told_with_its_payload() {
        let response = invocation();
        let failure = Failure {
            request_id: "id",
            function_arn: "arn:f:$LATEST",
            condition: Condition::RetriesExhausted,
            invocations: 3,
            response: Some(&response),
        };
        let expected = json!({
            "version": "1.0",
            "requestContext": {
                "requestId": "id",
                "functionArn": "arn:f:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "requestPayload": {"a": 1},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": {"errorMessage": "no"},
        });
        assert_eq!(body(&of_event(&failure, br#"{"a":1}"#)), expected);
    }

    #[test]
    fn records_that_failed_are_told_by_their_ends() {
        let failure = Failure {
            request_id: "id",
            function_arn: "arn:f",
            condition: Condition::RecordAgeExceeded,
            invocations: 1,
            response: None,
        };
        let time = OffsetDateTime::from_unix_timestamp(1_573_690_399).unwrap();
        let batch = StreamBatch { shard: "shard", stream_arn: "arn:s", size: 2, ends: [("1", time), ("2", time)] };
        let body = body(&of_stream_batch(&failure, &batch));
        let expected = json!({
            "shardId": "shard",
            "startSequenceNumber": "1",
            "endSequenceNumber": "2",
            "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
            "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
            "batchSize": 2,
            "streamArn": "arn:s",
        });
        assert_eq!(body["DDBStreamBatchInfo"], expected);
        assert_eq!(body["requestContext"]["condition"], "RecordAgeExceeded");
        assert_eq!(body["responseContext"], Value::Null);
    }
}
