//! The REQUEST authorizer.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings};
use aws_sigv4::sign::v4;
use serde_json::{Value, json};

use super::super::{Settings, SigningKeys};
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

#[tokio::test]
async fn headers_that_only_the_edge_adds_count_as_identity() {
    let sources = ["X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-port", "X-Amzn-Trace-Id", "Host"];
    let sources = sources.map(|name| format!("route.request.header.{name}"));
    let app = App::start(guarded(&sources.each_ref().map(String::as_str)), allowing()).await;
    app.open("/dev", &[]).await.unwrap();
    assert_eq!(app.functions.events("authorizer").len(), 1);
    let app = App::start(guarded(&["context.identity.apiKey"]), allowing()).await;
    assert_eq!(app.refused("/dev", &[]).await, 401);
    assert!(app.functions.events("authorizer").is_empty());
}

#[tokio::test]
async fn a_policy_with_a_condition_lets_in_whom_it_is_about() {
    for (range, status) in [("127.0.0.0/8", None), ("10.0.0.0/8", Some(403))] {
        let functions = friendly().on("authorizer", move |event| async move {
            let mut policy = policy("Allow", event["methodArn"].as_str().unwrap());
            policy["policyDocument"]["Statement"][0]["Condition"] = json!({"IpAddress": {"aws:SourceIp": range}});
            returns(policy)
        });
        let app = App::start(guarded(&[]), functions).await;
        match status {
            None => drop(app.open("/dev", &[]).await.unwrap()),
            Some(status) => assert_eq!(app.refused("/dev", &[]).await, status),
        }
    }
}

/// An API whose clients sign.
fn signed() -> tidings_local_stack::WebSocketApi {
    let mut api = usual();
    api.routes["$connect"].authorization = tidings_local_stack::ConnectAuthorization::Iam;
    api
}

pub(super) fn keys() -> SigningKeys {
    SigningKeys { access_key_id: "AKID".to_owned(), secret_access_key: "secret".to_owned(), session_token: None }
}

const TARGET: &str = "/dev?user=u%201";

fn sign(address: SocketAddr, secret: &str, in_query: bool, at: SystemTime) -> Vec<(String, String)> {
    sign_call(("GET", &format!("http://{address}{TARGET}"), b""), secret, in_query, at)
}

/// What the SDKs' signer makes of a method, a URL and a body: headers, or a query.
pub(super) fn sign_call(
    (method, uri, body): (&str, &str, &[u8]),
    secret: &str,
    in_query: bool,
    at: SystemTime,
) -> Vec<(String, String)> {
    let credentials = aws_credential_types::Credentials::new("AKID", secret, None, None, "test");
    let identity = credentials.into();
    let mut settings = SigningSettings::default();
    if in_query {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    let builder = v4::SigningParams::builder().identity(&identity).region("us-east-1").name("execute-api");
    let parameters = builder.time(at).settings(settings).build().unwrap().into();
    let request = SignableRequest::new(method, uri, std::iter::empty(), SignableBody::Bytes(body)).unwrap();
    let (instructions, _) = aws_sigv4::http_request::sign(request, &parameters).unwrap().into_parts();
    let (headers, query) = instructions.into_parts();
    let headers = headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned()));
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    headers.chain(query.iter().map(|(name, value)| ((*name).to_owned(), encode(value)))).collect()
}

pub(super) fn by_header(signature: &[(String, String)]) -> Vec<(&str, &str)> {
    signature.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn by_query(signature: &[(String, String)]) -> String {
    let pairs: Vec<_> = signature.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("/dev?user=u%201&{}", pairs.join("&"))
}

#[tokio::test]
async fn unsigned_clients_of_an_iam_route_are_let_in_unless_strict() {
    let app = App::start(signed(), friendly()).await;
    app.open("/dev", &[]).await.unwrap();
    let identity = &app.functions.events("connect")[0]["requestContext"]["identity"];
    assert_eq!(identity.get("accessKey"), None);
    let settings = Settings { strict: true, keys: keys(), ..Settings::default() };
    let app = App::with_settings([signed()], friendly(), settings).await;
    assert_eq!(app.refused("/dev", &[]).await, 403);
    assert!(app.functions.events("connect").is_empty());
}

#[tokio::test]
async fn a_signature_in_headers_or_query_is_verified_and_told_to_functions() {
    let settings = Settings { strict: true, keys: keys(), ..Settings::default() };
    let app = App::with_settings([signed()], friendly(), settings).await;
    let now = SystemTime::now();
    let header = sign(app.address, "secret", false, now);
    app.open(TARGET, &by_header(&header)).await.unwrap();
    let query = sign(app.address, "secret", true, now);
    app.open(&by_query(&query), &[]).await.unwrap();
    for event in app.functions.invoked("connect", 2).await {
        let mut identity = event["requestContext"]["identity"].clone();
        identity.as_object_mut().unwrap().remove("sourceIp");
        // The keys of an event that AWS sent: loginov-rocks/WebSocket-API-Gateway-IAM-Signer, `authorizedEvent.json`.
        let expected = json!({
            "principalOrgId": "o-tidingslocal", "userArn": "arn:aws:iam::123456789012:user/AKID",
            "accountId": "123456789012", "caller": "AKID", "accessKey": "AKID", "user": "AKID",
        });
        assert_eq!(identity, expected);
        let headers = event["headers"].as_object().unwrap();
        assert!(!headers.keys().any(|name| name.eq_ignore_ascii_case("authorization")), "{headers:?}");
    }
    let wrong = sign(app.address, "guessed", false, now);
    assert_eq!(app.refused(TARGET, &by_header(&wrong)).await, 403);
    assert_eq!(app.refused("/dev?user=other", &by_header(&header)).await, 403);
    let old = sign(app.address, "secret", true, now - Duration::from_secs(3600));
    assert_eq!(app.refused(&by_query(&old), &[]).await, 403);
    assert_eq!(app.functions.events("connect").len(), 2);
}
