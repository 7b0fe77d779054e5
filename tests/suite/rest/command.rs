//! `tidings connections` and `tidings topics`, as they are typed.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tests::stack::Stack;
use tokio::process::Command;

use super::Rest;

/// The program, which cargo puts beside the tests' folder.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program =
        tests.parent().unwrap().parent().unwrap().join("tidings").with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "{} is missing: test with --workspace", program.display());
    program
}

async fn tidings(stack: &Stack, words: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(words).args(["--endpoint", stack.api()]).env_remove("TIDINGS_REST_TOKEN");
    command.output().await.unwrap()
}

/// Standard output of a command that succeeds.
async fn printed(stack: &Stack, words: &[&str]) -> String {
    let output = tidings(stack, words).await;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_topics_can_be_looked_after_from_the_command_line() {
    let rest = Rest::start().await;
    let stack = &rest.stack;
    let (mut client, id) = rest.connect("?user=org%2Falice&topic=a%2Cb").await;
    let (_other, _) = rest.connect("?user=bob").await;

    assert_eq!(printed(stack, &["topics", "add", "org/alice", "news/local"]).await, "");
    assert_eq!(printed(stack, &["topics", "list", "org/alice"]).await, "news/local\n");
    let table = printed(stack, &["connections", "list", "--topic", "news/local"]).await;
    let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["ID", "USER", "PROTOCOL", "CONNECTED"]);
    assert_eq!((lines.len(), &lines[1][..3]), (2, &[id.as_str(), "org/alice", "tidings.v1.json"][..]));
    let listed = printed(stack, &["connections", "list", "--json", "--limit", "1"]).await;
    assert_eq!(listed.lines().count(), 1);
    assert!(serde_json::from_str::<Value>(&listed).unwrap()["connectedAt"].is_i64());
    assert_eq!(printed(stack, &["connections", "count"]).await, "2\n");
    assert_eq!(printed(stack, &["connections", "count", "--user", "org/alice", "--estimate"]).await, "1\n");
    let shown = printed(stack, &["connections", "show", &id]).await;
    assert!(shown.contains("open         yes") && shown.contains("topic        a,b"), "{shown}");

    printed(stack, &["topics", "remove", "org/alice", "news/local", "--json"]).await;
    assert_eq!(printed(stack, &["topics", "list", "org/alice", "--json"]).await, "{\"topics\":[]}\n");
    printed(stack, &["connections", "close", &id]).await;
    assert!(client.closed().await.is_some());
    let again = tidings(stack, &["connections", "close", &id]).await;
    let said = String::from_utf8(again.stderr).unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(said.starts_with("error: There is no such connection"), "{said}");
    let wrong = tidings(stack, &["connections", "list", "--user", "a", "--topic", "b"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    rest.stack.stop().await;
}
