//! What the tests of this crate share.

use serde_json::{Value, json};
use tests::issuer::Issuer;
use tidings::aws;
use tidings::metrics::Metrics;

use crate::claims::Rules;
use crate::config::{Origins, PermissionTemplates};
use crate::keys::{Jwks, Keys, Refresh};
use crate::{Answer, Authentication, Authorizer, Deps, Error, Function, Request};

pub(crate) const ARN: &str = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect";

pub(crate) fn rules(issuer: &str) -> Rules {
    Rules {
        issuer: Some(issuer.to_owned()),
        audiences: vec!["app".to_owned()],
        user_claim: "sub".to_owned(),
        permissions_claim: "permissions".to_owned(),
        scope_prefix: String::new(),
    }
}

pub(crate) async fn authorizer(authentication: Authentication) -> Authorizer {
    Function::new().core(deps(authentication)).await.unwrap()
}

fn deps(authentication: Authentication) -> Deps {
    Deps {
        spoken: tidings::protocol::Spoken::default(),
        authentication,
        web_pubsub: None,
        web_pubsub_reliable: false,
        default_permissions: PermissionTemplates::parse("subscribe:users/{user}/**").unwrap(),
        anonymous_permissions: PermissionTemplates::parse("subscribe:public/** publish:rooms/{user}").unwrap(),
        origins: Origins::default(),
        metrics: Metrics::default(),
    }
}

/// For tokens of an issuer whose keys are found through its configuration.
pub(crate) async fn for_issuer(issuer: &Issuer, refresh: Refresh) -> Authorizer {
    let keys = Keys::new(Jwks::of_issuer(aws::http_client_to(&issuer.url).unwrap(), &issuer.url).unwrap(), refresh);
    authorizer(Authentication::Tokens { keys, rules: rules(&issuer.url), allow_anonymous: false }).await
}

pub(crate) fn request(parts: &Value) -> Request {
    let mut event = json!({"type": "REQUEST", "methodArn": ARN, "requestContext": {"connectionId": "c="}});
    for (name, value) in parts.as_object().unwrap() {
        event[name] = value.clone();
    }
    serde_json::from_value(event).unwrap()
}

/// The answer to a client with this token, as API Gateway reads it.
pub(crate) async fn connect(authorizer: &Authorizer, token: &str) -> Result<Value, Error> {
    ask(authorizer, &json!({"queryStringParameters": {"access_token": token}})).await
}

pub(crate) async fn ask(authorizer: &Authorizer, parts: &Value) -> Result<Value, Error> {
    ask_of(authorizer, parts).await
}

/// The same of one with a state.
pub(crate) async fn ask_of<S>(authorizer: &Authorizer<S>, parts: &Value) -> Result<Value, Error> {
    authorizer.answer(request(parts)).await.map(|answer: Answer| serde_json::to_value(answer).unwrap())
}

pub(crate) fn is_allowed(answer: &Value) -> bool {
    let statement = &answer["policyDocument"]["Statement"];
    assert_eq!((&statement[0]["Resource"], statement.as_array().unwrap().len()), (&json!(ARN), 1), "{answer}");
    match statement[0]["Effect"].as_str().unwrap() {
        "Allow" => true,
        "Deny" => {
            assert_eq!(answer["context"], Value::Null, "a denied client is nobody: {answer}");
            false
        }
        other => panic!("{other}"),
    }
}
