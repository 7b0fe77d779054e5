//! Keeping tokens out of what is shown, wherever they may be written.
//!
//! It errs on the safe side: what looks like a token is masked, even if it is none.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex_lite::Regex;

/// What is shown instead.
const MASK: &str = "•••";

/// A JSON Web Token, whole or in part: its head is an object in base64url.
const JWT: &str = r"eyJ[\w-]{8,}\.[\w.-]*";
/// The names of fields that hold secrets.
const SECRET: &str =
    r"(?:[\w.-]*(?:token|secret|password|signature|credential)|(?:proxy-)?authorization|x?-?api[_-]?key|jwt)";
/// A value: a JSON string, the same within a JSON string, or a word of a query or a header, with its scheme.
const VALUE: &str = r#"(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|\\+"[^"\\]*|(?:(?:bearer|basic)\s+)?[^\s&;,"'\\{}\[\]]+)"#;
/// What a text has in it, in any case, if there is such a field.
const SIGNS: [&str; 10] =
    ["token", "secret", "password", "signature", "credential", "authorization", "jwt", "apikey", "api_key", "api-key"];

/// Subprotocol entries behind which clients put a token.
const ANNOUNCING: [&str; 6] = ["bearer", "token", "access_token", "authorization", "jwt", "auth"];
/// The longest name that a subprotocol may have and still be taken for one; registered names stay below.
const LONGEST_NAME: usize = 40;

static PATTERNS: LazyLock<Patterns> = LazyLock::new(|| Patterns {
    jwt: Regex::new(JWT).ok(),
    field: Regex::new(&format!(r#"(?i)({SECRET}\\*["']?\s*[:=]\s*)({VALUE})"#)).ok(),
});

/// `None` only if a pattern is malformed, which the tests would tell.
struct Patterns {
    jwt: Option<Regex>,
    field: Option<Regex>,
}

/// A text of any kind with its tokens masked.
pub fn text(text: &str) -> Cow<'_, str> {
    let mut masked = Cow::Borrowed(text);
    if let Some(jwt) = PATTERNS.jwt.as_ref().filter(|_| text.contains("eyJ")) {
        masked = Cow::Owned(jwt.replace_all(&masked, MASK).into_owned());
    }
    let lower = text.to_ascii_lowercase();
    if let Some(field) = PATTERNS.field.as_ref().filter(|_| SIGNS.iter().any(|sign| lower.contains(sign))) {
        let replaced = field.replace_all(&masked, |found: &regex_lite::Captures<'_>| {
            let value = &found[2];
            let (open, close) = quotes(value);
            format!("{}{open}{MASK}{close}", &found[1])
        });
        masked = Cow::Owned(replaced.into_owned());
    }
    masked
}

/// The quotes around a value. Those within a JSON string begin with backslashes, and their end is not in the match.
fn quotes(value: &str) -> (&str, &str) {
    let length = match value.find(['"', '\'']) {
        Some(at) if value[..at].bytes().all(|byte| byte == b'\\') => at + 1,
        _ => 0,
    };
    let open = &value[..length];
    let closed = length == 1 && value.len() > 1 && value.ends_with(open);
    (open, if closed { open } else { "" })
}

/// The value of a header or a query parameter of this name.
pub fn value(name: &str, value: &str) -> String {
    if is_secret(name) { MASK.to_owned() } else { text(value).into_owned() }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["token", "secret", "password", "passwd", "signature", "credential", "authorization", "apikey"];
    parts.iter().any(|part| name.replace(['-', '_'], "").contains(part))
        || ["auth", "jwt", "key", "sig", "code", "bearer", "pwd", "cookie"].contains(&name.as_str())
}

/// The entries of a `Sec-WebSocket-Protocol` header. Browsers cannot set other headers, so tokens travel here as well:
/// behind an entry that announces them, behind a prefix, or bare.
pub fn subprotocols<'a>(entries: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut announced = false;
    let mask = |entry: &'a str| {
        let hide = announced || looks_like_token(entry);
        announced = ANNOUNCING.contains(&entry.to_ascii_lowercase().as_str());
        if hide { masked_entry(entry) } else { entry.to_owned() }
    };
    entries.into_iter().map(mask).collect()
}

/// Keeps a prefix that says what the entry is, as in `base64url.bearer.authorization.k8s.io.<token>`.
fn masked_entry(entry: &str) -> String {
    let start = ["access_token.", "header-", "bearer.", "bearer-", "base64url.bearer.authorization.k8s.io."];
    let prefix = start.iter().find(|prefix| entry.starts_with(**prefix)).copied().unwrap_or_default();
    format!("{prefix}{MASK}")
}

/// Names are short and lower case; tokens are long, or mix cases and digits.
fn looks_like_token(entry: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| entry.as_bytes().iter().any(kind);
    let lower = entry.to_ascii_lowercase();
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    entry.len() > LONGEST_NAME
        || (entry.len() >= 16 && mixed)
        || entry.starts_with("eyJ")
        || ["access_token.", "header-", "bearer.", "bearer-"].iter().any(|prefix| lower.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl-_x";

    #[test]
    fn tokens_are_masked_wherever_they_are_written() {
        for (text, expected) in [
            (r#"{"action":"auth","access_token":"s3cret","n":1}"#, r#"{"action":"auth","access_token":"•••","n":1}"#),
            (r#"{"Authorization" : "Bearer s3cret"}"#, r#"{"Authorization" : "•••"}"#),
            (r#"{"password":"s3c\"ret","a":1}"#, r#"{"password":"•••","a":1}"#),
            (r#"{"line":"{\"id_token\":\"s3cret\",\"a\":1}"}"#, r#"{"line":"{\"id_token\":\"•••\",\"a\":1}"}"#),
            ("GET /dev?access_token=s3cret&topic=a", "GET /dev?access_token=•••&topic=a"),
            ("authorization: Bearer s3cret\nhost: x", "authorization: •••\nhost: x"),
            ("X-Amz-Security-Token=s3cret", "X-Amz-Security-Token=•••"),
            (r#"{"access_token":"s3cret"#, r#"{"access_token":"•••"#),
            ("api_key = 's3cret'", "api_key = '•••'"),
        ] {
            assert_eq!(super::text(text), expected);
        }
        assert_eq!(text(&format!("got {TOKEN} from alice")), "got ••• from alice");
    }

    #[test]
    fn what_is_no_token_stays() {
        for text in [
            r#"{"action":"subscribe","topic":"orders/42","id":1}"#,
            r#"{"tokens":12,"keyboard":"us","monkey":"see"}"#,
            "the token of my appreciation",
        ] {
            assert_eq!(super::text(text), text);
        }
    }

    #[test]
    fn query_parameters_and_headers_are_masked_by_name() {
        for name in ["access_token", "Authorization", "X-Amz-Signature", "api-key", "auth", "x-api-key", "Cookie"] {
            assert_eq!(value(name, "s3cret"), MASK, "{name}");
        }
        assert_eq!(value("topic", "orders/42"), "orders/42");
        assert_eq!(value("state", TOKEN), MASK);
    }

    #[test]
    fn subprotocols_that_are_tokens_are_masked() {
        let masked = |entries: &[&str]| subprotocols(entries.iter().copied()).join(" ");
        assert_eq!(masked(&["tidings.v1.json", TOKEN]), "tidings.v1.json •••");
        assert_eq!(masked(&["bearer", "s3cret", "raw"]), "bearer ••• raw");
        assert_eq!(masked(&["tidings.v1.json", "access_token.s3cret"]), "tidings.v1.json access_token.•••");
        assert_eq!(
            masked(&["graphql-transport-ws", "aws-appsync-event-ws", "header-ABC"]),
            "graphql-transport-ws aws-appsync-event-ws header-•••"
        );
        assert_eq!(
            masked(&["json.reliable.webpubsub.azure.v1", "v12.stomp"]),
            "json.reliable.webpubsub.azure.v1 v12.stomp"
        );
        assert_eq!(masked(&["a1B2c3D4e5F6g7H8"]), MASK);
    }
}
