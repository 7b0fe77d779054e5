//! Gateways that run as programs: ours, serverless-offline and ministack.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::Result;
use crate::process::{self, Program};
use crate::setup::{Node, Setup};

/// How long a gateway may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gateway that runs.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) program: Program,
    /// Where clients connect.
    pub(crate) websocket: String,
    /// The rest of what ours says when it is ready.
    pub(crate) addresses: Value,
    /// What its functions had used when they were last seen: processes end, and take their time with them.
    seen: BTreeMap<u32, Duration>,
}

impl Gateway {
    /// Starts `tidings dev` with a template of the bench.
    pub(crate) async fn ours(setup: &Setup, template: &str) -> Result<Self> {
        Self::ours_under(setup, template, &[]).await
    }

    /// The same under a tool, such as valgrind.
    pub(crate) async fn ours_under(setup: &Setup, template: &str, tool: &[String]) -> Result<Self> {
        let mut words = tool.to_vec();
        words.push(setup.program("tidings")?.to_string_lossy().into_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["dev", "--no-build", "--port", "0", "--idle-timeout", "86400", "--template"]);
        command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(template));
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        // Its functions are looked for where this bench was built.
        command.env("CARGO_TARGET_DIR", setup.scratch.parent().unwrap_or(&setup.scratch));
        let log = std::fs::File::create(setup.log("gateway"))?;
        command.stdout(std::process::Stdio::piped()).stderr(log);
        let mut program = Program::spawn(command)?;
        let stdout = program.child().stdout.take().ok_or("the gateway has no output")?;
        let line = tokio::time::timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await??;
        let line = line.ok_or_else(|| format!("the gateway does not start: see {}", setup.log("gateway").display()))?;
        let addresses: Value = serde_json::from_str(line.trim_start_matches("ready "))?;
        let websocket = addresses["websocket"].as_str().ok_or("the gateway says no address")?.to_owned();
        Ok(Self { program, websocket, addresses, seen: BTreeMap::new() })
    }

    /// Starts serverless-offline with the same API.
    pub(crate) async fn serverless_offline(setup: &Setup, node: &Node) -> Result<Self> {
        let [http, websocket, lambda] = free_ports().await?;
        let mut command = Command::new(node.folder.join("node_modules/.bin/serverless"));
        command.current_dir(&node.folder).args(["offline", "start", "--noPrependStageInUrl", "--httpPort"]);
        command.args([
            &http.to_string(),
            "--websocketPort",
            &websocket.to_string(),
            "--lambdaPort",
            &lambda.to_string(),
        ]);
        command.env("SLS_TELEMETRY_DISABLED", "1").env("SLS_NOTIFICATIONS_MODE", "off").env("CI", "1");
        let log = std::fs::File::create(setup.log("serverless-offline"))?;
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut program = Program::spawn(command)?;
        listening(&mut program, websocket, &setup.log("serverless-offline")).await?;
        let websocket = format!("ws://localhost:{websocket}");
        Ok(Self { program, websocket, addresses: Value::Null, seen: BTreeMap::new() })
    }

    /// Starts ministack, and deploys the same API to it.
    pub(crate) async fn ministack(setup: &Setup, python: &Path) -> Result<Self> {
        let [port] = free_ports().await?;
        let mut command = Command::new(python);
        // Besides where it listens, what else would listen on ports of its own.
        command.args(["-m", "ministack"]).env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
        command.env("IOT_MTLS_ENABLED", "0").env("SFTP_ENABLED", "0");
        let folder = setup.scratch.join("ministack");
        let log = std::fs::File::create(setup.log("ministack"))?;
        command.current_dir(&folder).stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut program = Program::spawn(command)?;
        listening(&mut program, port, &setup.log("ministack")).await?;
        let mut deploy = Command::new(python);
        deploy.arg(folder.join("deploy.py")).arg(format!("http://127.0.0.1:{port}"));
        let deployed = tokio::time::timeout(PATIENCE, deploy.kill_on_drop(true).output()).await??;
        if !deployed.status.success() {
            return Err(String::from_utf8_lossy(&deployed.stderr).into_owned().into());
        }
        let websocket = format!("ws://127.0.0.1:{port}{}", String::from_utf8(deployed.stdout)?.trim());
        Ok(Self { program, websocket, addresses: Value::Null, seen: BTreeMap::new() })
    }

    /// Processor time so far, that of its functions included.
    pub(crate) fn cpu(&mut self) -> Duration {
        for id in process::descendants(self.program.id()) {
            self.seen.insert(id, process::cpu(id));
        }
        self.program.cpu() + self.seen.values().sum::<Duration>()
    }
}

/// Waits until a program listens there.
async fn listening(program: &mut Program, port: u16, log: &Path) -> Result<()> {
    let begin = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if begin.elapsed() > PATIENCE || program.child().try_wait()?.is_some() {
            return Err(format!("it does not start: see {}", log.display()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}
