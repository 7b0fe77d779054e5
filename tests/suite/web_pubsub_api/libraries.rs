//! The libraries for servers, unmodified, and Microsoft's own tests of one of them.

use std::path::Path;

use tests::stack::Stack;
use tokio::process::Command;

use super::{client_of, key, start, start_shuffled, start_with};
use tests::clients::{do_in, has, install_for_python, installed};

/// The source packages of the libraries for Python, which have their tests.
const SERVICE: &str = "azure_messaging_webpubsubservice-1.3.0";
const CLIENT: &str = "azure-messaging-webpubsubclient-1.1.0";

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

/// Runs Microsoft's own tests of a package. They want `https://` and `wss://`. Which of them cannot hold here stands in
/// `left_out.py`, with the reason.
async fn tests_of(package: &str, stack: Stack, options: &str) {
    let install = async |folder: &Path| {
        install_for_python(folder).await;
        let download = "-m pip download --quiet --no-deps --no-binary :all: --require-hashes --requirement sources.txt";
        do_in(folder, "venv/bin/python", &download.split(' ').collect::<Vec<_>>()).await;
        for package in [SERVICE, CLIENT] {
            do_in(folder, "venv/bin/python", &["-m", "tarfile", "--extract", &format!("{package}.tar.gz")]).await;
        }
    };
    let folder = installed("azure-tests", "sources.txt", install).await;
    let tests = format!("{package}/tests");
    let options = format!("-m pytest --quiet --asyncio-mode=auto -p left_out -p no:cacheprovider {options}{tests}");
    let args: Vec<_> = options.split(' ').collect();
    let string = connection_string(&stack).replacen("http:", "https:", 1);
    let authority = stack.running().addresses.authority.as_str();
    let trusted = ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "WEBSOCKET_CLIENT_CA_BUNDLE"].map(|name| (name, authority));
    let variables = [&trusted[..], &[("CONNECTION_STRING", &string)]].concat();
    run_with(&stack, &folder.join("venv/bin/python"), &args, &folder, &variables).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_in_the_source_package_of_the_library_for_servers_in_python_hold() {
    if has("python3").await {
        tests_of(SERVICE, start().await, "").await;
    }
}

/// They sleep for a second or two where they wait for a message, and four of them fail now and then by how websocket-client closes
/// a socket, so one that fails is run again.
#[tokio::test(flavor = "multi_thread")]
async fn the_tests_in_the_source_package_of_the_library_for_clients_in_python_hold_where_what_they_miss_is_kept() {
    if has("python3").await {
        let stack = start_with(&[("WebPubSubReliable", "true")], None).await;
        tests_of(CLIENT, stack, "--reruns=8 ").await;
    }
}
