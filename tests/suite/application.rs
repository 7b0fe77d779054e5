//! An application as `tidings new` writes it, in a folder outside of this repository.
//!
//! Building it takes minutes, so that `TIDINGS_APPLICATION` has to name its folder: `.ci/run` writes one.

use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tests::client::Client;
use tests::engine;
use tests::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn what_tidings_new_writes_answers_reads_its_table_and_sends_what_changes_there() {
    let Some(folder) = std::env::var_os("TIDINGS_APPLICATION").map(PathBuf::from) else {
        println!("TIDINGS_APPLICATION is not set: the application that `tidings new` writes is not run");
        return;
    };
    let stack = Stack::start_at(&folder.join("template.yaml"), &[], &[]).await;
    let mut client = Client::connect(&format!("{}?topic=items&user=ada", stack.url())).await;
    let reply = client.ask(json!({"action": "hello", "name": "Ada", "id": 1})).await;
    assert_eq!(reply, json!({"type": "ack", "id": 1, "data": {"hello": "Ada"}}));
    let reply = client.ask(json!({"action": "hello", "name": "", "id": 2})).await;
    assert_eq!((&reply["code"], &reply["message"]), (&json!("NoName"), &json!("say who you are in `name`")));

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let items = engine::client(stack.dynamodb(), engine::http()).put_item().table_name("ItemsTable");
    items.item("id", text("1")).item("text", text("hi")).send().await.unwrap();
    let message = client.json().await;
    assert_eq!((&message["topic"], &message["data"]["new"]["text"]), (&json!("items"), &json!("hi")), "{message}");

    let reply = client.ask(json!({"action": "item.get", "item": "1", "id": 3})).await;
    assert_eq!(reply["data"], json!({"item": "1", "text": "hi"}), "{reply}");
    let reply = client.ask(json!({"action": "item.get", "item": "2", "id": 4})).await;
    assert_eq!(reply["code"], "NoSuchItem", "{reply}");
    stack.stop().await;
}
