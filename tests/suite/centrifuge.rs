//! Centrifugo's official libraries, unmodified, against a stack.

use std::path::Path;

use axum::Router;
use axum::routing::get;
use tests::clients::{for_go, for_javascript, for_python, has};
use tests::proxy::Proxy;
use tests::stack::Stack;
use tokio::net::TcpListener;
use tokio::process::Command;

/// Where frames overtake one another in the tests that are about that.
const SEED: u64 = 7;
/// How many seeds there are where they are run one after the other; 10 is the whole form.
const SEEDS: &str = "TIDINGS_SEEDS";

/// A stack, and the program that is run against it.
struct Run<'a> {
    /// Where frames overtake one another.
    seed: Option<u64>,
    /// More parameters of the stack.
    parameters: &'a [(&'a str, &'a str)],
    program: &'a Path,
    script: Option<&'a str>,
    /// Which of its checks are made; all where it is absent.
    checks: Option<&'a str>,
    folder: &'a Path,
}

impl Run<'_> {
    /// Starts the stack behind a proxy that cuts sockets, and runs the program. Beside where clients connect and what their tokens
    /// are signed with, it is told where to have sockets cut, and where servers call and with which key. It prints what holds.
    #[expect(clippy::print_stderr, reason = "what the client has checked")]
    async fn holds(&self) {
        let parameters = [&[("Authentication", "hs256"), ("AllowAnonymous", "false")], self.parameters].concat();
        let stack = Stack::start_with(|options| {
            options.parameters = parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            options.shuffle = self.seed;
        })
        .await;
        let proxy: &'static Proxy = Box::leak(Box::new(Proxy::start(stack.url()).await));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cut = format!("http://{}/cut", listener.local_addr().unwrap());
        let router = Router::new().route("/cut", get(async || proxy.cut()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let url = format!("{}?protocol=centrifuge", proxy.url(stack.url()));
        let secret = String::from_utf8(stack.secret().await).unwrap();
        let key = stack.running().secrets().text("tidings-dev/server-key").unwrap();
        let mut command = Command::new(self.program);
        command.args(self.script).args([&url, &secret, &cut, stack.api(), &key]).args(self.checks);
        let output = command.current_dir(self.folder).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "seed {:?}: {said}", self.seed);
        assert!(said.starts_with("ok "), "nothing was checked: {said}");
        stack.stop().await;
    }
}

async fn javascript(seed: Option<u64>, checks: Option<&str>) {
    if has("npm").await {
        let folder = for_javascript().await;
        let script = Some("centrifuge.mjs");
        Run { seed, parameters: &[], program: Path::new("node"), script, checks, folder: &folder }.holds().await;
    }
}

async fn python(seed: Option<u64>) {
    if has("python3").await {
        let folder = for_python().await;
        let (program, script) = (folder.join("venv/bin/python"), Some("centrifugo_client.py"));
        Run { seed, parameters: &[], program: &program, script, checks: None, folder: &folder }.holds().await;
    }
}

async fn servers(seed: Option<u64>) {
    if has("python3").await {
        let folder = for_python().await;
        let history = r#"[{"to":{"topic":"plain/**"},"seconds":0},{"to":{"topic":"**"},"seconds":300,"ordered":true}]"#;
        let parameters = &[("History", history), ("Presence", r#"["room/**"]"#)];
        let (program, script) = (folder.join("venv/bin/python"), Some("centrifugo_server.py"));
        Run { seed, parameters, program: &program, script, checks: None, folder: &folder }.holds().await;
    }
}

async fn go(seed: Option<u64>) {
    if has("go").await {
        let folder = for_go().await;
        let program = folder.join("client");
        Run { seed, parameters: &[], program: &program, script: None, checks: None, folder: &folder }.holds().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_connects_subscribes_publishes_recovers_and_is_refused() {
    javascript(None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_does_the_same_where_frames_overtake_one_another() {
    javascript(Some(SEED), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_each_seed_no_subscription_of_the_library_for_javascript_is_left_dead() {
    let seeds = std::env::var(SEEDS).map_or(1, |count| count.parse().unwrap());
    for seed in 1..=seeds {
        javascript(Some(seed), Some("without waiting")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_recovers_is_refused_and_subscribes_to_a_hundred_channels() {
    python(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_does_the_same_where_frames_overtake_one_another() {
    python(Some(SEED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_python_makes_all_its_calls() {
    servers(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_python_does_the_same_where_frames_of_clients_overtake_one_another() {
    servers(Some(SEED)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_go_recovers_is_refused_and_subscribes_to_a_hundred_channels() {
    go(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_go_does_the_same_where_frames_overtake_one_another() {
    go(Some(SEED)).await;
}
