//! Notifying.

use serde_json::{Value, json};
use tests::queues::Served;
use tidings::queue::SCOPE_ATTRIBUTE;

use super::{JSON, Rest, deps};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_reaches_its_audience() {
    let rest = Rest::start().await;
    let (mut alice, _) = rest.connect("?user=alice&topic=orders%2F42").await;
    let (mut bob, bobs) = rest.connect("?user=bob").await;

    let body = json!({"to": {"topic": "orders/42"}, "type": "order.shipped", "data": {"n": 1}});
    let accepted = rest.notify(&body).await;
    let message = alice.json().await;
    assert_eq!(
        (&message["id"], &message["event"], &message["data"]),
        (&accepted["id"], &json!("order.shipped"), &json!({"n": 1}))
    );

    let list = json!([
        {"id": "one", "to": {"user": "bob"}, "data": 1},
        {"to": {"connection": bobs}, "dataType": "text", "data": "zwei, süß"},
    ]);
    let ids = rest.notify(&list).await["ids"].as_array().unwrap().clone();
    assert_eq!(ids[0], "one");
    let mut messages = [bob.json().await, bob.json().await];
    messages.sort_by_key(|message| message["data"].to_string());
    let [second, first] = &messages;
    assert_eq!((&first["id"], &first["data"]), (&ids[0], &json!(1)));
    assert_eq!((&second["id"], &second["data"]), (&ids[1], &json!("zwei, süß")));

    let key = ("Idempotency-Key", "order-42-shipped");
    let answer = rest.send("POST", "/notifications", &[JSON, key], body.to_string().as_bytes()).await;
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap(), json!({"id": "order-42-shipped"}));
    assert_eq!(alice.json().await["id"], "order-42-shipped");
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_be_as_long_as_api_gateway_takes_and_no_longer() {
    let rest = Rest::start().await;
    let (mut alice, _) = rest.connect("?user=alice").await;
    let body = |length: usize| json!({"to": {"user": "alice"}, "dataType": "text", "data": "x".repeat(length)});
    rest.notify(&body(128_000)).await;
    assert_eq!(alice.json().await["data"].as_str().unwrap().len(), 128_000);
    // A message that is too long, and a body that is; the gateway takes 10 MB.
    for (length, words) in [(131_072, "`data`: the message"), (262_144, "`body`: it"), (9_000_000, "`body`: it")] {
        let answer = rest.send("POST", "/notifications", &[JSON], body(length).to_string().as_bytes()).await;
        assert!(answer.status == 413 && answer.body.contains(words), "{length}: {}", answer.body);
    }
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_caller_puts_its_notifications_on_the_queue_with_a_scope_of_its_own() {
    let served = Served::start().await;
    let deps = deps(served.queue()).await;
    let body = json!({"to": "everyone", "data": 1}).to_string();
    for authorizer in [
        json!({"iam": {"userArn": "arn:aws:iam::123456789012:user/shop"}}),
        json!({"iam": {"userArn": "arn:aws:iam::123456789012:user/bank"}}),
        json!({"jwt": {"claims": {"iss": "https://issuer.example", "sub": "shop"}}}),
    ] {
        let event = json!({
            "routeKey": "POST /notifications", "body": body,
            "headers": {"content-type": "application/json", "idempotency-key": "1"},
            "requestContext": {"requestId": "r", "timeEpoch": tests::now(), "authorizer": authorizer},
        });
        let Ok(response) = tidings_api::handle(&deps, serde_json::from_value(event).unwrap()).await;
        assert_eq!((response.status(), response.body()), (202, r#"{"id":"1"}"#), "the id stays what the caller gave");
    }
    let messages = served.take().await;
    let scopes: Vec<_> = messages
        .iter()
        .map(|message| message.message_attributes().unwrap()[SCOPE_ATTRIBUTE].string_value().unwrap())
        .collect();
    let different: std::collections::BTreeSet<_> = scopes.iter().collect();
    assert_eq!((scopes.len(), different.len()), (3, 3), "{scopes:?}");
}
