//! Tokens through the whole stack: the authorizer's own binary, the stack's secret, a real issuer, real clients.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::issuer::{Behaviour, Issuer, SigningKey, now, secret_token};
use tests::stack::Stack;
use tidings_test::Client;

const PATIENCE: Duration = Duration::from_secs(30);

/// Claims that are good for an hour.
fn claims(user: &str, permissions: Value) -> Value {
    json!({"sub": user, "iat": now(), "exp": now() + 3_600, "permissions": permissions})
}

fn with_token(stack: &Stack, token: &str, query: &str) -> String {
    format!("{}?access_token={token}{query}", stack.url())
}

async fn refused(stack: &Stack, token: &str, query: &str) -> Option<u16> {
    Client::offer(&with_token(stack, token, query), &[]).await.err()
}

async fn subscribe(client: &mut Client, topic: &str) -> Value {
    client.ask(json!({"action": "subscribe", "topic": topic, "id": 1})).await
}

async fn publish(client: &mut Client, topic: &str) -> Value {
    client.ask(json!({"action": "publish", "topic": topic, "data": 1, "id": 2})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_its_user_do_what_it_says_and_nothing_else() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let secret = stack.secret().await;
    let token = secret_token(&secret, &claims("u1", json!(["subscribe:orders/*", "publish:chat/**"])));

    let mut client = Client::connect(&with_token(&stack, &token, "&topic=orders/1&user=admin")).await;
    let who = client.ask(json!({"action": "whoami"})).await;
    assert_eq!((&who["user"], &who["topics"]), (&json!("u1"), &json!(["orders/1"])), "{who}");
    assert_eq!(subscribe(&mut client, "orders/2").await["type"], "ack");
    for topic in ["orders", "orders/2/items", "chat/1", "users/u2/inbox", "orders/*/x"] {
        let reply = subscribe(&mut client, topic).await;
        let message = format!("you may not subscribe to the topic {topic:?}");
        assert_eq!((&reply["code"], &reply["message"]), (&json!("Forbidden"), &json!(message)), "{reply}");
    }
    let both = client.ask(json!({"action": "subscribe", "topics": ["orders/3", "news"], "id": 3})).await;
    assert_eq!(both["code"], "Forbidden", "all or none: {both}");
    assert_eq!(publish(&mut client, "chat/a/b").await, json!({"type": "ack", "id": 2}));
    let reply = publish(&mut client, "orders/1").await;
    assert_eq!(reply["message"], "you may not publish to the topic \"orders/1\"", "{reply}");
    let who = client.ask(json!({"action": "whoami"})).await;
    assert_eq!(who["topics"], json!(["orders/1", "orders/2"]), "{who}");

    assert_eq!(refused(&stack, &token, "&topic=orders/1&topic=news").await, Some(403));
    let default = secret_token(&secret, &json!({"sub": "u/2", "exp": now() + 60}));
    let mut client = Client::connect(&with_token(&stack, &default, "")).await;
    for (topic, kind) in [("users/u/2/x", "error"), ("users/u1/x", "error"), ("users/u", "error")] {
        assert_eq!(subscribe(&mut client, topic).await["type"], kind, "{topic}");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_good_token_is_refused_with_403_and_the_log_says_why_without_the_token() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let secret = stack.secret().await;
    assert_eq!(Client::offer(stack.url(), &[]).await.err(), Some(403));
    assert_eq!(Client::offer(&format!("{}?user=admin", stack.url()), &[]).await.err(), Some(403));
    let expired = secret_token(&secret, &json!({"sub": "u1", "exp": now() - 100}));
    let other = secret_token(&[7; 64], &claims("u1", json!([])));
    for token in [expired.as_str(), &other, "not.a.token", "%00"] {
        assert_eq!(refused(&stack, token, "").await, Some(403), "{token}");
    }
    let both = [("Authorization", format!("Bearer {expired}"))];
    let headers: Vec<_> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(Client::open(&with_token(&stack, &other, ""), &headers).await.err(), Some(403));
    assert_eq!(stack.rows().await, []);
    let log = stack.log();
    for reason in ["there is no token", "has expired (exp)", "has a signature that no key", "several tokens"] {
        assert!(log.contains(reason), "{reason}: {log}");
    }
    for token in [&expired, &other] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature), "{log}");
    }
    assert!(!log.contains(std::str::from_utf8(&secret).unwrap()), "{log}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_come_in_the_header_and_as_a_subprotocol_that_is_not_returned() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let token = secret_token(&stack.secret().await, &claims("u1", json!(["subscribe:**"])));
    let mut client = Client::open(stack.url(), &[("Authorization", &format!("Bearer {token}"))]).await.unwrap();
    assert_eq!(client.ask(json!({"action": "whoami"})).await["user"], "u1");
    let offer = format!("access_token.{token}");
    for protocol in ["tidings.v1.json", "raw"] {
        for offers in [[protocol, &offer], [&offer, protocol]] {
            let mut client = Client::offer(stack.url(), &offers).await.unwrap();
            assert_eq!(client.subprotocol.as_deref(), Some(protocol));
            assert_eq!(client.ask(json!({"action": "whoami"})).await["user"], "u1");
        }
    }
    assert_eq!(Client::offer(stack.url(), &[&offer]).await.err(), Some(400), "a browser would drop it");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_secret_is_replaced_old_tokens_stay_good_and_after_the_second_time_they_do_not() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let (first, second, third) = (stack.secret().await, vec![b'2'; 64], vec![b'3'; 64]);
    let token = |secret: &[u8]| secret_token(secret, &claims("u1", json!(["subscribe:**"])));
    assert_eq!(refused(&stack, &token(&first), "").await, None);
    stack.put_secret(&second).await;
    assert_eq!(refused(&stack, &token(&first), "").await, None, "the one before");
    assert_eq!(refused(&stack, &token(&second), "").await, None, "a new one is noticed at once");
    stack.put_secret(&third).await;
    eventually("the third secret to count", PATIENCE, async || {
        refused(&stack, &token(&third), "").await.is_none().then_some(())
    })
    .await;
    assert_eq!(refused(&stack, &token(&second), "").await, None, "the one before");
    assert_eq!(refused(&stack, &token(&first), "").await, Some(403), "replaced twice");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_keys_are_found_and_followed_and_its_failure_is_no_denial() {
    let (old, new) = (SigningKey::es256("old"), SigningKey::rsa("new", "RS256"));
    let issuer = Issuer::start().await;
    issuer.behave(Behaviour::Status(503));
    let parameters = [("Authentication", "jwks"), ("TokenIssuer", issuer.url.as_str()), ("TokenAudience", "web,app")];
    let stack = Stack::start(&parameters).await;
    let claims = issuer.claims("auth0|u1");
    assert_eq!(refused(&stack, &old.token(&claims), "").await, Some(500), "our failure, not the client's");
    issuer.publish(&[&old]);
    // The failure is remembered for ten seconds.
    assert_eq!(refused(&stack, &old.token(&claims), "").await, Some(500));
    let url = with_token(&stack, &old.token(&claims), "&topic=users/auth0|u1/inbox");
    let connected = async || Client::offer(&url, &[]).await.ok();
    let mut client = eventually("the issuer to be asked again", PATIENCE, connected).await;
    assert_eq!(client.ask(json!({"action": "whoami"})).await["user"], "auth0|u1");
    issuer.publish(&[&old, &new]);
    assert_eq!(refused(&stack, &new.token(&claims), "").await, None, "a key that appears");
    let mut other = claims.clone();
    other["aud"] = json!("other");
    assert_eq!(refused(&stack, &new.token(&other), "").await, Some(403));
    let stranger = SigningKey::es256("stranger");
    assert_eq!(refused(&stack, &stranger.token(&claims), "").await, Some(403));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_a_token_get_in_where_that_is_allowed_but_take_no_name() {
    // The template's own value, which is another one for local runs.
    let permissions = ("AnonymousPermissions", "subscribe:public/**");
    let stack = Stack::start(&[("Authentication", "hs256"), ("AllowAnonymous", "true"), permissions]).await;
    let mut client = Client::connect(&format!("{}?topic=public/news", stack.url())).await;
    let who = client.ask(json!({"action": "whoami"})).await;
    assert_eq!((&who["user"], &who["topics"]), (&Value::Null, &json!(["public/news"])), "{who}");
    assert_eq!(subscribe(&mut client, "orders/1").await["code"], "Forbidden");
    assert_eq!(publish(&mut client, "public/news").await["code"], "Forbidden");
    assert_eq!(Client::offer(&format!("{}?user=u1", stack.url()), &[]).await.err(), Some(403));
    assert_eq!(refused(&stack, "a.b.c", "").await, Some(403), "a bad token is worse than none");
    assert!(stack.log().contains("clients without a token may connect"), "{}", stack.log());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_the_allowed_origins_connect() {
    let stack = Stack::start(&[("AllowedOrigins", "https://app.example.com")]).await;
    let from = async |origin: &str| Client::open(stack.url(), &[("Origin", origin)]).await.err();
    assert_eq!(from("https://app.example.com").await, None);
    assert_eq!(from("https://evil.example").await, Some(403));
    assert_eq!(from("null").await, Some(403));
    assert_eq!(Client::offer(stack.url(), &[]).await.err(), None, "no browser");
    assert!(stack.log().contains("anonymous access is on"), "{}", stack.log());
    stack.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_makes_a_token_that_the_stack_takes() {
    let stack = Stack::start(&[("Authentication", "hs256")]).await;
    let tidings = |arguments: Vec<String>| {
        let mut command = tokio::process::Command::new(tests::stack::tidings());
        command.args(arguments).env_remove("TIDINGS_TOKEN");
        command
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let make =
        words(&format!("token --user u1 --allow subscribe:orders/* --expires 5m --endpoint-url {}", stack.root()));
    let made = tidings(make).output().await.unwrap();
    assert!(made.status.success(), "{made:?}");
    let token = String::from_utf8(made.stdout).unwrap();
    let token = token.trim_end();
    assert!(!token.contains(char::is_whitespace) && made.stderr.is_empty(), "only the token: {token:?}");
    let mut client = Client::connect(&with_token(&stack, token, "&topic=orders/1")).await;
    assert_eq!(client.ask(json!({"action": "whoami"})).await["user"], "u1");

    let listen = words(&format!("listen --topic orders/2 --count 1 --no-reconnect --url {}", stack.url()));
    let listening = tidings(listen.clone()).env("TIDINGS_TOKEN", token).output();
    // What is said before its subscription is acknowledged is not new to it, though it may be pushed.
    let says = async {
        loop {
            stack.invoke("notifier", r#"{"to":{"topic":"orders/2"},"data":7}"#).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let listened = tokio::select! {
        listened = tokio::time::timeout(PATIENCE, listening) => listened.expect("a message in time").unwrap(),
        () = says => unreachable!("it says so for ever"),
    };
    assert!(listened.status.success(), "{listened:?}");
    assert!(String::from_utf8(listened.stdout).unwrap().contains(r#""data":7"#));
    let refused = tidings(listen).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(1), "without a token: {refused:?}");

    let missing = words(&format!("token --user u1 --secret-id other --endpoint-url {}", stack.root()));
    let missing = tidings(missing).output().await.unwrap();
    assert!(String::from_utf8(missing.stderr).unwrap().contains("there is no secret other"));
    assert!(!missing.status.success() && missing.stdout.is_empty());
    stack.stop().await;
}
