//! A Runtime API for one function that runs as a process of its own, with nothing between: what is timed is the function.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::{Mutex, mpsc};

use crate::Result;
use crate::process::Program;
use crate::server::{Reply, Request, Server};

/// How long anything may take before a measurement counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A function that runs.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) program: Program,
    events: mpsc::Sender<Event>,
    answers: mpsc::Receiver<Answer>,
    started: Instant,
    count: u64,
    _server: Server,
}

#[derive(Debug)]
struct Event {
    id: u64,
    payload: Bytes,
    time_left: Duration,
}

#[derive(Debug)]
enum Answer {
    /// It asks for an event.
    Ready(Instant),
    Response(Instant, Bytes),
    Error(Bytes),
}

struct Exchange {
    events: Mutex<mpsc::Receiver<Event>>,
    answers: mpsc::Sender<Answer>,
}

impl Function {
    /// Starts a function's program. An environment without `AWS_LAMBDA_RUNTIME_API`; it is added.
    pub(crate) async fn start(command: &[OsString], environment: &[(String, String)], log: &Path) -> Result<Self> {
        let (events, inbox) = mpsc::channel(1);
        let (outbox, answers) = mpsc::channel(8);
        let exchange = Arc::new(Exchange { events: Mutex::new(inbox), answers: outbox });
        let server = Server::start(None, Duration::ZERO, move |request| answer(Arc::clone(&exchange), request)).await?;
        let mut all = lambda_environment();
        all.push(("AWS_LAMBDA_RUNTIME_API".to_owned(), format!("127.0.0.1:{}", server.port)));
        all.extend_from_slice(environment);
        let started = Instant::now();
        let program = Program::start(command, &all, log)?;
        Ok(Self { program, events, answers, started, count: 0, _server: server })
    }

    /// Time from the start until it asked for its first event. To be called before any event is given.
    pub(crate) async fn initialised(&mut self) -> Result<Duration> {
        match self.next(PATIENCE).await? {
            Answer::Ready(at) => Ok(at - self.started),
            other => Err(format!("the function began with {other:?}").into()),
        }
    }

    /// Gives it an event; its answer and when that came. It must have asked for one.
    pub(crate) async fn invoke(&mut self, payload: impl Into<Bytes>, time_left: Duration) -> Result<(Bytes, Instant)> {
        self.count += 1;
        let event = Event { id: self.count, payload: payload.into(), time_left };
        self.events.send(event).await.map_err(|_| "the function takes no event")?;
        loop {
            match self.next(time_left + PATIENCE).await? {
                Answer::Response(at, payload) => return Ok((payload, at)),
                Answer::Error(error) => {
                    return Err(format!("the function failed: {}", String::from_utf8_lossy(&error)).into());
                }
                Answer::Ready(_) => {}
            }
        }
    }

    /// When it was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    async fn next(&mut self, patience: Duration) -> Result<Answer> {
        tokio::select! {
            biased;
            answer = self.answers.recv() => answer.ok_or_else(|| "the Runtime API is gone".into()),
            status = self.program.child().wait() => Err(format!("the function has ended: {}", status?).into()),
            () = tokio::time::sleep(patience) => Err(format!("the function said nothing for {patience:?}").into()),
        }
    }
}

/// What Lambda sets for every function, as far as it matters here.
pub(crate) fn lambda_environment() -> Vec<(String, String)> {
    [
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEXAMPLETOKEN"),
        ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

async fn answer(exchange: Arc<Exchange>, request: Request) -> Reply {
    let now = Instant::now();
    let Some(path) = request.path.strip_prefix("/2018-06-01/runtime/") else {
        return Reply::status(StatusCode::NOT_FOUND);
    };
    // Nobody listens any more where a run was given up.
    if path == "invocation/next" {
        let _ = exchange.answers.send(Answer::Ready(now)).await;
        let Some(event) = exchange.events.lock().await.recv().await else { return Reply::status(StatusCode::GONE) };
        return next(event);
    }
    let answer = match path.ends_with("/response") {
        true => Answer::Response(now, request.body),
        false => Answer::Error(request.body),
    };
    let _ = exchange.answers.send(answer).await;
    Reply { status: StatusCode::ACCEPTED, headers: Vec::new(), body: Bytes::from_static(b"{\"status\":\"OK\"}") }
}

fn next(event: Event) -> Reply {
    let deadline = SystemTime::now() + event.time_left;
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = vec![
        ("lambda-runtime-aws-request-id", format!("8476a536-e9f4-11e8-9739-{:012}", event.id)),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:bench".to_owned()),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0".to_owned(),
        ),
    ];
    Reply { status: StatusCode::OK, headers, body: event.payload }
}
