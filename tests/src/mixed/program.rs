//! A program that holds many clients of one library.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::clients::{for_go, for_javascript, for_python};

/// How long a program may take for anything; it is patient by itself.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which library.
#[derive(Debug, Clone, Copy)]
pub(super) enum Language {
    JavaScript,
    Python,
    Go,
}

#[derive(Debug)]
pub(super) struct Program {
    language: Language,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts so many clients, which are numbered from `first`.
    pub(super) async fn start(
        language: Language,
        url: &str,
        secret: &str,
        (count, first, channels): (usize, usize, usize),
    ) -> Self {
        let (folder, program, script) = match language {
            Language::JavaScript => (for_javascript().await, "node".into(), "many.mjs"),
            Language::Python => {
                let folder = for_python().await;
                let program = folder.join("venv/bin/python");
                (folder, program, "many.py")
            }
            Language::Go => {
                let folder = for_go().await;
                let program = folder.join("client");
                (folder, program, "many")
            }
        };
        let mut command = Command::new(program);
        command.current_dir(folder).args([script, url, secret]);
        command.args([count, first, channels].map(|number| number.to_string()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { language, child, lines }
    }

    /// Waits until all clients are subscribed.
    pub(super) async fn are_subscribed(&mut self) {
        assert_eq!(self.line().await.as_deref(), Ok("subscribed"), "{:?}", self.language);
    }

    /// Tells it where the channels end; what it says of its clients once they have everything.
    pub(super) async fn ends(mut self, ends: &BTreeMap<String, u64>) -> Result<Value, String> {
        let mut text = serde_json::to_string(ends).unwrap();
        text.push('\n');
        let mut input = self.child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).await.map_err(|error| format!("{:?}: {error}", self.language))?;
        let line = self.line().await?;
        serde_json::from_str(&line).map_err(|error| format!("{:?} says no JSON ({error}): {line}", self.language))
    }

    async fn line(&mut self) -> Result<String, String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.map_err(|_| format!("{:?} says nothing", self.language))?;
        line.unwrap().ok_or_else(|| format!("{:?} has ended", self.language))
    }
}
