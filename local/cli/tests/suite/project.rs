//! Throw-away projects and the real `tidings` program.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::eventually;

/// How long a program may take for anything: a cold build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with a template and one function, `Answer`, that needs nothing but the standard library.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new() -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        project.write("template.yaml", include_str!("../support/template.yaml"));
        project.write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"answer\"]\n");
        project.write("answer/Cargo.toml", "[package]\nname = \"answer\"\nedition = \"2024\"\n");
        project.write("answer/src/runtime.rs", include_str!("../support/runtime.rs"));
        project.answer("v1");
        project
    }

    /// Makes the function answer with a text and its process id.
    pub(crate) fn answer(&self, text: &str) {
        self.main(&format!(
            r#"mod runtime;
            fn main() {{
                loop {{
                    let event = runtime::next();
                    let body = format!("{{{{\"text\":\"{text}\",\"pid\":{{}}}}}}", std::process::id());
                    runtime::answer(&event.request_id, "response", &body);
                }}
            }}"#
        ));
    }

    /// Replaces the function's program.
    pub(crate) fn main(&self, source: &str) {
        self.write("answer/src/main.rs", source);
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// `tidings dev` on free ports in this folder, with a target folder of its own.
    pub(crate) fn dev(&self, arguments: &[&str]) -> Command {
        let mut command = tidings(&["dev", "--port", "0"]);
        command.args(arguments).current_dir(self.path());
        command
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

/// The program, away from the settings of the cargo that runs the tests.
pub(crate) fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command
        .args(arguments)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUST_LOG")
        .env("XDG_DATA_HOME", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a program to its end: status, standard output, standard error.
pub(crate) async fn finish(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A program that goes on running.
pub(crate) struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Arc<Mutex<String>>,
}

impl Program {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = Arc::default();
        tokio::spawn(collect(child.stderr.take().unwrap(), Arc::clone(&stderr)));
        Self { child, stdout, stderr }
    }

    /// The next line of its standard output.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
        line.unwrap_or_else(|_| panic!("no line; standard error has:\n{}", self.stderr())).unwrap()
    }

    /// The object of the `ready` line.
    pub(crate) async fn ready(&mut self) -> Value {
        let line = self.line().await;
        let json = line.as_deref().and_then(|line| line.strip_prefix("ready "));
        let json = json.unwrap_or_else(|| panic!("no ready line; standard error has:\n{}", self.stderr()));
        serde_json::from_str(json).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) async fn says(&self, text: &str) {
        eventually(text, || self.stderr().contains(text)).await;
    }

    /// Sends a signal by its name, for example `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await.unwrap();
        assert!(status.success());
    }

    /// Waits for its end; whatever it still wrote to standard output comes along.
    pub(crate) async fn end(mut self) -> (ExitStatus, Vec<String>) {
        let mut rest = Vec::new();
        while let Some(line) = self.line().await {
            rest.push(line);
        }
        (tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap(), rest)
    }
}

async fn collect(pipe: impl AsyncRead + Unpin, text: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut text = text.lock().unwrap();
        text.push_str(&line);
        text.push('\n');
    }
}
