//! `tidings dead-letters`: shows what could not be delivered, and sends it again.

mod life;
mod origin;

use std::io::Write;
use std::time::{Duration, SystemTime};

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use clap::Subcommand;
use serde_json::{Value, json};

use tidings_local_dev::NOTIFY_ENDPOINT;

use super::Failure;
use super::deployment::Deployment;
use super::identity::{Identity, Named};
use origin::{Origin, Queued};

/// The logical id of the dead-letter queue.
const QUEUE: &str = "DeadLetterQueue";
/// The account of a local gateway.
const LOCAL_ACCOUNT: &str = "123456789012";
/// The notifier's name at a local gateway.
const LOCAL_FUNCTION: &str = "notifier";
/// How long what is shown is hidden from others, in seconds: as long as showing takes.
const HIDDEN_SECONDS: i32 = 60;

/// Show what could not be delivered, and send it again.
///
/// Without --stack and --queue-url it is the queue of the `tidings dev` of this machine; with either, a queue in AWS, with the
/// credentials that the AWS command line would use.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the letters, one JSON object a line; they stay in the queue
    List(Queue),
    /// Send the letters again, each where it came from; what succeeds leaves the queue
    ///
    /// A letter whose time is over would be dropped again, so it stays and is told; with --ttl it is sent.
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(Redrive),
}

#[derive(Debug, clap::Args)]
struct Redrive {
    #[command(flatten)]
    queue: Queue,
    /// Let what is sent last for so long from now at least: seconds, or a time such as 15m, 2h or 7d
    #[arg(long, value_name = "SECONDS|DURATION", value_parser = super::token::duration)]
    ttl: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Queue {
    #[command(flatten)]
    named: Named,
    /// The dead-letter queue; the output DeadLetterQueueUrl of a stack [default: the one of `tidings dev`]
    #[arg(long, value_name = "URL", conflicts_with = "stack")]
    queue_url: Option<String>,
    /// The notifier's name or ARN, for letters that did not come from a queue [default: the stack's, or notifier]
    #[arg(long, value_name = "NAME")]
    function_name: Option<String>,
    /// The gateway of this machine, where it is not on port 3030
    #[arg(long, value_name = "URL", conflicts_with = "stack")]
    endpoint_url: Option<String>,
    /// At most so many letters
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    #[command(flatten)]
    identity: Identity,
}

const EXAMPLES: &str = "\
Examples:
  tidings dead-letters list
  tidings dead-letters list | jq -r .reason
  tidings dead-letters redrive --limit 1
  tidings dead-letters redrive --ttl 1h
  tidings dead-letters list --stack shop --region eu-west-1
  tidings dead-letters redrive --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/tidings-DeadLetterQueue-1 \\
      --function-name tidings-NotifierFunction-1 --region eu-west-1";

const REDRIVE_EXAMPLES: &str = "\
Examples:
  tidings dead-letters redrive
  tidings dead-letters redrive --limit 1 --ttl 600
  tidings dead-letters redrive --ttl 2h --stack shop --region eu-west-1";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::List(queue) => Letters::open(&queue).await?.list().await,
        Action::Redrive(Redrive { queue, ttl }) => Letters::open(&queue).await?.redrive(ttl).await,
    }
}

/// An open dead-letter queue.
struct Letters<'a> {
    options: &'a Queue,
    url: String,
    /// The notifier's name.
    function: String,
    sqs: aws_sdk_sqs::Client,
    lambda: aws_sdk_lambda::Client,
}

impl<'a> Letters<'a> {
    async fn open(options: &'a Queue) -> Result<Self, Failure> {
        let is_local = options.named.stack.is_none() && (options.queue_url.is_none() || options.endpoint_url.is_some());
        let endpoint = options.endpoint_url.as_deref().or(is_local.then_some(NOTIFY_ENDPOINT));
        let account = options.identity.at(endpoint);
        let config = account.config().await;
        let (sqs, lambda) = (aws_sdk_sqs::Client::new(&config), aws_sdk_lambda::Client::new(&config));
        let given = options.function_name.clone();
        let (url, function) = match (&options.named.stack, &options.queue_url) {
            (Some(stack), _) => {
                let deployment = Deployment::find(account, stack).await?;
                let notifier = deployment.needed_id("NotifierFunction")?.to_owned();
                (deployment.needed_id(QUEUE)?.to_owned(), given.unwrap_or(notifier))
            }
            (None, url) => {
                let url = match url {
                    Some(url) => url.clone(),
                    None => local_queue(&sqs, endpoint.unwrap_or(NOTIFY_ENDPOINT)).await?,
                };
                (url, given.unwrap_or_else(|| LOCAL_FUNCTION.to_owned()))
            }
        };
        Ok(Self { options, url, function, sqs, lambda })
    }

    async fn list(&self) -> Result<(), Failure> {
        let letters = self.receive().await?;
        let mut stdout = std::io::stdout();
        for letter in &letters {
            let line = describe(letter);
            writeln!(stdout, "{line}").map_err(|error| Failure(format!("cannot write a letter: {error}")))?;
        }
        for letter in &letters {
            self.put_back(letter).await?;
        }
        Ok(())
    }

    async fn redrive(&self, ttl: Option<Duration>) -> Result<(), Failure> {
        let letters = self.receive().await?;
        let mut failed = 0;
        for letter in &letters {
            let id = letter.message_id().unwrap_or_default();
            let mut stderr = std::io::stderr();
            // A closed standard error loses the line, not the letter.
            let _ = match self.send_again(letter, ttl).await {
                Ok(place) => writeln!(stderr, "{id}: sent again to {place}"),
                Err(Failure(reason)) => {
                    failed += 1;
                    self.put_back(letter).await?;
                    writeln!(stderr, "{id}: stays, {reason}")
                }
            };
        }
        match failed {
            0 => Ok(()),
            _ => Err(Failure(format!("{failed} of {} letters stay in the queue", letters.len()))),
        }
    }

    async fn receive(&self) -> Result<Vec<Message>, Failure> {
        let mut letters = Vec::new();
        while letters.len() < self.options.limit {
            let request = self.sqs.receive_message().queue_url(&self.url).visibility_timeout(HIDDEN_SECONDS);
            let most = (self.options.limit - letters.len()).min(10);
            let request = request.max_number_of_messages(i32::try_from(most).unwrap_or(10)).wait_time_seconds(1);
            let request =
                request.message_attribute_names("All").message_system_attribute_names(MessageSystemAttributeName::All);
            let answer = request.send().await.map_err(|error| self.failure("read", &error))?;
            match answer.messages {
                Some(messages) if !messages.is_empty() => letters.extend(messages),
                _ => break,
            }
        }
        Ok(letters)
    }

    async fn put_back(&self, letter: &Message) -> Result<(), Failure> {
        let request = self.sqs.change_message_visibility().queue_url(&self.url).visibility_timeout(0);
        let request = request.receipt_handle(letter.receipt_handle().unwrap_or_default());
        request.send().await.map_err(|error| self.failure("put a letter back into", &error))?;
        Ok(())
    }

    /// Sends a letter where it came from, and takes it out of the queue. Says where that was.
    async fn send_again(&self, letter: &Message, ttl: Option<Duration>) -> Result<String, Failure> {
        let now = epoch(SystemTime::now());
        let place = match Origin::of(letter)? {
            Origin::Queue(message) => {
                let body = renewed(&message.body, ttl, now)?;
                self.send(letter, &message, body).await?;
                format!("the queue {}", message.queue)
            }
            Origin::Event(event) => {
                self.invoke(renewed(&event, ttl, now)?).await?;
                format!("the function {}", self.function)
            }
        };
        let receipt = letter.receipt_handle().unwrap_or_default();
        let deleted = self.sqs.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map_err(|error| self.failure("delete from", &error))?;
        Ok(place)
    }

    /// Puts a message into a queue beside this one.
    async fn send(&self, letter: &Message, message: &Queued, body: String) -> Result<(), Failure> {
        let url = self.url.rsplit_once('/').map_or_else(String::new, |(base, _)| format!("{base}/{}", message.queue));
        let request = self.sqs.send_message().queue_url(&url).message_body(body);
        let request = request.set_message_attributes(Some(message.attributes.clone()));
        let request = request.set_message_group_id(message.group.clone());
        // A queue that keeps an order drops what it has had a moment ago; this is to come once more, but only once.
        let once = letter.message_id().filter(|_| message.queue.ends_with(".fifo"));
        let sent = request.set_message_deduplication_id(once.map(str::to_owned)).send().await;
        let reason = |error| Failure(format!("cannot send to the queue {url} ({})", tidings::describe(&error)));
        sent.map_err(reason)?;
        Ok(())
    }

    async fn invoke(&self, event: String) -> Result<(), Failure> {
        let payload = aws_sdk_lambda::primitives::Blob::new(event);
        let call = self.lambda.invoke().function_name(&self.function).payload(payload).send().await;
        let answer = call.map_err(|error| Failure(format!("cannot invoke: {}", tidings::describe(&error))))?;
        let payload = answer.payload.map(aws_sdk_lambda::primitives::Blob::into_inner).unwrap_or_default();
        if answer.function_error.is_some() {
            return Err(Failure(super::notify::function_error(&payload)));
        }
        // Of records the notifier says in its answer which ones are to come again.
        let answer: Value = serde_json::from_slice(&payload).unwrap_or_default();
        match answer["batchItemFailures"].as_array().map_or(0, Vec::len) {
            0 => Ok(()),
            _ => Err(Failure("it failed for a passing reason, which the notifier's log has; try again".to_owned())),
        }
    }

    fn failure(&self, verb: &str, error: &dyn std::error::Error) -> Failure {
        let hint = if self.url.starts_with("http:") { ": is `cargo dev` running?" } else { "" };
        Failure(format!("cannot {verb} the queue {}{hint} ({})", self.url, tidings::describe(error)))
    }
}

/// The dead-letter queue of the template that a local gateway runs, or of the one that it nests.
async fn local_queue(sqs: &aws_sdk_sqs::Client, endpoint: &str) -> Result<String, Failure> {
    let own = format!("{}/{LOCAL_ACCOUNT}/{QUEUE}", endpoint.trim_end_matches('/'));
    // Where nothing listens, the first use of the queue says so.
    let urls = sqs.list_queues().send().await.ok().and_then(|answer| answer.queue_urls).unwrap_or_default();
    let mut found: Vec<_> = urls.into_iter().filter(|url| is_dead_letter_queue(url)).collect();
    match found.len() {
        0 => Ok(own),
        1 => Ok(found.remove(0)),
        _ => {
            let lines = format!("--queue-url {}", found.join(" or --queue-url "));
            Err(Failure(format!("{endpoint} has {} dead-letter queues; say which: {lines}", found.len())))
        }
    }
}

/// Whether a queue is called as the template calls it, or as CloudFormation does: `<stack>-DeadLetterQueue-<random>`.
fn is_dead_letter_queue(url: &str) -> bool {
    let name = url.rsplit('/').next().unwrap_or_default();
    let is_random = |part: &str| part.len() == 12 && part.chars().all(|letter| letter.is_ascii_alphanumeric());
    let made = name.rsplit_once('-').filter(|(_, random)| is_random(random)).map_or(name, |(front, _)| front);
    [name, made].iter().any(|name| *name == QUEUE || name.ends_with(&format!("-{QUEUE}")))
}

/// What a letter asks for, as it is to be sent again: with a new time to live where one is given. What would be dropped
/// for its age is not sent.
fn renewed(text: &str, ttl: Option<Duration>, now: i64) -> Result<String, Failure> {
    let end = life::end(text, now);
    let until = match (ttl, end) {
        (Some(ttl), _) => Some(now.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))),
        (None, Some(end)) if end < now => {
            let reason = format!("it expired at {} and would be dropped again", life::shown(end));
            return Err(Failure(format!("{reason}; say with --ttl how long it is to last from now, such as --ttl 1h")));
        }
        // Also where a rule says less: whoever sends it again wants it delivered.
        (None, end) => end,
    };
    life::lasting(text, until, now)
}

/// Milliseconds since the epoch.
fn epoch(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What there is to know of a letter.
fn describe(letter: &Message) -> Value {
    let attribute = |name: &str| letter.message_attributes()?.get(name)?.string_value();
    let system = |name| letter.attributes()?.get(&name).map(String::as_str);
    json!({
        "id": letter.message_id(),
        "sentAt": system(MessageSystemAttributeName::SentTimestamp).and_then(|digits| digits.parse::<i64>().ok()),
        "reason": attribute("reason").unwrap_or("failed again and again"),
        "source": attribute("source").or_else(|| system(MessageSystemAttributeName::DeadLetterQueueSourceArn)),
        "notification": attribute("notification_id"),
        "body": letter.body(),
    })
}
