//! The same stream of updates to the same clients, three ways: asked for every second, asked for and waited for, pushed.
//!
//! All three run on local gateways with real functions and a real table. Polling invokes its function through the Lambda
//! API, which stands for an HTTP API in front of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, sleep_until};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::counted::Counted;
use crate::gateway::Gateway;
use crate::picture;
use crate::rows::registry::{TABLE, client};
use crate::setup::Setup;
use crate::stats::Samples;
use crate::table::Line;

/// Clients: each that waits in a long poll holds an execution environment.
const CLIENTS: u64 = 20;
/// How long the stream lasts, and the pauses between its updates: seconds to minutes in life, shortened here alike for all.
const SECONDS: u64 = 40;
const PAUSES_MS: [u64; 5] = [1_700, 4_300, 2_600, 5_100, 3_300];
/// How long a long poll waits. API Gateway gives up after 29 s.
const WAIT_SECONDS: u64 = 20;
const DATA: &str = "order 42 was shipped";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Asked,
    Waited,
    Pushed,
}

/// What one way costs.
#[derive(Debug, Default)]
struct Costs {
    requests: u64,
    bytes: u64,
    /// In milliseconds.
    delays: Samples,
    cpu: Duration,
}

/// What the clients count.
#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    bytes: Arc<AtomicU64>,
    delays: Mutex<Samples>,
}

impl Counters {
    /// What was counted since the last call.
    async fn take(&self) -> Costs {
        let requests = self.requests.swap(0, Ordering::Relaxed);
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        Costs { requests, bytes, delays: std::mem::take(&mut *self.delays.lock().await), cpu: Duration::ZERO }
    }
}

/// The ways run side by side, each on a gateway of its own: a machine is not equally fast for minutes, and they leave most
/// of it idle.
pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let seconds = if setup.quick { 8 } else { SECONDS };
    let run = |way| run(setup, way, seconds);
    let (asked, waited, pushed) = tokio::try_join!(run(Way::Asked), run(Way::Waited), run(Way::Pushed))?;
    let lines = lines(&[asked, waited, pushed], seconds as f64 / 60.0);
    if let Some(path) = &setup.picture {
        std::fs::write(path, picture::bars(&lines))?;
    }
    Ok(lines)
}

async fn run(setup: &Setup, way: Way, seconds: u64) -> Result<Costs> {
    let mut gateway = Gateway::ours(setup, "stack.yaml").await?;
    let counters = Arc::new(Counters::default());
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    let address = |name: &str| gateway.addresses[name].as_str().unwrap_or_default().to_owned();
    let (lambda, websocket, dynamodb) = (address("lambda"), address("websocket"), address("dynamodb"));
    for number in 0..CLIENTS {
        let (counters, mut stopped) = (Arc::clone(&counters), stopped.clone());
        let (lambda, websocket) = (lambda.clone(), websocket.clone());
        clients.spawn(async move {
            // Clients do not ask in step.
            sleep(Duration::from_millis(number * 1_000 / CLIENTS)).await;
            let client = async {
                match way {
                    Way::Asked => poll(&lambda, &counters, 0, Duration::from_secs(1)).await,
                    Way::Waited => poll(&lambda, &counters, WAIT_SECONDS, Duration::from_millis(1)).await,
                    Way::Pushed => listen(&websocket, &counters).await,
                }
            };
            tokio::select! {
                outcome = client => outcome,
                _ = stopped.wait_for(|stopped| *stopped) => Ok(()),
            }
        });
    }
    // Everybody is there, and functions are warm.
    sleep(Duration::from_secs(3)).await;
    let before = gateway.cpu();
    counters.take().await;
    produce(&lambda, &dynamodb, way, seconds).await?;
    let costs = Costs { cpu: gateway.cpu() - before, ..counters.take().await };
    // A client that has failed already says why.
    stop.send(true)?;
    while let Some(outcome) = clients.join_next().await {
        outcome??;
    }
    gateway.program.finish().await?;
    Ok(costs)
}

/// Makes updates for so long: written where pollers look, or pushed.
async fn produce(lambda: &str, dynamodb: &str, way: Way, seconds: u64) -> Result<()> {
    let bytes = Arc::new(AtomicU64::new(0));
    let mut notifier = connect(lambda, &bytes).await?;
    let table = client(dynamodb);
    let begin = Instant::now();
    let mut due = begin;
    for (number, pause) in PAUSES_MS.iter().cycle().enumerate() {
        due += Duration::from_millis(*pause);
        if due > begin + Duration::from_secs(seconds) {
            sleep_until(begin + Duration::from_secs(seconds)).await;
            return Ok(());
        }
        sleep_until(due).await;
        let at = microseconds()?;
        match way {
            Way::Pushed => {
                let data = json!({"n": number, "at": at, "data": DATA});
                let notification = json!({"to": {"topic": "updates"}, "data": data});
                invoke(&mut notifier, "NotifierFunction", &notification).await?;
            }
            Way::Asked | Way::Waited => {
                let text = |text: &str| AttributeValue::S(text.to_owned());
                let count = || AttributeValue::N(at.to_string());
                let put = table.put_item().table_name(TABLE).item("pk", text("update")).item("sk", text("update"));
                put.item("n", count()).item("at", count()).item("data", text(DATA)).send().await?;
            }
        }
    }
    Ok(())
}

/// Asks again and again, waiting on the server's side for so many seconds each time.
async fn poll(lambda: &str, counters: &Counters, wait: u64, pause: Duration) -> Result<()> {
    let mut connection = connect(lambda, &counters.bytes).await?;
    let mut ticks = interval(pause);
    let mut known = 0;
    loop {
        ticks.tick().await;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        let answer = invoke(&mut connection, "PollFunction", &json!({"known": known, "wait": wait})).await?;
        let newest = answer["n"].as_u64().unwrap_or_default();
        if newest != known {
            known = newest;
            note(counters, &answer).await?;
        }
    }
}

async fn listen(websocket: &str, counters: &Counters) -> Result<()> {
    let address = websocket.trim_start_matches("ws://").split('/').next().unwrap_or_default();
    let stream = Counted::connect(address, Arc::clone(&counters.bytes)).await?;
    let (mut socket, _) = client_async(format!("{websocket}?topic=updates"), stream).await?;
    counters.requests.fetch_add(1, Ordering::Relaxed);
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            let message: Value = serde_json::from_str(&text)?;
            note(counters, &message["data"]).await?;
        }
    }
    Err("the gateway closed a connection".into())
}

async fn note(counters: &Counters, update: &Value) -> Result<()> {
    let at = update["at"].as_u64().unwrap_or_default();
    counters.delays.lock().await.push(microseconds()?.saturating_sub(at) as f64 / 1e3);
    Ok(())
}

pub(super) async fn connect(url: &str, bytes: &Arc<AtomicU64>) -> Result<SendRequest<Full<Bytes>>> {
    let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    let stream = Counted::connect(address, Arc::clone(bytes)).await?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; a failure shows there.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

pub(super) async fn invoke(
    connection: &mut SendRequest<Full<Bytes>>,
    function: &str,
    payload: &Value,
) -> Result<Value> {
    let request = Request::post(format!("/2015-03-31/functions/{function}/invocations"));
    let answer = call(connection, request, payload.to_string()).await?;
    Ok(serde_json::from_slice(&answer)?)
}

async fn call(
    connection: &mut SendRequest<Full<Bytes>>,
    request: hyper::http::request::Builder,
    body: String,
) -> Result<Bytes> {
    connection.ready().await?;
    let request = request.header("host", "localhost").body(Full::from(body))?;
    let answer = connection.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    match status.is_success() {
        true => Ok(body),
        false => Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into()),
    }
}

fn microseconds() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

fn lines(all: &[Costs; 3], minutes: f64) -> Vec<Line> {
    let clients = CLIENTS as f64;
    let compare = |figure: &str, unit, of: &dyn Fn(&Costs) -> f64| {
        let [asked, waited, pushed] = all.each_ref().map(of);
        [("1-second polling", asked), ("long polling", waited)]
            .map(|(peer, value)| Line::new(format!("updates: {figure}"), pushed, unit).against(peer, value))
    };
    let cpu = |costs: &Costs| costs.cpu.as_secs_f64() * 1e3 / costs.delays.len().max(1) as f64;
    [
        compare("requests per client and minute", "", &|costs| costs.requests as f64 / clients / minutes),
        compare("bytes per client and minute", "", &|costs| costs.bytes as f64 / clients / minutes),
        compare("processor time per update and client", "ms", &cpu),
        // A poll is late by its timer, a push by what the machine has to do: their ratio would tell how fast the machine is.
        compare("mean delay", "ms", &|costs| costs.delays.mean()).map(Line::without_ratio),
        // Of a dozen updates the slowest is 8 %: what lies above 90 % would tell of one of them.
        compare("delay that 75 % stay below", "ms", &|costs| costs.delays.part(0.75)).map(Line::without_ratio),
    ]
    .concat()
}
