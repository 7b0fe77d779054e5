//! `tidings dev`: the arguments, the `ready` line and the signals.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use tidings_local_dev::{DevOptions, start};
use tidings_local_lambda::Logs;

use super::Failure;

/// Run the stack of a template on this machine: API Gateway WebSockets, Lambda, DynamoDB and SQS, without Docker or an
/// AWS account.
///
/// Functions are built with cargo and run as processes; they are rebuilt when a source file changes. When all is up,
/// one line `ready {"websocket":…}` is printed to standard output; everything else goes to standard error. Ctrl-C ends
/// all of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The SAM or CloudFormation template
    #[arg(long, value_name = "PATH", default_value = "template.yaml")]
    template: PathBuf,
    /// A value for one of the template's parameters, or for one of a stack that it nests, STACK/NAME=VALUE; repeatable
    #[arg(long = "parameter", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// The port of everything except DynamoDB and HTTP APIs; 0 picks a free one
    #[arg(long, default_value_t = 3030)]
    port: u16,
    /// The port of the template's first HTTP API, others follow; 0 picks free ones [default: the port after --port, or 0
    /// with --port 0]
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// The address to listen on; containers of `sam local` need 0.0.0.0
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port of the embedded DynamoDB; 0 picks a free one [default: 8000, or 0 with --port 0]
    #[arg(long, value_name = "PORT")]
    dynamodb_port: Option<u16>,
    /// Use DynamoDB Local or DynamoDB in AWS instead of the embedded one
    #[arg(long, value_name = "URL", conflicts_with = "dynamodb_port", value_parser = http_url)]
    dynamodb_endpoint: Option<String>,
    /// Keep tables, queues and secrets in this folder between starts; without it they are in memory and gone at the end
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Invoke functions through this Lambda Invoke API (`sam local start-lambda`, `cargo lambda watch`) instead of
    /// building and running them
    #[arg(long, value_name = "URL", conflicts_with_all = ["no_build", "release"], value_parser = http_url)]
    lambda_endpoint: Option<String>,
    /// Close a connection after so long without data, as API Gateway does
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    idle_timeout: Duration,
    /// Close a connection at this age, as API Gateway does
    #[arg(long, value_name = "SECONDS", default_value = "7200", value_parser = seconds)]
    connection_lifetime: Duration,
    /// Refuse unsigned calls of @connections and of IAM routes, as AWS does
    #[arg(long)]
    strict: bool,
    /// Let each frame of a client wait for 0 to 300 ms at random before its function is called, as frames of one connection
    /// can overtake one another on AWS; the same seed gives the same waits, by the numbers of connection and frame
    #[arg(long, value_name = "SEED")]
    shuffle: Option<u64>,
    /// Build the functions with the release profile
    #[arg(long)]
    release: bool,
    /// Run what is in the target folder; build and watch nothing
    #[arg(long)]
    no_build: bool,
    /// Let a debugger attach to a function in Node.js, at this port of 127.0.0.1 (9229 unless it is given); may be repeated
    #[arg(long, value_name = "FUNCTION[=PORT]", conflicts_with = "lambda_endpoint", value_parser = inspected)]
    inspect: Vec<(String, u16)>,
    /// Write every event of a function to a JSON file in this folder, for `sam local invoke -e` and `cargo lambda invoke
    /// --data-file`; tokens are masked, message bodies are not
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// The function that the console sends notifications to: its logical id, name or folder
    #[arg(long, value_name = "FUNCTION", default_value = "notifier")]
    notifier: String,
    /// Write the logs as JSON lines
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidings dev
  tidings dev --port 0 --json
  tidings dev --template other/template.yaml --parameter Stage=test
  tidings dev --parameter Tidings/Authentication=hs256       a parameter of the nested stack Tidings
  tidings dev --dynamodb-endpoint http://127.0.0.1:8001      with DynamoDB Local
  tidings dev --lambda-endpoint http://127.0.0.1:3001        with sam local start-lambda
  tidings dev --data target/data                             find everything again at the next start
  tidings dev --shuffle 7                                    frames of a connection overtake one another
  tidings dev --record events                                keep the events of the run as files";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    trace(arguments.json);
    let mut stop = Stop::new().map_err(|error| Failure::new(&error))?;
    raise_open_files();
    let options = arguments.options();
    let logs = Arc::clone(&options.logs);
    let running = tokio::select! {
        running = start(options) => running.map_err(|error| Failure::new(&error))?,
        // What was started so far ends with the future that is dropped here.
        () = stop.asked() => return Ok(()),
    };
    let mut stdout = io::stdout();
    if let Err(error) = writeln!(stdout, "ready {}", running.ready_json()).and_then(|()| stdout.flush()) {
        running.shutdown().await;
        return Err(Failure(format!("cannot write the ready line: {error}")));
    }
    stop.asked().await;
    logs.say("stopping; once more to stop at once");
    tokio::select! {
        () = running.shutdown() => {}
        () = stop.asked() => {}
    }
    Ok(())
}

impl Arguments {
    fn options(self) -> DevOptions {
        DevOptions {
            template: self.template,
            parameters: self.parameters.into_iter().collect(),
            host: self.host,
            port: self.port,
            api_port: self.api_port,
            dynamodb_port: self.dynamodb_port,
            dynamodb_endpoint: self.dynamodb_endpoint,
            data: self.data,
            lambda_endpoint: self.lambda_endpoint,
            idle_timeout: self.idle_timeout,
            connection_lifetime: self.connection_lifetime,
            strict: self.strict,
            shuffle: self.shuffle,
            release: self.release,
            no_build: self.no_build,
            inspect: self.inspect.into_iter().collect(),
            record: self.record,
            notifier: self.notifier,
            logs: Arc::new(Logs::stderr(self.json)),
        }
    }
}

/// Every connection is an open file, and some systems allow 256 until they are asked for more.
#[cfg(unix)]
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(error = &error as &dyn std::error::Error, "the limit of open files stays as it is");
    }
}

#[cfg(not(unix))]
fn raise_open_files() {}

/// What the parts log themselves, beside the functions' lines; `RUST_LOG` chooses more or less.
fn trace(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter);
    if json {
        subscriber.json().flatten_event(true).with_writer(io::stderr).init();
    } else {
        subscriber.without_time().with_target(false).with_writer(anstream::stderr).init();
    }
}

/// Ctrl-C, a termination request, or the terminal going away.
#[cfg(unix)]
struct Stop([tokio::signal::unix::Signal; 3]);

#[cfg(unix)]
impl Stop {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Stop;

#[cfg(not(unix))]
impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn asked(&mut self) {
        // It fails only where the system has no such signal; then the process is ended from outside.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn http_url(text: &str) -> Result<String, String> {
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    if is_url { Ok(text.to_owned()) } else { Err("write a URL such as http://127.0.0.1:8000".to_owned()) }
}

fn inspected(text: &str) -> Result<(String, u16), String> {
    let Some((function, port)) = text.split_once('=') else { return Ok((text.to_owned(), 9229)) };
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("write FUNCTION=PORT with a port from 1 to 65535")?;
    Ok((function.to_owned(), port))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| "write a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_checked_where_they_are_read() {
        assert_eq!(parameter("Stage=a=b"), Ok(("Stage".to_owned(), "a=b".to_owned())));
        assert!(parameter("Stage").is_err());
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("0").is_err());
        assert!(seconds("-1").is_err());
        assert!(http_url("127.0.0.1:8000").is_err());
    }
}
