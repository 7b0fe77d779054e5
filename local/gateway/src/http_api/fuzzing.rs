//! Mutated input for what reads requests, tokens and answers.

use axum::body::Body;
use axum::extract::Request;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Value, json};

use super::super::settings::Settings;
use super::event::Call;
use super::{access, response, routes};
use tidings_local_fuzz::run;
use tidings_local_stack::{Authorization, HttpIntegration, HttpRoute, JwtAuthorizer, Stage};

const TARGETS: [&[u8]; 3] =
    [b"/items/s%C3%BC%C3%9F/x?p=1&p=2,3&q=%2F+x&&=", b"/v1/users/-/topics?user=a%2Fb", b"//%2F%3F/..?%FF=%"];

#[test]
fn fuzz_paths_and_queries_of_http_apis() {
    let keys = ["GET /items/{id}/x", "GET /users/{user}/topics", "ANY /{proxy+}", "$default"];
    let route = |key: &&str| {
        let integration = HttpIntegration::Unsupported { reason: String::new() };
        let route = HttpRoute { key: (*key).to_owned(), integration, authorization: Authorization::None };
        (routes::Pattern::new(key), route)
    };
    let all: Vec<_> = keys.iter().map(route).collect();
    let stages = ["$default", "v1"].map(|name| Stage { name: name.to_owned(), ..Stage::default() });
    run("a target", &TARGETS, |input, _| {
        let Ok(uri) = Uri::try_from(input) else { return };
        let path = routes::decoded(uri.path());
        let target = routes::stage(&stages, &path).expect("there is a default stage");
        let found = routes::find(&all, &http::Method::GET, target.rest).expect("there is a default route");
        let call = Call {
            api_id: "a",
            account_id: "1",
            stage: target.stage,
            route_key: &found.route.key,
            path: &path,
            path_parameters: found.variables,
            authorizer: None,
            request_id: "r",
            time: 0,
        };
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = uri;
        let event: Value = serde_json::from_slice(&call.event(&request, &Bytes::copy_from_slice(input))).unwrap();
        assert_eq!(event["rawPath"], path);
    });
}

#[test]
fn fuzz_answers_for_http_apis() {
    let samples: [&[u8]; 3] = [
        br#"{"statusCode":200,"headers":{"Content-Type":"a/b","n":7},"cookies":["a=1"],"body":"aGk=","isBase64Encoded":true}"#,
        br#""Hello""#,
        br#"{"statusCode":"404","body":null,"headers":null}"#,
    ];
    run("an answer", &samples, |input, _| {
        if let Ok(response) = response::of(input) {
            assert!((200..600).contains(&response.status().as_u16()));
        }
    });
}

#[test]
fn fuzz_tokens_of_http_apis() {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "i", "aud": ["a"], "exp": 32_503_680_000_u64, "scope": "s", "nested": {"a": [1, null]}});
    let token = format!("Bearer {}.{}.c2ln", part(json!({"alg": "RS256"})), part(claims));
    let authorizer = JwtAuthorizer {
        issuer: "i".to_owned(),
        audience: vec!["a".to_owned()],
        identity_sources: Vec::new(),
        scopes: Vec::new(),
    };
    let authorization = Authorization::Jwt(authorizer);
    run("a token", &[token.as_bytes()], |input, _| {
        let Ok(value) = HeaderValue::from_bytes(input) else { return };
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        if let Ok(who) = access::check(&authorization, &headers, &Uri::from_static("/"), &Settings::default()) {
            assert_eq!(who.unwrap()["jwt"]["claims"]["iss"], "i");
        }
    });
}
