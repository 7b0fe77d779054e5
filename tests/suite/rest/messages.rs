//! Reading logs, and waiting for what is new in them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::eventually;
use tidings::metrics::Metric;

use super::Rest;
use crate::metrics::until;

async fn say(rest: &Rest, to: Value, data: Value) {
    let answer = rest.stack.invoke("notifier", &json!({"to": to, "data": data}).to_string()).await;
    assert!(!answer.failed, "{answer:?}");
}

fn data(answer: &Value) -> Vec<Value> {
    answer["messages"].as_array().unwrap().iter().map(|message| message["data"].clone()).collect()
}

fn behind(answer: &Value) -> String {
    format!("offset={}&epoch={}", answer["offset"], answer["epoch"].as_str().unwrap())
}

/// Until so many requests wait.
async fn until_waiting(rest: &Rest, count: usize) {
    let waiting = async || {
        let rows = rest.stack.rows().await;
        let taken = rows.iter().find(|row| row["pk"].as_s().unwrap() == "polls").map_or(0, |row| row.len() - 2);
        (taken == count).then_some(())
    };
    eventually("requests that wait", Duration::from_secs(10), waiting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_from_its_end_from_a_place_and_backwards() {
    let rest = Rest::start().await;
    let empty = rest.get("/messages?topic=a%2Fb").await;
    assert_eq!(
        (&empty["offset"], &empty["messages"], &empty["more"]),
        (&json!(0), &json!([]), &json!(false)),
        "{empty}"
    );
    let (mut client, _) = rest.connect("?topic=a%2Fb").await;
    for number in 1..=4 {
        say(&rest, json!({"topic": "a/b"}), json!(number)).await;
    }
    let newest = rest.get("/messages?topic=a%2Fb&limit=3").await;
    assert_eq!((data(&newest), &newest["more"]), (vec![json!(2), json!(3), json!(4)], &json!(true)), "{newest}");
    assert_eq!((&newest["offset"], newest.get("recovered")), (&json!(4), None), "{newest}");
    client.json().await;
    assert_eq!(client.json().await, newest["messages"][0], "a message is what is pushed");

    let epoch = newest["epoch"].as_str().unwrap();
    let since = rest.get(&format!("/messages?topic=a%2Fb&offset=1&epoch={epoch}&limit=2")).await;
    assert_eq!((data(&since), &since["more"]), (vec![json!(2), json!(3)], &json!(true)));
    assert_eq!((&since["recovered"], &since["offset"]), (&json!(true), &json!(4)), "{since}");
    let before = rest.get(&format!("/messages?topic=a%2Fb&offset=3&epoch={epoch}&reverse=true")).await;
    assert_eq!((data(&before), &before["more"]), (vec![json!(2), json!(1)], &json!(false)), "{before}");
    let other = rest.get("/messages?topic=a%2Fb&offset=9&epoch=another").await;
    assert_eq!((&other["recovered"], &other["epoch"]), (&json!(false), &json!(epoch)), "another epoch is no error");
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_for_what_is_new_and_lets_the_next_one_wait() {
    let rest = Rest::start().await;
    let end = behind(&rest.get("/messages?topic=a").await);
    let target = format!("/messages?topic=a&{end}&wait=20");
    let (answer, ()) = tokio::join!(rest.get(&target), async {
        until_waiting(&rest, 1).await;
        say(&rest, json!({"topic": "a"}), json!("new")).await;
    });
    assert_eq!((data(&answer), &answer["recovered"]), (vec![json!("new")], &json!(true)), "{answer}");
    until_waiting(&rest, 0).await;

    let begun = Instant::now();
    let in_vain = rest.get(&format!("/messages?topic=a&{}&wait=1", behind(&answer))).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "it waited {:?}", begun.elapsed());
    assert_eq!(
        (&in_vain["messages"], &in_vain["recovered"], &in_vain["offset"]),
        (&json!([]), &json!(true), &json!(1))
    );
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_as_many_wait_as_may_the_next_is_answered_at_once() {
    let rest = Rest::start_with(&[("LongPolls", "2")]).await;
    let end = behind(&rest.get("/messages?topic=a").await);
    let target = format!("/messages?topic=a&{end}&wait=20");
    let (first, second, ()) = tokio::join!(rest.get(&target), rest.get(&target), async {
        until_waiting(&rest, 2).await;
        let third = rest.send("GET", &target, &[], b"").await;
        assert_eq!((third.status, third.header("retry-after")), (200, Some("5")), "{third:?}");
        assert_eq!(serde_json::from_str::<Value>(&third.body).unwrap()["messages"], json!([]));
        say(&rest, json!({"topic": "a"}), json!(1)).await;
    });
    assert_eq!((data(&first), data(&second)), (vec![json!(1)], vec![json!(1)]));
    let sums = until(&rest.stack, &[(Metric::LongPolls, 2), (Metric::LongPollsRefused, 1)]).await;
    assert_eq!((sums["LongPolls"], sums["LongPollsRefused"]), (2, 1), "{sums:?}");
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_can_be_turned_off() {
    let rest = Rest::start_with(&[("LongPolls", "0")]).await;
    let end = behind(&rest.get("/messages?topic=a").await);
    let answer = rest.send("GET", &format!("/messages?topic=a&{end}&wait=20"), &[], b"").await;
    assert_eq!((answer.status, answer.header("retry-after")), (200, Some("5")), "{answer:?}");
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_a_problem_that_names_the_field_and_the_fix() {
    let kept = r#"[{"to":{"topic":"a"},"seconds":300}]"#;
    let rest = Rest::start_with(&[("History", kept)]).await;
    let epoch = rest.get("/messages?topic=a").await["epoch"].as_str().unwrap().to_owned();
    for (target, status, field, words) in [
        ("/messages", 400, json!("topic"), "it is missing; give ?topic= or ?user="),
        ("/messages?topic=a&offset=1", 400, json!("epoch"), "it is missing; give it with `offset`"),
        ("/messages?topic=a&offset=1&epoch=K!", 400, json!("epoch"), "lower-case letters and digits"),
        ("/messages?topic=a&wait=21", 400, json!("wait"), "from 0 to 20"),
        (
            "/messages?topic=a&wiat=2",
            400,
            json!("wiat"),
            "use topic, user, offset, epoch, limit, reverse, wait, access_token",
        ),
        (&format!("/messages?topic=a&offset=9&epoch={epoch}"), 400, json!("offset"), "it is 9, and the log ends at 0"),
        ("/messages?topic=b", 404, Value::Null, "the stack's parameter `History`"),
        ("/messages?user=u1", 404, Value::Null, "the stack's parameter `History`"),
        ("/users/u1/unread", 404, Value::Null, "the stack's parameter `History`"),
    ] {
        let problem = rest.call("GET", target, status).await;
        assert_eq!(problem.get("field").cloned().unwrap_or_default(), field, "{target}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{target}: {problem}");
    }
    rest.stack.stop().await;
}
