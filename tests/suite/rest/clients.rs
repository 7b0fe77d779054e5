//! Who may call the routes for clients, and from which pages.

use serde_json::{Value, json};
use tests::issuer::{now, secret_token};

use super::Rest;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_with_the_token_that_it_connects_with() {
    let rest = Rest::start_with(&[("Authentication", "hs256")]).await;
    let secret = rest.stack.secret().await;
    let claims = json!({"sub": "u1", "exp": now() + 60, "permissions": ["subscribe:orders/*"]});
    let good = secret_token(&secret, &claims);
    let old = secret_token(&secret, &json!({"sub": "u1", "exp": now() - 120}));
    let forged = secret_token(b"another secret of thirty-two bytes", &claims);
    for (target, token, status) in [
        ("/messages?topic=orders%2F1", Some(&good), 200),
        ("/messages?user=u1", Some(&good), 200),
        ("/users/u1/unread", Some(&good), 200),
        ("/messages?topic=news", Some(&good), 403),
        ("/messages?user=u2", Some(&good), 403),
        ("/users/u2/unread", Some(&good), 403),
        ("/messages?topic=orders%2F1", Some(&old), 401),
        ("/messages?topic=orders%2F1", Some(&forged), 401),
        ("/messages?topic=orders%2F1", None, 401),
        ("/messages?user=u1", None, 401),
    ] {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let answer = rest.send("GET", target, &headers, b"").await;
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        assert_eq!(answer.header("www-authenticate"), (status == 401).then_some("Bearer"), "{target}");
        let in_query = token.map_or(String::new(), |token| {
            format!("{}access_token={token}", if target.contains('?') { "&" } else { "?" })
        });
        assert_eq!(rest.send("GET", &format!("{target}{in_query}"), &[], b"").await.status, status, "{target}");
    }
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_no_token_reads_what_anonymous_clients_may() {
    let parameters =
        [("Authentication", "hs256"), ("AllowAnonymous", "true"), ("AnonymousPermissions", "subscribe:public/**")];
    let rest = Rest::start_with(&parameters).await;
    rest.get("/messages?topic=public%2Fa").await;
    let refused = rest.call("GET", "/messages?topic=a", 403).await;
    assert_eq!(refused["detail"], "`topic`: you may not subscribe to the topic \"a\"");
    rest.call("GET", "/messages?user=u1", 401).await;
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_on_the_list_may_read_and_others_are_refused() {
    let rest = Rest::start_with(&[("AllowedOrigins", "https://app.example.com")]).await;
    let call = async |method: &'static str, target: &'static str, origin: &'static str| {
        rest.send(method, target, &[("Origin", origin)], b"").await
    };
    for (method, target) in [("OPTIONS", "/messages"), ("OPTIONS", "/users/u1/read"), ("OPTIONS", "/users/u1/unread")] {
        let asked = call(method, target, "https://app.example.com").await;
        assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, Some("https://app.example.com")));
        assert_eq!(asked.header("access-control-allow-headers"), Some("authorization, content-type"));
        assert_eq!(asked.header("access-control-allow-methods"), asked.header("allow"), "{target}");
        let other = call(method, target, "https://evil.example").await;
        assert_eq!((other.status, other.header("access-control-allow-origin")), (204, None), "{target}");
    }
    let read = call("GET", "/messages?topic=a", "https://app.example.com").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("https://app.example.com")));
    assert_eq!(read.header("vary"), Some("origin"));
    let problem = call("GET", "/messages?topic=", "https://app.example.com").await;
    assert_eq!((problem.status, problem.header("access-control-allow-origin")), (400, Some("https://app.example.com")));
    let other = call("GET", "/messages?topic=a", "https://evil.example").await;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (403, None), "{other:?}");
    assert_eq!(
        rest.get("/messages?topic=a").await["messages"],
        Value::Array(vec![]),
        "what is no browser says nothing"
    );
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_may_call_what_is_not_for_clients() {
    let rest = Rest::start().await;
    let page = [("Origin", "https://app.example.com")];
    for (method, target) in [("GET", "/connections"), ("GET", "/users/u1/topics"), ("GET", "/openapi.json")] {
        let answer = rest.send(method, target, &page, b"").await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{target}");
    }
    rest.stack.stop().await;
}
