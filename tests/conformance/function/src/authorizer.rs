//! The authorizer's answers, as the client asks for them with `?auth=`.

use lambda_runtime::Error;
use serde::Deserialize;
use serde_json::{Value, json};

/// What the client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    auth: String,
    /// Keeps the event under this key.
    pub(crate) key: Option<String>,
}

/// Lets in, keeps out or fails.
pub(crate) fn answer(query: &Query, event: &Value) -> Result<Value, Error> {
    let arn = event["methodArn"].as_str().unwrap_or_default();
    let api = arn.trim_end_matches("/$connect");
    let allow = |resource: &str, context: Value| Ok(policy("Allow", resource, context));
    match query.auth.as_str() {
        "allow" => allow(arn, json!({"text": "Ann", "number": 7, "flag": true})),
        "stage" => allow(&format!("{api}/*"), json!({})),
        "rest" => allow(&format!("{api}/*/*"), json!({})),
        "other" => allow(&format!("{api}/$default"), json!({})),
        "nested" => allow(arn, json!({"list": [1]})),
        "huge" => allow(arn, json!({"text": "x".repeat(8 * 1024)})),
        "long" => allow(&format!("{arn}{}", "*".repeat(512)), json!({})),
        "deny" => Ok(policy("Deny", arn, json!({}))),
        "unauthorized" => Err("Unauthorized".into()),
        "fail" => Err("the client wants the authorizer to fail".into()),
        _ => Ok(json!({"isAuthorized": true})),
    }
}

fn policy(effect: &str, resource: &str, context: Value) -> Value {
    json!({
        "principalId": "conformance",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}],
        },
        "context": context,
    })
}
