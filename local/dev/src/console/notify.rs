//! Sending a notification: the notifier is invoked, and its answer shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tidings::describe;

use super::Console;
use tidings_local_lambda::Invocation;

pub(super) async fn notify(State(console): State<Arc<Console>>, body: Bytes) -> Response {
    let refuse = |status, message: String| (status, Json(json!({ "message": message }))).into_response();
    let Some(notifier) = &console.notifier else {
        return refuse(StatusCode::NOT_FOUND, "this stack has no notifier; name one with --notifier".to_owned());
    };
    if let Err(error) = serde_json::from_slice::<&serde_json::value::RawValue>(&body) {
        return refuse(StatusCode::BAD_REQUEST, format!("the notification is not JSON: {error}"));
    }
    match console.invoker.invoke(notifier, body).await {
        Ok(invocation) => Json(answer(&invocation)).into_response(),
        Err(error) => refuse(StatusCode::BAD_GATEWAY, describe(&error)),
    }
}

fn answer(invocation: &Invocation) -> Value {
    let payload = String::from_utf8_lossy(&invocation.payload);
    json!({
        "failed": invocation.function_error.is_some(),
        // What is no JSON is shown as the text that it is.
        "answer": serde_json::from_str(&payload).unwrap_or_else(|_| Value::from(payload.as_ref())),
        "durationMs": invocation.duration.as_secs_f64() * 1000.0,
        "requestId": invocation.request_id,
    })
}
