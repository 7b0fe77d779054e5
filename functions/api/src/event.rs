//! The event of an HTTP API in payload format 2.0, as far as it is used.
//!
//! Read leniently: what a client sends must not keep the event from being understood, or it would get API Gateway's bare
//! 500 instead of an answer.

use std::collections::HashMap;

use serde::Deserialize;
use tidings::ids::InvalidId;
use tidings::trigger::Trigger;
use tidings::{ConnectionId, Handshake, UserId};

use crate::problem::Problem;
use crate::query::Query;

/// One request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// The route that matched, such as `GET /connections/{id}` or `$default`.
    pub(crate) route_key: Option<String>,
    /// The path; API Gateway has decoded it.
    pub(crate) raw_path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<HashMap<String, String>>,
    path_parameters: Option<HashMap<String, String>>,
    pub(crate) request_context: RequestContext,
    body: Option<String>,
    is_base64_encoded: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RequestContext {
    request_id: Option<String>,
    time_epoch: i64,
    pub(crate) stage: Option<String>,
    pub(crate) http: Http,
    authorizer: Authorizer,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Http {
    pub(crate) method: Option<String>,
}

/// Who calls, by whichever authorizer the route has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Authorizer {
    iam: Option<Iam>,
    jwt: Option<Jwt>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Iam {
    user_arn: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Jwt {
    claims: HashMap<String, serde_json::Value>,
}

impl Event {
    /// API Gateway's name of the request.
    pub(crate) fn request_id(&self) -> &str {
        self.request_context.request_id.as_deref().unwrap_or_default()
    }

    /// When API Gateway took the request, in milliseconds since the epoch.
    pub(crate) fn time(&self) -> i64 {
        self.request_context.time_epoch
    }

    /// Who calls, as far as the authorizer says.
    pub(crate) fn caller(&self) -> &str {
        let authorizer = &self.request_context.authorizer;
        let role = authorizer.iam.as_ref().and_then(|iam| iam.user_arn.as_deref());
        let subject = authorizer.jwt.as_ref().and_then(|jwt| jwt.claims.get("sub")?.as_str());
        role.or(subject).unwrap_or("rest")
    }

    /// What the ids of the caller's notifications are unique in: the caller's ARN, or the token's issuer and subject. All
    /// share one where nobody says who calls, as with unsigned calls of `tidings dev`.
    pub(crate) fn scope(&self) -> String {
        let authorizer = &self.request_context.authorizer;
        let role = authorizer.iam.as_ref().and_then(|iam| iam.user_arn.as_deref());
        let claim = |name: &str| authorizer.jwt.as_ref()?.claims.get(name)?.as_str();
        let caller = match (role, claim("iss"), claim("sub")) {
            (Some(role), ..) => vec!["iam", role],
            (None, None, None) => vec![],
            (None, issuer, subject) => vec!["jwt", issuer.unwrap_or_default(), subject.unwrap_or_default()],
        };
        tidings::notification::scope(Trigger::Rest, &caller)
    }

    /// The request as the authorizer looks at one, with the token and the user that its query or path names. API Gateway's id
    /// of it stands for a connection.
    pub(crate) fn as_handshake(&self, token: Option<String>, user: Option<&UserId>) -> Result<Handshake, Problem> {
        let id = ConnectionId::parse(self.request_id()).map_err(|error| Problem::internal(&error))?;
        let mut handshake = Handshake::new(id);
        handshake.connected_at = self.time();
        self.request_id().clone_into(&mut handshake.request_id);
        for (name, value) in self.headers.iter().flatten() {
            handshake = handshake.with_header(name, value);
        }
        if let Some(token) = token {
            handshake = handshake.with_query("access_token", token);
        }
        Ok(match user {
            Some(user) => handshake.with_query("user", user.as_str()),
            None => handshake,
        })
    }

    /// The query's parameters, to be taken one by one.
    pub(crate) fn query(&self) -> Result<Query, Problem> {
        Query::parse(self.raw_query())
    }

    /// The query as it was sent.
    pub(crate) fn raw_query(&self) -> &str {
        self.raw_query_string.as_deref().unwrap_or_default()
    }

    /// A variable of the path.
    pub(crate) fn path_parameter<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(String) -> Result<T, InvalidId>,
    ) -> Result<T, Problem> {
        let value = self.variable(name).unwrap_or_default().to_owned();
        parse(value).map_err(|error| Problem::invalid(name, error))
    }

    /// The same as it stands.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.path_parameters.as_ref()?.get(name).map(String::as_str)
    }

    /// The last value of a header; API Gateway writes names in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?;
        headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as text, which must be JSON by its content type: no page of another site can send that unasked. `fix` is for
    /// who sends more than so many bytes.
    pub(crate) fn json_body(&self, most: usize, fix: &'static str) -> Result<String, Problem> {
        if !self.header("content-type").is_some_and(is_json) {
            return Err(Problem::UnsupportedMediaType);
        }
        let bytes = self.bytes().ok_or_else(|| Problem::invalid("body", "it is not what was sent"))?;
        if bytes.len() > most {
            return Err(Problem::TooLarge { field: "body".to_owned(), bytes: bytes.len(), most, fix });
        }
        match String::from_utf8(bytes) {
            Ok(text) if text.trim().is_empty() => Err(Problem::invalid("body", "it is missing; give JSON")),
            Ok(text) => Ok(text),
            Err(_) => Err(Problem::invalid("body", "it is not UTF-8; give JSON")),
        }
    }

    /// The body as text, whatever its content type says; nothing where it is none.
    pub(crate) fn text(&self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    /// The body as it was sent; nothing where that cannot be told.
    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        let body = self.body.as_deref().unwrap_or_default();
        match self.is_base64_encoded {
            true => tidings::decode_base64(body),
            false => Some(body.as_bytes().to_vec()),
        }
    }

    /// Refuses a client that takes no JSON.
    pub(crate) fn check_accept(&self) -> Result<(), Problem> {
        let Some(accept) = self.header("accept") else { return Ok(()) };
        let mut ranges = accept.split(',').filter_map(|range| range.split(';').next()).map(str::trim);
        let json = ["*/*", "application/*", "application/json", "application/problem+json"];
        match accept.trim().is_empty() || ranges.any(|range| json.iter().any(|json| range.eq_ignore_ascii_case(json))) {
            true => Ok(()),
            false => Err(Problem::NotAcceptable),
        }
    }
}

/// `application/json`, or a kind that is written in it.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use tidings::notification::is_scope;

    use super::*;

    fn event(value: serde_json::Value) -> Event {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_event_without_anything_is_still_an_event() {
        let event = event(json!({"pathParameters": null, "body": null, "extra": [1]}));
        assert_eq!(event.json_body(10, ""), Err(Problem::UnsupportedMediaType));
        assert_eq!((event.request_id(), event.caller()), ("", "rest"));
    }

    #[test]
    fn a_body_is_read_as_it_was_sent() {
        let body = |kind: &str, body: &str, encoded: bool| {
            event(json!({"headers": {"content-type": kind}, "body": body, "isBase64Encoded": encoded})).json_body(8, "")
        };
        assert_eq!(body("application/json", "{}", false).unwrap(), "{}");
        assert_eq!(body("Application/JSON; charset=utf-8", "e30=", true).unwrap(), "{}");
        assert_eq!(body("application/cloudevents+json", "{}", false).unwrap(), "{}");
        assert_eq!(body("text/plain", "{}", false), Err(Problem::UnsupportedMediaType));
        assert_eq!(body("application/x-www-form-urlencoded", "e30=", true), Err(Problem::UnsupportedMediaType));
        assert!(matches!(body("application/json", "/w==", true), Err(Problem::Invalid { .. })));
        assert!(matches!(body("application/json", "  ", false), Err(Problem::Invalid { .. })));
        assert!(matches!(body("application/json", "123456789", false), Err(Problem::TooLarge { bytes: 9, .. })));
    }

    #[test]
    fn who_takes_no_json_is_refused() {
        for (accept, ok) in [
            ("*/*", true),
            ("text/html, application/json;q=0.9", true),
            ("APPLICATION/*", true),
            ("", true),
            ("text/html", false),
            ("application/xml;q=1", false),
        ] {
            let event = event(json!({"headers": {"accept": accept}}));
            assert_eq!(event.check_accept().is_ok(), ok, "{accept:?}");
        }
    }

    #[test]
    fn the_caller_is_whom_the_authorizer_names() {
        let context = |authorizer| event(json!({"requestContext": {"authorizer": authorizer}}));
        let arn = "arn:aws:sts::123456789012:assumed-role/shop/1";
        assert_eq!(context(json!({"iam": {"userArn": arn, "accessKey": "A"}})).caller(), arn);
        assert_eq!(context(json!({"jwt": {"claims": {"sub": "shop", "n": 1}, "scopes": null}})).caller(), "shop");
    }

    #[test]
    fn each_caller_has_a_scope_of_its_own_and_keeps_it() {
        let scope = |authorizer| event(json!({"requestContext": {"authorizer": authorizer}})).scope();
        let role = |name: &str| json!({"iam": {"userArn": format!("arn:aws:iam::1:user/{name}"), "accessKey": "A"}});
        let token =
            |issuer: &str, subject: &str| json!({"jwt": {"claims": {"iss": issuer, "sub": subject, "exp": "1"}}});
        let callers = [
            role("a"),
            role("b"),
            token("https://i", "a"),
            token("https://i", "b"),
            token("https://j", "a"),
            token("arn:aws:iam::1:user/a", ""),
            json!({"jwt": {"claims": {}}}),
        ];
        let scopes: BTreeSet<_> = callers.iter().cloned().map(scope).collect();
        assert_eq!(scopes.len(), callers.len(), "{scopes:?}");
        assert!(scopes.iter().all(|scope| scope.starts_with("rest-") && is_scope(scope)), "{scopes:?}");
        assert_eq!(scope(token("https://i", "a")), scope(json!({"jwt": {"claims": {"sub": "a", "iss": "https://i"}}})));
        assert_eq!(scope(json!({})), event(json!({})).scope());
    }
}
