//! An application's own protocol, over the real functions and the gateway.

use serde_json::json;
use tests::stack::{Stack, root};
use tidings_test::Client;

/// Our template with one program as every function: the one that brings the protocol `lines`.
fn template() -> std::path::PathBuf {
    let ours = std::fs::read_to_string(root().join("template.yaml")).unwrap();
    let named = regex_lite::Regex::new(r"Binary: \w+ ").unwrap().replace_all(&ours, "Binary: lines ");
    let code = regex_lite::Regex::new(r"CodeUri: functions/\w+")
        .unwrap()
        .replace_all(&named, "CodeUri: ../tests")
        .into_owned();
    let file = root().join("target/own-protocol.yaml");
    std::fs::write(&file, code.replace("TemplateURL: infra/", "TemplateURL: ../infra/")).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn who_types_lines_is_understood_is_refused_and_hears_what_is_said_in_any_protocol() {
    let stack = Stack::start_at(&template(), &[("AnonymousPermissions", "subscribe:room/* publish:room/*")], &[]).await;
    let mut ada = Client::connect(&format!("{}?protocol=lines&user=ada", stack.url())).await;
    let mut bob = Client::connect(&format!("{}?topic=room/1&user=bob", stack.url())).await;
    for (line, answer) in [
        ("join room/1", "ok"),
        ("hello", "no: say join, leave or say, and a room"),
        ("join hall", "no: you may not subscribe to the topic \"hall\""),
    ] {
        ada.send(line).await;
        assert_eq!(ada.text().await, answer, "{line}");
    }
    bob.send(json!({"action": "publish", "topic": "room/1", "data": "hi Ada"}).to_string()).await;
    assert_eq!(ada.text().await, "room/1 hi Ada");
    ada.send("say room/1 hi Bob").await;
    let mut heard = [ada.text().await, ada.text().await];
    heard.sort();
    assert_eq!(heard, ["ok", "room/1 hi Bob"]);
    loop {
        let message = bob.json().await;
        if message["data"] == "hi Bob" {
            break assert_eq!((&message["type"], &message["from"]["user"]), (&json!("message"), &json!("ada")));
        }
    }
    stack.stop().await;
}
