//! A real Centrifugo as an oracle: what it answers, a stack answers, but where the file of differences says why not.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tests::stack::{Stack, root};
use tests::wire::{self, Url};
use tokio::process::{Child, Command};

use tests::clients::{for_javascript, has};

/// What the oracle is told beside its file: `TIDINGS_ORACLE="--write"` writes that anew, a part of a name chooses cases.
const ARGUMENTS: &str = "TIDINGS_ORACLE";

const KEY: &str = "the-key-of-servers-in-this-test";

/// The file of differences, and the page that shows it.
fn differences() -> PathBuf {
    root().join("tests/clients/js/differences.json")
}

/// A Centrifugo that takes the same tokens as a stack, and where its clients and servers call.
async fn centrifugo(program: &Path, secret: &str) -> (Child, Value) {
    // It cannot choose a port by itself: one that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .arg("--config")
        .arg(root().join("tests/centrifugo/config.json"))
        .env("CENTRIFUGO_HTTP_SERVER_PORT", port.to_string())
        .env("CENTRIFUGO_HTTP_SERVER_ADDRESS", "127.0.0.1")
        .env("CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY", secret)
        .env("CENTRIFUGO_HTTP_API_KEY", KEY)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let api = format!("http://127.0.0.1:{port}");
    let info = Url::parse(&format!("{api}/api/info"));
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        wire::request("POST", &info, &[("X-API-Key", KEY)], b"{}").await
    };
    let answer = tokio::time::timeout(Duration::from_secs(30), up).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let socket = format!("ws://127.0.0.1:{port}/connection/websocket");
    (child, json!({"socket": socket, "api": api, "secret": secret, "key": KEY}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_answers_as_a_real_centrifugo_but_where_the_differences_say_why_not() {
    let Some(program) = std::env::var_os("TIDINGS_CENTRIFUGO") else {
        eprintln!("skipped: TIDINGS_CENTRIFUGO names no Centrifugo; tests/centrifugo/fetch builds one");
        return;
    };
    if !has("npm").await {
        return;
    }
    let folder = for_javascript().await;
    let history = r#"[{"to":{"topic":"plain:x/**"},"seconds":0},{"to":{"topic":"**"},"seconds":300,"ordered":true}]"#;
    let parameters = [("Authentication", "hs256"), ("AllowAnonymous", "false"), ("History", history)];
    let stack = Stack::start(&[&parameters[..], &[("Presence", r#"["room/**","closed:x/**"]"#)]].concat()).await;
    let secret = String::from_utf8(stack.secret().await).unwrap();
    let (_centrifugo, at) = centrifugo(Path::new(&program), &secret).await;
    let key = stack.running().secrets().text("tidings-dev/server-key").unwrap();
    let socket = format!("{}?protocol=centrifuge", stack.url());
    let ours = json!({"socket": socket, "api": stack.api(), "secret": secret, "key": key});
    let mut command = Command::new("node");
    command.arg("oracle.mjs").arg(differences()).current_dir(&folder);
    command.args(std::env::var(ARGUMENTS).iter().flat_map(|arguments| arguments.split(' ')));
    let output = command.env("CENTRIFUGO", at.to_string()).env("TIDINGS", ours.to_string()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    stack.stop().await;
}

#[test]
fn the_page_of_clients_tells_the_reason_of_each_difference() {
    let differences: Vec<Value> = serde_json::from_slice(&std::fs::read(differences()).unwrap()).unwrap();
    let page = std::fs::read_to_string(root().join("docs/clients.md")).unwrap();
    assert!(!differences.is_empty());
    for difference in differences {
        let why = difference["why"].as_str().filter(|why| !why.is_empty());
        let why = why.unwrap_or_else(|| panic!("no reason: {difference}"));
        assert!(page.contains(&format!("| {why} |")), "docs/clients.md does not tell: {why}");
    }
}
