//! The libraries for servers, unmodified, and Microsoft's own tests of one of them.

use std::path::Path;

use tests::stack::Stack;
use tokio::process::Command;

use super::{client_of, key, start, start_shuffled};
use tests::clients::{do_in, has, install_for_python, installed};

/// The source package of the library for Python, which has its tests.
const SOURCES: &str = "azure_messaging_webpubsubservice-1.3.0";

fn connection_string(stack: &Stack) -> String {
    format!("Endpoint={};AccessKey={};Version=1.0;", stack.root(), key(stack))
}

async fn run(stack: &Stack, program: &Path, args: &[&str], folder: &Path) {
    run_with(stack, program, args, folder, &[]).await;
}

#[expect(clippy::print_stderr, reason = "what the library has checked")]
async fn run_with(stack: &Stack, program: &Path, args: &[&str], folder: &Path, variables: &[(&str, &str)]) {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).envs(variables.iter().copied());
    // A proxy of the machine's is not for what is on it.
    let output = command.env("NO_PROXY", "127.0.0.1").output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{}", stack.log());
    assert!(!stack.log().contains(&key(stack)), "no key is logged");
}

async fn javascript(seed: Option<u64>) {
    if !has("npm").await {
        return;
    }
    let install = async |folder: &Path| {
        do_in(folder, "npm", &["ci", "--no-audit", "--no-fund", "--quiet", "--ignore-scripts"]).await;
    };
    let folder = installed("azure-js", "package-lock.json", install).await;
    let stack = start_shuffled(seed).await;
    run(&stack, Path::new("node"), &["server.mjs", &connection_string(&stack)], &folder).await;
    stack.stop().await;
}

async fn python(seed: Option<u64>) {
    if !has("python3").await {
        return;
    }
    let folder = installed("azure-python", "requirements.txt", install_for_python).await;
    let stack = start_shuffled(seed).await;
    // Of the hub, and so a connection of Web PubSub.
    let (_client, id) = client_of(&stack, "chat", "u1", &[]).await;
    let program = folder.join("venv/bin/python");
    run(&stack, &program, &["server.py", &connection_string(&stack), "chat", &id, "u1"], &folder).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_javascript_makes_all_its_calls() {
    javascript(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_javascript_makes_them_where_frames_overtake_one_another() {
    javascript(Some(7)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_python_makes_all_its_calls() {
    python(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_servers_in_python_makes_them_where_frames_overtake_one_another() {
    python(Some(7)).await;
}

/// They want `https://` and `wss://`. Which of them cannot hold here stands in `left_out.py`, with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn the_tests_in_the_source_package_of_the_library_for_python_hold() {
    if !has("python3").await {
        return;
    }
    let install = async |folder: &Path| {
        install_for_python(folder).await;
        let download = "-m pip download --quiet --no-deps --no-binary :all: --require-hashes --requirement sources.txt";
        do_in(folder, "venv/bin/python", &download.split(' ').collect::<Vec<_>>()).await;
        do_in(folder, "venv/bin/python", &["-m", "tarfile", "--extract", &format!("{SOURCES}.tar.gz")]).await;
    };
    let folder = installed("azure-tests", "sources.txt", install).await;
    let stack = start().await;
    let options = "-m pytest --quiet --asyncio-mode=auto -p left_out -p no:cacheprovider";
    let tests = format!("{SOURCES}/tests");
    let args: Vec<_> = options.split(' ').chain([tests.as_str()]).collect();
    let string = connection_string(&stack).replacen("http:", "https:", 1);
    let authority = stack.running().addresses.authority.as_str();
    let trusted = [("REQUESTS_CA_BUNDLE", authority), ("SSL_CERT_FILE", authority)];
    let variables = [&trusted[..], &[("CONNECTION_STRING", &string)]].concat();
    run_with(&stack, &folder.join("venv/bin/python"), &args, &folder, &variables).await;
    stack.stop().await;
}
