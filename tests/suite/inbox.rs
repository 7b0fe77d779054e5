//! A user's inbox over its sockets: what it has not read, and how its connections learn of it.

use serde_json::{Value, json};
use tests::stack::Stack;
use tidings_test::Client;

async fn say(stack: &Stack, user: &str) {
    let answer = stack.invoke("notifier", &json!({"to": {"user": user}, "data": 1}).to_string()).await;
    assert!(!answer.failed, "{answer:?}");
}

async fn connect(stack: &Stack, user: &str) -> Client {
    Client::connect(&format!("{}?user={user}", stack.url())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_one_device_has_read_on_the_others() {
    let stack = Stack::start(&[]).await;
    for _ in 0..3 {
        say(&stack, "u1").await;
    }
    let (mut phone, mut desktop) = (connect(&stack, "u1").await, connect(&stack, "u1").await);
    let mut raw = Client::offer(&format!("{}?user=u1", stack.url()), &["raw"]).await.unwrap();
    let unread = phone.ask(json!({"action": "unread", "id": 4})).await;
    assert_eq!(unread, json!({"type": "unread", "id": 4, "count": 3, "offset": 3, "read": 0}));
    let ack = phone.ask(json!({"action": "read", "offset": 2, "id": 5})).await;
    assert_eq!(ack, json!({"type": "ack", "id": 5}));
    assert_eq!(desktop.json().await, json!({"type": "unread", "count": 1, "offset": 3, "read": 2}));
    phone.hears_nothing().await;
    raw.hears_nothing().await;
    let lower = desktop.ask(json!({"action": "read", "offset": 1, "id": 6})).await;
    assert_eq!(lower, json!({"type": "ack", "id": 6}), "a mark only rises");
    phone.hears_nothing().await;
    let unread = phone.ask(json!({"action": "unread", "id": 7})).await;
    assert_eq!((&unread["count"], &unread["read"]), (&json!(1), &json!(2)));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_marked_is_refused_with_its_field_and_the_fix() {
    let stack = Stack::start(&[]).await;
    let mut client = connect(&stack, "u1").await;
    for (command, code, start) in [
        (json!({"action": "read", "offset": 1}), "BadRequest", "`offset`: 1 is beyond the log, which ends at 0; give"),
        (json!({"action": "read"}), "BadRequest", "`offset` is not a whole number from 0 on; use"),
        (json!({"action": "unread", "user": "u2"}), "BadRequest", "`user` is not known here"),
    ] {
        refused(&mut client, command, code, start).await;
    }
    let mut nobody = Client::connect(stack.url()).await;
    refused(&mut nobody, json!({"action": "unread"}), "Forbidden", "this connection has no user").await;
    stack.stop().await;
    let stack = Stack::start(&[("History", "[]")]).await;
    let mut client = connect(&stack, "u1").await;
    refused(&mut client, json!({"action": "unread"}), "BadRequest", "nothing is kept of it").await;
    stack.stop().await;
}

async fn refused(client: &mut Client, mut command: Value, code: &str, start: &str) {
    command["id"] = json!(1);
    let reply = client.ask(command.clone()).await;
    assert_eq!(reply["code"], code, "{command}: {reply}");
    assert!(reply["message"].as_str().unwrap().starts_with(start), "{command}: {reply}");
}
