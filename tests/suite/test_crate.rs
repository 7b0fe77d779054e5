//! `tidings-test`, as an application's tests use it, on this repository's own stack.

use std::time::Duration;

use serde_json::json;
use tests::stack::root;
use tidings_test::Stack;

async fn stack(parameters: &[(&str, &str)]) -> Stack {
    let starting = Stack::of(root().join("template.yaml"));
    parameters.iter().fold(starting, |stack, (name, value)| stack.parameter(name, value)).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_and_then_silence_and_the_push_is_seen_without_a_socket() {
    let stack = stack(&[]).await;
    let mut ada = stack.client().user("ada").topic("orders/42").connect().await;
    let mut bob = stack.client().user("bob").connect().await;
    let report = stack.notify(json!({"to": {"topic": "orders/42"}, "type": "shipped", "data": {"n": 1}})).await;
    assert_eq!((&report["audience"], &report["delivered"]), (&json!(1), &json!(1)), "{report}");
    let message = ada.message().await;
    assert_eq!((message.topic.as_deref(), message.event.as_deref()), (Some("orders/42"), Some("shipped")));
    assert_eq!(message.read::<std::collections::BTreeMap<String, u8>>()["n"], 1);
    ada.silence().await;
    bob.silence().await;
    let pushes = stack.pushes();
    assert_eq!(pushes.len(), 1, "{pushes:?}");
    assert!(pushes[0].status == 200 && pushes[0].text.contains(r#""n":1"#), "{pushes:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_gets_its_reply_and_keeps_the_message_that_comes_before_it() {
    let stack = stack(&[]).await;
    let mut ada = stack.client().user("ada").topic("t").connect().await;
    stack.notify(json!({"to": {"user": "ada"}, "data": "first"})).await;
    let refused = ada.call("nothing-of-the-kind", json!({})).await.unwrap_err();
    assert_eq!(refused.code, "UnknownAction", "{refused:?}");
    assert_eq!(ada.call("subscribe", json!({"topic": "u"})).await.unwrap()["topics"]["u"]["offset"], 0);
    assert_eq!(ada.call("whoami", json!({})).await.unwrap()["user"], "ada");
    assert_eq!(ada.message().await.data, "first");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_is_read_with_its_reason() {
    let stack = stack(&[]).await;
    assert_eq!(stack.dead_letters(), []);
    let queue = stack.running().stack().queues["NotificationQueue"].name.clone();
    stack.send(&queue, &json!({"data": "to nobody"}));
    stack.settled().await;
    let letters = stack.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].reason.contains("`to`"), "{letters:?}");
    assert!(letters[0].body.to_string().contains("to nobody"), "{letters:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_passes_as_fast_as_a_test_wants() {
    let stack = stack(&[]).await;
    let mut idle = stack.client().user("ada").connect().await;
    let mut busy = stack.client().user("bob").connect().await;
    stack.advance(Duration::from_secs(300));
    busy.hears_nothing().await;
    stack.advance(Duration::from_secs(301));
    assert_eq!(idle.close_code().await, 1001, "ten minutes without data");
    busy.hears_nothing().await;
    // As long as there is data, a connection lives for two hours.
    for _ in 0..20 {
        stack.advance(Duration::from_secs(300));
        busy.hears_nothing().await;
    }
    stack.advance(Duration::from_secs(601));
    assert_eq!(busy.close_code().await, 1001);
    let gone = stack.notify(json!({"to": {"user": "ada"}, "data": 1})).await;
    assert_eq!(gone["delivered"], 0, "{gone}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_the_stack_opens_it_and_allows_what_it_says() {
    let stack = stack(&[("Authentication", "hs256")]).await;
    assert_eq!(stack.client().try_connect().await.err(), Some(403));
    let token = stack.token("ada", &["subscribe:orders/*"]);
    let mut ada = stack.client().token(&token).topic("orders/1").connect().await;
    let refused = ada.call("subscribe", json!({"topic": "news"})).await.unwrap_err();
    assert_eq!(refused.code, "Forbidden", "{refused:?}");
    stack.stop().await;
}
