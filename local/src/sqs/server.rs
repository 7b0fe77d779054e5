//! The API on the wire: JSON as today's SDKs speak it, and the query protocol.

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
const REQUEST_LIMIT: usize = 8 * 1024 * 1024;

/// The routes of the API: `POST /`, and the queues' own addresses for the query protocol.
pub fn router(sqs: &Sqs) -> Router {
    let queue = format!("/{}/{{queue}}", sqs.0.place.account);
    Router::new()
        .route("/", post(at_root))
        .route(&queue, post(at_queue))
        .layer(DefaultBodyLimit::max(REQUEST_LIMIT))
        .with_state(sqs.clone())
}

async fn at_root(State(sqs): State<Sqs>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.map(|target| target.strip_prefix("AmazonSQS.")) {
        Some(Some(action)) => answer_json(&sqs, action, &body).await,
        Some(None) => {
            let text = "Only the API of SQS is served at this address.";
            json_failure(&Refusal::new(Code::UnsupportedOperation, text))
        }
        None => answer_query(&sqs, None, &body).await,
    }
}

async fn at_queue(State(sqs): State<Sqs>, Path(queue): Path<String>, body: Bytes) -> Response {
    answer_query(&sqs, Some(&queue), &body).await
}

async fn answer_json(sqs: &Sqs, action: &str, body: &[u8]) -> Response {
    let body = if body.is_empty() { b"{}" } else { body };
    let result = match serde_json::from_slice(body) {
        Ok(input) => operations::call(sqs, action, input).await,
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

async fn answer_query(sqs: &Sqs, queue: Option<&str>, form: &[u8]) -> Response {
    let (action, mut input) = query::read(form);
    if let (Some(queue), Value::Null) = (queue, &input["QueueUrl"]) {
        input["QueueUrl"] = sqs.url(queue).into();
    }
    let id = Uuid::new_v4().to_string();
    let result = match action.as_str() {
        "" => Err(Refusal::missing("Action")),
        action => operations::call(sqs, action, input).await,
    };
    match result {
        Ok(output) => respond(StatusCode::OK, "text/xml", &[], query::success(&action, &output, &id)),
        Err(refusal) => respond(StatusCode::BAD_REQUEST, "text/xml", &[], query::failure(&refusal, &id)),
    }
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
