//! Azure Web PubSub's official libraries, unmodified, against a stack.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::json;
use tests::issuer::secret_token;
use tests::proxy::Proxy;
use tests::stack::{Stack, root};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use tests::clients::{for_javascript, for_python, has};

/// Where frames overtake one another in the tests that are about that.
const SEED: u64 = 7;
/// How many seeds there are where they are run one after the other; 10 is the whole form.
const SEEDS: &str = "TIDINGS_SEEDS";

/// A notification that a program has sent, and who is told whether it was taken.
type Asked = (String, oneshot::Sender<bool>);

/// Serves what a program has done to its stack: sockets that are cut, and notifications, which it hands on.
async fn control(proxy: &'static Proxy, asked: mpsc::Sender<Asked>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let notify = async move |body: String| {
        let (told, taken) = oneshot::channel();
        asked.send((body, told)).await.unwrap();
        if taken.await.unwrap_or_default() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
    };
    let away = async || {
        proxy.refuse(true);
        proxy.cut();
    };
    let router = Router::new().route("/cut", get(async || proxy.cut())).route("/notify", post(notify));
    let router = router.route("/away", get(away)).route("/back", get(async || proxy.refuse(false)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// A stack, and the program that is run against it.
struct Run<'a> {
    /// Where frames overtake one another.
    seed: Option<u64>,
    /// Whether its clients recover.
    is_reliable: bool,
    /// Which of its checks are made; all where it is absent.
    checks: Option<&'a str>,
    program: &'a Path,
    script: &'a str,
    folder: &'a Path,
}

/// Starts a stack and runs the program against it. It prints what holds.
#[expect(clippy::print_stderr, reason = "what the client has checked")]
async fn run(Run { seed, is_reliable, checks, program, script, folder }: Run<'_>) {
    let stack = Stack::start_with(|options| {
        let parameters = [
            ("Authentication", "hs256"),
            ("AllowAnonymous", "true"),
            ("Protocols", "centrifuge,webpubsub"),
            ("WebPubSubReliable", if is_reliable { "true" } else { "false" }),
        ];
        options.parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        options.shuffle = seed;
    })
    .await;
    let proxy: &'static Proxy = Box::leak(Box::new(Proxy::start(stack.url()).await));
    let (asks, mut asked) = mpsc::channel(1);
    let control = control(proxy, asks).await;
    let secret = |name: &str| stack.running().secrets().text(&format!("tidings-dev/{name}")).unwrap();
    let (key, tokens) = (secret("webpubsub-key"), secret("tokens"));
    let mut command = Command::new(program);
    command.args([script, &proxy.url(stack.url()), &key, &tokens, &control]).current_dir(folder);
    command.args(is_reliable.then_some("reliable")).args(checks);
    let output = command.output();
    tokio::pin!(output);
    let output = loop {
        tokio::select! {
            output = &mut output => break output.unwrap(),
            Some((body, told)) = asked.recv() => {
                // The program may have ended.
                let _ = told.send(!stack.invoke("notifier", &body).await.failed);
            }
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}, seed {seed:?}: {said}");
    assert!(!stack.log().contains(&key), "no key is logged");
    stack.stop().await;
}

async fn javascript(seed: Option<u64>, checks: Option<&str>) {
    if has("npm").await {
        let folder = for_javascript().await;
        let (program, script) = (Path::new("node"), "webpubsub.mjs");
        run(Run { seed, is_reliable: false, checks, program, script, folder: &folder }).await;
    }
}

async fn python(seed: Option<u64>, is_reliable: bool) {
    if has("python3").await {
        let folder = for_python().await;
        let (program, script) = (folder.join("venv/bin/python"), "webpubsub_client.py");
        run(Run { seed, is_reliable, checks: None, program: &program, script, folder: &folder }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_connects_joins_sends_comes_back_and_is_refused() {
    javascript(None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_does_the_same_where_frames_overtake_one_another() {
    javascript(Some(SEED), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_each_seed_joins_and_leaves_of_the_library_for_javascript_end_as_the_last_one_says() {
    let seeds = std::env::var(SEEDS).map_or(1, |count| count.parse().unwrap());
    for seed in 1..=seeds {
        javascript(Some(seed), Some("sent at once")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_connects_joins_sends_comes_back_and_is_refused() {
    python(None, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_does_the_same_where_frames_overtake_one_another() {
    python(Some(SEED), false).await;
}

async fn reliably(seed: Option<u64>) {
    if has("npm").await {
        let folder = for_javascript().await;
        let (program, script) = (Path::new("node"), "webpubsub_reliable.mjs");
        run(Run { seed, is_reliable: true, checks: None, program, script, folder: &folder }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_recovers_where_that_is_kept_and_nobody_recovers_what_is_not_theirs() {
    reliably(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_recovers_where_frames_overtake_one_another() {
    reliably(Some(SEED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_recovers_where_that_is_kept() {
    python(None, true).await;
}

const PATIENCE: Duration = Duration::from_secs(60);

/// The first block of code in this language on the page.
fn code(language: &str) -> String {
    let page = std::fs::read_to_string(root().join("docs/webpubsub.md")).unwrap();
    let begin = format!("```{language}\n");
    let code = page.split_once(&begin).unwrap_or_else(|| panic!("the page has no {language}")).1;
    code.split_once("\n```").unwrap().0.to_owned()
}

/// Runs the lines of the documentation until they have got what they have sent.
async fn lines_get_what_they_send(program: &Path, file: &str, language: &str, folder: &Path) {
    let stack = Stack::start(&[("Authentication", "hs256"), ("Protocols", "webpubsub")]).await;
    let key = stack.running().secrets().text("tidings-dev/webpubsub-key").unwrap();
    let claims = json!({
        "aud": "https://example.com/client/hubs/chat", "exp": tests::now() / 1_000 + 600,
        "role": ["webpubsub.sendToGroup", "webpubsub.joinLeaveGroup"],
    });
    let token = secret_token(key.as_bytes(), &claims);
    std::fs::write(folder.join(file), code(language)).unwrap();
    let mut command = Command::new(program);
    command.args([file, &format!("{}?hub=chat&access_token={token}", stack.url())]).current_dir(folder);
    let mut program = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap();
        if line.expect("it goes on") == "room hello" {
            break;
        }
    }
    drop(program);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_javascript_of_the_documentation_get_what_they_send() {
    if has("npm").await {
        let folder = for_javascript().await;
        lines_get_what_they_send(Path::new("node"), "lines.mjs", "js", &folder).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_python_of_the_documentation_get_what_they_send() {
    if has("python3").await {
        let folder = for_python().await;
        lines_get_what_they_send(&folder.join("venv/bin/python"), "lines.py", "python", &folder).await;
    }
}
