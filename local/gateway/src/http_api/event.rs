//! The event in payload format 2.0, as the Developer Guide shows it ("Create AWS Lambda proxy integrations for HTTP APIs").
//! What a request does not have is absent.

use axum::extract::Request;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::super::events::request_time;
use super::super::request::Handshake;
use tidings_local_stack::Stage;

/// A request whose route is known.
pub(super) struct Call<'a> {
    pub(super) api_id: &'a str,
    pub(super) account_id: &'a str,
    pub(super) stage: &'a Stage,
    pub(super) route_key: &'a str,
    /// Decoded, with the stage where that has a name.
    pub(super) path: &'a str,
    pub(super) path_parameters: IndexMap<String, String>,
    pub(super) authorizer: Option<Value>,
    pub(super) request_id: &'a str,
    /// Milliseconds since the epoch.
    pub(super) time: i64,
}

impl Call<'_> {
    pub(super) fn event(&self, request: &Request, body: &Bytes) -> Bytes {
        let caller = Handshake::new(request);
        let (headers, cookies) = headers(&caller, request);
        let mut event = Map::new();
        let mut put = |name: &str, value: Value| event.insert(name.to_owned(), value);
        put("version", "2.0".into());
        put("routeKey", self.route_key.into());
        put("rawPath", self.path.into());
        put("rawQueryString", request.uri().query().unwrap_or_default().into());
        if !cookies.is_empty() {
            put("cookies", cookies.into());
        }
        put("requestContext", self.context(&caller, request, &headers));
        put("headers", json!(headers));
        let query = joined(caller.query().iter().map(|(name, value)| (name.clone(), value.as_str())));
        if !query.is_empty() {
            put("queryStringParameters", json!(query));
        }
        if !self.path_parameters.is_empty() {
            put("pathParameters", json!(self.path_parameters));
        }
        if !self.stage.variables.is_empty() {
            put("stageVariables", json!(self.stage.variables));
        }
        let (text, is_encoded) = encoded(request, body);
        if !body.is_empty() {
            put("body", text.into());
        }
        put("isBase64Encoded", is_encoded.into());
        Bytes::from(Value::Object(event).to_string())
    }

    fn context(&self, caller: &Handshake, request: &Request, headers: &IndexMap<String, String>) -> Value {
        let host = caller.host();
        let mut context = json!({
            "accountId": self.account_id,
            "apiId": self.api_id,
            "domainName": host,
            "domainPrefix": host.split(['.', ':']).next().unwrap_or_default(),
            "http": {
                "method": request.method().as_str(),
                "path": self.path,
                "protocol": "HTTP/1.1",
                "sourceIp": caller.source_ip(),
                "userAgent": headers.get("user-agent").map_or("", String::as_str),
            },
            "requestId": self.request_id,
            "routeKey": self.route_key,
            "stage": self.stage.name,
            "time": request_time(self.time),
            "timeEpoch": self.time,
        });
        if let Some(authorizer) = &self.authorizer {
            context["authorizer"] = authorizer.clone();
        }
        context
    }
}

/// Headers in lower case, repetitions joined; cookies apart.
fn headers(caller: &Handshake, request: &Request) -> (IndexMap<String, String>, Vec<String>) {
    let sent = caller.event_headers();
    let (cookies, sent): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(name, _)| name.eq_ignore_ascii_case(header::COOKIE.as_str()));
    let cookies = cookies.iter().flat_map(|(_, value)| value.split(';')).map(|cookie| cookie.trim().to_owned());
    let mut headers = joined(sent.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())));
    // What is taken off for WebSocket handshakes.
    if let Some(length) = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()) {
        headers.insert(header::CONTENT_LENGTH.as_str().to_owned(), length.to_owned());
    }
    headers.sort_unstable_keys();
    (headers, cookies.filter(|cookie| !cookie.is_empty()).collect())
}

fn joined<'a>(pairs: impl Iterator<Item = (String, &'a str)>) -> IndexMap<String, String> {
    let mut all: IndexMap<String, String> = IndexMap::new();
    for (name, value) in pairs {
        match all.get_mut(&name) {
            Some(before) => {
                before.push(',');
                before.push_str(value);
            }
            None => drop(all.insert(name, value.to_owned())),
        }
    }
    all
}

/// A body of text stays text; anything else, forms included, is encoded. The list of text types is the one that
/// published events suggest; AWS documents none.
fn encoded(request: &Request, body: &Bytes) -> (String, bool) {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let is_text = kind.is_none_or(|kind| {
        kind.starts_with("text/")
            || ["application/json", "application/javascript", "application/xml"].contains(&kind.as_str())
            || kind.ends_with("+json")
            || kind.ends_with("+xml")
    });
    match std::str::from_utf8(body) {
        Ok(text) if is_text || text.is_empty() => (text.to_owned(), false),
        _ => (BASE64_STANDARD.encode(body), true),
    }
}
