//! Section 4: what becomes of a message.

use std::sync::Arc;

use serde_json::{Value, json};
use tidings_test::Client;

use super::bench::{Bench, PATIENCE, assert_quiet, message_event, patiently};
use super::facts::Grade::{Cap, Doc, Infer, Unsure};
use super::facts::{Check, Fact, anywhere, fact, here};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "4.1",
        Doc,
        "DG: developing routes",
        "A route selection expression takes any path after request.body, several variables and fixed text.",
        anywhere!(expressions_have_several_variables),
    ),
    fact(
        "4.2",
        Doc,
        "DG: developing routes",
        "A path that is not there gives an empty text.",
        anywhere!(a_missing_path_is_empty),
    ),
    fact(
        "4.3",
        Doc,
        "DG: developing routes",
        "What is no scalar is written as text: [item1, item2].",
        here!(lists_become_text, "AWS may refuse to create a route whose key has brackets"),
    ),
    fact(
        "4.4",
        Doc,
        "DG: developing routes",
        "A message goes to the route whose key matches exactly, else to $default.",
        anywhere!(exact_matches_win),
    ),
    fact(
        "4.5",
        Doc,
        "DG: developing routes",
        "What is not JSON goes to $default.",
        anywhere!(other_text_goes_to_the_default),
    ),
    fact(
        "4.6",
        Doc,
        "DG: developing routes",
        "Custom route keys do not begin with $: no message reaches $connect or $disconnect.",
        anywhere!(no_message_selects_a_lifecycle_route),
    ),
    fact(
        "4.7",
        Cap,
        "captured frames",
        "Without a route and a $default the client gets the Forbidden frame, to the byte, and stays connected.",
        anywhere!(without_a_route_it_is_forbidden),
    ),
    fact(
        "4.8",
        Cap,
        "an experiment with wscat",
        "A function that fails is answered with the Internal server error frame, on one-way and two-way routes, and the connection stays open.",
        anywhere!(failures_are_told),
    ),
    fact(
        "4.9",
        Cap,
        "chalice#1406, mangum#128",
        "An integration that takes longer than its timeout is answered with the Endpoint request timed out frame.",
        anywhere!(timeouts_are_told),
    ),
    fact(
        "4.10",
        Doc,
        "DG: routes and integrations",
        "A message that does not match the route's model is answered with the Bad request body frame, which has messageId.",
        anywhere!(bad_bodies_are_told),
    ),
    fact(
        "4.11",
        Doc,
        "DG: request validation",
        "Without a model for the selected key and without $default the message fails.",
        anywhere!(without_a_model_a_message_fails),
    ),
    fact(
        "4.12",
        Cap,
        "an experiment with wscat",
        "The status that a one-way function returns has no effect: nothing is sent.",
        anywhere!(the_status_has_no_effect),
    ),
    fact(
        "4.13",
        Unsure,
        "an experiment for one-way routes; a note says otherwise",
        "A two-way function's body is sent whatever its status.",
        anywhere!(a_two_way_status_has_no_effect),
    ),
    fact(
        "4.14",
        Doc,
        "DG: route responses",
        "A body is sent only where the route has a RouteResponse.",
        anywhere!(one_way_routes_are_silent),
    ),
    fact(
        "4.15",
        Doc,
        "DG: integration responses",
        "The body is sent as the function returned it.",
        anywhere!(the_body_is_sent_as_it_is),
    ),
    fact(
        "4.16",
        Infer,
        "DG: connect and disconnect routes",
        "What $connect and $disconnect return is no message.",
        anywhere!(lifecycle_answers_are_no_messages),
    ),
    fact(
        "4.17",
        Doc,
        "Quotas",
        "The timeout of an integration is 50 ms to 29 s, by default 29 s.",
        Check::None(
            "29 s are too long to wait for; the template reader refuses other numbers, and its tests check that",
        ),
    ),
    fact(
        "4.18",
        Doc,
        "Lambda guide: errors behind an API",
        "A function that fails is not tried again.",
        anywhere!(nothing_is_tried_again),
    ),
    fact(
        "4.19",
        Doc,
        "DG: routes and integrations",
        "Replies need not come in the order of the messages.",
        anywhere!(replies_may_overtake),
    ),
    fact(
        "4.20",
        Unsure,
        "no AWS source; two emulators serialise",
        "Messages of one connection run side by side.",
        here!(messages_run_side_by_side, "what AWS does is not known; functions must survive both"),
    ),
    fact(
        "4.21",
        Unsure,
        "no capture",
        "A message to a throttled route is answered with a frame that says Too Many Requests, and the connection stays open.",
        anywhere!(throttling_is_told),
    ),
    fact(
        "4.22",
        Doc,
        "Lambda guide: errors behind an API",
        "Where Lambda refuses to invoke a message's function, the client gets the Internal server error frame.",
        anywhere!(refusals_are_told),
    ),
];

/// The frame must be this to the byte, with some request id.
#[track_caller]
fn check_frame(frame: &str, message: &str, id: &str) {
    let start = format!(r#"{{"message": "{message}", "connectionId":"{id}", "requestId":""#);
    let request = frame.strip_prefix(&start).and_then(|rest| rest.strip_suffix(r#""}"#));
    assert_eq!(request.map(str::len), Some(16), "{frame}");
}

/// The route key that a message to the bare API is given.
async fn bare_route(bench: &Bench, mut message: Value) -> Value {
    message["do"] = "event".into();
    let mut client = Client::connect(&bench.bare).await;
    client.ask(message).await["requestContext"]["routeKey"].clone()
}

async fn expressions_have_several_variables(bench: Arc<Bench>) {
    assert_eq!(bare_route(&bench, json!({"first": "one", "deep": {"second": "two"}})).await, "aonebtwoc");
}

async fn a_missing_path_is_empty(bench: Arc<Bench>) {
    assert_eq!(bare_route(&bench, json!({"first": "one"})).await, "aonebc");
    assert_eq!(bare_route(&bench, json!({"first": "one", "deep": {"second": ""}})).await, "aonebc");
}

async fn lists_become_text(bench: Arc<Bench>) {
    assert_eq!(bare_route(&bench, json!({"first": ["x", "y"]})).await, "a[x, y]bc");
}

async fn exact_matches_win(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    // `oneway` sends nothing back, `$default` does. What the event calls its route is another fact.
    for action in ["Oneway", "oneway ", ""] {
        let event = client.ask(json!({"action": action, "do": "event"})).await;
        assert_ne!(event["requestContext"]["routeKey"], "oneway", "{action:?}");
    }
    let event = client.ask(json!({"action": "twoway", "do": "event"})).await;
    assert_eq!(event["requestContext"]["routeKey"], "twoway");
}

async fn other_text_goes_to_the_default(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for text in ["hello", "{\"action\":", "[1]", "\"twoway\"", "ünï 😀"] {
        client.send(text).await;
        // Only `$default` sends back what is no JSON object; a list or a text is none either.
        assert_eq!(client.text().await, text);
    }
}

async fn no_message_selects_a_lifecycle_route(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for action in ["$connect", "$disconnect", "$default"] {
        let event = client.ask(json!({"action": action, "do": "event"})).await;
        assert_eq!(event["requestContext"]["routeKey"], "$default");
    }
}

async fn without_a_route_it_is_forbidden(bench: Arc<Bench>) {
    let mut client = Client::connect(&bench.bare).await;
    let event = client.ask(json!({"first": "one", "do": "event"})).await;
    let id = event["requestContext"]["connectionId"].as_str().unwrap();
    for text in [r#"{"first":"nowhere"}"#, "not json"] {
        client.send(text).await;
        check_frame(&client.text().await, "Forbidden", id);
    }
    client.ask(json!({"first": "one", "do": "event"})).await;
}

/// A message must be answered with this error frame, and the connection stay open.
async fn check_told(bench: &Bench, message: Value, text: &str) {
    let (mut client, id) = bench.connect_with_id().await;
    client.send(message.to_string()).await;
    check_frame(&client.text().await, text, &id);
    assert_quiet(&mut client).await;
}

async fn failures_are_told(bench: Arc<Bench>) {
    for action in ["oneway", "twoway"] {
        check_told(&bench, json!({"action": action, "do": "fail"}), "Internal server error").await;
        check_told(&bench, json!({"action": action, "do": "raw", "raw": "null"}), "Internal server error").await;
    }
}

async fn timeouts_are_told(bench: Arc<Bench>) {
    let message = json!({"action": "impatient", "do": "sleep", "ms": 5_000});
    check_told(&bench, message, "Endpoint request timed out").await;
}

async fn refusals_are_told(bench: Arc<Bench>) {
    check_told(&bench, json!({"action": "refused"}), "Internal server error").await;
}

/// A message must be answered with the frame of a body that does not match its model.
async fn check_bad_body(bench: &Bench, message: Value) {
    let (mut client, id) = bench.connect_with_id().await;
    client.send(message.to_string()).await;
    let frame = client.text().await;
    let start = format!(r#"{{"message" : "Bad request body", "connectionId": "{id}", "messageId": ""#);
    let message_id = frame.strip_prefix(&start).and_then(|rest| rest.strip_suffix(r#""}"#));
    assert_eq!(message_id.map(str::len), Some(16), "{frame}");
    assert_quiet(&mut client).await;
}

async fn bad_bodies_are_told(bench: Arc<Bench>) {
    check_bad_body(&bench, json!({"action": "checked", "model": "text", "text": 7})).await;
    check_bad_body(&bench, json!({"action": "checked", "model": "text"})).await;
    let good = json!({"action": "checked", "model": "text", "text": "hi", "do": "event"});
    assert_eq!(bench.connect().await.ask(good).await["requestContext"]["routeKey"], "checked");
}

async fn without_a_model_a_message_fails(bench: Arc<Bench>) {
    check_bad_body(&bench, json!({"action": "checked", "model": "other", "text": "hi"})).await;
}

async fn the_status_has_no_effect(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for status in [200, 201, 301, 401, 501] {
        let key = bench.key();
        client.send(json!({"action": "oneway", "status": status, "body": "never", "key": key}).to_string()).await;
        bench.event(&key, "message").await;
        assert_quiet(&mut client).await;
    }
}

async fn a_two_way_status_has_no_effect(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for status in [200, 301, 401, 500] {
        client.send(json!({"action": "twoway", "status": status, "body": "the body"}).to_string()).await;
        assert_eq!(client.text().await, "the body", "{status}");
    }
}

async fn one_way_routes_are_silent(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    let key = bench.key();
    client.send(json!({"action": "oneway", "body": "never", "key": key}).to_string()).await;
    bench.event(&key, "message").await;
    assert_quiet(&mut client).await;
    client.send(json!({"action": "twoway", "body": "always"}).to_string()).await;
    assert_eq!(client.text().await, "always");
}

async fn the_body_is_sent_as_it_is(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for body in ["text", "{\"a\": 1}", " two  spaces\n", "ünï 😀"] {
        client.send(json!({"action": "twoway", "body": body}).to_string()).await;
        assert_eq!(client.text().await, body);
    }
}

async fn lifecycle_answers_are_no_messages(bench: Arc<Bench>) {
    let mut client = Client::connect(&format!("{}?body=hello", bench.main)).await;
    assert_quiet(&mut client).await;
    // `$disconnect` answers with a body too; nothing but the close frame comes.
    assert!(client.leave(1000, "done").await.is_some());
}

async fn nothing_is_tried_again(bench: Arc<Bench>) {
    let (key, mut client) = (bench.key(), bench.connect().await);
    for (action, count) in [("oneway", 1), ("twoway", 2)] {
        client.send(json!({"action": action, "do": "fail", "key": key}).to_string()).await;
        tests::eventually("the function has run", PATIENCE, async || {
            (bench.events(&key, "message").await.len() >= count).then_some(())
        })
        .await;
    }
    // Long enough for one more: another connection's message comes and goes.
    message_event(&mut bench.connect().await).await;
    assert_eq!(bench.events(&key, "message").await.len(), 2);
}

/// The replies to a slow and a quick message, in the order in which they come. The slow one waits for the quick one's reply, if
/// the two are sure to run side by side.
async fn race(bench: &Bench, side_by_side: bool) -> [String; 2] {
    let mut client = bench.connect().await;
    let key = bench.key();
    client.send(json!({"action": "twoway", "do": "wait", "key": key, "body": "slow"}).to_string()).await;
    client.send(json!({"action": "twoway", "body": "quick"}).to_string()).await;
    let first = if side_by_side { Some(client.text().await) } else { None };
    bench.open_door(&key).await;
    let first = match first {
        Some(first) => first,
        None => client.text().await,
    };
    [first, client.text().await]
}

async fn replies_may_overtake(bench: Arc<Bench>) {
    let mut replies = race(&bench, false).await;
    replies.sort_unstable();
    assert_eq!(replies, ["quick", "slow"]);
}

async fn messages_run_side_by_side(bench: Arc<Bench>) {
    assert_eq!(race(&bench, true).await, ["quick", "slow"]);
}

async fn throttling_is_told(bench: Arc<Bench>) {
    // The stage lets few in, and other cases want to get in too.
    let mut client = patiently(&bench.limited).await;
    let id = connection_id_over_default(&mut client).await;
    for _ in 0..30 {
        client.send(json!({"action": "twoway", "body": "taken"}).to_string()).await;
    }
    let mut told = 0;
    for _ in 0..30 {
        let frame = client.text().await;
        if frame != "taken" {
            check_frame(&frame, "Too Many Requests", &id);
            told += 1;
        }
    }
    assert!(told > 0, "a burst of 3 took 30 messages");
    assert_quiet(&mut client).await;
}

/// `twoway` is limited in this stage, `$default` is not.
async fn connection_id_over_default(client: &mut Client) -> String {
    let event = client.ask(json!({"do": "event"})).await;
    event["requestContext"]["connectionId"].as_str().unwrap().to_owned()
}
