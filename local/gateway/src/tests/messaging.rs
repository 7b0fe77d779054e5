//! Messages: routes, replies, error frames.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::SinkExt as _;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::harness::*;
use crate::Settings;
use tidings_local_stack::{
    Integration, IntegrationResponse, Limit, MappingTemplate, Mock, Route, Templates, Validation, WebSocketApi,
};

/// `$connect`, and these.
fn with_routes(routes: &[(&str, Route)]) -> WebSocketApi {
    api(&[&[("$connect", lambda("connect"))], routes].concat())
}

/// The ids in an error frame, which must otherwise be this to the byte.
#[track_caller]
fn check_frame(frame: &str, message: &str, connection_id: &str) -> String {
    let start = format!(r#"{{"message": "{message}", "connectionId":"{connection_id}", "requestId":""#);
    let rest = frame.strip_prefix(&start).unwrap_or_else(|| panic!("{frame} does not begin with {start}"));
    let request_id = rest.strip_suffix(r#""}"#).unwrap_or_else(|| panic!("{frame} ends wrongly"));
    assert_eq!(request_id.len(), 16, "{frame}");
    request_id.to_owned()
}

#[tokio::test]
async fn a_message_goes_to_its_route_or_to_the_default() {
    let api = with_routes(&[("chat", two_way("chat")), ("$default", two_way("default")), ("$disconnect", lambda("x"))]);
    let say = |text: &'static str| returns(json!({"statusCode": 200, "body": text}));
    let app = App::start(api, friendly().always("chat", say("chat")).always("default", say("default"))).await;
    let mut client = app.connect().await;
    for (message, function, key) in [
        (r#"{"action":"chat","n":1}"#, "chat", "chat"),
        (r#"{"action":"other"}"#, "default", "$default"),
        (r#"{"no":"action"}"#, "default", "$default"),
        (r#"{"action":"$connect"}"#, "default", "$default"),
        (r#"{"action":"$disconnect"}"#, "default", "$default"),
        (r#"{"action":"$default"}"#, "default", "$default"),
        ("not json", "default", "$default"),
        ("", "default", "$default"),
        ("ünï \u{1F600}", "default", "$default"),
    ] {
        send(&mut client, message).await;
        assert_eq!(receive_text(&mut client).await, function, "{message}");
        let event = app.functions.events(function).pop().unwrap();
        assert_eq!(event["body"], message);
        assert_eq!(event["requestContext"]["routeKey"], key, "{message}");
        assert_eq!(event["isBase64Encoded"], false);
        for absent in ["headers", "multiValueHeaders", "queryStringParameters", "stageVariables"] {
            assert_eq!(event.get(absent), None);
        }
    }
    assert_eq!(app.functions.events("connect").len(), 1);
    assert!(app.functions.events("x").is_empty());
}

#[tokio::test]
async fn a_route_key_may_be_composed() {
    let mut api = with_routes(&[("chat/join", two_way("chat"))]);
    api.route_selection_expression = "${request.body.service}/${request.body.action}".to_owned();
    let app = App::start(api, friendly().always("chat", returns(json!({"statusCode": 200, "body": "joined"})))).await;
    let mut client = app.connect().await;
    send(&mut client, r#"{"service":"chat","action":"join"}"#).await;
    assert_eq!(receive_text(&mut client).await, "joined");
}

#[tokio::test]
async fn without_a_route_the_client_is_told_forbidden() {
    let app = App::start(with_routes(&[("chat", lambda("chat"))]), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let mut request_ids = Vec::new();
    for message in [r#"{"action":"other"}"#, "not json", r#"{"action":"$connect"}"#] {
        send(&mut client, message).await;
        request_ids.push(check_frame(&receive_text(&mut client).await, "Forbidden", &id));
    }
    request_ids.dedup();
    assert_eq!(request_ids.len(), 3);
    assert!(app.functions.events("chat").is_empty());
}

#[tokio::test]
async fn failures_are_told_on_one_way_routes_too() {
    for (outcome, message) in [
        (fails("boom"), "Internal server error"),
        (Outcome::Refused, "Internal server error"),
        (returns(json!(null)), "Internal server error"),
        (returns(json!({"Data": "hello", "statusCode": 200})), "Internal server error"),
        (returns(json!({"statusCode": 200, "body": "x".repeat(128 * 1024 + 1)})), "Internal server error"),
    ] {
        for route in [lambda("broken"), two_way("broken")] {
            let api = with_routes(&[("broken", route), ("$default", two_way("default"))]);
            let app = App::start(api, friendly().always("broken", outcome.clone())).await;
            let (mut client, id) = app.connect_with_id().await;
            send(&mut client, r#"{"action":"broken"}"#).await;
            let request_id = check_frame(&receive_text(&mut client).await, message, &id);
            assert_eq!(app.functions.events("broken")[0]["requestContext"]["requestId"], request_id);
            assert_quiet(&mut client).await;
        }
    }
}

#[tokio::test]
async fn a_slow_integration_is_told_and_runs_on() {
    let finished = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let functions = {
        let (finished, gate) = (Arc::clone(&finished), Arc::clone(&gate));
        friendly().on("slow", move |_| {
            let (finished, gate) = (Arc::clone(&finished), Arc::clone(&gate));
            async move {
                gate.acquire().await.unwrap().forget();
                finished.fetch_add(1, Ordering::SeqCst);
                returns(json!({"statusCode": 200, "body": "too late"}))
            }
        })
    };
    let slow = Route { returns_response: true, ..impatient("slow", 50) };
    let app = App::start(with_routes(&[("slow", slow), ("$default", two_way("default"))]), functions).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, r#"{"action":"slow"}"#).await;
    check_frame(&receive_text(&mut client).await, "Endpoint request timed out", &id);
    gate.add_permits(1);
    eventually("the function ends", || (finished.load(Ordering::SeqCst) == 1).then_some(())).await;
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn the_status_of_a_message_has_no_effect() {
    let functions = friendly().on("status", |event| async move {
        let body: serde_json::Value = serde_json::from_str(event["body"].as_str().unwrap()).unwrap();
        returns(json!({"statusCode": body["status"], "body": "the body"}))
    });
    let api = with_routes(&[("one", lambda("status")), ("two", two_way("status")), ("$default", two_way("default"))]);
    let app = App::start(api, functions).await;
    let mut client = app.connect().await;
    for status in [200, 201, 301, 401, 500, 501] {
        send(&mut client, &json!({"action": "one", "status": status}).to_string()).await;
        app.functions.invoked("status", 1).await;
        assert_quiet(&mut client).await;
        send(&mut client, &json!({"action": "two", "status": status}).to_string()).await;
        assert_eq!(receive_text(&mut client).await, "the body", "{status}");
    }
}

#[tokio::test]
async fn a_two_way_route_without_a_body_is_silent() {
    let api = with_routes(&[("quiet", two_way("quiet")), ("$default", two_way("default"))]);
    let app = App::start(api, friendly().always("quiet", ok())).await;
    let mut client = app.connect().await;
    send(&mut client, r#"{"action":"quiet"}"#).await;
    app.functions.invoked("quiet", 1).await;
    assert_quiet(&mut client).await;
}

/// A mock with one answer for every status.
fn mock(response: Option<&str>) -> Integration {
    let templates = |text: &str| Templates {
        selection: None,
        by_key: [("$default".to_owned(), MappingTemplate::of_text(text))].into(),
    };
    let response = response.map(|text| IntegrationResponse { key: "$default".to_owned(), templates: templates(text) });
    Integration::Mock(Mock { request: templates(r#"{"statusCode": 200}"#), responses: response.into_iter().collect() })
}

#[tokio::test]
async fn a_mock_answers_by_itself() {
    let mock = |response, returns_response| Route { integration: mock(response), returns_response, ..lambda("nobody") };
    let app = App::start(
        with_routes(&[
            ("ping", mock(Some(r#"{"type":"pong"}"#), true)),
            ("silent", mock(Some("never"), false)),
            ("empty", mock(None, true)),
            ("$default", two_way("default")),
        ]),
        friendly(),
    )
    .await;
    let mut client = app.connect().await;
    for silent in ["silent", "empty"] {
        send(&mut client, &json!({"action": silent}).to_string()).await;
    }
    send(&mut client, r#"{"action":"ping"}"#).await;
    assert_eq!(receive_text(&mut client).await, r#"{"type":"pong"}"#);
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn the_template_of_a_mock_is_rendered_with_the_message_and_its_context() {
    let template =
        r#"{"c":"$context.connectionId","r":"$context.routeKey","s":"$stageVariables.table","b":$input.body}"#;
    let route = |template| Route { integration: mock(Some(template)), returns_response: true, ..lambda("nobody") };
    let mut api = with_routes(&[
        ("echo", route(template)),
        ("broken", route("$util.nothing(1)")),
        ("$default", two_way("default")),
    ]);
    api.stages[0].variables = [("table".to_owned(), "rows".to_owned())].into();
    let app = App::start(api, friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, r#"{"action":"echo","n":1}"#).await;
    let expected = json!({"c": id, "r": "echo", "s": "rows", "b": {"action": "echo", "n": 1}});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&receive_text(&mut client).await).unwrap(), expected);
    send(&mut client, r#"{"action":"broken"}"#).await;
    check_frame(&receive_text(&mut client).await, "Internal server error", &id);
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn messages_of_one_connection_run_side_by_side_but_not_without_bound() {
    let running = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Semaphore::new(0));
    let functions = {
        let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
        friendly().on("default", move |event| {
            let (running, gate) = (Arc::clone(&running), Arc::clone(&gate));
            async move {
                running.fetch_add(1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                returns(json!({"statusCode": 200, "body": event["body"]}))
            }
        })
    };
    let app = App::start(usual(), functions).await;
    let mut client = app.connect().await;
    for index in 0..60 {
        send(&mut client, &index.to_string()).await;
    }
    eventually("fifty run at once", || (running.load(Ordering::SeqCst) == 50).then_some(())).await;
    // One that ends makes room for one.
    gate.add_permits(1);
    eventually("one more runs", || (running.load(Ordering::SeqCst) == 51).then_some(())).await;
    gate.add_permits(59);
    let mut replies = Vec::new();
    for _ in 0..60 {
        replies.push(receive_text(&mut client).await.parse::<usize>().unwrap());
    }
    replies.sort_unstable();
    assert_eq!(replies, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn pings_are_answered_and_no_function_sees_them() {
    let app = App::start(usual(), friendly()).await;
    let mut client = app.connect().await;
    client.send(Message::Ping("p".into())).await.unwrap();
    assert_eq!(receive(&mut client).await, Message::Pong("p".into()));
    client.send(Message::Pong("q".into())).await.unwrap();
    assert_quiet(&mut client).await;
    assert_eq!(app.functions.events("default").len(), 1);
}

#[tokio::test]
async fn a_message_of_128_kb_in_frames_of_32_kb_is_taken() {
    let app = App::start(usual(), friendly().always("default", ok())).await;
    let mut client = app.connect().await;
    let part = "x".repeat(32 * 1024);
    for (index, opcode) in [Data::Text, Data::Continue, Data::Continue, Data::Continue].into_iter().enumerate() {
        let frame = Frame::message(part.clone(), OpCode::Data(opcode), index == 3);
        client.send(Message::Frame(frame)).await.unwrap();
    }
    let event = app.functions.invoked("default", 1).await.remove(0);
    assert_eq!(event["body"].as_str().unwrap().len(), 128 * 1024);
}

#[tokio::test]
async fn a_message_that_its_model_does_not_match_is_a_bad_request_body() {
    let models = [("$default".to_owned(), json!({"type": "object", "required": ["text"]}))].into();
    let validation = Some(Validation { selection: "$default".to_owned(), models });
    let api = with_routes(&[("chat", Route { validation, ..two_way("chat") }), ("$default", two_way("default"))]);
    let app = App::start(api, friendly().always("chat", returns(json!({"statusCode": 200, "body": "taken"})))).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, r#"{"action":"chat"}"#).await;
    let frame = receive_text(&mut client).await;
    let start = format!(r#"{{"message" : "Bad request body", "connectionId": "{id}", "messageId": ""#);
    let message_id =
        frame.strip_prefix(&start).and_then(|rest| rest.strip_suffix(r#""}"#)).unwrap_or_else(|| panic!("{frame}"));
    assert_eq!(message_id[11..], id[11..]);
    assert!(app.functions.events("chat").is_empty());
    send(&mut client, r#"{"action":"chat","text":""}"#).await;
    assert_eq!(receive_text(&mut client).await, "taken");
}

#[tokio::test]
async fn a_throttled_route_says_so_and_leaves_the_connection_and_other_routes_alone() {
    let mut api = with_routes(&[("chat", two_way("chat")), ("$default", two_way("default"))]);
    api.stages[0].limits = [("chat".to_owned(), Limit { rate: 0.001, burst: 2 })].into();
    let app = App::start(api, friendly().always("chat", returns(json!({"statusCode": 200, "body": "taken"})))).await;
    let (mut client, id) = app.connect_with_id().await;
    for _ in 0..2 {
        send(&mut client, r#"{"action":"chat"}"#).await;
        assert_eq!(receive_text(&mut client).await, "taken");
    }
    send(&mut client, r#"{"action":"chat"}"#).await;
    check_frame(&receive_text(&mut client).await, "Too Many Requests", &id);
    assert_eq!(app.functions.events("chat").len(), 2);
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn a_route_that_is_not_emulated_fails_and_blocks_no_other() {
    let integration = Integration::Unsupported { reason: "HTTP".to_owned() };
    let api = with_routes(&[("http", Route { integration, ..lambda("none") }), ("$default", two_way("default"))]);
    let app = App::start(api, friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, r#"{"action":"http"}"#).await;
    check_frame(&receive_text(&mut client).await, "Internal server error", &id);
    assert_quiet(&mut client).await;
}

#[tokio::test]
async fn shuffled_messages_overtake_one_another_and_keep_the_times_at_which_they_came() {
    let api = with_routes(&[("$default", two_way("default"))]);
    let settings = Settings { shuffle: Some(1), ..Settings::default() };
    let app = App::with_settings([api], friendly().always("default", ok()), settings).await;
    let mut client = app.connect().await;
    for number in 0..20 {
        send(&mut client, &number.to_string()).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let events = app.functions.invoked("default", 20).await;
    let number = |event: &serde_json::Value| event["body"].as_str().unwrap().parse::<u32>().unwrap();
    let mut came: Vec<_> = events.iter().map(number).collect();
    assert!(!came.is_sorted(), "{came:?}");
    came.sort_unstable();
    assert_eq!(came, Vec::from_iter(0..20));
    let mut times: Vec<_> =
        events.iter().map(|event| (number(event), event["requestContext"]["requestTimeEpoch"].as_i64())).collect();
    times.sort_unstable();
    assert!(times.is_sorted_by_key(|(_, time)| *time), "{times:?}");
}
