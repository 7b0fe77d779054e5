//! Attacks on tokens, and keys that come, go, hang and fail.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::issuer::{Behaviour, Issuer, SigningKey, assemble, hs256, now, part};
use tidings::{Handshake, Refusal, aws};

use crate::config::Origins;
use crate::keys::{Jwks, Keys, Refresh};
use crate::testing::{ask, ask_of, authorizer, connect, for_issuer, is_allowed, rules};
use crate::{Authentication, Authorizer, Error, Function, Identity};

/// Nothing is asked for twice.
const NEVER: Refresh = Refresh {
    at_most_every: Duration::from_secs(3_600),
    at_least_every: Duration::from_secs(3_600),
    stale_after: Duration::from_secs(3_600),
};

/// Everything is asked for as often as it is wanted.
const ALWAYS: Refresh = Refresh { at_most_every: Duration::ZERO, ..NEVER };

async fn issuer(keys: &[&SigningKey]) -> Issuer {
    let issuer = Issuer::start().await;
    issuer.publish(keys);
    issuer
}

async fn allows(authorizer: &Authorizer, token: &str) -> bool {
    is_allowed(&connect(authorizer, token).await.unwrap())
}

fn changed(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn a_token_of_every_algorithm_lets_its_user_in_with_what_it_says() {
    let keys = [
        SigningKey::rsa("rs", "RS256"),
        SigningKey::rsa("ps", "PS256"),
        SigningKey::es256("es"),
        SigningKey::es384("es3"),
        SigningKey::ed25519("ed"),
    ];
    let issuer = issuer(&keys.each_ref()).await;
    let authorizer = for_issuer(&issuer, NEVER).await;
    for key in &keys {
        let claims = changed(issuer.claims("u1"), "scope", json!("openid subscribe:orders/*"));
        let answer = connect(&authorizer, &key.token(&claims)).await.unwrap();
        assert!(is_allowed(&answer), "{key:?}");
        assert_eq!(answer["context"], json!({"user": "u1", "permissions": "subscribe:orders/*"}));
    }
    assert_eq!(issuer.asked(), 1, "the keys are kept");
    let answer = connect(&authorizer, &keys[2].token(&issuer.claims("a/b"))).await.unwrap();
    assert_eq!(answer["context"]["permissions"], "subscribe:users/a%2Fb/**");
}

#[tokio::test]
async fn claims_that_are_not_for_us_or_not_for_now_are_denied() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let authorizer = for_issuer(&issuer, NEVER).await;
    let good = || issuer.claims("u1");
    for claims in [
        good(),
        changed(good(), "exp", json!(now() - 30)),
        changed(good(), "nbf", json!(now() + 30)),
        changed(good(), "iat", json!(now() + 30)),
        changed(good(), "aud", json!(["other", "app"])),
        without(good(), "iat"),
        // As Cognito's access tokens are.
        changed(changed(without(good(), "aud"), "client_id", json!("app")), "token_use", json!("access")),
    ] {
        assert!(allows(&authorizer, &key.token(&claims)).await, "{claims}");
    }
    let long: Vec<_> = (0..300).map(|number| format!("subscribe:orders/{number}/x")).collect();
    for claims in [
        changed(good(), "exp", json!(now() - 90)),
        changed(good(), "exp", json!((now() + 3_600).to_string())),
        changed(good(), "exp", json!(null)),
        changed(good(), "exp", json!(-1)),
        changed(good(), "exp", json!("never")),
        changed(good(), "exp", json!([now() + 3_600])),
        without(good(), "exp"),
        changed(good(), "nbf", json!(now() + 90)),
        changed(good(), "nbf", json!((now() + 90).to_string())),
        changed(good(), "nbf", json!({"$gt": 0})),
        changed(good(), "iat", json!(now() + 90)),
        changed(good(), "iat", json!("now")),
        changed(good(), "iss", json!("https://evil.example")),
        changed(good(), "iss", json!(format!("{}/", issuer.url))),
        changed(good(), "iss", json!([issuer.url, "https://evil.example"])),
        changed(good(), "iss", json!(7)),
        without(good(), "iss"),
        changed(good(), "aud", json!("other")),
        changed(good(), "aud", json!([])),
        changed(good(), "aud", json!({"app": true})),
        changed(changed(good(), "aud", json!("other")), "client_id", json!("app")),
        without(good(), "aud"),
        changed(without(good(), "aud"), "client_id", json!("other")),
        changed(good(), "token_use", json!("id")),
        without(good(), "sub"),
        changed(good(), "sub", json!("")),
        changed(good(), "sub", json!(1)),
        changed(good(), "sub", json!("a\r\nb")),
        changed(good(), "sub", json!("user#\u{0}conn")),
        changed(good(), "sub", json!("u".repeat(257))),
        changed(good(), "permissions", json!({"subscribe": "*"})),
        changed(good(), "permissions", json!(long)),
        json!([1]),
        json!("sub"),
        json!(null),
    ] {
        assert!(!allows(&authorizer, &key.token(&claims)).await, "{claims}");
    }
}

#[tokio::test]
async fn a_header_cannot_choose_how_it_is_verified() {
    let (rsa, ec) = (SigningKey::rsa("rsa", "RS256"), SigningKey::es256("ec"));
    let issuer = issuer(&[&rsa, &ec]).await;
    let authorizer = for_issuer(&issuer, ALWAYS).await;
    let claims = issuer.claims("u1");
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let own = SigningKey::es256("ec");
    let sign = |header: Value, sign: &dyn Fn(&[u8]) -> Vec<u8>| assemble(&header, &claims, sign);
    let tokens = [
        // No signature at all.
        sign(json!({"alg": "none"}), &|_| vec![]),
        sign(json!({"alg": "None", "kid": "rsa"}), &|_| vec![]),
        sign(json!({"alg": "nOnE", "kid": "rsa"}), &|_| vec![]),
        sign(json!({"alg": "", "kid": "rsa"}), &|_| vec![]),
        sign(json!({"kid": "rsa"}), &|message| rsa.sign(message)),
        // The public key, which everybody has, as a secret.
        sign(json!({"alg": "HS256", "kid": "rsa"}), &|message| hs256(modulus.as_bytes(), message)),
        sign(json!({"alg": "HS256", "kid": "rsa"}), &|message| hs256(rsa.jwk().to_string().as_bytes(), message)),
        sign(json!({"alg": "HS256"}), &|message| hs256(b"", message)),
        sign(json!({"alg": "HS512", "kid": "rsa"}), &|message| hs256(modulus.as_bytes(), message)),
        // Another algorithm of the same key, and the key of another.
        sign(json!({"alg": "PS256", "kid": "rsa"}), &|message| SigningKey::rsa("rsa", "PS256").sign(message)),
        sign(json!({"alg": "RS512", "kid": "rsa"}), &|message| rsa.sign(message)),
        sign(json!({"alg": "RS256", "kid": "ec"}), &|message| rsa.sign(message)),
        sign(json!({"alg": "ES256", "kid": "rsa"}), &|message| ec.sign(message)),
        // A key of the attacker's own: by the same name, in the header, or somewhere else.
        own.token(&claims),
        sign(json!({"alg": "ES256", "kid": "ec", "jwk": own.jwk()}), &|message| own.sign(message)),
        sign(json!({"alg": "ES256", "kid": "ec", "jku": "https://evil.example/keys"}), &|message| own.sign(message)),
        sign(json!({"alg": "ES256", "kid": "ec", "x5u": "https://evil.example/x"}), &|message| own.sign(message)),
        // A signature without a value (all zeros is one for broken verifiers).
        sign(json!({"alg": "ES256", "kid": "ec"}), &|_| vec![0; 64]),
        sign(json!({"alg": "ES256", "kid": "ec"}), &|_| vec![]),
        // No name where there are several keys, and names that are none.
        sign(json!({"alg": "ES256"}), &|message| ec.sign(message)),
        sign(json!({"alg": "ES256", "kid": "../../ec"}), &|message| ec.sign(message)),
        sign(json!({"alg": "ES256", "kid": "' or 1=1 --"}), &|message| ec.sign(message)),
        sign(json!({"alg": "ES256", "kid": ["ec"]}), &|message| ec.sign(message)),
        sign(json!({"alg": "ES256", "kid": null}), &|message| ec.sign(message)),
        // An extension that must be understood.
        sign(json!({"alg": "ES256", "kid": "ec", "crit": ["exp"]}), &|message| ec.sign(message)),
        sign(json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false}), &|message| ec.sign(message)),
    ];
    for (number, token) in tokens.iter().enumerate() {
        assert!(!allows(&authorizer, token).await, "number {number}: {token}");
    }
    assert!(allows(&authorizer, &ec.token(&claims)).await);
}

#[tokio::test]
async fn what_is_no_token_is_denied_and_never_fails() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let authorizer = for_issuer(&issuer, NEVER).await;
    let good = key.token(&issuer.claims("u1"));
    let [header, claims, signature] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    let forged = part(issuer.claims("admin").to_string());
    for token in [
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!(".{good}"),
        format!("{header}.{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}.{signature}A"),
        format!("{header}.{claims}.{}", signature.replace(['-', '_'], "+")) + "+",
        format!("{header}.{claims}.!!!!"),
        format!("{header}.{forged}.{signature}"),
        format!("{}.{claims}.{signature}", part("not json")),
        format!("{}.{claims}.{signature}", part("[]")),
        format!("{}.{claims}.{signature}", part([0xff, 0xfe])),
        format!("{}.{claims}.{signature}", part("{\"alg\":\"ES256\",\"kid\":\"k\"} ")),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{good}\u{0}"),
        "é.é.é".to_owned(),
        ".".repeat(8_000),
        "a".repeat(8_000),
        format!("{header}.{}.{signature}", "a".repeat(20_000)),
        part("[".repeat(6_000)) + ".e30.AA",
    ] {
        assert!(!allows(&authorizer, &token).await, "{token}");
    }
    assert!(allows(&authorizer, &good).await);
}

#[tokio::test]
async fn a_key_that_appears_is_found_and_one_that_is_withdrawn_is_forgotten() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::es256("new"));
    let issuer = issuer(&[&old]).await;
    let authorizer = for_issuer(&issuer, Refresh { at_least_every: Duration::from_millis(300), ..ALWAYS }).await;
    let (by_old, by_new) = (old.token(&issuer.claims("u1")), new.token(&issuer.claims("u1")));
    assert!(allows(&authorizer, &by_old).await);
    assert!(!allows(&authorizer, &by_new).await);
    issuer.publish(&[&old, &new]);
    assert!(allows(&authorizer, &by_new).await, "an unknown key is looked for");
    assert!(allows(&authorizer, &by_old).await);
    issuer.publish(&[&new]);
    tests::eventually("the old key to be forgotten", Duration::from_secs(10), async || {
        (!allows(&authorizer, &by_old).await).then_some(())
    })
    .await;
    assert!(allows(&authorizer, &by_new).await);
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_again_and_again() {
    let (known, other) = (SigningKey::es256("known"), SigningKey::es256("other"));
    let issuer = issuer(&[&known]).await;
    let authorizer = for_issuer(&issuer, NEVER).await;
    for _ in 0..20 {
        assert!(!allows(&authorizer, &other.token(&issuer.claims("u1"))).await);
    }
    assert_eq!(issuer.asked(), 2, "once to begin with, and once for the unknown key");
    assert!(allows(&authorizer, &known.token(&issuer.claims("u1"))).await);
    let bad = assemble(&known.header(), &issuer.claims("u1"), |_| vec![1; 64]);
    assert!(!allows(&authorizer, &bad).await);
    assert_eq!(issuer.asked(), 2, "a bad signature of a known key is no reason to ask");
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let authorizer = for_issuer(&issuer, NEVER).await;
    let token = key.token(&issuer.claims("u1"));
    let all = futures_util::future::join_all((0..20).map(|_| allows(&authorizer, &token))).await;
    assert!(all.into_iter().all(|allowed| allowed));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn where_keys_cannot_be_read_the_function_fails_and_denies_nobody() {
    let key = SigningKey::es256("k");
    let issuer = Issuer::start().await;
    let token = key.token(&issuer.claims("u1"));
    let started = Instant::now();
    for behaviour in [
        Behaviour::Hangs,
        Behaviour::Huge,
        Behaviour::Status(500),
        Behaviour::Status(302),
        Behaviour::Says("<html>".to_owned()),
        Behaviour::Says("{}".to_owned()),
        Behaviour::Keys(json!({"keys": []})),
        Behaviour::Keys(json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "k", "alg": "HS256"}]})),
        Behaviour::Misleads(json!({"issuer": "https://evil.example", "jwks_uri": format!("{}/keys", issuer.url)})),
        Behaviour::Misleads(json!({"issuer": issuer.url, "jwks_uri": "http://169.254.169.254/keys"})),
        Behaviour::Misleads(json!({"issuer": issuer.url, "jwks_uri": "file:///etc/passwd"})),
    ] {
        issuer.behave(behaviour.clone());
        let error = connect(&for_issuer(&issuer, NEVER).await, &token).await.unwrap_err();
        assert!(matches!(error, Error::Keys(_)), "{behaviour:?}: {error}");
        assert!(!error.to_string().contains(&token), "{error}");
    }
    assert!(started.elapsed() < Duration::from_secs(30), "each is given up soon: {:?}", started.elapsed());
    let nowhere = Keys::new(
        Jwks::at(aws::http_client_to("http://127.0.0.1:9").unwrap(), "http://127.0.0.1:9/keys".parse().unwrap()),
        NEVER,
    );
    let authorizer =
        authorizer(Authentication::Tokens { keys: nowhere, rules: rules(&issuer.url), allow_anonymous: false }).await;
    assert!(connect(&authorizer, &token).await.is_err());
    // What is no token needs no keys to be told so.
    assert!(!allows(&authorizer, "a.b.c").await);
}

#[tokio::test]
async fn an_issuer_that_fails_from_the_start_is_not_asked_at_every_handshake() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    issuer.behave(Behaviour::Status(503));
    let token = key.token(&issuer.claims("u1"));
    let authorizer = for_issuer(&issuer, NEVER).await;
    for _ in 0..20 {
        let error = connect(&authorizer, &token).await.unwrap_err();
        assert!(matches!(error, Error::Keys(_)), "nobody is denied for it: {error}");
    }
    assert_eq!(issuer.asked(), 1);

    let authorizer = for_issuer(&issuer, ALWAYS).await;
    assert!(connect(&authorizer, &token).await.is_err());
    issuer.publish(&[&key]);
    assert!(allows(&authorizer, &token).await, "once the time is over it is asked again");
}

#[tokio::test]
async fn keys_that_are_known_count_while_the_issuer_is_away_and_unknown_ones_are_not_denied() {
    let (key, other) = (SigningKey::es256("k"), SigningKey::es256("other"));
    let issuer = issuer(&[&key]).await;
    let authorizer = for_issuer(&issuer, Refresh { at_least_every: Duration::ZERO, ..NEVER }).await;
    assert!(allows(&authorizer, &key.token(&issuer.claims("u1"))).await);
    issuer.behave(Behaviour::Status(503));
    for _ in 0..3 {
        assert!(allows(&authorizer, &key.token(&issuer.claims("u1"))).await);
        let error = connect(&authorizer, &other.token(&issuer.claims("u1"))).await.unwrap_err();
        assert!(matches!(error, Error::Keys(_)), "{error}");
    }
    assert_eq!(issuer.asked(), 2, "not asked again at once");
    let stale = Refresh { at_least_every: Duration::ZERO, stale_after: Duration::ZERO, ..ALWAYS };
    issuer.publish(&[&key]);
    let authorizer = for_issuer(&issuer, stale).await;
    assert!(allows(&authorizer, &key.token(&issuer.claims("u1"))).await);
    issuer.behave(Behaviour::Status(503));
    assert!(connect(&authorizer, &key.token(&issuer.claims("u1"))).await.is_err(), "too old to count");
}

#[tokio::test]
async fn a_client_without_a_token_is_denied_or_has_no_name() {
    let issuer = issuer(&[&SigningKey::es256("k")]).await;
    let closed = for_issuer(&issuer, NEVER).await;
    assert!(!is_allowed(&ask(&closed, &json!({})).await.unwrap()));
    assert!(!is_allowed(&ask(&closed, &json!({"queryStringParameters": {"user": "admin"}})).await.unwrap()));

    let mut open = for_issuer(&issuer, NEVER).await;
    if let Authentication::Tokens { allow_anonymous, .. } = &mut open.deps.authentication {
        *allow_anonymous = true;
    }
    let answer = ask(&open, &json!({})).await.unwrap();
    assert!(is_allowed(&answer));
    assert_eq!(answer["context"], json!({"permissions": "subscribe:public/**"}));
    assert_eq!(answer["principalId"], "anonymous");
    for parts in [
        json!({"queryStringParameters": {"user": "admin"}}),
        json!({"queryStringParameters": {"access_token": ""}}),
        json!({"queryStringParameters": {"access_token": "a.b.c"}}),
        json!({"headers": {"Authorization": "Basic YTpi"}}),
    ] {
        assert!(!is_allowed(&ask(&open, &parts).await.unwrap()), "{parts}");
    }
    assert_eq!(issuer.asked(), 0, "none of this needs keys");
}

#[tokio::test]
async fn where_everybody_is_anonymous_a_client_may_name_itself() {
    let authorizer = authorizer(Authentication::Anonymous).await;
    let named = |user: &str| json!({"queryStringParameters": {"user": user}});
    let answer = ask(&authorizer, &named("u 1")).await.unwrap();
    assert!(is_allowed(&answer));
    let permissions = "subscribe:public/** publish:rooms/u%201";
    assert_eq!(answer["context"], json!({"user": "u 1", "permissions": permissions}));
    assert!(is_allowed(&ask(&authorizer, &json!({})).await.unwrap()));
    assert!(is_allowed(&ask(&authorizer, &json!({"queryStringParameters": {"access_token": "x"}})).await.unwrap()));
    for user in ["", "a\nb"] {
        assert!(!is_allowed(&ask(&authorizer, &named(user)).await.unwrap()), "{user:?}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_denied_whatever_they_know() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let mut authorizer = for_issuer(&issuer, NEVER).await;
    authorizer.deps.origins = Origins::parse("https://app.example.com").unwrap();
    let token = key.token(&issuer.claims("u1"));
    for (origin, allowed) in [("https://app.example.com", true), ("https://evil.example", false)] {
        let headers = json!({"Authorization": format!("Bearer {token}"), "Origin": origin});
        assert_eq!(is_allowed(&ask(&authorizer, &json!({"headers": headers})).await.unwrap()), allowed, "{origin}");
    }
    assert!(allows(&authorizer, &token).await, "no browser");
    let both = json!({"Origin": ["https://app.example.com", "https://evil.example"], "Authorization": [format!("Bearer {token}")]});
    assert!(!is_allowed(&ask(&authorizer, &json!({"multiValueHeaders": both})).await.unwrap()));
}

#[tokio::test]
async fn an_event_without_a_method_is_a_failure() {
    let authorizer = authorizer(Authentication::Anonymous).await;
    for arn in [Value::Null, json!("")] {
        let error = ask(&authorizer, &json!({"methodArn": arn})).await.unwrap_err();
        assert!(matches!(error, Error::Event), "{error}");
    }
}

fn of_web_pubsub(query: &Value) -> Value {
    json!({"headers": {"Sec-WebSocket-Protocol": "json.webpubsub.azure.v1"}, "queryStringParameters": query})
}

#[tokio::test]
async fn clients_of_web_pubsub_need_a_token_of_theirs_or_a_stack_that_asks_nobody() {
    let mut anybody = authorizer(Authentication::Anonymous).await;
    let hub = of_web_pubsub(&json!({"hub": "Chat", "user": "u1"}));
    assert_eq!(ask(&anybody, &hub).await.unwrap()["context"]["webPubSub"], Value::Null, "it is not spoken");
    anybody.deps.spoken = tidings::protocol::Spoken::parse("webpubsub").unwrap();
    let answer = ask(&anybody, &hub).await.unwrap();
    assert!(is_allowed(&answer));
    let context = json!({"user": "u1", "permissions": "subscribe:public/** publish:rooms/u1", "protocol": "webpubsub",
        "webPubSub": r#"{"hub":"chat","roles":[]}"#});
    assert_eq!(answer["context"], context);
    for query in [json!({"hub": "a/b"}), json!({}), json!({"hub": "chat", "access_token": "x.y.z"})] {
        assert!(!is_allowed(&ask(&anybody, &of_web_pubsub(&query)).await.unwrap()), "{query}");
    }
    let raw = json!({"queryStringParameters": {"hub": "chat", "protocol": "webpubsub.raw"}});
    assert_eq!(ask(&anybody, &raw).await.unwrap()["context"]["protocol"], "webpubsub.raw");
    let mut binary = json!({"headers": {"Sec-WebSocket-Protocol": "protobuf.webpubsub.azure.v1"}});
    assert!(!is_allowed(&ask(&anybody, &binary).await.unwrap()));
    binary["queryStringParameters"] = raw["queryStringParameters"].clone();
    assert!(!is_allowed(&ask(&anybody, &binary).await.unwrap()), "it has binary frames all the same");

    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let mut asking = for_issuer(&issuer, NEVER).await;
    asking.deps.spoken = tidings::protocol::Spoken::parse("webpubsub").unwrap();
    if let Authentication::Tokens { allow_anonymous, .. } = &mut asking.deps.authentication {
        *allow_anonymous = true;
    }
    assert!(!is_allowed(&ask(&asking, &of_web_pubsub(&json!({"hub": "chat"}))).await.unwrap()));
    let token = key.token(&issuer.claims("u1"));
    let with_ours = of_web_pubsub(&json!({"hub": "chat", "access_token": token}));
    assert!(!is_allowed(&ask(&asking, &with_ours).await.unwrap()), "a token of ours opens nothing there");
}

#[tokio::test]
async fn whom_an_application_lets_in_as_a_client_of_web_pubsub_has_no_defaults() {
    let key = SigningKey::es256("k");
    let mut deps = for_issuer(&issuer(&[&key]).await, NEVER).await.deps;
    deps.spoken = tidings::protocol::Spoken::parse("webpubsub").unwrap();
    let load = async || Ok::<_, Infallible>(BTreeMap::from([("k1", "shop-1")]));
    let authorizer = Function::with_state(load).verify(by_key).core(deps).await.unwrap();
    let mut with_key = of_web_pubsub(&json!({"hub": "chat"}));
    with_key["headers"]["X-Api-Key"] = json!("k1");
    let answer = ask_of(&authorizer, &with_key).await.unwrap();
    assert_eq!((&answer["context"]["user"], &answer["context"]["permissions"]), (&json!("shop-1"), &json!("")));
}

#[tokio::test]
async fn a_connection_is_kept_only_where_that_is_asked_for_and_only_by_the_reliable_subprotocol() {
    let mut anybody = authorizer(Authentication::Anonymous).await;
    anybody.deps.spoken = tidings::protocol::Spoken::parse("webpubsub").unwrap();
    let reliable = |query: Value| {
        let headers = json!({"Sec-WebSocket-Protocol": "json.reliable.webpubsub.azure.v1"});
        json!({"headers": headers, "queryStringParameters": query})
    };
    let plain = reliable(json!({"hub": "chat"}));
    let context = ask(&anybody, &plain).await.unwrap()["context"].clone();
    assert_eq!((&context["protocol"], &context["reconnectionToken"]), (&json!("webpubsub.reliable"), &Value::Null));
    let back = reliable(json!({"hub": "chat", "awps_connection_id": "c=", "awps_reconnection_token": "a.b.c"}));
    assert!(!is_allowed(&ask(&anybody, &back).await.unwrap()), "nothing is kept, and its library begins anew");
    let query = json!({"hub": "chat", "protocol": "webpubsub.outbox"});
    let named = json!({"queryStringParameters": query});
    assert!(!is_allowed(&ask(&anybody, &named).await.unwrap()), "nobody asks for it by name");
}

/// By an API key; `None` goes on with tokens.
async fn by_key(
    keys: Arc<BTreeMap<&'static str, &'static str>>,
    handshake: Handshake,
) -> Result<Option<Identity>, Refusal> {
    match handshake.header("X-Api-Key") {
        None => Ok(None),
        Some("") => Err(Refusal::unauthorized("the key is empty")),
        Some("any") => Err(Refusal::new(503, "the table of keys cannot be read")),
        Some(key) => {
            let shop = keys.get(key).ok_or_else(|| Refusal::forbidden("there is no such key"))?;
            Ok(Some(Identity::of(shop)?.with_claim("plan", "gold").with_claim("seats", 7)))
        }
    }
}

#[tokio::test]
async fn an_application_lets_in_by_an_api_key_and_its_claims_go_on_to_its_functions() {
    let key = SigningKey::es256("k");
    let issuer = issuer(&[&key]).await;
    let deps = for_issuer(&issuer, NEVER).await.deps;
    let load = async || Ok::<_, Infallible>(BTreeMap::from([("k1", "shop-1")]));
    let authorizer = Function::with_state(load).verify(by_key).core(deps).await.unwrap();
    let with_key = |key: &str| json!({"headers": {"x-api-key": key}});
    let answer = ask_of(&authorizer, &with_key("k1")).await.unwrap();
    assert!(is_allowed(&answer));
    let claims = r#"{"plan":"gold","seats":7}"#;
    let context = json!({"user": "shop-1", "permissions": "subscribe:users/shop-1/**", "claims": claims});
    assert_eq!(answer["context"], context);
    assert!(!is_allowed(&ask_of(&authorizer, &with_key("k2")).await.unwrap()));
    let refused = ask_of(&authorizer, &with_key("")).await.unwrap_err();
    assert_eq!(refused.to_string(), "Unauthorized", "API Gateway answers 401 to this text");
    let failed = ask_of(&authorizer, &with_key("any")).await.unwrap_err();
    assert!(matches!(&failed, Error::Hook(refusal) if refusal.status() == 503), "nobody is denied for it: {failed}");
    let token = json!({"queryStringParameters": {"access_token": key.token(&issuer.claims("u1"))}});
    assert!(is_allowed(&ask_of(&authorizer, &token).await.unwrap()), "tokens are looked at after it");
}
