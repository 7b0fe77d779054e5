//! What `docs/clients.md` shows for platforms without a library works as it stands there, where the platform is on this machine.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::eventually;
use tests::stack::{Stack, root};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use tests::clients::has;

const PATIENCE: Duration = Duration::from_secs(60);

/// The first block of code in this language on the page.
fn code(language: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/clients.md")).unwrap();
    let begin = format!("```{language}\n");
    let code = page.split_once(&begin).unwrap_or_else(|| panic!("the page has no {language}")).1;
    code.split_once("\n```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_java_listen_to_a_topic() {
    if !has("java").await {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Listen.java"), code("java")).unwrap();
    let stack = Stack::start(&[]).await;
    let mut command = Command::new("java");
    command.args(["Listen.java", stack.url(), "room/1"]).current_dir(folder.path());
    let mut program = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let mut next = async || -> Value {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
        serde_json::from_str(&line.expect("it goes on")).unwrap()
    };
    let ack = next().await;
    assert_eq!((&ack["type"], &ack["id"]), (&json!("ack"), &json!(1)), "{ack}");
    eventually("a subscriber", PATIENCE, async || {
        let answer = stack.invoke("notifier", &json!({"to": {"topic": "room/1"}, "data": "hello"}).to_string()).await;
        (answer.payload["delivered"] == 1).then_some(())
    })
    .await;
    assert_eq!(next().await["data"], "hello");
    stack.stop().await;
}
