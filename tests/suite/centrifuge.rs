//! Centrifugo's official libraries, unmodified, against a stack.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use axum::Router;
use axum::routing::get;
use tests::proxy::Proxy;
use tests::stack::{Stack, root};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

/// Packages are installed one after the other: each once for a clone.
static INSTALLING: Mutex<()> = Mutex::const_new(());

/// Whether the machine has a program. The reason why nothing is checked is printed.
#[expect(clippy::print_stderr, reason = "why nothing is checked")]
pub(crate) async fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if found.is_err() {
        eprintln!("skipped: there is no {program} on this machine");
    }
    found.is_ok()
}

fn sources(language: &str) -> PathBuf {
    root().join("tests/clients").join(language)
}

pub(crate) async fn do_in(folder: &Path, program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).current_dir(folder).status().await.unwrap();
    assert!(done.success(), "{program} {args:?} in {}", folder.display());
}

/// Copies the sources of a language into the target folder, and has its packages installed there if they are not those of
/// `lock`.
pub(crate) async fn installed(language: &str, lock: &str, install: impl AsyncFn(&Path)) -> PathBuf {
    let _one_at_a_time = INSTALLING.lock().await;
    let (from, folder) = (sources(language), root().join("target/clients").join(language));
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(&from).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let (wanted, there) = (std::fs::read(from.join(lock)).unwrap(), folder.join("installed"));
    if std::fs::read(&there).ok() != Some(wanted.clone()) {
        install(&folder).await;
        std::fs::write(there, wanted).unwrap();
    }
    folder
}

pub(crate) async fn for_javascript() -> PathBuf {
    let install = async |folder: &Path| {
        do_in(folder, "npm", &["ci", "--no-audit", "--no-fund", "--quiet", "--ignore-scripts"]).await;
    };
    installed("js", "package-lock.json", install).await
}

pub(crate) async fn for_python() -> PathBuf {
    installed("python", "requirements.txt", install_for_python).await
}

/// AWS's own SDK, in Python too.
pub(crate) async fn for_aws() -> PathBuf {
    installed("aws", "requirements.txt", install_for_python).await
}

async fn install_for_python(folder: &Path) {
    do_in(folder, "python3", &["-m", "venv", "venv"]).await;
    do_in(folder, "venv/bin/pip", &["install", "--quiet", "--requirement", "requirements.txt"]).await;
}

pub(crate) async fn for_go() -> PathBuf {
    // Once: the program cannot be replaced while it runs.
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = async || {
        let folder = installed("go", "go.sum", async |_: &Path| {}).await;
        do_in(&folder, "go", &["build", "-o", "client", "."]).await;
        folder
    };
    BUILT.get_or_init(build).await.clone()
}

/// Starts a stack, and runs a program in front of whose sockets a proxy can cut. It prints what holds.
async fn run(program: &Path, args: &[&str], folder: &Path) {
    run_with(&[], program, args, folder).await;
}

/// The same, with more parameters of the stack. Beside where clients connect and what their tokens are signed with, the
/// program is told where servers call and with which key.
#[expect(clippy::print_stderr, reason = "what the client has checked")]
async fn run_with(parameters: &[(&str, &str)], program: &Path, args: &[&str], folder: &Path) {
    let parameters = [&[("Authentication", "hs256"), ("AllowAnonymous", "false")], parameters].concat();
    let stack = Stack::start(&parameters).await;
    let proxy: &'static Proxy = Box::leak(Box::new(Proxy::start(stack.url()).await));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cut = format!("http://{}/cut", listener.local_addr().unwrap());
    let router = Router::new().route("/cut", get(async || proxy.cut()));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let url = format!("{}?protocol=centrifuge", proxy.url(stack.url()));
    let secret = String::from_utf8(stack.secret().await).unwrap();
    let mut command = Command::new(program);
    let key = stack.running().secrets().text("tidings-dev/server-key").unwrap();
    command.args(args).args([&url, &secret, &cut, stack.api(), &key]).current_dir(folder);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}", program.display());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_connects_subscribes_publishes_recovers_and_is_refused() {
    if !has("npm").await {
        return;
    }
    let folder = for_javascript().await;
    run(Path::new("node"), &["centrifuge.mjs"], &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_recovers_is_refused_and_subscribes_to_a_hundred_channels() {
    if !has("python3").await {
        return;
    }
    let folder = for_python().await;
    run(&folder.join("venv/bin/python"), &["centrifugo_client.py"], &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_python_makes_all_its_calls() {
    if !has("python3").await {
        return;
    }
    let folder = for_python().await;
    let history = r#"[{"to":{"topic":"plain/**"},"seconds":0},{"to":{"topic":"**"},"seconds":300,"ordered":true}]"#;
    let parameters = [("History", history), ("Presence", r#"["room/**"]"#)];
    run_with(&parameters, &folder.join("venv/bin/python"), &["centrifugo_server.py"], &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_go_recovers_is_refused_and_subscribes_to_a_hundred_channels() {
    if !has("go").await {
        return;
    }
    let folder = for_go().await;
    run(&folder.join("client"), &[], &folder).await;
}
