//! What several tests need.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tidings_local_lambda::{Asynchronous, Host, Invocation, Invoker, Logs, Names, Services, api};
use tidings_local_services::sqs::{Place, Sqs};
use tidings_local_stack::{self as stack, Function, Stack};

/// Lines that were logged.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        anstream::adapter::strip_str(&String::from_utf8_lossy(&self.0.lock().unwrap())).to_string()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A host with one function, `Echo`, that runs the test function.
pub(crate) struct TestHost {
    pub(crate) host: Arc<Host>,
    pub(crate) invoker: Invoker,
    pub(crate) stack: Stack,
    pub(crate) logs: Arc<Logs>,
    pub(crate) captured: Captured,
}

pub(crate) fn test_function() -> PathBuf {
    env!("CARGO_BIN_EXE_tidings-test-function").into()
}

pub(crate) fn function() -> Function {
    Function {
        name: "prod-echo".to_owned(),
        code: None,
        inline: None,
        layers: Vec::new(),
        runtime: Some("provided.al2023".to_owned()),
        handler: Some("bootstrap".to_owned()),
        build_method: None,
        binary: None,
        environment: [("TABLE".to_owned(), "t".to_owned())].into_iter().collect(),
        timeout_seconds: 30,
        memory_mb: 256,
        json_logs: true,
        reserved_concurrency: None,
        asynchronous: stack::Asynchronous::default(),
        is_for_deployment: false,
        template: None,
        line: 1,
    }
}

impl TestHost {
    pub(crate) async fn start(change: impl FnOnce(&mut Function)) -> Self {
        let mut stack = Stack::default();
        let mut function = function();
        change(&mut function);
        stack.functions.insert("Echo".to_owned(), function);
        let captured = Captured::default();
        let logs = Arc::new(Logs::to(captured.clone(), false));
        let services = Services { dynamodb: Some("http://127.0.0.1:8000".to_owned()), ..Services::default() };
        let host = Host::new(&stack, &services, &logs, &BTreeMap::new());
        host.install([("Echo".to_owned(), test_function())].into()).await;
        Self { invoker: Invoker::Processes(Arc::clone(&host)), host, stack, logs, captured }
    }

    /// The Lambda Invoke API of the host.
    pub(crate) fn router(&self) -> axum::Router {
        let sqs = Sqs::new(Place { endpoint: String::new(), region: String::new(), account: String::new() }, []);
        let events = Asynchronous::new(&self.stack, self.invoker.clone(), sqs, Arc::clone(&self.logs));
        api::router(self.invoker.clone(), Names::new(&self.stack), Arc::new(events))
    }

    pub(crate) async fn invoke(&self, event: Value) -> (Invocation, Value) {
        let invocation = self.invoker.invoke("Echo", Bytes::from(event.to_string())).await.unwrap();
        let payload = serde_json::from_slice(&invocation.payload).unwrap();
        (invocation, payload)
    }

    pub(crate) async fn pid(&self) -> u64 {
        self.invoke(json!({"do": "pid"})).await.1["pid"].as_u64().unwrap()
    }
}

/// Polls until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process with this id exists and is no zombie.
pub(crate) fn is_running(pid: u64) -> bool {
    let state = if std::path::Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    } else {
        let ps = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
        String::from_utf8_lossy(&ps.stdout).trim().to_owned()
    };
    !state.is_empty() && !state.starts_with('Z')
}
