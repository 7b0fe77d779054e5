//! The API on the wire: JSON as today's SDKs speak it, and the query protocol, whose answers are XML unless JSON is asked for.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::refusal::{Code, Refusal};
use super::{Sqs, operations, query};

/// Largest request: a batch of 1 MiB, all of it escaped.
pub(crate) const REQUEST_LIMIT: usize = 8 * 1024 * 1024;

/// The queues' own addresses, for the query protocol.
pub(crate) fn addresses(sqs: &Sqs) -> Router {
    let queue = format!("/{}/{{queue}}", sqs.0.place.account);
    Router::new().route(&queue, post(at_queue)).layer(DefaultBodyLimit::max(REQUEST_LIMIT)).with_state(sqs.clone())
}

/// Answers a call at `POST /`, by the operation in `X-Amz-Target` or else by the form.
pub(crate) async fn answer(sqs: &Sqs, headers: &HeaderMap, body: &[u8]) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.map(|target| target.strip_prefix("AmazonSQS.")) {
        Some(Some(action)) => answer_json(sqs, action, headers, body).await,
        Some(None) => {
            let text = "Only the APIs of SQS, SNS, Secrets Manager and EventBridge are served at this address.";
            json_failure(&Refusal::new(Code::UnsupportedOperation, text))
        }
        None => answer_query(sqs, None, headers, body).await,
    }
}

async fn at_queue(State(sqs): State<Sqs>, Path(queue): Path<String>, headers: HeaderMap, body: Bytes) -> Response {
    answer_query(&sqs, Some(&queue), &headers, &body).await
}

async fn answer_json(sqs: &Sqs, action: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let body = if body.is_empty() { b"{}" } else { body };
    let result = match serde_json::from_slice(body) {
        Ok(input) => operations::call(sqs, action, traced(action, headers, input)).await,
        Err(error) => Err(Refusal::new(Code::InvalidParameterValue, format!("The request is no JSON: {error}"))),
    };
    match result {
        Ok(output) => respond(StatusCode::OK, "application/x-amz-json-1.0", &[], output.to_string()),
        Err(refusal) => json_failure(&refusal),
    }
}

fn json_failure(refusal: &Refusal) -> Response {
    let body = json!({"__type": format!("com.amazonaws.sqs#{}", refusal.code.name()), "message": refusal.message});
    // SDKs that knew the query protocol before show this code.
    let query_error = ("x-amzn-query-error", format!("{};Sender", refusal.code.query_name()));
    respond(StatusCode::BAD_REQUEST, "application/x-amz-json-1.0", &[query_error], body.to_string())
}

async fn answer_query(sqs: &Sqs, queue: Option<&str>, headers: &HeaderMap, form: &[u8]) -> Response {
    let (action, mut input) = query::read(form);
    if let (Some(queue), Value::Null) = (queue, &input["QueueUrl"]) {
        input["QueueUrl"] = sqs.url(queue).into();
    }
    let id = Uuid::new_v4().to_string();
    let result = match action.as_str() {
        "" => Err(Refusal::missing("Action")),
        action => operations::call(sqs, action, traced(action, headers, input)).await,
    };
    let wants_json = crate::query::wants_json(headers);
    let (status, body) = match &result {
        Ok(output) if wants_json => (StatusCode::OK, query::success_in_json(&action, output, &id).to_string()),
        Ok(output) => (StatusCode::OK, query::success(&action, output, &id)),
        Err(refusal) if wants_json => (StatusCode::BAD_REQUEST, query::failure_in_json(refusal, &id).to_string()),
        Err(refusal) => (StatusCode::BAD_REQUEST, query::failure(refusal, &id)),
    };
    respond(status, if wants_json { "application/json" } else { "text/xml" }, &[], body)
}

/// The trace that a caller is part of goes with every message of a request, unless the message names another one (X-Ray
/// Developer Guide, "Amazon SQS and AWS X-Ray").
fn traced(action: &str, headers: &HeaderMap, mut input: Value) -> Value {
    let Some(trace) = headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok()) else { return input };
    let messages = match (action, &mut input) {
        ("SendMessage", message) => std::slice::from_mut(message),
        ("SendMessageBatch", batch) => batch["Entries"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice),
        _ => return input,
    };
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        let attributes = message.entry("MessageSystemAttributes").or_insert_with(|| json!({}));
        if let Some(attributes) = attributes.as_object_mut() {
            let header = || json!({"DataType": "String", "StringValue": trace});
            attributes.entry("AWSTraceHeader").or_insert_with(header);
        }
    }
    input
}

fn respond(status: StatusCode, kind: &'static str, more: &[(&'static str, String)], body: String) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    let id = ("x-amzn-requestid", Uuid::new_v4().to_string());
    for (name, value) in more.iter().chain([&id]) {
        // Codes and ids have no character that a header cannot hold.
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_trace_goes_with_every_message_that_names_no_other() {
        let headers = HeaderMap::from_iter([("x-amzn-trace-id".parse().unwrap(), "Root=1-2-3".parse().unwrap())]);
        let trace = |text: &str| json!({"AWSTraceHeader": {"DataType": "String", "StringValue": text}});
        let one = traced("SendMessage", &headers, json!({"MessageBody": "b"}));
        assert_eq!(one["MessageSystemAttributes"], trace("Root=1-2-3"));
        let entries = json!({"Entries": [{"Id": "1"}, {"Id": "2", "MessageSystemAttributes": trace("other")}]});
        let two = traced("SendMessageBatch", &headers, entries);
        assert_eq!(two["Entries"][0]["MessageSystemAttributes"], trace("Root=1-2-3"));
        assert_eq!(two["Entries"][1]["MessageSystemAttributes"], trace("other"));
        for input in [json!({"QueueUrl": "u"}), json!([]), json!({"Entries": 1})] {
            assert_eq!(traced("ReceiveMessage", &headers, input.clone()), input);
        }
        assert_eq!(traced("SendMessageBatch", &headers, json!({"Entries": 1})), json!({"Entries": 1}));
        assert_eq!(traced("SendMessage", &HeaderMap::new(), json!({})), json!({}));
    }
}
