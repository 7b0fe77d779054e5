//! `POST /`: where SDKs call every service that speaks AWS's JSON protocol, or its query protocol. `X-Amz-Target` says which
//! one is meant, and without it the form.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::{self, Events};
use crate::query;
use crate::secrets::{self, Secrets};
use crate::sns::{self, Sns};
use crate::sqs::{self, REQUEST_LIMIT, Sqs};

#[derive(Debug, Clone)]
struct Services {
    sqs: Sqs,
    secrets: Secrets,
    events: Events,
    sns: Sns,
}

/// The route of all such services, and the addresses of queues.
pub fn router(sqs: &Sqs, secrets: &Secrets, events: &Events, sns: &Sns) -> Router {
    let services = Services { sqs: sqs.clone(), secrets: secrets.clone(), events: events.clone(), sns: sns.clone() };
    let root = Router::new().route("/", post(call)).layer(DefaultBodyLimit::max(REQUEST_LIMIT)).with_state(services);
    root.merge(sqs::addresses(sqs))
}

async fn call(State(services): State<Services>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    let input = || serde_json::from_slice(&body).unwrap_or(Value::Null);
    match target.and_then(|target| target.split_once('.')) {
        Some(("secretsmanager", action)) => {
            let answer = secrets::call(&services.secrets, action, &input());
            respond(answer.map_err(|refusal| (refusal.code, refusal.message)))
        }
        Some((events::TARGET, action)) => {
            let answer = events::call(&services.events, action, &input());
            respond(answer.map_err(|refusal| (refusal.code, refusal.message)))
        }
        None if target.is_none() && sns::is_meant(&body) => {
            sns::answer(&services.sns, &body, query::wants_json(&headers))
        }
        _ => sqs::answer(&services.sqs, &headers, &body).await,
    }
}

/// An output, or the code and the message of a refusal, as the protocol has them.
fn respond(answer: Result<Value, (&'static str, String)>) -> Response {
    let (status, body) = match answer {
        Ok(output) => (StatusCode::OK, output),
        Err((code, message)) => (StatusCode::BAD_REQUEST, json!({"__type": code, "Message": message})),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/x-amz-json-1.1".to_owned()),
        (header::HeaderName::from_static("x-amzn-requestid"), Uuid::new_v4().to_string()),
        // It may be a secret.
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (status, headers, body.to_string()).into_response()
}
