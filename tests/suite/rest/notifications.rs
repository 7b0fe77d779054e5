//! Notifying.

use serde_json::{Value, json};

use super::{JSON, Rest};

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
    rest.notify(&body(130_000)).await;
    assert_eq!(alice.json().await["data"].as_str().unwrap().len(), 130_000);
    // A message that is too long, and a body that is; the gateway takes 10 MB.
    for (length, words) in [(131_072, "`data`: the message"), (262_144, "`body`: it"), (9_000_000, "`body`: it")] {
        let answer = rest.send("POST", "/notifications", &[JSON], body(length).to_string().as_bytes()).await;
        assert!(answer.status == 413 && answer.body.contains(words), "{length}: {}", answer.body);
    }
    rest.stack.stop().await;
}
