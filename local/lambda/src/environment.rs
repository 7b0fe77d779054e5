//! One execution environment: a process, its Runtime API and its output.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use tidings_local_stack::Function;

use super::logs::Logs;
use super::output::Output;
use super::program::Program;
use super::result::{self, Outcome};
use super::runtime_api::{self, Event, Exchange, Phase};
use super::variables::{Services, variables};

/// How long a process may take until it asks for its first event. Lambda allows 10 seconds; a laptop may be compiling
/// at the same time.
const INIT_LIMIT: Duration = Duration::from_secs(30);

/// How many of its last lines an account of a failed start repeats.
const LINES_IN_REPORT: usize = 10;

/// What a process is started from.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) function: Function,
    /// The function's name in log lines.
    pub(super) label: Arc<str>,
    pub(super) services: Services,
    pub(super) logs: Arc<Logs>,
}

/// A running process. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Environment {
    child: Child,
    exchange: Arc<Exchange>,
    output: Output,
    server: JoinHandle<()>,
    /// Which installation of the function's program it runs.
    pub(super) generation: u64,
}

/// Why a process never asked for an event.
#[derive(Debug, Clone)]
pub(super) struct InitFailure {
    /// One clause: what happened.
    pub(super) reason: String,
    /// The error object that a caller gets.
    pub(super) payload: Bytes,
    /// The process's last lines.
    pub(super) lines: Vec<String>,
}

impl Environment {
    /// Starts a process and waits until it asks for its first event.
    pub(super) async fn start(launch: &Launch, program: &Program, generation: u64) -> Result<Self, InitFailure> {
        let mut environment = Self::spawn(launch, program, generation).await.map_err(|error| {
            InitFailure::new(format!("cannot start {}: {error}", program.path.display()), Vec::new())
        })?;
        match environment.initialise().await {
            Ok(()) => Ok(environment),
            Err(failure) => {
                environment.stop().await;
                Err(failure)
            }
        }
    }

    async fn spawn(launch: &Launch, program: &Program, generation: u64) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env_clear()
            .envs(variables(&launch.function, &launch.services, address, |name| std::env::var(name).ok()))
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(code) = launch.function.code.as_deref().filter(|code| code.is_dir()) {
            command.current_dir(code);
        }
        // Ctrl-C at a terminal reaches the whole group of the foreground: functions must live on for `$disconnect`.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let output = Output::of(&mut child, &launch.label, &launch.logs);
        let exchange = Exchange::new();
        let server = tokio::spawn(serve(listener, Arc::clone(&exchange)));
        Ok(Self { child, exchange, output, server, generation })
    }

    async fn initialise(&mut self) -> Result<(), InitFailure> {
        let mut phase = self.exchange.phase();
        let changed = phase.wait_for(|phase| *phase != Phase::Starting);
        let result = tokio::select! {
            // A process that reports its error exits right away: the report says more than the status.
            biased;
            phase = changed => match phase.map(|phase| phase.clone()) {
                Ok(Phase::Failed(payload)) => Err(InitFailure::reported(payload)),
                _ => Ok(()),
            },
            status = self.child.wait() => Err(InitFailure::exited(status)),
            () = sleep(INIT_LIMIT) => {
                let seconds = INIT_LIMIT.as_secs();
                Err(InitFailure::new(format!("did not ask for an event within {seconds} seconds"), Vec::new()))
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(mut failure) => {
                self.output.drain().await;
                failure.lines = last_lines(&self.output.take());
                Err(failure)
            }
        }
    }

    /// Gives the process one event and waits for what becomes of it. Unless it answered, the process is of no further
    /// use.
    pub(super) async fn run(&mut self, event: Event, timeout: Duration) -> Outcome {
        let answered = self.exchange.offer(event);
        let outcome = tokio::select! {
            // An answer counts even if the process is gone or the time is up by the time it is looked at.
            biased;
            Ok(answer) = answered => Outcome::Answered(answer),
            status = self.child.wait() => match status {
                Ok(status) => Outcome::Exited(status),
                // The process cannot be observed any more, so its time is as good as up.
                Err(_) => Outcome::TimedOut,
            },
            () = sleep(timeout) => Outcome::TimedOut,
        };
        self.output.drain().await;
        outcome
    }

    /// The lines written since the last call, at most 4 KB.
    pub(super) fn take_log(&self) -> String {
        self.output.take()
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills the process and waits until it is gone.
    pub(super) async fn stop(mut self) {
        // It fails only for a process that is gone already.
        let _ = self.child.kill().await;
        self.output.drain().await;
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, exchange: Arc<Exchange>) {
    // Answers are small and a runtime waits for each: Nagle's algorithm would hold them back for 40 ms.
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    // It ends with its process; until then accepting is retried by axum.
    let _ = axum::serve(listener, runtime_api::router(exchange)).await;
}

impl InitFailure {
    fn new(reason: String, lines: Vec<String>) -> Self {
        let payload = json!({"errorType": "Runtime.InitError", "errorMessage": reason}).to_string().into();
        Self { reason, payload, lines }
    }

    fn reported(payload: Bytes) -> Self {
        let said: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        let message = said["errorMessage"].as_str().and_then(|text| text.lines().next()).unwrap_or("without a message");
        let fix = missing_sdk(message).unwrap_or_default();
        Self { reason: format!("reported an error at start: {message}{fix}"), payload, lines: Vec::new() }
    }

    /// The account of a failed start: one sentence, then the process's last lines.
    pub(super) fn report(&self, function: &str) -> String {
        let mut report = format!("function {function} {}", self.reason);
        if !self.lines.is_empty() {
            report.push_str("; its last lines were:");
        }
        for line in &self.lines {
            report.push_str("\n  ");
            report.push_str(line);
        }
        report
    }

    fn exited(status: std::io::Result<ExitStatus>) -> Self {
        let status = status.map_or_else(|error| error.to_string(), result::exit);
        let payload = json!({
            "errorType": "Runtime.ExitError",
            "errorMessage": format!("Error: Runtime exited with error: {status}"),
        });
        let reason = format!("ended before it asked for an event ({status})");
        Self { reason, payload: payload.to_string().into(), lines: Vec::new() }
    }
}

/// What to do where code lacks the AWS SDK, which Lambda brings.
fn missing_sdk(message: &str) -> Option<String> {
    let quoted = message.rsplit('\'').nth(1)?;
    let install = match quoted {
        "aws-sdk" => "npm install aws-sdk".to_owned(),
        "boto3" | "botocore" => "pip install boto3".to_owned(),
        package if package.starts_with("@aws-sdk/") => format!("npm install {package}"),
        _ => return None,
    };
    let place = if install.starts_with("npm") {
        "in the function's folder, or beside the template"
    } else {
        "where the gateway runs"
    };
    Some(format!("; Lambda brings the AWS SDK, this machine does not: run `{install}` {place}"))
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES_IN_REPORT)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_lacks_the_sdk_is_told_how_to_install_it() {
        for (message, install) in [
            ("Error: Cannot find module 'aws-sdk'", "`npm install aws-sdk` in the function's folder"),
            (
                "Error: Cannot find package '@aws-sdk/client-s3' imported from /a/b.js",
                "`npm install @aws-sdk/client-s3` in",
            ),
            ("Unable to import module 'app': No module named 'boto3'", "`pip install boto3` where the gateway runs"),
        ] {
            assert!(missing_sdk(message).is_some_and(|fix| fix.contains(install)), "{message}");
        }
        for message in ["Error: Cannot find module './own'", "app.handler is not a function"] {
            assert_eq!(missing_sdk(message), None);
        }
    }
}
