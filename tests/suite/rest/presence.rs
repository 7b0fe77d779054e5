//! Who is in a topic.

use serde_json::{Value, json};

use super::Rest;

const ROOM: &str = "/topics/-/presence?topic=room%2F1";

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_is_in_a_topic_and_whom_they_close_has_left() {
    let rest = Rest::start_with(&[("Presence", r#"["room/**"]"#)]).await;
    let names = |shown: &Value| {
        let users = shown["users"].as_array().unwrap().iter();
        users.map(|present| (present["user"].clone(), present["connections"].clone())).collect::<Vec<_>>()
    };
    let (mut watcher, _) = rest.connect("?user=a").await;
    let watch = json!({"action": "subscribe", "topic": "room/1", "presence": true, "id": 1});
    assert_eq!(watcher.ask(watch).await["type"], "ack");
    assert_eq!(watcher.json().await["joined"], json!(["a"]));
    // A name that begins with another and the sign between names and connections.
    let (_other, id) = rest.connect("?user=a%23b&topic=room%2F1").await;
    assert_eq!(watcher.json().await["joined"], json!(["a#b"]));
    assert_eq!(names(&rest.get(ROOM).await), [(json!("a"), json!(1)), (json!("a#b"), json!(1))]);
    assert_eq!(rest.get(&format!("/connections/{id}")).await["topics"], json!(["room/1"]));
    rest.call("DELETE", &format!("/connections/{id}"), 204).await;
    assert_eq!(watcher.json().await["left"], json!(["a#b"]));
    let shown = rest.get(ROOM).await;
    assert_eq!((&shown["count"], &shown["connections"]), (&json!(1), &json!(1)));
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_which_nothing_is_kept_is_refused_with_the_fix() {
    let rest = Rest::start_with(&[("Presence", r#"["room/**"]"#)]).await;
    let refused = rest.call("GET", "/topics/lobby/presence", 400).await;
    let detail = "`topic`: it is not kept who is in it; the stack's parameter `Presence` says of which topics it is";
    assert_eq!(refused["detail"], detail, "{refused}");
    rest.stack.stop().await;
}
