//! The REQUEST authorizer of `$connect`.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::warn;

use super::events::{AuthorizerContext, Origin, epoch_ms};
use super::integration::{self, Failure};
use super::policy::{Facts, Policy};
use super::request::Handshake;
use super::responses::Refusal;
use tidings_local_lambda::Invoker;
use tidings_local_stack::Authorizer;

/// As for integrations.
const TIMEOUT: Duration = Duration::from_secs(29);
/// The most that an authorizer may return.
const MAX_RESULT: usize = 8 * 1024;

/// Who was let in.
#[derive(Debug)]
pub(super) struct Authorized {
    /// The context with `principalId`: goes into the connection's events.
    pub(super) context: AuthorizerContext,
    /// How long the authorizer took.
    pub(super) latency: Duration,
}

impl Authorized {
    /// The context of the `$connect` event, which has the latency too. Whether AWS keeps it in later events is unknown.
    pub(super) fn for_connect(&self) -> AuthorizerContext {
        let mut context = self.context.clone();
        let latency = u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX);
        context.insert("integrationLatency".to_owned(), latency.into());
        context
    }
}

/// Asks the authorizer whether this client may connect.
pub(super) async fn authorize(
    invoker: &Invoker,
    authorizer: &Authorizer,
    origin: &Origin,
    handshake: &Handshake,
    method_arn: &str,
) -> Result<Authorized, Refusal> {
    let event = origin.authorize(handshake, method_arn);
    let json = event.json();
    if !authorizer.identity_sources.iter().all(|source| has_identity(source, &json)) {
        return Err(Refusal::unauthorized());
    }
    let started = Instant::now();
    let answer = integration::call(invoker, &authorizer.function, TIMEOUT, event.payload).await;
    let latency = started.elapsed();
    let decision = answer
        .and_then(|answer| decide(&answer, method_arn, &facts(origin, handshake)))
        .map_err(|failure| refuse(&failure, &authorizer.function, &origin.connection_id))?;
    for condition in &decision.unsupported {
        warn!(
            connection.id = origin.connection_id,
            function = authorizer.function,
            condition,
            "a condition of the authorizer's policy is not evaluated here: an Allow with it does not count, a Deny does"
        );
    }
    match decision.context {
        Some(context) => Ok(Authorized { context, latency }),
        None => Err(Refusal::forbidden()),
    }
}

/// What the policy's conditions may ask.
fn facts(origin: &Origin, handshake: &Handshake) -> Facts {
    Facts {
        source_ip: origin.identity.source_ip.clone(),
        user_agent: origin.identity.user_agent.clone(),
        referer: handshake.header("referer").map(str::to_owned),
        epoch_ms: epoch_ms(),
    }
}

fn refuse(failure: &Failure, function: &str, connection_id: &str) -> Refusal {
    if let Failure::Function(error) = failure
        && is_unauthorized(error)
    {
        return Refusal::unauthorized();
    }
    warn!(
        connection.id = connection_id,
        function,
        error = failure as &dyn std::error::Error,
        "the authorizer failed; the client gets 500"
    );
    Refusal::internal()
}

/// A function that fails with exactly this text says 401.
fn is_unauthorized(error: &[u8]) -> bool {
    serde_json::from_slice::<Value>(error)
        .is_ok_and(|error| error.get("errorMessage").and_then(Value::as_str) == Some("Unauthorized"))
}

/// Whether an identity source has a value in the event, which has the headers of the edge too.
fn has_identity(source: &str, event: &Value) -> bool {
    let value = if let Some(name) = source.strip_prefix("route.request.header.") {
        let headers = event["headers"].as_object();
        headers
            .and_then(|headers| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    } else if let Some(name) = source.strip_prefix("route.request.querystring.") {
        event["queryStringParameters"].get(name)
    } else if let Some(name) = source.strip_prefix("stageVariables.") {
        event["stageVariables"].get(name)
    } else {
        let path = source.strip_prefix("context.").unwrap_or(source);
        path.split('.').try_fold(&event["requestContext"], |value, name| value.get(name))
    };
    value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    principal_id: String,
    policy_document: Policy,
    context: Option<Map<String, Value>>,
}

/// What an authorizer decided.
#[derive(Debug)]
pub(super) struct Decision {
    /// The context of a client that may connect, or `None` for one that may not.
    pub(super) context: Option<AuthorizerContext>,
    /// Conditions of the policy that are not evaluated here.
    unsupported: Vec<String>,
}

/// Reads what an authorizer answered.
pub(super) fn decide(answer: &[u8], method_arn: &str, facts: &Facts) -> Result<Decision, Failure> {
    if answer.len() > MAX_RESULT {
        return Err(Failure::Malformed(format!("it has {} bytes; at most {MAX_RESULT} are allowed", answer.len())));
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| {
        Failure::Malformed(
            "it needs principalId (a text), policyDocument with statements of an Effect of Allow or Deny and, if any, \
             context (an object)"
                .to_owned(),
        )
    })?;
    if let Some(problem) = answer.policy_document.problem() {
        return Err(Failure::Malformed(problem.to_owned()));
    }
    let mut context = stringify(answer.context.unwrap_or_default())?;
    context.insert("principalId".to_owned(), answer.principal_id.into());
    let verdict = answer.policy_document.judge(method_arn, facts);
    Ok(Decision { context: verdict.allows.then_some(context), unsupported: verdict.unsupported })
}

/// Numbers and booleans arrive as texts, says AWS's reference of mapping variables.
fn stringify(context: Map<String, Value>) -> Result<AuthorizerContext, Failure> {
    let mut strings = AuthorizerContext::new();
    for (name, value) in context {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null => continue,
            Value::Array(_) | Value::Object(_) => {
                return Err(Failure::Malformed("its context holds a list or an object".to_owned()));
            }
        };
        strings.insert(name, text.into());
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect";

    fn decide(answer: &[u8]) -> Result<Option<AuthorizerContext>, Failure> {
        let facts = Facts { source_ip: "127.0.0.1".to_owned(), user_agent: None, referer: None, epoch_ms: 0 };
        super::decide(answer, ARN, &facts).map(|decision| decision.context)
    }

    fn answer(effect: &str, context: Value) -> Vec<u8> {
        json!({
            "principalId": "u1",
            "policyDocument": {"Version": "2012-10-17", "Statement": [
                {"Action": "execute-api:Invoke", "Effect": effect, "Resource": ARN}]},
            "context": context,
        })
        .to_string()
        .into_bytes()
    }

    #[test]
    fn the_context_is_made_of_texts_and_the_principal() {
        let context = decide(&answer("Allow", json!({"a": "x", "n": 7, "b": true, "none": null}))).unwrap().unwrap();
        assert_eq!(Value::Object(context), json!({"a": "x", "n": "7", "b": "true", "principalId": "u1"}));
        let context = decide(&answer("Allow", Value::Null)).unwrap().unwrap();
        assert_eq!(Value::Object(context), json!({"principalId": "u1"}));
    }

    #[test]
    fn a_deny_lets_nobody_in() {
        assert!(decide(&answer("Deny", Value::Null)).unwrap().is_none());
    }

    #[test]
    fn bad_output_is_a_failure() {
        for bad in [
            b"null".to_vec(),
            b"{".to_vec(),
            br#"{"principalId":"u"}"#.to_vec(),
            br#"{"isAuthorized":true}"#.to_vec(),
            answer("Allow", json!({"nested": {}})),
            answer("Allow", json!({"list": []})),
            answer("Allow", json!("text")),
            answer("Allow", json!({"long": "x".repeat(MAX_RESULT)})),
            String::from_utf8(answer("Allow", Value::Null)).unwrap().replace("dev", &"d".repeat(500)).into_bytes(),
        ] {
            assert!(decide(&bad).is_err(), "{}", String::from_utf8_lossy(&bad));
        }
    }

    #[test]
    fn an_identity_source_is_looked_up_in_the_event() {
        let event = json!({
            "headers": {"X-Forwarded-For": "192.0.2.7", "Host": "localhost", "x-own": ""},
            "queryStringParameters": {"token": "t", "empty": ""},
            "stageVariables": {"table": "rows"},
            "requestContext": {"stage": "dev", "identity": {"sourceIp": "192.0.2.7"}},
        });
        for (source, expected) in [
            ("route.request.header.x-forwarded-for", true),
            ("route.request.header.Host", true),
            ("route.request.header.X-Own", false),
            ("route.request.header.X-None", false),
            ("route.request.querystring.token", true),
            ("route.request.querystring.Token", false),
            ("route.request.querystring.empty", false),
            ("stageVariables.table", true),
            ("stageVariables.none", false),
            ("context.identity.sourceIp", true),
            ("context.identity.apiKey", false),
        ] {
            assert_eq!(has_identity(source, &event), expected, "{source}");
        }
        assert!(!has_identity("route.request.querystring.token", &json!({"headers": {}})));
    }

    #[test]
    fn only_the_exact_text_is_unauthorized() {
        assert!(is_unauthorized(br#"{"errorMessage":"Unauthorized","errorType":"Error"}"#));
        assert!(!is_unauthorized(br#"{"errorMessage":"unauthorized"}"#));
        assert!(!is_unauthorized(br#"{"errorMessage":"Unauthorized."}"#));
        assert!(!is_unauthorized(b"Unauthorized"));
    }
}
