//! `tidings dead-letters`: shows what could not be delivered, and sends it again.

mod origin;

use std::io::Write;

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName};
use clap::Subcommand;
use serde_json::{Value, json};

use super::account::Identity;
use super::{Failure, NOTIFY_ENDPOINT};
use origin::Origin;

/// The dead-letter queue of a local gateway that runs this project's template.
const LOCAL_QUEUE: &str = "http://127.0.0.1:3030/123456789012/DeadLetterQueue";
/// How long what is shown is hidden from others, in seconds: as long as showing takes.
const HIDDEN_SECONDS: i32 = 60;

/// Show what could not be delivered, and send it again.
///
/// Without --queue-url it is the queue of the `tidings dev` of this machine; with it, a queue in AWS, with the credentials
/// that the AWS command line would use. The stack's output DeadLetterQueueUrl names it.
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
    Redrive(Queue),
}

#[derive(Debug, clap::Args)]
struct Queue {
    /// The dead-letter queue [default: the one of `tidings dev`]
    #[arg(long, value_name = "URL")]
    queue_url: Option<String>,
    /// The notifier's name or ARN, for letters that did not come from a queue
    #[arg(long, value_name = "NAME", default_value = "notifier")]
    function_name: String,
    /// The gateway of this machine, where it is not on port 3030
    #[arg(long, value_name = "URL")]
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
  tidings dead-letters redrive --queue-url https://sqs.eu-west-1.amazonaws.com/123456789012/tidings-DeadLetterQueue-1 \\
      --function-name tidings-NotifierFunction-1 --region eu-west-1";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.action {
        Action::List(queue) => Letters::open(&queue).await.list().await,
        Action::Redrive(queue) => Letters::open(&queue).await.redrive().await,
    }
}

/// An open dead-letter queue.
struct Letters<'a> {
    options: &'a Queue,
    url: String,
    sqs: aws_sdk_sqs::Client,
    lambda: aws_sdk_lambda::Client,
}

impl<'a> Letters<'a> {
    async fn open(options: &'a Queue) -> Self {
        let local = options.queue_url.is_none() || options.endpoint_url.is_some();
        let endpoint = options.endpoint_url.as_deref().or(local.then_some(NOTIFY_ENDPOINT));
        let account = options.identity.at(endpoint);
        let config = account.config().await;
        let url = options.queue_url.clone().unwrap_or_else(|| match &options.endpoint_url {
            None => LOCAL_QUEUE.to_owned(),
            Some(endpoint) => LOCAL_QUEUE.replace(NOTIFY_ENDPOINT, endpoint.trim_end_matches('/')),
        });
        let (sqs, lambda) = (aws_sdk_sqs::Client::new(&config), aws_sdk_lambda::Client::new(&config));
        Self { options, url, sqs, lambda }
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

    async fn redrive(&self) -> Result<(), Failure> {
        let letters = self.receive().await?;
        let mut failed = 0;
        for letter in &letters {
            let id = letter.message_id().unwrap_or_default();
            let mut stderr = std::io::stderr();
            // A closed standard error loses the line, not the letter.
            let _ = match self.send_again(letter).await {
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
    async fn send_again(&self, letter: &Message) -> Result<String, Failure> {
        let source = letter.attributes().and_then(|all| all.get(&MessageSystemAttributeName::DeadLetterQueueSourceArn));
        let origin = Origin::of(letter.body().unwrap_or_default(), source.map(String::as_str));
        let place = match origin {
            Origin::Queue { name, body } => {
                let url = self.url.rsplit_once('/').map_or_else(String::new, |(base, _)| format!("{base}/{name}"));
                let sent = self.sqs.send_message().queue_url(url).message_body(body).send().await;
                sent.map_err(|error| self.failure("send to", &error))?;
                format!("the queue {name}")
            }
            Origin::Event(event) => {
                self.invoke(&event).await?;
                format!("the function {}", self.options.function_name)
            }
        };
        let receipt = letter.receipt_handle().unwrap_or_default();
        let deleted = self.sqs.delete_message().queue_url(&self.url).receipt_handle(receipt).send().await;
        deleted.map_err(|error| self.failure("delete from", &error))?;
        Ok(place)
    }

    async fn invoke(&self, event: &Value) -> Result<(), Failure> {
        let payload = aws_sdk_lambda::primitives::Blob::new(event.to_string());
        let call = self.lambda.invoke().function_name(&self.options.function_name).payload(payload).send().await;
        let answer = call.map_err(|error| Failure(format!("cannot invoke: {}", tidings::describe(&error))))?;
        match answer.function_error {
            None => Ok(()),
            Some(_) => Err(Failure(super::notify::function_error(
                &answer.payload.map(aws_sdk_lambda::primitives::Blob::into_inner).unwrap_or_default(),
            ))),
        }
    }

    fn failure(&self, verb: &str, error: &dyn std::error::Error) -> Failure {
        let hint = if self.options.queue_url.is_none() { ": is `cargo dev` running?" } else { "" };
        Failure(format!("cannot {verb} the queue {}{hint} ({})", self.url, tidings::describe(error)))
    }
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
