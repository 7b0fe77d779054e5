//! What clients and producers get wrong: one error that names the field and the fix, and nothing is stored half.

use serde_json::{Value, json};
use tests::stack::{Stack, root};
use tidings_test::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_gets_one_error_and_the_connection_stays_open() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    let rows = stack.rows().await.len();
    let long = format!(r#"{{"action":"subscribe","topic":"{}","id":3}}"#, "x".repeat(1_025));
    for (frame, code, start) in [
        ("hello", "BadRequest", "the frame is not JSON"),
        (
            r#"{"action":"fly","id":3}"#,
            "UnknownAction",
            "`action` \"fly\" is not known; use subscribe, unsubscribe, history, unread, read, publish",
        ),
        (
            r#"{"action":"subscribe","topic":"a\u0001","id":3}"#,
            "BadRequest",
            "`topic` is not valid; a topic has control",
        ),
        (
            r#"{"action":"subscribe","topics":["ok",""],"id":3}"#,
            "BadRequest",
            "`topics` is not valid; a topic is empty",
        ),
        (&long, "BadRequest", "`topic` is not valid; a topic is too long"),
    ] {
        client.send(frame).await;
        let error = client.json().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{frame}: {error}");
        assert!(error["message"].as_str().unwrap().starts_with(start), "{frame}: {error}");
        client.hears_nothing().await;
    }
    assert_eq!(stack.rows().await.len(), rows);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_closes_the_connection_as_api_gateway_does() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    client.send("x".repeat(32 * 1_024 + 1)).await;
    assert_eq!(client.closed().await.map(|frame| u16::from(frame.code)), Some(1009));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_topics_is_told_and_keeps_what_there_was() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    let topics = |range: std::ops::Range<u32>| range.map(|number| format!("t{number}")).collect::<Vec<_>>();
    for range in [0..50, 50..100] {
        let reply = client.ask(json!({"action": "subscribe", "topics": topics(range)})).await;
        assert_eq!((&reply["type"], reply["topics"].as_object().unwrap().len()), (&json!("ack"), 50), "{reply}");
    }
    let error = client.ask(json!({"action": "subscribe", "topics": topics(99..101)})).await;
    assert_eq!(error["code"], "TooManyTopics", "{error}");
    let who = client.ask(json!({"action": "whoami"})).await;
    assert_eq!(who["topics"].as_array().unwrap().len(), 100);
    let mut client = Client::connect(stack.url()).await;
    let long = |range: std::ops::Range<u32>| range.map(|number| format!("{number:01000}")).collect::<Vec<_>>();
    assert_eq!(client.ask(json!({"action": "subscribe", "topics": long(0..8)})).await["type"], "ack");
    let error = client.ask(json!({"action": "subscribe", "topics": long(7..9)})).await;
    assert_eq!(error["code"], "TooManyTopics", "{error}");
    let message = "`topics`: the names of the connection's topics would have 9000 bytes together, and 8192 are allowed; \
                   unsubscribe from some, or use shorter names";
    assert_eq!(error["message"], message);
    assert_eq!(client.ask(json!({"action": "subscribe", "topic": "short"})).await["type"], "ack");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_cannot_be_served_is_refused_with_its_status() {
    let stack = Stack::start(&[]).await;
    for (query, subprotocols) in [
        ("", &["graphql-ws"][..]),
        ("?protocol=soap", &[]),
        ("?topic=", &[]),
        (&format!("?topic={}", "x".repeat(1_025)), &[]),
    ] {
        let refused = Client::offer(&format!("{}{query}", stack.url()), subprotocols).await.unwrap_err();
        assert_eq!(refused, 400, "{query}");
    }
    // Who a client is is the authorizer's business, which cannot say more than no.
    assert_eq!(Client::offer(&format!("{}?user=a%0Ab", stack.url()), &[]).await.unwrap_err(), 403);
    // More than fits into the URL that API Gateway takes.
    let event = std::fs::read_to_string(root().join("tests/events/connect-with-topics.json")).unwrap();
    let mut event: Value = serde_json::from_str(&event).unwrap();
    let topics: Vec<_> = (0..9).map(|number| format!("orders/{number:0993}")).collect();
    event["multiValueQueryStringParameters"]["topic"] = json!(topics);
    let answer = stack.invoke("connect", &event.to_string()).await;
    let refused = "the values of ?topic= have 9000 bytes together; 8192 are allowed, so give fewer or shorter ones";
    assert_eq!((&answer.payload["statusCode"], &answer.payload["body"]), (&json!(400), &json!(refused)), "{answer:?}");
    assert_eq!(stack.rows().await, []);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_notification_fails_with_a_stable_error_type_and_a_message_that_names_the_field() {
    let stack = Stack::start(&[]).await;
    for (notification, start) in [
        (json!({"data": 1}), "`to` is missing; use {\"topic\""),
        (json!({"to": {"topic": "a", "user": "b"}, "data": 1}), "`to` has 2 shapes at once (topic, user)"),
        (json!({"to": {"topic": ""}, "data": 1}), "`to.topic` is not valid; a topic is empty"),
        (json!({"to": "everyone", "data": 1, "at": "now"}), "`at` is not a whole number"),
        (
            json!({"to": "everyone", "data": 1, "at": 1_795_520_783}),
            "`at` is in milliseconds since the epoch; 1795520783 looks like seconds, multiply by 1,000",
        ),
        (json!("hello"), "`notification` is not a JSON object"),
    ] {
        let answer = stack.invoke("notifier", &notification.to_string()).await;
        assert!(answer.failed, "{notification}");
        assert_eq!(answer.payload["errorType"], "InvalidNotification", "{answer:?}");
        let message = answer.payload["errorMessage"].as_str().unwrap();
        assert!(message.starts_with(start), "{notification}: {message}");
    }
    let large = json!({"to": "everyone", "data": "x".repeat(128 * 1_024)});
    let answer = stack.invoke("notifier", &large.to_string()).await;
    assert_eq!(answer.payload["errorType"], "PayloadTooLarge", "{answer:?}");
    let nobody = json!({"to": {"connection": "BFHPhfCWIAMCKlQ="}, "data": 1});
    let answer = stack.invoke("notifier", &nobody.to_string()).await;
    assert_eq!((answer.failed, &answer.payload["audience"]), (false, &json!(0)), "{answer:?}");
    stack.stop().await;
}
