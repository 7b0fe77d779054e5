//! The Lambda Runtime API (2018-06-01) that one process talks to.
//!
//! Each process has a listener of its own, so who is calling is known without any path or token, and
//! `AWS_LAMBDA_RUNTIME_API=host:port` works for every runtime.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::body::collect;

/// The largest response of a function: 6 MiB and 100 bytes, as Lambda's own Runtime API has it.
pub(super) const RESPONSE_LIMIT: usize = 6 * 1024 * 1024 + 100;

/// One event on its way to a process.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) deadline_ms: u128,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) payload: Bytes,
}

/// What a process said about its event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `/response`.
    Response(Bytes),
    /// `/error`, with the error object.
    Error(Bytes),
    /// `/error` of a process that ends after it.
    Last(Bytes),
    /// `/response` with a body above [`RESPONSE_LIMIT`].
    TooLarge,
}

/// How far a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not asked for an event.
    Starting,
    /// It has asked for an event at least once.
    Ready,
    /// It reported an error instead (`/init/error`).
    Failed(Bytes),
}

/// What the process and its owner exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    events: mpsc::Sender<Event>,
    next: tokio::sync::Mutex<mpsc::Receiver<Event>>,
    current: Mutex<Option<Current>>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug)]
struct Current {
    request_id: String,
    taken: bool,
    answer: oneshot::Sender<Answer>,
}

impl Exchange {
    pub(super) fn new() -> Arc<Self> {
        let (events, next) = mpsc::channel(1);
        let next = tokio::sync::Mutex::new(next);
        Arc::new(Self { events, next, current: Mutex::new(None), phase: watch::Sender::new(Phase::Starting) })
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Offers an event to the process; the answer arrives on the returned channel. One event at a time.
    pub(super) fn offer(&self, event: Event) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        *self.current() = Some(Current { request_id: event.request_id.clone(), taken: false, answer });
        // The channel has one place and the one before is answered, so it is never full; it is never closed either,
        // because this struct holds both ends.
        let _ = self.events.try_send(event);
        answered
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the channel for `request_id`'s answer, if that is the event which the process works on.
    fn take(&self, request_id: &str) -> Option<oneshot::Sender<Answer>> {
        let mut current = self.current();
        if current.as_ref().is_none_or(|current| current.request_id != request_id) {
            return None;
        }
        current.take().map(|current| current.answer)
    }

    fn is_busy(&self) -> bool {
        self.current().as_ref().is_some_and(|current| current.taken)
    }
}

/// The routes of one process's Runtime API.
pub(super) fn router(exchange: Arc<Exchange>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .with_state(exchange)
}

async fn next(State(exchange): State<Arc<Exchange>>) -> Response {
    if exchange.is_busy() {
        return fault(StatusCode::FORBIDDEN, "InvalidStateTransition", "the event before has not been answered");
    }
    exchange.phase.send_if_modified(|phase| {
        let first = *phase == Phase::Starting;
        if first {
            *phase = Phase::Ready;
        }
        first
    });
    let Some(event) = exchange.next.lock().await.recv().await else {
        return fault(StatusCode::INTERNAL_SERVER_ERROR, "Runtime.Stopped", "the host has stopped");
    };
    if let Some(current) = exchange.current().as_mut() {
        current.taken = true;
    }
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        ("lambda-runtime-aws-request-id", event.request_id),
        ("lambda-runtime-deadline-ms", event.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", event.function_arn),
        ("lambda-runtime-trace-id", event.trace_id),
    ];
    (headers, event.payload).into_response()
}

async fn response(State(exchange): State<Arc<Exchange>>, Path(id): Path<String>, body: Body) -> Response {
    let body = match read(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    let Some(answer) = exchange.take(&id) else {
        return invalid_request_id();
    };
    let Some(body) = body else {
        let _ = answer.send(Answer::TooLarge);
        let message = format!("exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)");
        return fault(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
    };
    // Where the owner has given up on the event meanwhile, there is nobody to tell.
    let _ = answer.send(Answer::Response(body));
    accepted()
}

async fn error(
    State(exchange): State<Arc<Exchange>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = match read(body).await {
        Ok(body) => body.unwrap_or_default(),
        Err(response) => return response,
    };
    let Some(answer) = exchange.take(&id) else {
        return invalid_request_id();
    };
    // Told so that no event is given to a process that is about to be gone.
    let exits = headers.contains_key("tidings-exits");
    let _ = answer.send(if exits { Answer::Last(body) } else { Answer::Error(body) });
    accepted()
}

async fn init_error(State(exchange): State<Arc<Exchange>>, body: Body) -> Response {
    if *exchange.phase.borrow() != Phase::Starting {
        return fault(StatusCode::FORBIDDEN, "InvalidStateTransition", "the function has started already");
    }
    match read(body).await {
        Ok(body) => {
            exchange.phase.send_replace(Phase::Failed(body.unwrap_or_default()));
            accepted()
        }
        Err(response) => response,
    }
}

async fn read(body: Body) -> Result<Option<Bytes>, Response> {
    let body = collect(body, RESPONSE_LIMIT).await;
    body.map_err(|error| fault(StatusCode::BAD_REQUEST, "InvalidBody", &error.to_string()))
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({"status": "OK"}))).into_response()
}

fn invalid_request_id() -> Response {
    fault(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")
}

fn fault(status: StatusCode, error_type: &str, message: &str) -> Response {
    (status, axum::Json(json!({"errorMessage": message, "errorType": error_type}))).into_response()
}
