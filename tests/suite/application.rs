//! Applications as `tidings new` writes them: those of `examples/`, and one in a folder outside of this repository.
//!
//! Building them takes minutes, so that `TIDINGS_APPLICATIONS` has to name that folder: `.ci/run` writes into it. A folder that
//! `TIDINGS_SCREENSHOTS` names gets the pictures of their READMEs.

mod orders;

use std::path::PathBuf;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};
use tests::browser::Page;
use tests::engine;
use tests::stack::{Stack, root};
use tidings_test::Client;

/// The stack of an application, and its folder: `my-minimal`, or one of `examples/`.
#[expect(clippy::print_stdout, reason = "a test that is passed over says so")]
async fn application(name: &str) -> Option<(Stack, PathBuf)> {
    let Some(written) = std::env::var_os("TIDINGS_APPLICATIONS").map(PathBuf::from) else {
        println!("TIDINGS_APPLICATIONS is not set: {name}, as `tidings new` writes it, is not run");
        return None;
    };
    let example = root().join("examples").join(name);
    let folder = if example.exists() { example } else { written.join(name) };
    Some((Stack::start_at(&folder.join("template.yaml"), &[], &[]).await, folder))
}

/// Keeps a picture of a page, where `TIDINGS_SCREENSHOTS` names a folder.
async fn picture(page: &mut Page, name: &str) {
    if let Some(folder) = std::env::var_os("TIDINGS_SCREENSHOTS") {
        page.resize(900, 560, false).await;
        page.call("Input.dispatchMouseEvent", json!({"type": "mouseMoved", "x": 1, "y": 1})).await;
        let moving = "document.getAnimations().filter((one) => one instanceof CSSTransition)";
        page.eval(&format!("Promise.allSettled({moving}.map((one) => one.finished)).then(() => 0)")).await;
        std::fs::write(PathBuf::from(folder).join(name), page.screenshot().await).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_answers_reads_its_table_and_sends_what_changes_there() {
    let Some((stack, _)) = application("my-minimal").await else { return };
    let mut client = Client::connect(&format!("{}?topic=items&user=ada", stack.url())).await;
    let reply = client.ask(json!({"action": "hello", "name": "Ada", "id": 1})).await;
    assert_eq!(reply, json!({"type": "ack", "id": 1, "data": {"hello": "Ada"}}));
    let reply = client.ask(json!({"action": "hello", "name": "", "id": 2})).await;
    assert_eq!((&reply["code"], &reply["message"]), (&json!("NoName"), &json!("say who you are in `name`")));

    let text = |text: &str| AttributeValue::S(text.to_owned());
    let items = engine::client(stack.dynamodb(), engine::http()).put_item().table_name(stack.table_name("ItemsTable"));
    items.item("id", text("1")).item("text", text("hi")).send().await.unwrap();
    let message = client.json().await;
    assert_eq!((&message["topic"], &message["data"]["new"]["text"]), (&json!("items"), &json!("hi")), "{message}");

    let reply = client.ask(json!({"action": "item.get", "item": "1", "id": 3})).await;
    assert_eq!(reply["data"], json!({"item": "1", "text": "hi"}), "{reply}");
    let reply = client.ask(json!({"action": "item.get", "item": "2", "id": 4})).await;
    assert_eq!(reply["code"], "NoSuchItem", "{reply}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_talk_on_the_page_of_the_chat() {
    let Some((stack, folder)) = application("chat").await else { return };
    let Some(mut page) = Page::new().await else { return };
    let address = format!("file://{}?name=Ada&room=lobby&url={}", folder.join("web/index.html").display(), stack.url());
    page.open(&address).await;
    page.until("document.getElementById('state').textContent === 'in lobby as Ada'").await;
    let mut bob = Client::connect(&format!("{}?user=Bob", stack.url())).await;
    bob.ask(json!({"action": "chat.join", "room": "lobby", "id": 1})).await;
    page.until("document.getElementById('messages').textContent.includes('Bob came in')").await;
    page.fill("#text", "hello Bob").await;
    page.press("Enter", 0).await;
    let heard = until(&mut bob, "chat.message").await;
    assert_eq!(heard["data"], json!({"kind": "chat.message", "name": "Ada", "text": "hello Bob"}));
    bob.send(json!({"action": "chat.typing", "room": "lobby"}).to_string()).await;
    page.until("document.getElementById('typing').textContent === 'Bob is typing …'").await;
    bob.send(json!({"action": "chat.send", "room": "lobby", "text": "hello <b>Ada</b>"}).to_string()).await;
    page.until("document.getElementById('messages').textContent.includes('hello <b>Ada</b>')").await;
    picture(&mut page, "chat.png").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_while_the_network_was_cut_comes_on_the_chats_page_by_centrifuges_own_library() {
    let Some((stack, folder)) = application("chat").await else { return };
    let Some(mut page) = Page::new().await else { return };
    // The page with what `npm install` puts beside it.
    let web = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("web/centrifuge.html"), web.path().join("centrifuge.html")).unwrap();
    let packages = crate::centrifuge::for_javascript().await.join("node_modules");
    std::os::unix::fs::symlink(packages, web.path().join("node_modules")).unwrap();
    let file = web.path().join("centrifuge.html");
    page.open(&format!("file://{}?name=Ada&room=lobby&url={}", file.display(), stack.url())).await;
    page.until("document.getElementById('state').textContent === 'in lobby as Ada'").await;
    let mut bob = Client::connect(&format!("{}?user=Bob", stack.url())).await;
    bob.ask(json!({"action": "chat.join", "room": "lobby", "id": 1})).await;
    page.until("document.getElementById('messages').textContent.includes('Bob came in')").await;

    page.click("#cut").await;
    page.until("document.getElementById('state').textContent === 'the network is cut'").await;
    for (id, text) in [(2, "are you there?"), (3, "it must be the tunnel")] {
        bob.ask(json!({"action": "chat.send", "room": "lobby", "text": text, "id": id})).await;
        // An action's messages go through the queue, where the next one could overtake this.
        while until(&mut bob, "chat.message").await["data"]["text"] != text {}
    }
    page.click("#cut").await;
    page.until("document.querySelectorAll('#messages .missed').length === 2").await;
    page.fill("#text", "back again").await;
    page.press("Enter", 0).await;
    while until(&mut bob, "chat.message").await["data"]["text"] != "back again" {}
    page.until("document.getElementById('messages').textContent.includes('back again')").await;
    picture(&mut page, "recovered.png").await;
    let texts = page.eval("[...document.querySelectorAll('#messages li')].map((item) => item.textContent)").await;
    assert_eq!(texts, json!(["Bob came in", "Bobare you there?", "Bobit must be the tunnel", "Adaback again"]));
    stack.stop().await;
}

/// The next message of this kind.
async fn until(client: &mut Client, kind: &str) -> Value {
    loop {
        let message = client.json().await;
        if message["event"] == kind {
            return message;
        }
    }
}
