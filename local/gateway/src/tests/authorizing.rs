//! The REQUEST authorizer.

use serde_json::{Value, json};

use super::super::Settings;
use super::harness::*;

fn policy(effect: &str, resource: &str) -> Value {
    json!({
        "principalId": "u1",
        "policyDocument": {"Version": "2012-10-17", "Statement": [
            {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}]},
        "context": {"name": "Ann", "level": 7, "admin": true},
    })
}

fn guarded(identity_sources: &[&str]) -> tidings_local_stack::WebSocketApi {
    api(&[
        ("$connect", authorized("connect", identity_sources)),
        ("$disconnect", lambda("disconnect")),
        ("$default", two_way("default")),
    ])
}

/// Allows by the ARN it is given.
fn allowing() -> Functions {
    friendly().on("authorizer", |event| async move { returns(policy("Allow", event["methodArn"].as_str().unwrap())) })
}

#[tokio::test]
async fn the_context_goes_into_every_event() {
    let app = App::start(guarded(&[]), allowing()).await;
    let mut client = app.open("/dev?token=t", &[("X-Auth", "secret")]).await.unwrap();
    let asked = app.functions.events("authorizer").remove(0);
    let connected = app.functions.events("connect").remove(0);

    assert_eq!(asked["type"], "REQUEST");
    assert_eq!(asked["methodArn"], "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev/$connect");
    assert_eq!(asked["headers"]["Connection"], "upgrade");
    assert_eq!(asked["queryStringParameters"], json!({"token": "t"}));
    assert_eq!(asked["requestContext"]["connectionId"], connected["requestContext"]["connectionId"]);
    assert_eq!(asked["requestContext"]["connectedAt"], connected["requestContext"]["connectedAt"]);
    assert_ne!(asked["requestContext"]["requestId"], connected["requestContext"]["requestId"]);

    let mut context = connected["requestContext"]["authorizer"].as_object().unwrap().clone();
    assert!(context.remove("integrationLatency").unwrap().is_u64());
    let expected = json!({"name": "Ann", "level": "7", "admin": "true", "principalId": "u1"});
    assert_eq!(Value::Object(context), expected);

    assert_quiet(&mut client).await;
    assert_eq!(app.functions.events("default")[0]["requestContext"]["authorizer"], expected);
    client.close(None).await.unwrap();
    assert_eq!(app.functions.invoked("disconnect", 1).await[0]["requestContext"]["authorizer"], expected);
    assert_eq!(app.functions.events("authorizer").len(), 1, "the authorizer is asked once per connection");
}

#[tokio::test]
async fn missing_identity_sources_are_answered_401_without_asking() {
    let app =
        App::start(guarded(&["route.request.header.X-Auth", "route.request.querystring.token"]), allowing()).await;
    assert_eq!(app.refused("/dev", &[]).await, 401);
    assert_eq!(app.refused("/dev?token=t", &[]).await, 401);
    assert_eq!(app.refused("/dev", &[("x-auth", "a")]).await, 401);
    assert_eq!(app.refused("/dev?token=", &[("x-auth", "a")]).await, 401);
    assert!(app.functions.events("authorizer").is_empty());
    app.open("/dev?token=t", &[("x-auth", "a")]).await.unwrap();
}

#[tokio::test]
async fn each_answer_of_the_authorizer_has_its_status() {
    let arn = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/dev";
    let mut nested = policy("Allow", "*");
    nested["context"] = json!({"list": [1]});
    let mut nobody = policy("Allow", "*");
    nobody.as_object_mut().unwrap().remove("principalId");
    for (outcome, expected) in [
        (fails("Unauthorized"), 401),
        (returns(policy("Deny", &format!("{arn}/$connect"))), 403),
        (returns(policy("Allow", &format!("{arn}/*/*"))), 403),
        (returns(policy("Allow", &format!("{arn}/other"))), 403),
        (fails("boom"), 500),
        (returns(json!(null)), 500),
        (returns(json!({"isAuthorized": true})), 500),
        (returns(nested), 500),
        (returns(nobody), 500),
        (Outcome::Refused, 500),
    ] {
        let app = App::start(guarded(&[]), friendly().always("authorizer", outcome.clone())).await;
        assert_eq!(app.refused("/dev", &[]).await, expected, "{outcome:?}");
        assert!(app.functions.events("connect").is_empty(), "{outcome:?}");
        app.gateway.close_all().await;
        assert!(app.functions.events("disconnect").is_empty(), "{outcome:?}");
    }
}

#[tokio::test]
async fn region_and_account_of_the_arn_can_be_set() {
    let settings =
        Settings { region: "eu-west-3".to_owned(), account_id: "999999999999".to_owned(), ..Settings::default() };
    let functions =
        friendly().always("authorizer", returns(policy("Allow", "arn:aws:execute-api:eu-west-3:999999999999:*/dev/*")));
    let app = App::with_settings([guarded(&[])], functions, settings).await;
    app.connect().await;
}
