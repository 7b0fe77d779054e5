//! The Lambda Invoke API, for `aws lambda invoke --endpoint-url`, any SDK and `tidings notify`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::collect;
use super::names::{arn, bare};
use super::{Asynchronous, Invocation, InvokeError, Invoker, Names};

/// The largest payload of a synchronous invocation, in bytes.
const SYNCHRONOUS_LIMIT: usize = 6 * 1024 * 1024;

/// The largest payload of an `Event` invocation, in bytes.
const EVENT_LIMIT: usize = 1024 * 1024;

/// What `X-Amz-Log-Result` holds at most, in bytes before encoding.
const LOG_LIMIT: usize = 4096;

#[derive(Debug)]
struct Api {
    invoker: Invoker,
    names: Names,
    events: Arc<Asynchronous>,
}

/// The routes of the Invoke API; what nobody waits for is given to `events`.
pub fn router(invoker: Invoker, names: Names, events: Arc<Asynchronous>) -> Router {
    let api = Arc::new(Api { invoker, names, events });
    Router::new().route("/2015-03-31/functions/{name}/invocations", post(invoke)).with_state(api)
}

async fn invoke(State(api): State<Arc<Api>>, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    match answer(&api, &name, &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(api: &Api, name: &str, headers: &HeaderMap, body: Body) -> Result<Response, Refusal> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text("x-amz-invocation-type").unwrap_or("RequestResponse");
    let limit = if kind == "Event" { EVENT_LIMIT } else { SYNCHRONOUS_LIMIT };
    let payload = payload(body, limit).await?;
    let Some(id) = api.names.resolve(name) else { return Err(Refusal::NotFound(bare(name).to_owned())) };
    match kind {
        "DryRun" => Ok((StatusCode::NO_CONTENT, request_id(&Uuid::new_v4().to_string())).into_response()),
        "Event" => Ok((StatusCode::ACCEPTED, request_id(&api.events.accept(id, payload))).into_response()),
        "RequestResponse" => {
            let invocation = api.invoker.invoke(id, payload).await?;
            Ok(success(invocation, text("x-amz-log-type") == Some("Tail")))
        }
        other => Err(Refusal::Kind(other.to_owned())),
    }
}

/// The body as the JSON text that the function gets; nothing counts as an empty object.
async fn payload(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let body = collect(body, limit).await.map_err(|error| Refusal::Json(error.to_string()))?;
    let body = body.ok_or(Refusal::TooLarge(limit))?;
    if body.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    match serde_json::from_slice::<&serde_json::value::RawValue>(&body) {
        Ok(_) => Ok(body),
        Err(error) => Err(Refusal::Json(error.to_string())),
    }
}

fn success(invocation: Invocation, with_log: bool) -> Response {
    let mut response = (
        [(header::CONTENT_TYPE.as_str(), "application/json"), ("x-amz-executed-version", "$LATEST")],
        invocation.payload,
    )
        .into_response();
    let mut set = |name: &'static str, value: String| {
        // None of the values holds a character that a header cannot; a failure would only lose the header.
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    };
    let known = Some(invocation.request_id).filter(|id| !id.is_empty());
    set("x-amzn-requestid", known.unwrap_or_else(|| Uuid::new_v4().to_string()));
    if let Some(kind) = invocation.function_error {
        set("x-amz-function-error", kind);
    }
    if with_log && !invocation.log.is_empty() {
        let log = invocation.log.as_bytes();
        set("x-amz-log-result", BASE64_STANDARD.encode(&log[log.len().saturating_sub(LOG_LIMIT)..]));
    }
    response
}

fn request_id(id: &str) -> [(&'static str, String); 1] {
    [("x-amzn-requestid", id.to_owned())]
}

/// Why an invocation is refused, each as Lambda answers it.
#[derive(Debug)]
enum Refusal {
    NotFound(String),
    Json(String),
    TooLarge(usize),
    Kind(String),
    Throttled,
    Unavailable(String),
}

impl From<InvokeError> for Refusal {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::UnknownFunction { name, .. } => Self::NotFound(name),
            InvokeError::Throttled { .. } => Self::Throttled,
            InvokeError::Unavailable { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, kind, body) = self.parts();
        let headers = [("x-amzn-errortype", kind.to_owned()), ("x-amzn-requestid", Uuid::new_v4().to_string())];
        (status, headers, axum::Json(body)).into_response()
    }
}

impl Refusal {
    fn parts(self) -> (StatusCode, &'static str, Value) {
        let user = |message: String| json!({"Type": "User", "message": message});
        match self {
            Self::NotFound(name) => (
                StatusCode::NOT_FOUND,
                "ResourceNotFoundException",
                json!({"Type": "User", "Message": format!("Function not found: {}", arn(&name))}),
            ),
            Self::Json(reason) => (
                StatusCode::BAD_REQUEST,
                "InvalidRequestContentException",
                user(format!("Could not parse request body into json: {reason}")),
            ),
            Self::TooLarge(limit) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestTooLargeException",
                user(format!("Request must be smaller than {limit} bytes for the InvokeFunction operation")),
            ),
            Self::Kind(kind) => (
                StatusCode::BAD_REQUEST,
                "InvalidParameterValueException",
                user(format!("X-Amz-Invocation-Type is {kind:?}; it can be RequestResponse, Event or DryRun")),
            ),
            Self::Throttled => (
                StatusCode::TOO_MANY_REQUESTS,
                "TooManyRequestsException",
                json!({"Type": "User", "Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}),
            ),
            Self::Unavailable(message) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "ServiceException", json!({"Type": "Service", "Message": message}))
            }
        }
    }
}
