//! `tidings listen`: a client that prints what it receives and stays connected.

mod output;
mod start;
mod token;

use std::io;
use std::time::Duration;

use clap::ArgGroup;

use tidings_client::{CallError, Client, Event, Events, History, Log, Position, Positions, Reason};
use tidings_local_dev::LISTEN_URL;

use self::output::Output;
use self::start::{Since, Start};
use super::identity::{Identity, Named};
use super::{Failure, status};

/// Print the messages for topics, a user or a token's user, one JSON object a line.
///
/// Messages go to standard output, everything else to standard error. A lost connection is made again, with growing
/// pauses; what was sent to a topic or user with a log meanwhile is printed then.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = audience())]
pub(super) struct Arguments {
    /// A topic to subscribe to; repeatable
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// The user to connect as, where anonymous connections are allowed
    #[arg(long)]
    user: Option<String>,
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    identity: Identity,
    /// The WebSocket URL, with the stage
    #[arg(long, default_value = LISTEN_URL, value_parser = websocket_url, conflicts_with = "stack")]
    url: String,
    /// A token for the authorizer, sent in the `Authorization` header. The variable keeps it out of the list of processes
    #[arg(long, env = "TIDINGS_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A command of the shell that prints a token. It runs before each connection, and comes before `--token`
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// Begin after this offset of a log: `41`, or `41/k3f9` with its epoch; `TOPIC=41` where there are several topics
    #[arg(long, value_name = "[TOPIC=]OFFSET[/EPOCH]", value_parser = start::since)]
    since: Vec<Since>,
    /// Print the newest so many messages of each log first
    #[arg(long, value_name = "N", conflicts_with = "since", value_parser = clap::value_parser!(u32).range(1..))]
    history: Option<u32>,
    /// Print who comes to the topics and who leaves them, too
    #[arg(long, requires = "topics")]
    presence: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Fail when the connection cannot be made or is lost
    #[arg(long)]
    no_reconnect: bool,
    /// Send a ping after so long without a message; API Gateway closes a connection that is silent for 600 seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    keep_alive: u64,
}

const EXAMPLES: &str = "\
Examples:
  tidings listen --topic orders/42
  tidings listen --topic orders/42 --topic news --count 1
  tidings listen --user u1 | jq .data
  tidings listen --topic orders/42 --history 10
  tidings listen --topic room/1 --presence --user u1
  tidings listen --topic orders/42 --since 41
  tidings listen --topic orders/42 --topic news --since orders/42=41/k3f9
  TIDINGS_TOKEN=$(tidings token --user u1) tidings listen
  tidings listen --stack shop --token-command 'tidings token --user u1 --stack shop --expires 1m'
  TIDINGS_TOKEN=… tidings listen --topic news --url wss://abc.execute-api.eu-west-1.amazonaws.com/prod";

fn audience() -> ArgGroup {
    ArgGroup::new("audience").args(["topics", "user", "token", "token_command"]).required(true).multiple(true)
}

pub(super) async fn run(mut arguments: Arguments) -> Result<(), Failure> {
    if let Some(stack) = &arguments.named.stack {
        arguments.url = url_of(stack, &arguments.identity).await?;
    }
    let starts = start::starts(arguments.logs(), &arguments.since, arguments.history)?;
    let (client, events) = arguments.connect(&starts)?;
    let output = Output::new(arguments.count);
    Listener { client: client.clone(), url: arguments.url, no_reconnect: arguments.no_reconnect, output }
        .listen(events, starts)
        .await?;
    client.close().await;
    Ok(())
}

/// Where clients of a deployed stack connect.
#[cfg(feature = "account")]
async fn url_of(stack: &str, identity: &Identity) -> Result<String, Failure> {
    let deployment = super::deployment::Deployment::find(identity.at(None), stack).await?;
    Ok(deployment.needed_output("WebSocketUrl")?.to_owned())
}

#[cfg(not(feature = "account"))]
async fn url_of(_: &str, _: &Identity) -> Result<String, Failure> {
    Err(super::identity::needs_account("`tidings listen --stack`"))
}

impl Arguments {
    /// What is listened to: the topics, and what is for the user.
    fn logs(&self) -> Vec<Log> {
        let user = self.user.is_some() || self.token.is_some() || self.token_command.is_some();
        self.topics.iter().map(Log::topic).chain(user.then_some(Log::User)).collect()
    }

    fn connect(&self, starts: &[(Log, Start)]) -> Result<(Client, Events), Failure> {
        let mut client = Client::builder(&self.url).ping_after(Duration::from_secs(self.keep_alive));
        if self.presence {
            client = client.presence();
        }
        if let Some(user) = &self.user {
            client = client.query("user", user);
        }
        if let Some(command) = self.token_command.clone() {
            client = client.token_with(move || token::from(command.clone()));
        } else if let Some(token) = &self.token {
            client = client.token(token);
        }
        let mut positions = Positions::default();
        for (log, start) in starts.iter().filter(|(_, start)| start.is_known()) {
            client = client.log(log.clone());
            if let Start::Since(position) = start {
                positions.insert(log.clone(), position.clone());
            }
        }
        client.positions(positions).connect().map_err(|error| match error {
            tidings_client::BuildError::Token => Failure(format!("--token: {error}")),
            error => Failure(format!("--url {}: {}", self.url, tidings::describe(&error))),
        })
    }
}

/// A client whose events are printed.
struct Listener {
    client: Client,
    url: String,
    no_reconnect: bool,
    output: Output,
}

impl Listener {
    /// Until there are enough messages, or no more can come.
    async fn listen(mut self, mut events: Events, starts: Vec<(Log, Start)>) -> Result<(), Failure> {
        let mut starts = starts.into_iter().filter(|(_, start)| !start.is_known()).collect::<Vec<_>>();
        while let Some(event) = events.next().await {
            if matches!(event, Event::Connected) {
                for (log, start) in std::mem::take(&mut starts) {
                    self.begin(log, &start).await?;
                }
            }
            self.event(event)?;
            if self.output.is_done() {
                break;
            }
        }
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Message(message) => self.output.print(message.as_json()),
            Event::Other(text) => self.output.print(&text),
            Event::Connected => status(&format!("connected to {}", self.url)),
            Event::Disconnected { reason, retry_in, .. } => {
                let reason = self.explained(&reason);
                if self.no_reconnect {
                    return Err(Failure(reason));
                }
                status(&format!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64()));
            }
            Event::Missed { log, from, to, .. } => status(&missed(&log, &from, to.as_ref())),
            // That of a stack whose users have no logs: messages come all the same.
            Event::Refused { log: Log::User, refusal, .. } => {
                status(&format!("what is sent to the user without a connection is not printed later: {refusal}"));
            }
            Event::Refused { log, refusal, .. } => return Err(Failure(format!("{log} is refused: {refusal}"))),
            Event::Complaint(refusal) => status(&format!("the server says: {refusal}")),
            Event::Failed(reason) => return Err(Failure(self.explained(&reason))),
            _ => {}
        }
        Ok(())
    }

    /// Begins a log at a place that only the server knows, once there is a connection.
    async fn begin(&mut self, log: Log, start: &Start) -> Result<(), Failure> {
        let newest = if let Start::Newest(count) = start { *count } else { 1 };
        let page = loop {
            match self.client.history(&log, History::newest(newest)).await {
                // The next connection is asked.
                Err(CallError::Disconnected) => {}
                answer => break answer,
            }
        };
        let position = match page {
            Ok(page) => {
                if matches!(start, Start::Newest(_)) {
                    page.messages.iter().for_each(|message| self.output.print(message.as_json()));
                }
                page.position.map(|newest| start.position(newest))
            }
            Err(CallError::Ended) => return Ok(()),
            Err(error) => {
                status(&format!("no history of {log}: {}", tidings::describe(&error)));
                None
            }
        };
        let subscribed = match position {
            Some(position) => self.client.subscribe_since(log.clone(), position).await,
            None => self.client.subscribe(log.clone()).await,
        };
        match subscribed {
            // Refusals are told by the events; of the others the next connection takes care.
            Ok(()) | Err(CallError::Refused(_) | CallError::Disconnected | CallError::Ended) => Ok(()),
            Err(error) => Err(Failure(format!("cannot subscribe to {log}: {}", tidings::describe(&error)))),
        }
    }

    /// Why there is no connection, and what to look at.
    fn explained(&self, reason: &Reason) -> String {
        let url = &self.url;
        match reason {
            Reason::Status(code) => {
                let code = http::StatusCode::from_u16(*code).map_or_else(|_| code.to_string(), |code| code.to_string());
                match reason {
                    Reason::Status(401 | 403) => {
                        format!(
                            "{url} refuses the connection with {code}: are the token, the user and the stage in the URL right?"
                        )
                    }
                    Reason::Status(429 | 500..) => format!("{url} answers {code}"),
                    _ => format!("{url} refuses the connection with {code}: is the URL right, with its stage?"),
                }
            }
            Reason::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused && url == LISTEN_URL => {
                format!("nothing listens at {url}: is `cargo dev` running?")
            }
            Reason::Unreachable(_) | Reason::Tls(_) | Reason::Protocol(_) => {
                format!("cannot connect to {url}: {}", tidings::describe(reason))
            }
            reason => tidings::describe(reason),
        }
    }
}

fn missed(log: &Log, from: &Position, to: Option<&Position>) -> String {
    match to {
        Some(to) if to.epoch == from.epoch => format!("messages may be lost of {log}, between {from} and {to}"),
        Some(to) => format!("messages may be lost of {log}, after {from}: its log was made anew, and stands at {to}"),
        None => format!("messages may be lost of {log}, after {from}: it has no log any more"),
    }
}

fn websocket_url(text: &str) -> Result<String, String> {
    let is_url = text.starts_with("ws://") || text.starts_with("wss://");
    if is_url { Ok(text.to_owned()) } else { Err(format!("write a URL such as {LISTEN_URL} (ws:// or wss://)")) }
}
