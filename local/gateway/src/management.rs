//! The `@connections` API: send to a connection, look at it, close it.

use std::time::SystemTime;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tracing::debug;

use super::connections::{Connection, SendError};
use super::events::Identity;
use super::request::Handshake;
use super::responses::{Refusal, with_request_id};
use super::signature::{Signature, Signed};
use super::traffic::MAX_MESSAGE;
use super::{Shared, ids};

/// How much of a body that is too large is still read, so that its sender gets to see the answer.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// ISO 8601 with milliseconds.
const TIME: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Whose connections a path reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    /// Only of this API. Without one, of every API that has the stage.
    pub(super) api_id: Option<String>,
    pub(super) stage: String,
}

impl Scope {
    fn holds(&self, connection: &Connection) -> bool {
        let origin = &connection.origin;
        origin.stage == self.stage && self.api_id.as_ref().is_none_or(|api_id| *api_id == origin.api_id)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    connected_at: String,
    identity: &'a Identity,
    last_active_at: String,
}

/// Answers a call to `…/@connections/{id}`.
pub(super) async fn handle(shared: &Shared, scope: &Scope, id: &str, request: Request) -> Response {
    let method = request.method().clone();
    let mut message = None;
    let response = match answer(shared, scope, id, request, &mut message).await {
        Ok(response) => with_request_id(response),
        Err(refusal) => refusal.into_response(),
    };
    shared.saw_push(id, &method, response.status(), message.as_deref());
    debug!(connection.id = id, %method, status = response.status().as_u16(), "@connections");
    response
}

/// Leaves the message of a `POST` in `seen`, as far as there is one.
async fn answer(
    shared: &Shared,
    scope: &Scope,
    id: &str,
    request: Request,
    seen: &mut Option<Utf8Bytes>,
) -> Result<Response, Refusal> {
    let method = request.method().clone();
    let head = shared.settings.strict.then(|| Handshake::new(&request));
    let body = read_body(request.into_body()).await?;
    if let Some(head) = head {
        verify(shared, &head, Signed { method: &method, body: &body })?;
    }
    if !ids::is_well_formed(id) {
        return Err(Refusal::bad_request(format!("Invalid connectionId: {id}")));
    }
    let find = || shared.connections.get(id).filter(|one| scope.holds(one)).ok_or_else(Refusal::gone);
    match method {
        Method::POST => {
            let message = message(body)?;
            *seen = Some(message.clone());
            match find()?.try_send(message) {
                Ok(()) => Ok(Response::new(Body::empty())),
                Err(SendError::Full) => Err(Refusal::limit_exceeded()),
                Err(SendError::Gone) => Err(Refusal::gone()),
            }
        }
        Method::GET => find().map(|connection| describe(&connection)),
        Method::DELETE => {
            let connection = find()?;
            shared.connections.remove(id);
            connection.delete();
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        // AWS's answer is not known; its REST APIs say this of a method that is not there.
        _ => Err(Refusal::forbidden()),
    }
}

fn describe(connection: &Connection) -> Response {
    let described = Described {
        connected_at: iso(connection.origin.connected_at),
        // Only events tell who signed; the API's model has nothing for it.
        identity: &Identity { caller: None, ..connection.origin.identity.clone() },
        last_active_at: iso(connection.last_active_at()),
    };
    Json(described).into_response()
}

fn iso(epoch_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(epoch_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(TIME).ok())
        .unwrap_or_default()
}

/// Whether the keys of this gateway signed the call.
fn verify(shared: &Shared, head: &Handshake, signed: Signed<'_>) -> Result<(), Refusal> {
    let keys = &shared.settings.keys;
    let is_valid = |signature: Signature| signature.is_valid(head, signed, keys, SystemTime::now());
    Signature::of(head).is_some_and(is_valid).then_some(()).ok_or_else(Refusal::invalid_signature)
}

/// Reads a message of at most 128 KB.
async fn read_body(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut message = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the request body broke off".to_owned()))?;
        let Some(data) = frame.data_ref() else { continue };
        length += data.len();
        if length > MAX_DISCARDED {
            break;
        }
        if length <= MAX_MESSAGE {
            message.extend_from_slice(data);
        }
    }
    if length > MAX_MESSAGE { Err(Refusal::payload_too_large()) } else { Ok(message) }
}

/// A message goes out as a text frame and so must be UTF-8; what AWS does with other bytes is not known, and to refuse them shows
/// the mistake at once.
fn message(body: Vec<u8>) -> Result<Utf8Bytes, Refusal> {
    let message = String::from_utf8(body)
        .map_err(|_| Refusal::bad_request("the data must be UTF-8: it is sent as a text frame".to_owned()))?;
    Ok(message.into())
}

/// Whether a call looks signed: Signature Version 4 for the service `execute-api`. [`verify`] looks at the signature itself.
pub(super) fn is_signed(headers: &HeaderMap) -> bool {
    let Some(authorization) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let Some(fields) = authorization.strip_prefix("AWS4-HMAC-SHA256 ") else { return false };
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let scoped = field("Credential").is_some_and(|credential| {
        let scope: Vec<_> = credential.rsplitn(5, '/').collect();
        matches!(scope.as_slice(), ["aws4_request", "execute-api", region, date, key]
            if !region.is_empty() && date.len() == 8 && !key.is_empty())
    });
    let signature = field("Signature").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    scoped && signature && field("SignedHeaders").is_some_and(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601_with_milliseconds() {
        assert_eq!(iso(1_588_284_633_236), "2020-04-30T22:10:33.236Z");
        assert_eq!(iso(1_588_284_633_000), "2020-04-30T22:10:33.000Z");
    }

    #[test]
    fn only_a_signature_version_4_for_execute_api_counts_as_signed() {
        let good = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20250101/us-east-1/execute-api/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0a".repeat(32)
        );
        let check = |value: &str, expected| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            assert_eq!(is_signed(&headers), expected, "{value}");
        };
        check(&good, true);
        check(&good.replace(", ", ","), true);
        check(&good.replace("execute-api", "lambda"), false);
        check(&good.replace("0a0a", "0a"), false);
        check(&good.replace("SignedHeaders=host;x-amz-date, ", ""), false);
        check(&good.replace("AWS4-HMAC-SHA256", "Bearer"), false);
        check("Bearer x", false);
        assert!(!is_signed(&HeaderMap::new()));
    }
}
