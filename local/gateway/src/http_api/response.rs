//! What goes back to the client.

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::integration::Failure;

/// What API Gateway answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    BadRequest,
    Unauthorized(&'static str),
    Forbidden,
    NotFound,
    TooLarge,
    TooManyRequests,
    Internal,
    Unavailable,
}

impl From<Refusal> for StatusCode {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BadRequest => Self::BAD_REQUEST,
            Refusal::Unauthorized(_) => Self::UNAUTHORIZED,
            Refusal::Forbidden => Self::FORBIDDEN,
            Refusal::NotFound => Self::NOT_FOUND,
            Refusal::TooLarge => Self::PAYLOAD_TOO_LARGE,
            Refusal::TooManyRequests => Self::TOO_MANY_REQUESTS,
            Refusal::Internal => Self::INTERNAL_SERVER_ERROR,
            Refusal::Unavailable => Self::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let message = match self {
            Self::BadRequest => "Bad Request",
            Self::Unauthorized(_) => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::TooLarge => "Request Entity Too Large",
            Self::TooManyRequests => "Too Many Requests",
            Self::Internal => "Internal Server Error",
            Self::Unavailable => "Service Unavailable",
        };
        let mut response = (StatusCode::from(self), Json(json!({ "message": message }))).into_response();
        if let Self::Unauthorized(challenge) = self {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// A response that the function wrote out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    status_code: Value,
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// The response that a function's answer stands for: without a `statusCode` the answer itself is the body.
pub(super) fn of(payload: &[u8]) -> Result<Response, Failure> {
    let answer: Value = serde_json::from_slice(payload).map_err(|_| Failure::Malformed("it is not JSON".to_owned()))?;
    match answer {
        Value::Object(fields) if fields.contains_key("statusCode") => written(Value::Object(fields)),
        Value::String(text) => Ok(inferred(text)),
        other => Ok(inferred(other.to_string())),
    }
}

fn inferred(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn written(answer: Value) -> Result<Response, Failure> {
    let malformed = |words: &str| Failure::Malformed(words.to_owned());
    let written: Written = serde_json::from_value(answer)
        .map_err(|_| malformed("its headers, cookies, body or isBase64Encoded have a value of the wrong type"))?;
    let status = match &written.status_code {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let status = status.filter(|status| (200..=599).contains(status));
    let status = status.ok_or_else(|| malformed("`statusCode` is not a number from 200 to 599"))?;
    let body = written.body.unwrap_or_default();
    let body = match written.is_base64_encoded {
        Some(true) => BASE64_STANDARD.decode(body).map_err(|_| malformed("`body` is not base64"))?,
        _ => body.into_bytes(),
    };
    let mut response = Response::new(Body::empty());
    let has_body = !body.is_empty();
    *response.body_mut() = body.into();
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| malformed("`statusCode` is none"))?;
    for (name, value) in written.headers.into_iter().flatten() {
        let value = match value {
            Value::String(text) => text,
            Value::Null => continue,
            other => other.to_string(),
        };
        let name = HeaderName::try_from(name).map_err(|_| malformed("the name of a header is not allowed"))?;
        let value = HeaderValue::try_from(value).map_err(|_| malformed("the value of a header is not allowed"))?;
        // Its own framing is the gateway's business.
        if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    for cookie in written.cookies.into_iter().flatten() {
        let cookie = HeaderValue::try_from(cookie).map_err(|_| malformed("a cookie is not allowed"))?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    if has_body && !response.headers().contains_key(header::CONTENT_TYPE) {
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, text);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(answer: Value, status: u16, kind: Option<&str>, body: &str) {
        let response = of(answer.to_string().as_bytes()).unwrap();
        assert_eq!(response.status().as_u16(), status, "{answer}");
        let found = response.headers().get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), kind, "{answer}");
        let bytes = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
        assert_eq!(bytes, body.as_bytes(), "{answer}");
    }

    #[tokio::test]
    async fn an_answer_without_a_status_is_the_body() {
        let json = Some("application/json");
        check(json!({"message": "hi"}), 200, json, r#"{"message":"hi"}"#).await;
        check(json!("Hello"), 200, json, "Hello").await;
        check(json!([1, 2]), 200, json, "[1,2]").await;
        check(json!(null), 200, json, "null").await;
    }

    #[tokio::test]
    async fn an_answer_with_a_status_is_the_response() {
        check(json!({"statusCode": 204}), 204, None, "").await;
        check(json!({"statusCode": "201", "body": "made"}), 201, Some("text/plain; charset=utf-8"), "made").await;
        let binary =
            json!({"statusCode": 200, "headers": {"Content-Type": "x/y"}, "body": "aGk=", "isBase64Encoded": true});
        check(binary, 200, Some("x/y"), "hi").await;
        let cookies = of(br#"{"statusCode":200,"cookies":["a=1","b=2"],"headers":{"n":7}}"#).unwrap();
        assert_eq!(cookies.headers().get_all(header::SET_COOKIE).iter().count(), 2);
        assert_eq!(cookies.headers()["n"], "7");
    }

    #[test]
    fn what_is_no_response_fails() {
        for bad in [
            "{",
            r#"{"statusCode":99}"#,
            r#"{"statusCode":null}"#,
            r#"{"statusCode":200,"body":{}}"#,
            r#"{"statusCode":200,"headers":{"a b":"c"}}"#,
            r#"{"statusCode":200,"headers":{"a":"b\nc"}}"#,
            r#"{"statusCode":200,"body":"%","isBase64Encoded":true}"#,
        ] {
            assert!(of(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
