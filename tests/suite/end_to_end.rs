//! Real clients, the functions' own binaries, the gateway and DynamoDB.

use std::time::Duration;

use serde_json::{Value, json};
use tests::stack::Stack;
use tests::{eventually, now};
use tidings::ConnectionId;
use tidings::registry::Connection;
use tidings_test::Client;

async fn notify(stack: &Stack, notification: Value) -> Value {
    let answer = stack.invoke("notifier", &notification.to_string()).await;
    assert!(!answer.failed, "{answer:?}");
    answer.payload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_reaches_those_whom_it_is_for_until_they_leave() {
    let stack = Stack::start(&[]).await;
    let (mut one, mut other) = (Client::connect(stack.url()).await, Client::connect(stack.url()).await);
    one.subscribe("orders/42").await;
    other.subscribe("orders/42").await;

    let report = notify(&stack, json!({"to": {"topic": "orders/42"}, "data": {"n": 1}})).await;
    assert_eq!((&report["audience"], &report["delivered"]), (&json!(2), &json!(2)), "{report}");
    for client in [&mut one, &mut other] {
        let message = client.json().await;
        assert_eq!(message["type"], "message");
        assert_eq!((&message["topic"], &message["data"]), (&json!("orders/42"), &json!({"n": 1})), "{message}");
        assert_eq!(message["id"], report["id"]);
    }

    let reply = other.ask(json!({"action": "unsubscribe", "topic": "orders/42", "id": 2})).await;
    assert_eq!(reply, json!({"type": "ack", "id": 2}));
    notify(&stack, json!({"to": {"topic": "orders/42"}, "data": 2})).await;
    assert_eq!(one.json().await["data"], 2);
    other.hears_nothing().await;

    notify(&stack, json!({"to": "everyone", "data": 3})).await;
    assert_eq!((&one.json().await["data"], &other.json().await["data"]), (&json!(3), &json!(3)));

    one.close().await;
    other.close().await;
    eventually("an empty table", Duration::from_secs(20), async || {
        stack.connection_rows().await.is_empty().then_some(())
    })
    .await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_without_an_id_is_answered_by_api_gateway_and_every_other_frame_by_the_function() {
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().to_owned();
    let stack = Stack::start_with(|options| options.record = Some(events)).await;
    let events = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().contains("-default-")).count()
    };
    for protocol in ["tidings.v1.json", "raw"] {
        let mut client = Client::offer(stack.url(), &[protocol]).await.unwrap();
        let before = events();
        for ping in [r#"{"action":"ping"}"#, r#"{ "action" : "ping", "id" : null }"#, r#"{"id":"","action":"ping"}"#] {
            client.send(ping).await;
            assert_eq!(client.text().await, r#"{"type":"pong"}"#, "{ping}");
        }
        assert_eq!(events(), before, "no function was invoked");
        for (frame, reply) in [
            (r#"{"action":"ping","id":4}"#, json!({"type": "pong", "id": 4})),
            (r#"{"action":"ping","id":"/"}"#, json!({"type": "pong", "id": "/"})),
        ] {
            client.send(frame).await;
            assert_eq!(client.json().await, reply);
        }
        for frame in [r#"{"action":"ping/"}"#, "ping", "ping/", r#"{"action":"pin","id":"g/"}"#, r#""ping/""#, "[]"] {
            client.send(frame).await;
            let reply = client.json().await;
            assert_eq!(reply["type"], "error", "{frame}: {reply}");
        }
        assert_eq!(events(), before + 8, "each of these invoked the function");
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_logs_users_topics_and_connections_named_together_get_it_once_each_in_their_own_protocol() {
    let stack = Stack::start(&[("History", "[]")]).await;
    let url = |query: &str| format!("{}?{query}", stack.url());
    let mut alice = Client::offer(&url("user=alice&topic=a&topic=b"), &["tidings.v1.json"]).await.unwrap();
    let mut raw = Client::offer(&url("user=alice&topic=b"), &["graphql-ws", "raw"]).await.unwrap();
    let mut bob = Client::connect(&url("user=bob&protocol=raw")).await;
    assert_eq!((alice.subprotocol.as_deref(), raw.subprotocol.as_deref()), (Some("tidings.v1.json"), Some("raw")));
    assert_eq!(bob.subprotocol, None);

    let who = bob.ask(json!({"action": "whoami"})).await;
    assert_eq!((&who["type"], &who["user"], &who["topics"]), (&json!("whoami"), &json!("bob"), &json!([])), "{who}");
    let to = json!([{"topic": "b"}, {"user": "alice"}, {"connection": who["connection"]}, {"topic": "a"}]);
    let report = notify(&stack, json!({"to": to, "type": "t", "data": "hi", "dataType": "text"})).await;
    assert_eq!(report["delivered"], 3, "{report}");
    let message = alice.json().await;
    assert_eq!((&message["topic"], &message["event"], &message["data"]), (&json!("b"), &json!("t"), &json!("hi")));
    assert_eq!((raw.text().await, bob.text().await), ("hi".to_owned(), "hi".to_owned()));
    alice.hears_nothing().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_connections_hold_nobody_up_and_are_gone_from_the_table_afterwards() {
    let stack = Stack::start(&[]).await;
    let mut live = Client::connect(&format!("{}?topic=t", stack.url())).await;
    for number in 0..60 {
        // As API Gateway writes ids, of sockets that it does not have.
        let id = ConnectionId::parse(format!("BFHPhfCWIAM{number:02}lQ=")).unwrap();
        let mut stale = Connection::new(id);
        stale.connected_at = now() - 3_600_000;
        stale.topics = vec![tidings::Topic::parse("t").unwrap()];
        stack.registry().connect(&stale).await.unwrap();
    }
    let report = notify(&stack, json!({"to": {"topic": "t"}, "data": 1})).await;
    assert_eq!((&report["delivered"], &report["gone"]), (&json!(1), &json!(60)), "{report}");
    assert_eq!(live.json().await["data"], 1);
    assert_eq!(stack.connection_rows().await.len(), 3, "the live connection, in everyone and in its topic");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_the_table_has_lost_is_told_and_closed_so_that_it_comes_back() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    let who = client.ask(json!({"action": "whoami"})).await;
    let id = ConnectionId::parse(who["connection"].as_str().unwrap()).unwrap();
    stack.registry().disconnect(&id, &id.first_socket()).await.unwrap();
    let reply = client.ask(json!({"action": "subscribe", "topic": "t", "id": 7})).await;
    assert_eq!((&reply["code"], &reply["id"]), (&json!("NotConnected"), &json!(7)), "{reply}");
    client.closed().await;
    eventually("nothing left", Duration::from_secs(20), async || {
        stack.connection_rows().await.is_empty().then_some(())
    })
    .await;
    stack.stop().await;
}

/// Slow enough that no test is so slow that a second frame would pass.
const SELDOM: &str = "0.01";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_is_told_and_closed_when_it_goes_on() {
    let stack = Stack::start(&[("FramesPerSecond", SELDOM), ("FramesBurst", "3")]).await;
    let (mut loud, mut quiet) = (Client::connect(stack.url()).await, Client::connect(stack.url()).await);
    for _ in 0..3 {
        assert_eq!(loud.ask(json!({"action": "whoami"})).await["type"], "whoami");
    }
    for id in 4..6 {
        let reply = loud.ask(json!({"action": "subscribe", "topic": "t", "id": id})).await;
        assert_eq!((&reply["code"], &reply["id"]), (&json!("TooManyRequests"), &json!(id)), "{reply}");
        assert!(reply["message"].as_str().unwrap().contains("wait "), "{reply}");
    }
    let last = loud.ask(json!({"action": "whoami", "id": 6})).await;
    assert_eq!((&last["code"], &last["id"]), (&json!("TooManyRequests"), &json!(6)), "{last}");
    loud.closed().await;
    quiet.subscribe("t").await;
    let report = notify(&stack, json!({"to": "everyone", "data": 1})).await;
    assert_eq!(report["delivered"], 1, "{report}");
    assert_eq!(quiet.json().await["data"], 1);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_publishes_too_much_is_told_and_stays() {
    let stack = Stack::start(&[("PublishesPerSecond", SELDOM), ("PublishesBurst", "1")]).await;
    let mut client = Client::connect(stack.url()).await;
    let publish = |id: u32| json!({"action": "publish", "topic": "t", "data": id, "id": id});
    assert_eq!(client.ask(publish(1)).await, json!({"type": "ack", "id": 1}));
    let reply = client.ask(publish(2)).await;
    assert_eq!((&reply["code"], &reply["id"]), (&json!("TooManyRequests"), &json!(2)), "{reply}");
    client.hears_nothing().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_with_a_hyphen_and_a_table_that_is_kept_serve_clients() {
    let stack = Stack::start(&[("StageName", "pre-prod"), ("RetainTable", "true")]).await;
    assert!(stack.url().ends_with("/pre-prod"), "{}", stack.url());
    let mut client = Client::connect(stack.url()).await;
    client.subscribe("orders/42").await;
    let report = notify(&stack, json!({"to": {"topic": "orders/42"}, "data": 1})).await;
    assert_eq!((&report["audience"], &report["delivered"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(client.json().await["data"], 1);
    client.close().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_pings_than_the_quota_of_a_region_has_room_for_are_refused_by_api_gateway() {
    let stack = Stack::start(&[("AWS::Region", "mx-central-1")]).await;
    let mut client = Client::connect(stack.url()).await;
    let (mut pongs, mut refusals) = (0, 0);
    // 63 at once and 63 a second: what comes after the first pongs has to wait.
    for _ in 0..1_000 {
        client.send(r#"{"action":"ping"}"#).await;
        match client.json().await {
            reply if reply["type"] == "pong" => pongs += 1,
            reply if reply["message"] == "Too Many Requests" => refusals += 1,
            other => panic!("{other}"),
        }
    }
    assert!(pongs >= 63 && refusals > 0, "{pongs} pongs, {refusals} refusals");
    let reply = client.ask(json!({"action": "ping", "id": 1})).await;
    assert_eq!(reply, json!({"type": "pong", "id": 1}), "other frames have a limit of their own");
    client.close().await;
    stack.stop().await;
}
