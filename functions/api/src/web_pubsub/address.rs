//! Whether a token is for a request: its `aud` is the address that is called.
//!
//! API Gateway hands on a path that it has decoded, and up to a decoded `?`. So names are taken from the address in the token,
//! which nobody has decoded, once it is known to be that of the request. Who called which host nobody knows here: a
//! distribution or a proxy may stand before.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::parameters;

/// What stands before the names.
const HUBS: &str = "/api/hubs/";

/// The address of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Scheme, host and port.
    pub(super) origin: String,
    /// The path as it was signed.
    pub(super) path: String,
    /// The names behind `/api/hubs`.
    pub(super) segments: Vec<String>,
}

impl Address {
    /// What stands before `/api`, where the connection string has a path.
    pub(super) fn root(&self) -> String {
        let before = self.path.split_once(HUBS).map_or("", |(before, _)| before);
        format!("{}{before}", self.origin)
    }
}

/// The parts of an address.
struct Parts<'a> {
    scheme: &'static str,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

/// The address that a token is for, where that is the address of the request: one of them, if there are several.
pub(super) fn of(audience: Option<&Value>, path: &str, query: &str) -> Option<Address> {
    match audience? {
        Value::String(address) => of_one(address, path, query),
        Value::Array(addresses) => {
            addresses.iter().filter_map(Value::as_str).find_map(|address| of_one(address, path, query))
        }
        _ => None,
    }
}

fn of_one(address: &str, path: &str, query: &str) -> Option<Address> {
    let parts = parts(address)?;
    let signed = decoded(parts.path);
    let signed = signed.split('?').next().unwrap_or_default();
    // Of a gateway that hands on what was sent.
    let is_same = |given: &str| trimmed(signed).eq_ignore_ascii_case(trimmed(given));
    if !is_same(path) && !is_same(&decoded(path)) {
        return None;
    }
    if parts.query.is_some_and(|signed| parameters::pairs(signed) != parameters::pairs(query)) {
        return None;
    }
    let (_, names) = parts.path.split_once(HUBS)?;
    let segments =
        trimmed(names).split('/').map(|name| Some(percent_decode_str(name).decode_utf8().ok()?.into_owned()));
    Some(Address {
        origin: format!("{}://{}", parts.scheme, parts.authority),
        path: parts.path.to_owned(),
        segments: segments.collect::<Option<_>>()?,
    })
}

fn parts(address: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = address.split_once("://")?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => "http",
        "https" | "wss" => "https",
        _ => return None,
    };
    let (authority, rest) = rest.split_at(rest.find('/')?);
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    (!authority.is_empty()).then_some(Parts { scheme, authority, path, query })
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

/// Without a `/` at its end, which is not always signed.
fn trimmed(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn segments(audience: &str, path: &str, query: &str) -> Option<Vec<String>> {
        of(Some(&json!(audience)), path, query).map(|address| address.segments)
    }

    #[test]
    fn names_are_as_they_were_signed_whatever_a_gateway_made_of_the_path() {
        let signed = "https://h/api/hubs/chat/users/a%2Fb/groups/g%3Fx%23";
        // Decoded, up to what looks like a query.
        let expected = ["chat", "users", "a/b", "groups", "g?x#"].map(str::to_owned).to_vec();
        assert_eq!(segments(signed, "/api/hubs/chat/users/a/b/groups/g", ""), Some(expected.clone()));
        assert_eq!(segments(signed, "/api/hubs/chat/users/a%2Fb/groups/g%3Fx%23", ""), None);
        let signed = "https://h/api/hubs/chat/users/a%2Fb%20%C3%BC";
        assert_eq!(segments(signed, "/api/hubs/chat/users/a%2Fb%20%C3%BC", "").unwrap()[2], "a/b ü");
        assert_eq!(segments(signed, "/api/hubs/chat/users/a/b ü", "").unwrap()[2], "a/b ü");
    }

    #[test]
    fn scheme_host_case_and_a_last_slash_do_not_matter() {
        for audience in [
            "http://localhost:3030/api/hubs/Chat/:send",
            "HTTPS://other.example.com/api/hubs/chat/:send/",
            "wss://h/API/hubs/chat/%3Asend".to_lowercase().as_str(),
        ] {
            let found = segments(audience, "/api/hubs/chat/:send", "api-version=1").unwrap();
            assert_eq!(found[1], ":send", "{audience}");
        }
        let address = of(Some(&json!(["x", "ws://h:1/dev/api/hubs/c/:send"])), "/dev/api/hubs/c/:send", "").unwrap();
        assert_eq!((address.root().as_str(), address.path.as_str()), ("http://h:1/dev", "/dev/api/hubs/c/:send"));
    }

    #[test]
    fn a_query_that_was_signed_is_that_of_the_request_in_any_order_and_encoding() {
        let signed = "http://h/api/hubs/c/:send?filter=userId%20eq%20'a'&excluded=1&excluded=2";
        let path = "/api/hubs/c/:send";
        assert!(segments(signed, path, "excluded=1&excluded=2&filter=userId+eq+%27a%27").is_some());
        assert!(segments("http://h/api/hubs/c/:send", path, "excluded=1").is_some());
        for other in ["", "filter=userId%20eq%20'a'&excluded=1", "filter=userId%20eq%20'b'&excluded=1&excluded=2"] {
            assert_eq!(segments(signed, path, other), None, "{other}");
        }
    }

    #[test]
    fn a_token_for_something_else_is_for_nothing_here() {
        for audience in [
            "http://h/api/hubs/c/:closeConnections",
            "http://h/api/hubs/d/:send",
            "http://h/client/hubs/c",
            "http://h/api/hubs/c",
            "http://h",
            "h/api/hubs/c/:send",
            "ftp://h/api/hubs/c/:send",
            "http:///api/hubs/c/:send",
            "",
        ] {
            assert_eq!(segments(audience, "/api/hubs/c/:send", ""), None, "{audience}");
        }
        for audience in [json!(null), json!(7), json!([]), json!({"a": 1})] {
            assert_eq!(of(Some(&audience), "/api/hubs/c/:send", ""), None, "{audience}");
        }
        assert_eq!(of(None, "/api/hubs/c/:send", ""), None);
        assert_eq!(segments("http://h/api/hubs/c/users/%FF", "/api/hubs/c/users/\u{fffd}", ""), None);
    }
}
