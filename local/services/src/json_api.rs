//! `POST /`: where SDKs call every service that speaks AWS's JSON protocol. `X-Amz-Target` says which one is meant.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::secrets::{self, Secrets};
use crate::sqs::{self, REQUEST_LIMIT, Sqs};

#[derive(Debug, Clone)]
struct Services {
    sqs: Sqs,
    secrets: Secrets,
}

/// The route of all such services, and the addresses of queues.
pub fn router(sqs: &Sqs, secrets: &Secrets) -> Router {
    let services = Services { sqs: sqs.clone(), secrets: secrets.clone() };
    let root = Router::new().route("/", post(call)).layer(DefaultBodyLimit::max(REQUEST_LIMIT)).with_state(services);
    root.merge(sqs::addresses(sqs))
}

async fn call(State(services): State<Services>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.and_then(|target| target.split_once('.')) {
        Some(("secretsmanager", action)) => answer(&services.secrets, action, &body),
        _ => sqs::answer(&services.sqs, &headers, &body).await,
    }
}

fn answer(secrets: &Secrets, action: &str, body: &[u8]) -> Response {
    let input = serde_json::from_slice(body).unwrap_or(Value::Null);
    let (status, body) = match secrets::call(secrets, action, &input) {
        Ok(output) => (StatusCode::OK, output),
        Err(refusal) => (StatusCode::BAD_REQUEST, json!({"__type": refusal.code, "Message": refusal.message})),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-amz-json-1.1".to_owned()),
        (header::HeaderName::from_static("x-amzn-requestid"), Uuid::new_v4().to_string()),
        // It is a secret.
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (status, headers, body.to_string()).into_response()
}
