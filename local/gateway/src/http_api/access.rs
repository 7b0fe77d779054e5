//! Who may call a route.
//!
//! Signatures are not verified, neither of IAM callers nor of tokens: what a token says is read, and its issuer, audience,
//! times and scopes are checked. Unsigned calls of an IAM route are let in, so that `curl` works, unless the gateway is
//! strict; those of web pages never are.

use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use form_urlencoded::parse;
use http::{HeaderMap, Uri, header};
use serde_json::{Map, Value, json};

use super::super::management::is_signed;
use super::super::settings::Settings;
use super::response::Refusal;
use tidings_local_stack::{Authorization, JwtAuthorizer};

const CHALLENGE: &str = "Bearer";
const INVALID: &str = r#"Bearer error="invalid_token""#;

/// What the event says of the caller, if it may call.
pub(super) fn check(
    authorization: &Authorization,
    headers: &HeaderMap,
    uri: &Uri,
    settings: &Settings,
) -> Result<Option<Value>, Refusal> {
    match authorization {
        Authorization::None => Ok(None),
        Authorization::Iam if is_signed(headers) => Ok(Some(iam(headers, &settings.account_id))),
        Authorization::Iam if settings.strict || headers.contains_key(header::ORIGIN) => Err(Refusal::Forbidden),
        Authorization::Iam => Ok(None),
        Authorization::Jwt(authorizer) => {
            let token = token(authorizer, headers, uri).ok_or(Refusal::Unauthorized(CHALLENGE))?;
            let claims = claims(&token).ok_or(Refusal::Unauthorized(INVALID))?;
            jwt(authorizer, &claims).map(Some)
        }
    }
}

/// The fields that AWS documents, as far as the key tells them.
fn iam(headers: &HeaderMap, account: &str) -> Value {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default();
    json!({"iam": {
        "accessKey": key,
        "accountId": account,
        "callerId": key,
        "cognitoIdentity": null,
        "principalOrgId": null,
        "userArn": format!("arn:aws:iam::{account}:user/{key}"),
        "userId": key,
    }})
}

/// The token from the first identity source that has one.
fn token(authorizer: &JwtAuthorizer, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let default = ["$request.header.Authorization".to_owned()];
    let sources = if authorizer.identity_sources.is_empty() { &default[..] } else { &authorizer.identity_sources };
    let found = sources.iter().find_map(|source| {
        if let Some(name) = source.strip_prefix("$request.header.") {
            return headers.get(name)?.to_str().ok().map(str::to_owned);
        }
        let name = source.strip_prefix("$request.querystring.")?;
        parse(uri.query()?.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    })?;
    let bare = found.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("bearer ")).map(|_| &found[7..]);
    Some(bare.unwrap_or(&found).trim().to_owned()).filter(|token| !token.is_empty())
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let header: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    // API Gateway takes RSA signatures only.
    if parts.next().is_some() || signature.is_empty() || !header["alg"].as_str()?.starts_with("RS") {
        return None;
    }
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn jwt(authorizer: &JwtAuthorizer, claims: &Map<String, Value>) -> Result<Value, Refusal> {
    let now = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()) as f64;
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let audience = claims.get("aud").or_else(|| claims.get("client_id"));
    let is_meant =
        |value: &Value| value.as_str().is_some_and(|value| authorizer.audience.iter().any(|one| one == value));
    let holds = claims.get("iss").and_then(Value::as_str) == Some(&authorizer.issuer)
        && audience
            .is_some_and(|value| value.as_array().map_or_else(|| is_meant(value), |all| all.iter().any(is_meant)))
        && time("exp").is_some_and(|end| end > now)
        && ["nbf", "iat"].iter().all(|name| time(name).is_none_or(|start| start <= now));
    if !holds {
        return Err(Refusal::Unauthorized(INVALID));
    }
    let scopes = scopes(claims);
    if !authorizer.scopes.is_empty() && !authorizer.scopes.iter().any(|scope| scopes.contains(scope)) {
        return Err(Refusal::Forbidden);
    }
    let texts: Map<String, Value> = claims.iter().map(|(name, value)| (name.clone(), text(value).into())).collect();
    let scopes = if authorizer.scopes.is_empty() { Value::Null } else { json!(scopes) };
    Ok(json!({"jwt": {"claims": texts, "scopes": scopes}}))
}

fn scopes(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("scope").or_else(|| claims.get("scp")) {
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Claims are texts in the event; lists are in brackets.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(text).collect::<Vec<_>>().join(" ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorizer() -> JwtAuthorizer {
        JwtAuthorizer {
            issuer: "https://issuer.example".to_owned(),
            audience: vec!["rest".to_owned()],
            identity_sources: Vec::new(),
            scopes: vec!["notify".to_owned()],
        }
    }

    fn bearer(algorithm: &str, change: impl FnOnce(&mut Value)) -> HeaderMap {
        let mut claims = json!({
            "iss": "https://issuer.example", "aud": ["other", "rest"], "exp": 32_503_680_000_u64, "sub": "shop",
            "scope": "read notify", "groups": ["a", "b"],
        });
        change(&mut claims);
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = format!("Bearer {}.{}.c2ln", part(&json!({"alg": algorithm})), part(&claims));
        HeaderMap::from_iter([(header::AUTHORIZATION, token.parse().unwrap())])
    }

    fn checked(headers: &HeaderMap) -> Result<Option<Value>, Refusal> {
        let uri = Uri::from_static("/");
        check(&Authorization::Jwt(authorizer()), headers, &uri, &Settings::default())
    }

    #[test]
    fn the_claims_of_a_token_go_into_the_event_as_texts() {
        let jwt = checked(&bearer("RS256", |_| {})).unwrap().unwrap();
        assert_eq!(jwt["jwt"]["claims"]["sub"], "shop");
        assert_eq!(jwt["jwt"]["claims"]["groups"], "[a b]");
        assert_eq!(jwt["jwt"]["claims"]["exp"], "32503680000");
        assert_eq!(jwt["jwt"]["scopes"], json!(["read", "notify"]));
    }

    #[test]
    fn a_token_that_is_wrong_is_refused() {
        let invalid = Err(Refusal::Unauthorized(INVALID));
        assert_eq!(checked(&HeaderMap::new()), Err(Refusal::Unauthorized(CHALLENGE)));
        assert_eq!(checked(&bearer("none", |_| {})), invalid);
        assert_eq!(checked(&bearer("HS256", |_| {})), invalid);
        for (name, value) in [
            ("iss", json!("https://other.example")),
            ("aud", json!("web")),
            ("exp", json!(1)),
            ("exp", Value::Null),
            ("nbf", json!(32_503_680_000_u64)),
        ] {
            assert_eq!(checked(&bearer("RS256", |claims| claims[name] = value.clone())), invalid, "{name} {value}");
        }
        assert_eq!(checked(&bearer("RS256", |claims| claims["scope"] = json!("read"))), Err(Refusal::Forbidden));
    }

    #[test]
    fn unsigned_calls_are_let_in_unless_strict_or_from_a_web_page() {
        let iam = |headers: &HeaderMap, strict| {
            check(&Authorization::Iam, headers, &Uri::from_static("/"), &Settings { strict, ..Settings::default() })
        };
        assert_eq!(iam(&HeaderMap::new(), false), Ok(None));
        assert_eq!(iam(&HeaderMap::new(), true), Err(Refusal::Forbidden));
        let page = HeaderMap::from_iter([(header::ORIGIN, "https://evil.example".parse().unwrap())]);
        assert_eq!(iam(&page, false), Err(Refusal::Forbidden));
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential=AKID/20250101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature={}",
            "0a".repeat(32)
        );
        let signed = HeaderMap::from_iter([(header::AUTHORIZATION, signature.parse().unwrap())]);
        assert_eq!(iam(&signed, true).unwrap().unwrap()["iam"]["accessKey"], "AKID");
    }
}
