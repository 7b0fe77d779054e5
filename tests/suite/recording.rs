//! `tidings dev --record`: the events of a run as files that can be replayed.

use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::stack::Stack;
use tidings_test::Client;

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_run_are_files_without_tokens_that_can_be_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("events");
    let record = place.clone();
    let stack = Stack::start_with(|options| options.record = Some(record)).await;
    let secret = "not-for-files";
    let url = format!("{}?user=ann&topic=orders/42&access_token={secret}", stack.url());
    let headers = [("Authorization", secret), ("Cookie", secret)];
    let mut client = Client::open(&url, &headers).await.unwrap();
    client.subscribe("orders/43").await;
    stack.invoke("notifier", &json!({"to": "everyone", "data": 1}).to_string()).await;
    client.json().await;
    client.close().await;
    let names = eventually("five files", Duration::from_secs(20), async || {
        let mut names: Vec<_> =
            std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (names.len() == 5).then_some(names)
    })
    .await;
    let expected = [
        "0001-authorizer-authorizer.json",
        "0002-connect-connect.json",
        "0003-default-default.json",
        "0004-notifier-invoke.json",
        "0005-disconnect-disconnect.json",
    ];
    assert_eq!(names, expected);
    stack.stop().await;

    let again = Stack::start(&[]).await;
    for name in names {
        let text = std::fs::read_to_string(place.join(&name)).unwrap();
        assert!(!text.contains(secret), "{name}: {text}");
        let function = name.split('-').nth(1).unwrap();
        let answer = again.invoke(function, &text).await;
        assert!(!answer.failed, "{name}: {answer:?}");
        if function == "connect" {
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(event["queryStringParameters"]["access_token"], "masked");
            assert_eq!(event["queryStringParameters"]["user"], "ann");
            assert_eq!(answer.payload["statusCode"], 200);
        }
    }
    again.stop().await;
}
