//! Keeping secrets out of recorded events.
//!
//! Replaced are: the values of headers that carry credentials; the values of query parameters whose name says that they
//! do; what clients offer as a subprotocol behind `access_token.`; and, in any text of the event, whatever looks like a JSON
//! web token. Message bodies stay as they are otherwise: an event without its body could not be replayed.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::Value;

/// What stands in the place of a secret.
const MASK: &str = "masked";

/// Headers whose value is a secret, in lower case.
const HEADERS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "x-amz-security-token", "x-api-key"];

/// Parts of the names of query parameters whose value is a secret, in lower case.
const PARAMETERS: [&str; 10] =
    ["auth", "code", "credential", "jwt", "key", "passw", "secret", "session", "signature", "token"];

static JSON_WEB_TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*").expect("the expression is well-formed")
});

/// Where a browser puts a token, which need not be a JSON web token where an application looks at it.
const SUBPROTOCOLS: &str = "sec-websocket-protocol";

static OFFERED_TOKEN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\baccess_token\.[^\s,]+").expect("the expression is well-formed"));

/// Replaces what looks like a secret.
pub(super) fn mask(event: &mut Value) {
    let is_secret_header = |name: &str| HEADERS.contains(&name.to_ascii_lowercase().as_str());
    let is_secret_parameter = |name: &str| {
        let name = name.to_ascii_lowercase();
        PARAMETERS.iter().any(|part| name.contains(part))
    };
    for part in ["headers", "multiValueHeaders"] {
        mask_values(event.get_mut(part), is_secret_header, mask_value);
        mask_values(event.get_mut(part), |name| name.eq_ignore_ascii_case(SUBPROTOCOLS), mask_offer);
    }
    for part in ["queryStringParameters", "multiValueQueryStringParameters"] {
        mask_values(event.get_mut(part), is_secret_parameter, mask_value);
    }
    mask_tokens(event);
}

fn mask_values(part: Option<&mut Value>, is_secret: impl Fn(&str) -> bool, mask: impl Fn(&mut Value)) {
    let Some(fields) = part.and_then(Value::as_object_mut) else { return };
    for (_, value) in fields.iter_mut().filter(|(name, _)| is_secret(name)) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(&mask),
            value => mask(value),
        }
    }
}

/// An empty value tells nothing, and `$disconnect` has one.
fn mask_value(value: &mut Value) {
    if value.as_str() != Some("") {
        *value = MASK.into();
    }
}

fn mask_offer(value: &mut Value) {
    if let Value::String(offers) = value {
        *offers = OFFERED_TOKEN.replace_all(offers, format!("access_token.{MASK}")).into_owned();
    }
}

fn mask_tokens(value: &mut Value) {
    match value {
        Value::String(text) if JSON_WEB_TOKEN.is_match(text) => {
            *text = JSON_WEB_TOKEN.replace_all(text, MASK).into_owned();
        }
        Value::Array(items) => items.iter_mut().for_each(mask_tokens),
        Value::Object(fields) => fields.values_mut().for_each(mask_tokens),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJlIHNpZ25hdHVyZQ";

    #[track_caller]
    fn check(mut event: Value, expected: Value) {
        mask(&mut event);
        assert_eq!(event, expected);
    }

    #[test]
    fn credentials_in_headers_are_masked_in_any_case() {
        check(
            json!({"headers": {"AUTHORIZATION": "Bearer x", "Cookie": "a=b", "Host": "h", "x-api-key": ""},
                "multiValueHeaders": {"authorization": ["Basic x", "y"], "Host": ["h"], "x-api-key": [""]}}),
            json!({"headers": {"AUTHORIZATION": "masked", "Cookie": "masked", "Host": "h", "x-api-key": ""},
                "multiValueHeaders": {"authorization": ["masked", "masked"], "Host": ["h"], "x-api-key": [""]}}),
        );
    }

    #[test]
    fn query_parameters_that_are_called_so_are_masked() {
        check(
            json!({"queryStringParameters": {"access_token": "x", "apiKey": "y", "topic": "t", "userName": "u"},
                "multiValueQueryStringParameters": {"access_token": ["x", "x2"], "topic": ["t"]}}),
            json!({"queryStringParameters": {"access_token": "masked", "apiKey": "masked", "topic": "t", "userName": "u"},
                "multiValueQueryStringParameters": {"access_token": ["masked", "masked"], "topic": ["t"]}}),
        );
    }

    #[test]
    fn a_token_of_any_kind_is_masked_where_a_browser_offers_it() {
        check(
            json!({"headers": {"Sec-WebSocket-Protocol": "tidings.v1.json, access_token.k-1"},
                "multiValueHeaders": {"sec-websocket-protocol": ["access_token.k-1,raw", "raw"]}}),
            json!({"headers": {"Sec-WebSocket-Protocol": "tidings.v1.json, access_token.masked"},
                "multiValueHeaders": {"sec-websocket-protocol": ["access_token.masked,raw", "raw"]}}),
        );
    }

    #[test]
    fn web_tokens_are_masked_wherever_they_are_and_the_rest_stays() {
        check(
            json!({"headers": {"Sec-WebSocket-Protocol": format!("tidings.v1.json, {TOKEN}")},
                "queryStringParameters": {"x": TOKEN},
                "body": format!(r#"{{"action":"login","with":"{TOKEN}","n":1}}"#)}),
            json!({"headers": {"Sec-WebSocket-Protocol": "tidings.v1.json, masked"},
                "queryStringParameters": {"x": "masked"},
                "body": r#"{"action":"login","with":"masked","n":1}"#}),
        );
    }

    #[test]
    fn an_event_without_secrets_and_without_these_parts_stays_as_it_is() {
        for event in
            [json!({"to": "everyone", "data": {"token": "a topic of mine"}}), json!([1, "eyJ.a.b"]), json!(null)]
        {
            check(event.clone(), event);
        }
    }
}
