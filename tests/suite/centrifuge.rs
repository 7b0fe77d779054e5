//! Centrifugo's official libraries, unmodified, against a stack.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use tests::stack::{Stack, root};
use tokio::process::Command;
use tokio::sync::Mutex;

/// The packages of `tests/clients/js`, installed once; `None` where the machine has no Node.js.
async fn packages() -> Option<PathBuf> {
    static INSTALLING: OnceLock<Mutex<()>> = OnceLock::new();
    let _one_at_a_time = INSTALLING.get_or_init(Mutex::default).lock().await;
    let (from, folder) = (root().join("tests/clients/js"), root().join("target/clients/js"));
    if Command::new("npm").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        return None;
    }
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(&from).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let lock = |path: PathBuf| std::fs::read(path).ok();
    let installed = folder.join("node_modules/installed.json");
    if lock(installed.clone()) != lock(from.join("package-lock.json")) {
        let flags = ["ci", "--no-audit", "--no-fund", "--quiet", "--ignore-scripts"];
        let done = Command::new("npm").args(flags).current_dir(&folder).status().await.unwrap();
        assert!(done.success(), "npm ci in {}", folder.display());
        std::fs::copy(from.join("package-lock.json"), installed).unwrap();
    }
    Some(folder)
}

/// Runs a script of `tests/clients/js` against a stack, which prints what holds.
async fn run(script: &str, stack: &Stack) {
    let Some(folder) = packages().await else {
        eprintln!("skipped: there is no npm on this machine");
        return;
    };
    let url = format!("{}?protocol=centrifuge", stack.url());
    let secret = String::from_utf8(stack.secret().await).unwrap();
    let mut command = Command::new("node");
    command.arg(script).args([&url, &secret]).current_dir(folder);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_javascript_connects_subscribes_publishes_recovers_and_is_refused() {
    let stack = Stack::start(&[("Authentication", "hs256"), ("AllowAnonymous", "false")]).await;
    run("centrifuge.mjs", &stack).await;
    stack.stop().await;
}
