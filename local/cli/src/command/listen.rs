//! `tidings listen`: a client that prints what it receives and stays connected.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use clap::ArgGroup;
use futures_util::{SinkExt, StreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use tidings_local_dev::LISTEN_URL;

use super::{Failure, status};

/// The protocol that the messages are printed from.
const PROTOCOL: &str = "tidings.v1.json";

/// A connection that lived this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(10);

/// Bounds of the pause between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Print the messages for topics, a user or a token's user, one JSON object a line.
///
/// Messages go to standard output, everything else to standard error. A lost connection is made again, with growing
/// pauses; what is sent meanwhile is missed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = audience())]
pub(super) struct Arguments {
    /// A topic to subscribe to; repeatable
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// The user to connect as, where anonymous connections are allowed
    #[arg(long)]
    user: Option<String>,
    #[cfg(feature = "account")]
    #[command(flatten)]
    named: super::deployment::Named,
    #[cfg(feature = "account")]
    #[command(flatten)]
    identity: super::account::Identity,
    /// The WebSocket URL, with the stage
    #[arg(long, default_value = LISTEN_URL, value_parser = websocket_url)]
    #[cfg_attr(feature = "account", arg(conflicts_with = "stack"))]
    url: String,
    /// A token for the authorizer, sent in the `Authorization` header. The variable keeps it out of the list of processes
    #[arg(long, env = "TIDINGS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Fail when the connection cannot be made or is lost
    #[arg(long)]
    no_reconnect: bool,
    /// Send a ping so often; API Gateway closes a connection that is silent for 600 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    keep_alive: u64,
}

const EXAMPLES: &str = "\
Examples:
  tidings listen --topic orders/42
  tidings listen --topic orders/42 --topic news --count 1
  tidings listen --user u1 | jq .data
  TIDINGS_TOKEN=$(tidings token --user u1) tidings listen
  TIDINGS_TOKEN=$(tidings token --user u1 --stack shop) tidings listen --stack shop
  TIDINGS_TOKEN=… tidings listen --topic news --url wss://abc.execute-api.eu-west-1.amazonaws.com/prod";

fn audience() -> ArgGroup {
    ArgGroup::new("audience").args(["topics", "user", "token"]).required(true).multiple(true)
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection is over.
enum End {
    /// Everything asked for has been printed, or nobody reads any more.
    Done,
    /// Trying again may help.
    Lost(String),
    /// Trying again cannot help.
    Refused(String),
}

#[cfg_attr(not(feature = "account"), expect(unused_mut, reason = "only a deployed stack has another URL"))]
pub(super) async fn run(mut arguments: Arguments) -> Result<(), Failure> {
    #[cfg(feature = "account")]
    if let Some(stack) = &arguments.named.stack {
        let deployment = super::deployment::Deployment::find(arguments.identity.at(None), stack).await?;
        deployment.needed_output("WebSocketUrl")?.clone_into(&mut arguments.url);
    }
    // Fails only if there is one already, which is then the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let request = arguments.request()?;
    let mut left = arguments.count;
    let mut attempts = 0;
    loop {
        let started = Instant::now();
        let reason = match connection(&arguments, request.clone(), &mut left).await {
            End::Done => return Ok(()),
            End::Refused(reason) => return Err(Failure(reason)),
            End::Lost(reason) if arguments.no_reconnect => return Err(Failure(reason)),
            End::Lost(reason) => reason,
        };
        attempts = if started.elapsed() > GOOD { 1 } else { attempts + 1 };
        let pause = pause(attempts, fastrand::f64());
        status(&format!("{reason}; trying again in {:.1} s", pause.as_secs_f64()));
        tokio::time::sleep(pause).await;
    }
}

async fn connection(arguments: &Arguments, request: Request, left: &mut Option<u64>) -> End {
    let mut socket = match connect_async(request).await {
        Ok((socket, _)) => socket,
        Err(error) => return handshake_end(&arguments.url, error),
    };
    status(&format!("connected to {}", arguments.url));
    let mut ticks = tokio::time::interval(Duration::from_secs(arguments.keep_alive));
    ticks.tick().await;
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = ticks.tick() => {
                // A connection that cannot be written to is about to be read from with the same error.
                let _ = socket.send(Message::text(r#"{"action":"ping"}"#)).await;
                continue;
            }
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(frame))) => return End::Lost(closed(frame)),
            Some(Ok(_)) => continue,
            Some(Err(error)) => return End::Lost(format!("the connection is lost: {error}")),
            None => return End::Lost("the connection is lost".to_owned()),
        };
        if is_last(&text, left) {
            close(socket).await;
            return End::Done;
        }
    }
}

/// Prints a frame; whether it was the last one that anybody waits for.
fn is_last(text: &str, left: &mut Option<u64>) -> bool {
    match Frame::of(text) {
        Frame::Control => return false,
        Frame::Error(said) => {
            status(&format!("the server says: {said}"));
            return false;
        }
        Frame::Message(line) => {
            let mut stdout = io::stdout();
            if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
                return true;
            }
        }
    }
    left.as_mut().is_some_and(|left| {
        *left -= 1;
        *left == 0
    })
}

/// Says goodbye, so that the server need not find out.
async fn close(mut socket: Socket) {
    let goodbye = async {
        if socket.close(None).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A server that does not answer is not waited for.
    let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
}

/// What a frame means to a listener.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    /// For printing, in one line.
    Message(String),
    /// An answer to a frame of our own.
    Control,
    /// A complaint.
    Error(String),
}

impl Frame {
    fn of(text: &str) -> Self {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Self::Message(Value::from(text).to_string());
        };
        match value["type"].as_str() {
            Some("ack" | "pong") => Self::Control,
            Some("error") => {
                let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
                Self::Error(format!("{}: {}", field("code"), field("message")))
            }
            _ if text.contains(['\n', '\r']) => Self::Message(value.to_string()),
            _ => Self::Message(text.to_owned()),
        }
    }
}

impl Arguments {
    fn request(&self) -> Result<Request, Failure> {
        let wrong = |error: &dyn std::fmt::Display| Failure(format!("--url {}: {error}", self.url));
        let mut request = self.address().into_client_request().map_err(|error| wrong(&error))?;
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", http::HeaderValue::from_static(PROTOCOL));
        if let Some(token) = &self.token {
            let value = http::HeaderValue::try_from(format!("Bearer {token}"));
            let value = value.map_err(|_| Failure("--token has characters that a header cannot hold".to_owned()))?;
            headers.insert("authorization", value);
        }
        Ok(request)
    }

    /// The URL with the topics and the user in its query.
    fn address(&self) -> String {
        let mut address = self.url.clone();
        let topics = self.topics.iter().map(|topic| ("topic", topic));
        let user = self.user.iter().map(|user| ("user", user));
        for (name, value) in user.chain(topics) {
            let mark = if address.contains('?') { '&' } else { '?' };
            // Writing to a string cannot fail.
            let _ = write!(address, "{mark}{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        address
    }
}

fn handshake_end(url: &str, error: Error) -> End {
    match error {
        Error::Http(response) if response.status().is_client_error() && response.status().as_u16() != 429 => {
            let hint = match response.status().as_u16() {
                401 | 403 => "are the token, the user and the stage in the URL right?",
                _ => "is the URL right, with its stage?",
            };
            End::Refused(format!("{url} refuses the connection with {}: {hint}", response.status()))
        }
        Error::Http(response) => End::Lost(format!("{url} answers {}", response.status())),
        Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused && url == LISTEN_URL => {
            End::Lost(format!("nothing listens at {url}: is `cargo dev` running?"))
        }
        error @ (Error::Io(_) | Error::Tls(_)) => End::Lost(format!("cannot connect to {url}: {error}")),
        error => End::Refused(format!("cannot connect to {url}: {error}")),
    }
}

fn closed(frame: Option<CloseFrame>) -> String {
    match frame {
        Some(frame) if frame.reason.is_empty() => format!("closed by the server ({})", frame.code),
        Some(frame) => format!("closed by the server ({} {})", frame.code, frame.reason),
        None => "closed by the server".to_owned(),
    }
}

/// Doubles from half a second to half a minute; `random` in 0..1 spreads clients that were cut off together.
fn pause(attempts: u32, random: f64) -> Duration {
    let full = FIRST_PAUSE * 2_u32.pow(attempts.saturating_sub(1).min(8));
    full.min(LONGEST_PAUSE).mul_f64(0.5 + random / 2.0)
}

fn websocket_url(text: &str) -> Result<String, String> {
    let is_url = text.starts_with("ws://") || text.starts_with("wss://");
    if is_url { Ok(text.to_owned()) } else { Err(format!("write a URL such as {LISTEN_URL} (ws:// or wss://)")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments() -> Arguments {
        let url = "wss://example.org/prod";
        let given =
            ["listen", "--topic", "orders/42", "--topic", "a b&c", "--user", "ü", "--url", url, "--token", "secret"];
        Cli::try_parse_from(given).unwrap().arguments
    }

    #[test]
    fn topics_and_user_travel_in_the_query_and_the_token_in_a_header() {
        let request = arguments().request().unwrap();
        assert_eq!(request.uri(), "wss://example.org/prod?user=%C3%BC&topic=orders%2F42&topic=a%20b%26c");
        assert_eq!(request.headers()["authorization"], "Bearer secret");
        assert_eq!(request.headers()["sec-websocket-protocol"], PROTOCOL);
    }

    #[test]
    fn only_messages_are_printed_each_in_one_line() {
        let message = r#"{"type":"message","data":1}"#;
        assert_eq!(Frame::of(message), Frame::Message(message.to_owned()));
        assert_eq!(Frame::of("{\n\"data\": 1}"), Frame::Message(r#"{"data":1}"#.to_owned()));
        assert_eq!(Frame::of("two\nlines"), Frame::Message(r#""two\nlines""#.to_owned()));
        assert_eq!(Frame::of(r#"{"type":"pong"}"#), Frame::Control);
        let error = r#"{"type":"error","code":"Forbidden","message":"no"}"#;
        assert_eq!(Frame::of(error), Frame::Error("Forbidden: no".to_owned()));
    }

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread() {
        assert_eq!(pause(1, 1.0), Duration::from_millis(500));
        assert_eq!(pause(1, 0.0), Duration::from_millis(250));
        assert_eq!(pause(3, 1.0), Duration::from_secs(2));
        assert_eq!(pause(1000, 1.0), LONGEST_PAUSE);
    }
}
