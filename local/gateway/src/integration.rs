//! A route's function: invoked with a time limit, its answer checked as API Gateway checks it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use tidings_local_lambda::{InvokeError, Invoker};

const SUBPROTOCOL: &str = "sec-websocket-protocol";

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Lambda refused to invoke.
    #[error("the function could not be invoked")]
    NotInvoked(#[source] InvokeError),
    /// The invocation was lost within this process.
    #[error("the invocation broke off")]
    Lost(#[source] tokio::task::JoinError),
    /// The function ran and failed; its error object.
    #[error("the function failed")]
    Function(Bytes),
    /// The function goes on, but nobody waits for it any more.
    #[error("the function took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The function answered something that is not a proxy response.
    #[error("the function's answer is malformed: {0}")]
    Malformed(String),
}

/// Invokes `function` and waits at most `limit` for what it returns.
pub(super) async fn call(invoker: &Invoker, function: &str, limit: Duration, event: Bytes) -> Result<Bytes, Failure> {
    let (invoker, name) = (invoker.clone(), function.to_owned());
    // A task of its own: Lambda does not cancel a function because its caller is gone or out of time.
    let invocation = tokio::spawn(async move { invoker.invoke(&name, event).await });
    let invocation = tokio::time::timeout(limit, invocation)
        .await
        .map_err(|_| Failure::TimedOut(limit))?
        .map_err(Failure::Lost)?
        .map_err(Failure::NotInvoked)?;
    match invocation.function_error {
        Some(_) => Err(Failure::Function(invocation.payload)),
        None => Ok(invocation.payload),
    }
}

/// What a function returned to API Gateway.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProxyResponse {
    pub(super) status: u16,
    pub(super) body: Option<String>,
    /// Values of `Sec-WebSocket-Protocol`, the only response header that reaches a client.
    pub(super) subprotocols: Vec<String>,
}

/// The only keys there may be. API Gateway answers *Internal server error* to a response with others, also on routes
/// whose response nobody gets (middyjs/middy#1219).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireResponse {
    status_code: StatusCode,
    headers: Option<Map<String, Value>>,
    multi_value_headers: Option<Map<String, Value>>,
    body: Option<String>,
    is_base64_encoded: Option<Flag>,
    /// Of the newer response format, which libraries add without being asked.
    #[serde(rename = "cookies")]
    _cookies: Option<Vec<String>>,
}

/// A public sample of AWS's own says `'false'` (aws-samples/serverless-samples, `apigw-ws-integrations`).
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Bool(bool),
    Text(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    True,
    False,
}

impl Flag {
    fn is_set(&self) -> bool {
        matches!(self, Self::Bool(true) | Self::Text(Word::True))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StatusCode {
    Number(u16),
    Text(String),
}

impl ProxyResponse {
    /// Reads a function's answer.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Failure> {
        let wire: WireResponse =
            serde_json::from_slice(payload).map_err(|error| Failure::Malformed(explain(payload, &error)))?;
        let status = match wire.status_code {
            StatusCode::Number(number) => Some(number),
            StatusCode::Text(text) => text.parse().ok(),
        };
        let status = status
            .filter(|status| (200..=599).contains(status))
            .ok_or_else(|| Failure::Malformed("`statusCode` is not a number from 200 to 599".to_owned()))?;
        let body = match wire.body {
            Some(body) if wire.is_base64_encoded.as_ref().is_some_and(Flag::is_set) => Some(decode(&body)?),
            body => body,
        };
        let subprotocols = subprotocols(wire.headers.as_ref(), wire.multi_value_headers.as_ref());
        Ok(Self { status, body, subprotocols })
    }
}

/// Never quotes the answer, which may hold what is not for logs.
fn explain(payload: &[u8], error: &serde_json::Error) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Err(_) => "it is not JSON".to_owned(),
        Ok(Value::Object(fields)) if !fields.contains_key("statusCode") => "it has no `statusCode`".to_owned(),
        Ok(Value::Object(_)) if error.to_string().starts_with("unknown field") => {
            "it has other keys than statusCode, headers, multiValueHeaders, body and isBase64Encoded".to_owned()
        }
        Ok(Value::Object(_)) => {
            "its body is not a text, or another of its keys has a value of the wrong type".to_owned()
        }
        Ok(_) => r#"it is not an object; return {"statusCode": 200}"#.to_owned(),
    }
}

/// Clients get text frames only.
fn decode(body: &str) -> Result<String, Failure> {
    STANDARD
        .decode(body)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Failure::Malformed("`body` is not base64 of UTF-8 text".to_owned()))
}

/// `multiValueHeaders` wins over `headers`, as in REST APIs.
fn subprotocols(single: Option<&Map<String, Value>>, multiple: Option<&Map<String, Value>>) -> Vec<String> {
    let find = |headers: Option<&Map<String, Value>>| -> Vec<String> {
        let named = headers.into_iter().flatten().filter(|(name, _)| name.eq_ignore_ascii_case(SUBPROTOCOL));
        let values = named.flat_map(|(_, value)| match value {
            Value::Array(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        });
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let found = find(multiple);
    if found.is_empty() { find(single) } else { found }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(response: Value) -> Result<ProxyResponse, String> {
        ProxyResponse::parse(response.to_string().as_bytes()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_status_is_enough() {
        let expected = ProxyResponse { status: 200, body: None, subprotocols: vec![] };
        assert_eq!(parse(json!({"statusCode": 200})), Ok(expected));
        assert_eq!(parse(json!({"statusCode": "301"})).unwrap().status, 301);
        let full = json!({"statusCode": 200, "headers": {}, "multiValueHeaders": {}, "body": null,
            "isBase64Encoded": false, "cookies": []});
        assert_eq!(parse(full).unwrap().body, None);
    }

    #[test]
    fn the_body_may_be_base64_of_text() {
        assert_eq!(parse(json!({"statusCode": 200, "body": "aGk="})).unwrap().body.as_deref(), Some("aGk="));
        let encoded = json!({"statusCode": 200, "body": "aGk=", "isBase64Encoded": true});
        assert_eq!(parse(encoded).unwrap().body.as_deref(), Some("hi"));
        for (flag, expected) in [("false", "aGk="), ("true", "hi")] {
            let said = json!({"statusCode": "200", "body": "aGk=", "isBase64Encoded": flag});
            assert_eq!(parse(said).unwrap().body.as_deref(), Some(expected), "{flag}");
        }
        assert!(parse(json!({"statusCode": 200, "isBase64Encoded": "no"})).is_err());
        assert!(parse(json!({"statusCode": 200, "body": "//8=", "isBase64Encoded": true})).is_err());
    }

    #[test]
    fn the_subprotocol_is_found_in_any_case_and_in_both_kinds_of_headers() {
        for response in [
            json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "a"}}),
            json!({"statusCode": 200, "headers": {"sec-websocket-protocol": "a", "X-Other": 5}}),
            json!({"statusCode": 200, "multiValueHeaders": {"SEC-WEBSOCKET-PROTOCOL": ["a"]}}),
            json!({"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "b"},
                "multiValueHeaders": {"Sec-WebSocket-Protocol": ["a"]}}),
        ] {
            assert_eq!(parse(response.clone()).unwrap().subprotocols, ["a"], "{response}");
        }
    }

    #[test]
    fn malformed_answers_are_explained_without_being_quoted() {
        for (response, reason) in [
            (json!(null), "it is not an object"),
            (json!("secret"), "it is not an object"),
            (json!({}), "no `statusCode`"),
            (json!({"body": "secret"}), "no `statusCode`"),
            (json!({"statusCode": 99}), "200 to 599"),
            (json!({"statusCode": "secret"}), "200 to 599"),
            (json!({"statusCode": 200, "body": {"secret": 1}}), "not a text"),
            (json!({"statusCode": 200, "Data": "secret", "ConnectionId": "x"}), "other keys"),
        ] {
            let error = parse(response.clone()).unwrap_err();
            assert!(error.contains(reason) && !error.contains("secret"), "{response}: {error}");
        }
        assert!(ProxyResponse::parse(b"{").unwrap_err().to_string().contains("not JSON"));
        assert!(ProxyResponse::parse(b"").unwrap_err().to_string().contains("not JSON"));
    }
}
