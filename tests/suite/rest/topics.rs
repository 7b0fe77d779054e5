//! Durable topics.

use serde_json::json;

use super::Rest;

#[tokio::test(flavor = "multi_thread")]
async fn a_user_hears_a_durable_topic_on_every_connection() {
    let rest = Rest::start().await;
    let (mut first, _) = rest.connect("?user=alice").await;
    assert_eq!(rest.call("PUT", "/users/alice/topics?topic=news%2Flocal", 200).await, json!({"connections": 1}));
    let (mut second, _) = rest.connect("?user=alice").await;
    let (mut other, _) = rest.connect("?user=bob").await;
    assert_eq!(rest.get("/users/alice/topics").await, json!({"topics": ["news/local"]}));

    rest.notify(&json!({"to": {"topic": "news/local"}, "data": 1})).await;
    assert_eq!((first.json().await["data"].clone(), second.json().await["data"].clone()), (json!(1), json!(1)));
    assert_eq!(rest.call("DELETE", "/users/alice/topics?topic=news%2Flocal", 200).await, json!({"connections": 2}));
    assert_eq!(rest.get("/users/alice/topics").await, json!({"topics": []}));
    rest.notify(&json!({"to": {"topic": "news/local"}, "data": 2})).await;
    rest.notify(&json!({"to": "everyone", "data": 3})).await;
    for client in [&mut first, &mut second, &mut other] {
        assert_eq!(client.json().await["data"], 3);
    }
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_user_can_be_named() {
    let rest = Rest::start().await;
    for (target, user) in [
        ("/users/s%C3%BC%C3%9F%20x/topics?topic=t", "süß x"),
        ("/users/-/topics?user=org%2Falice%3F%25&topic=t", "org/alice?%"),
        ("/users/-/topics?user=-&topic=t", "-"),
        ("/users/a%23b/topics?topic=t", "a#b"),
    ] {
        rest.call("PUT", target, 200).await;
        let user = tidings::UserId::parse(user).unwrap();
        assert_eq!(rest.stack.registry().durable_topics(&user).await.unwrap().len(), 1, "{target}");
    }
    rest.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_durable_topics_is_told() {
    let rest = Rest::start().await;
    let user = tidings::UserId::parse("alice").unwrap();
    for index in 0..100 {
        let topic = tidings::Topic::parse(format!("t{index}")).unwrap();
        rest.stack.registry().add_durable_topic(&user, &topic).await.unwrap();
    }
    let problem = rest.call("PUT", "/users/alice/topics?topic=more", 409).await;
    assert_eq!(problem["type"], "urn:tidings:problem:too-many-topics");
    let bob = tidings::UserId::parse("bob").unwrap();
    for index in 0..8 {
        let topic = tidings::Topic::parse(format!("{index:01000}")).unwrap();
        rest.stack.registry().add_durable_topic(&bob, &topic).await.unwrap();
    }
    let long = rest.call("PUT", &format!("/users/bob/topics?topic={:01000}", 8), 409).await;
    let detail = "`topic`: the names of the user's durable topics would have 9000 bytes together, and 8192 are allowed; \
                  remove one first, or use shorter names";
    assert_eq!((&long["type"], &long["detail"]), (&problem["type"], &json!(detail)));
    let (mut client, _) = rest.connect("?user=alice").await;
    let who = client.ask(json!({"action": "whoami", "id": 2})).await;
    assert_eq!(who["topics"].as_array().unwrap().len(), 100);
    rest.stack.stop().await;
}
