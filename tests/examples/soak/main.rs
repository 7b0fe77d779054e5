//! Holds thousands of idle connections and some busy ones on a local gateway for a while: none may be lost. Tells what
//! an idle connection costs in memory.
//!
//! ```sh
//! cargo build --release --bin tidings
//! cargo run --release --example soak -- --idle 5000 --busy 200 --minutes 10
//! cargo run --release --example soak -- --data
//! ```
//!
//! With `--data` the gateway keeps a data folder. Items and messages are written all the time; at the end the gateway is killed, and
//! what it had acknowledged must be there when it starts again.
//!
//! The gateway is a process of its own, from the same target folder; the function behind it has the quick profile. Both
//! ends of every connection are on this machine, so each process needs as many open files as there are connections; the
//! soft limit is raised to the hard one.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it is a test that is run by hand and prints its findings"
)]

mod written;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_apigatewaymanagement::primitives::Blob;
use futures_util::{SinkExt, StreamExt, stream};
use serde_json::{Value, json};
use tests::stack::root;
use tests::standin::management;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use written::{Acknowledged, Services};

/// API Gateway takes 500 new connections a second, and so does ours.
const CONNECTS_PER_SECOND: u32 = 400;
/// What ends a wait that should never be so long.
const PATIENCE: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Options {
    idle: usize,
    busy: usize,
    time: Duration,
    /// Where the gateway keeps its data, if it does.
    data: Option<tempfile::TempDir>,
}

impl Options {
    fn from_arguments() -> Result<Self, String> {
        let mut options = Self { idle: 5_000, busy: 200, time: Duration::from_secs(600), data: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if name == "--data" {
                options.data = Some(tempfile::tempdir().map_err(|error| error.to_string())?);
                continue;
            }
            let value = arguments.next().and_then(|value| value.parse::<f64>().ok()).filter(|value| *value >= 0.0);
            let value = value.ok_or_else(|| format!("{name} needs a number"))?;
            match name.as_str() {
                "--idle" => options.idle = value as usize,
                "--busy" => options.busy = value as usize,
                "--minutes" => options.time = Duration::from_secs_f64(value * 60.0),
                _ => return Err(format!("{name} is not known; use --idle N, --busy N, --minutes N and --data")),
            }
        }
        Ok(options)
    }
}

/// The gateway's process.
struct Gateway {
    process: Child,
    url: String,
    management: String,
    ready: Value,
}

impl Gateway {
    async fn start(data: Option<&Path>) -> Result<Self, String> {
        let program = beside_this("tidings")?;
        let mut command = Command::new(program);
        command.args(["dev", "--port", "0", "--idle-timeout", "86400", "--connection-lifetime", "86400", "--template"]);
        command.arg(root().join("tests/conformance/template.yaml"));
        command.args(data.into_iter().flat_map(|folder| ["--data".as_ref(), folder.as_os_str()]));
        let mut process =
            command.stdout(Stdio::piped()).kill_on_drop(true).spawn().map_err(|error| error.to_string())?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = lines.next_line().await.ok().flatten().ok_or("the gateway does not start")?;
        let ready: Value =
            serde_json::from_str(line.trim_start_matches("ready ")).map_err(|error| error.to_string())?;
        let bare = |name: &str| format!("{}/bare", ready[name].as_str().unwrap().rsplit_once('/').unwrap().0);
        Ok(Self { process, url: bare("websocket"), management: bare("management"), ready })
    }

    /// Memory of the process in bytes, where the system tells.
    fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    async fn stop(mut self) {
        let id = self.process.id().unwrap().to_string();
        Command::new("kill").arg(id).status().await.unwrap();
        self.process.wait().await.unwrap();
    }

    /// Ends it in the middle of whatever it does.
    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// A program in the folder above this example.
fn beside_this(name: &str) -> Result<PathBuf, String> {
    let folder = std::env::current_exe().unwrap().parent().and_then(|folder| folder.parent()).unwrap().to_owned();
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let profile = if cfg!(debug_assertions) { "" } else { " --release" };
    if program.is_file() { Ok(program) } else { Err(format!("build it first: cargo build{profile} --bin {name}")) }
}

/// Opens a connection and asks for its id.
async fn open(url: &str) -> Result<(Socket, String), String> {
    let (mut socket, _) = connect_async(url).await.map_err(|error| error.to_string())?;
    let event = ask(&mut socket, "event").await?;
    let id = event["requestContext"]["connectionId"].as_str().ok_or("the event has no connection id")?;
    Ok((socket, id.to_owned()))
}

async fn ask(socket: &mut Socket, what: &str) -> Result<Value, String> {
    let question = json!({"first": "one", "do": what}).to_string();
    socket.send(Message::text(question)).await.map_err(|error| error.to_string())?;
    match tokio::time::timeout(PATIENCE, socket.next()).await {
        Ok(Some(Ok(Message::Text(text)))) => serde_json::from_str(&text).map_err(|error| error.to_string()),
        other => Err(format!("no reply: {other:?}")),
    }
}

/// Opens many connections, not too quickly.
async fn open_all(url: &str, count: usize) -> Result<Vec<(Socket, String)>, String> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / CONNECTS_PER_SECOND);
    let mut opening = Vec::new();
    for _ in 0..count {
        ticks.tick().await;
        let url = url.to_owned();
        opening.push(tokio::spawn(async move { open(&url).await }));
    }
    let mut opened = Vec::new();
    for one in opening {
        opened.push(one.await.unwrap()?);
    }
    Ok(opened)
}

/// Waits for the one message that comes at the end; whether it came.
async fn idle(mut socket: Socket) -> bool {
    let heard = matches!(socket.next().await, Some(Ok(Message::Text(text))) if text.as_str() == "still there?");
    // The connection has done its duty.
    let _ = socket.close(None).await;
    heard
}

/// Asks once a second until told to stop; the times that answers took, or why there was none.
async fn busy(mut socket: Socket, mut stop: watch::Receiver<bool>) -> Result<Vec<Duration>, String> {
    let mut times = Vec::new();
    tokio::time::sleep(Duration::from_millis(fastrand::u64(..1_000))).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Ok(times),
            _ = ticks.tick() => {}
        }
        let asked = Instant::now();
        ask(&mut socket, "length").await?;
        times.push(asked.elapsed());
    }
}

/// Posts to every connection; how many posts were taken.
async fn post_to_all(endpoint: &str, ids: Vec<String>) -> usize {
    let client = management(endpoint, PATIENCE);
    let posts = ids.into_iter().map(|id| {
        let post = client.post_to_connection().connection_id(id).data(Blob::new("still there?"));
        async move { post.send().await.is_ok() }
    });
    stream::iter(posts).buffer_unordered(50).filter(|taken| std::future::ready(*taken)).count().await
}

async fn run() -> Result<bool, String> {
    let options = Options::from_arguments()?;
    raise_open_files((options.idle + options.busy) as u64 + 200)?;
    let data = options.data.as_ref().map(tempfile::TempDir::path);
    let gateway = Gateway::start(data).await?;
    let writing = match data {
        Some(_) => Some(tokio::spawn(Services::of(&gateway.ready).await?.write())),
        None => None,
    };
    let before = gateway.memory();
    println!("opening {} idle connections", options.idle);
    let (sockets, ids): (Vec<_>, Vec<_>) = open_all(&gateway.url, options.idle).await?.into_iter().unzip();
    let after = gateway.memory();
    let waiting: Vec<_> = sockets.into_iter().map(|socket| tokio::spawn(idle(socket))).collect();
    println!("opening {} busy ones", options.busy);
    let (stop, stopped) = watch::channel(false);
    let sockets = open_all(&gateway.url, options.busy).await?;
    let working: Vec<_> = sockets.into_iter().map(|(socket, _)| tokio::spawn(busy(socket, stopped.clone()))).collect();
    println!("holding all of them for {} s", options.time.as_secs());
    tokio::time::sleep(options.time).await;
    let lost_early = waiting.iter().filter(|one| one.is_finished()).count();
    stop.send(true).unwrap();
    let (times, failures) = collect(working).await;
    let taken = post_to_all(&gateway.management, ids).await;
    let heard = count_heard(waiting).await;
    let end = gateway.memory();
    let kept = match writing {
        Some(writing) => Some(kept(gateway, writing, data).await?),
        None => {
            gateway.stop().await;
            None
        }
    };

    println!("idle: {} opened, {lost_early} lost on the way, {taken} posted to, {heard} heard it", options.idle);
    report_busy(&options, times, &failures);
    report_memory(&options, before, after, end);
    Ok(heard == options.idle && failures.is_empty() && kept != Some(false))
}

/// Kills the gateway while something is written, starts it again, and looks whether all that it had acknowledged is there.
async fn kept(gateway: Gateway, writing: JoinHandle<Acknowledged>, data: Option<&Path>) -> Result<bool, String> {
    gateway.kill().await;
    let acknowledged = writing.await.unwrap();
    let again = Gateway::start(data).await?;
    let there = Services::of(&again.ready).await?.count().await?;
    again.stop().await;
    println!("kept: {acknowledged:?} before the kill, {there:?} at the next start");
    Ok(there.items >= acknowledged.items && there.messages >= acknowledged.messages)
}

async fn collect(working: Vec<JoinHandle<Result<Vec<Duration>, String>>>) -> (Vec<Duration>, Vec<String>) {
    let (mut times, mut failures) = (Vec::new(), Vec::new());
    for one in working {
        match one.await.unwrap() {
            Ok(more) => times.extend(more),
            Err(reason) => failures.push(reason),
        }
    }
    (times, failures)
}

async fn count_heard(waiting: Vec<JoinHandle<bool>>) -> usize {
    let mut heard = 0;
    for one in waiting {
        heard += usize::from(matches!(tokio::time::timeout(PATIENCE, one).await, Ok(Ok(true))));
    }
    heard
}

fn report_busy(options: &Options, mut times: Vec<Duration>, failures: &[String]) {
    times.sort_unstable();
    let part = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!("busy: {} opened, {} lost, {} messages answered", options.busy, failures.len(), times.len());
    println!("      half within {:.1?}, 99 % within {:.1?}", part(0.5), part(0.99));
    if let Some(reason) = failures.first() {
        println!("      the first loss: {reason}");
    }
}

fn report_memory(options: &Options, before: Option<u64>, after: Option<u64>, end: Option<u64>) {
    let (Some(before), Some(after), Some(end)) = (before, after, end) else {
        println!("memory: this system does not tell");
        return;
    };
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    println!("memory: {:.1} MiB empty, {:.1} with the idle ones, {:.1} at the end", mib(before), mib(after), mib(end));
    if options.idle > 0 {
        println!("        {:.1} KiB for each idle connection", (after - before) as f64 / 1_024.0 / options.idle as f64);
    }
}

/// Both ends of a connection are open files, one in each process; the gateway inherits the limit.
#[cfg(unix)]
fn raise_open_files(needed: u64) -> Result<(), String> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(|error| error.to_string())?;
    match limit.maximum {
        Some(most) if most < needed => Err(format!("{needed} open files are needed, {most} allowed: see ulimit -Hn")),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn raise_open_files(_needed: u64) -> Result<(), String> {
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            println!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}
