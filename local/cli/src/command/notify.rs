//! `tidings notify`: invokes the notifier, here or in an AWS account.

use std::io::{self, Read, Write};

use bytes::Bytes;
use clap::ArgGroup;
use serde_json::{Map, Value, json};

use tidings_local_services::net::is_aws;

use tidings_local_dev::NOTIFY_ENDPOINT;

use super::Failure;
use super::http::{call_local, refused};
use super::identity::{Identity, Named};
use super::rest::encoded;

/// The notifier's name at a local gateway: its folder.
const LOCAL_FUNCTION: &str = "notifier";

/// Send a notification to topics, users, connections or everyone, and print what became of it.
///
/// Without --stack, --function-name and --endpoint-url it goes to the `tidings dev` of this machine; with --stack to the
/// notifier of that stack in AWS, with --function-name alone to that function in AWS, with the credentials that the AWS command
/// line would use.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, group = audience(), override_usage = USAGE)]
pub(super) struct Arguments {
    /// What to send: JSON, or any text with --text; `-` reads it from standard input
    #[arg(allow_negative_numbers = true)]
    data: String,
    /// To the subscribers of a topic; repeatable
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// To the connections of a user; repeatable
    #[arg(long = "user", value_name = "USER")]
    users: Vec<String>,
    /// To one connection; repeatable
    #[arg(long = "connection", value_name = "ID")]
    connections: Vec<String>,
    /// To every connection
    #[arg(long)]
    everyone: bool,
    /// The kind of event, for example order.shipped
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Send DATA as text, even if it looks like JSON
    #[arg(long)]
    text: bool,
    /// Not to be delivered later than so many seconds from now
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// An id of your own, by which repetitions are recognised
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    named: Named,
    /// The Lambda Invoke API to call [default: http://127.0.0.1:3030 unless --stack or --function-name is given]
    #[arg(long, value_name = "URL", conflicts_with = "stack")]
    endpoint_url: Option<String>,
    /// The notifier's name or ARN [default: notifier]
    #[arg(long, value_name = "NAME", conflicts_with = "stack")]
    function_name: Option<String>,
    #[command(flatten)]
    identity: Identity,
}

const USAGE: &str = "tidings notify <--topic TOPIC|--user USER|--connection ID|--everyone>... DATA [OPTIONS]";

const EXAMPLES: &str = "\
Examples:
  tidings notify --topic orders/42 '{\"status\":\"shipped\"}'
  tidings notify --user u1 --user u2 --type greeting --text 'Good morning'
  tidings notify --everyone - < news.json
  tidings notify --topic orders/42 '{\"n\":1}' --stack shop
  tidings notify --topic orders/42 '{\"n\":1}' --function-name my-stack-notifier --region eu-west-1";

fn audience() -> ArgGroup {
    ArgGroup::new("audience").args(["topics", "users", "connections", "everyone"]).required(true).multiple(true)
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let data = if arguments.data == "-" { standard_input()? } else { arguments.data.clone() };
    let notification = arguments.notification(&data)?;
    let answer = match Target::of(&arguments) {
        Target::Endpoint { url, function } => invoke(&url, &function, notification.to_string()).await?,
        target => aws::invoke(target, &arguments.identity, notification.to_string()).await?,
    };
    print(answer)
}

/// What a function answers, or the object that says how it failed.
struct Answer {
    payload: Bytes,
    has_failed: bool,
}

/// Invokes a function at a Lambda Invoke API that takes any credentials.
async fn invoke(endpoint: &str, function: &str, body: String) -> Result<Answer, Failure> {
    let path = format!("/2015-03-31/functions/{}/invocations", encoded(function));
    let (parts, payload) = call_local(endpoint, &path, ("lambda", &[]), body).await?;
    if parts.status.is_success() {
        return Ok(Answer { payload, has_failed: parts.headers.contains_key("x-amz-function-error") });
    }
    Err(refused(endpoint, &parts, &serde_json::from_slice(&payload).unwrap_or_default()))
}

fn standard_input() -> Result<String, Failure> {
    let mut data = String::new();
    let read = io::stdin().read_to_string(&mut data);
    read.map_err(|error| Failure(format!("cannot read DATA from standard input: {error}")))?;
    Ok(data)
}

fn print(Answer { payload, has_failed }: Answer) -> Result<(), Failure> {
    if has_failed {
        return Err(Failure(function_error(&payload)));
    }
    let mut stdout = io::stdout();
    let written = stdout.write_all(&payload).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|error| Failure(format!("cannot write the answer: {error}")))
}

/// The message of a function's error object, with its type.
pub(super) fn function_error(payload: &[u8]) -> String {
    let object: Value = serde_json::from_slice(payload).unwrap_or_default();
    match (object["errorType"].as_str(), object["errorMessage"].as_str()) {
        (Some(kind), Some(message)) => format!("{kind}: {message}"),
        (None, Some(message)) => message.to_owned(),
        _ => format!("the notifier failed: {}", String::from_utf8_lossy(payload)),
    }
}

impl Arguments {
    /// The notification as the notifier takes it.
    fn notification(&self, data: &str) -> Result<Value, Failure> {
        let mut notification = Map::new();
        notification.insert("to".to_owned(), self.audience());
        if self.text {
            notification.insert("dataType".to_owned(), json!("text"));
            notification.insert("data".to_owned(), json!(data));
        } else {
            let data: Value = serde_json::from_str(data).map_err(|error| {
                Failure(format!("DATA is not JSON ({error}): quote it for the shell, or send it as it is with --text"))
            })?;
            notification.insert("data".to_owned(), data);
        }
        let optional = [
            ("type", self.kind.as_ref().map(|kind| json!(kind))),
            ("ttl", self.ttl.map(|ttl| json!(ttl))),
            ("id", self.id.as_ref().map(|id| json!(id))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                notification.insert(name.to_owned(), value);
            }
        }
        Ok(Value::Object(notification))
    }

    fn audience(&self) -> Value {
        let named = |name: &'static str, values: &[String]| -> Vec<Value> {
            values.iter().map(|value| json!({name: value})).collect()
        };
        let mut targets = named("topic", &self.topics);
        targets.extend(named("user", &self.users));
        targets.extend(named("connection", &self.connections));
        if self.everyone {
            targets.push(json!("everyone"));
        }
        match targets.len() {
            1 => targets.remove(0),
            _ => Value::Array(targets),
        }
    }
}

/// Where the notifier is.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// At a Lambda Invoke API that takes any credentials.
    Endpoint { url: String, function: String },
    /// In AWS; at another than the region's usual endpoint where one is given.
    Aws { url: Option<String>, function: String },
    /// In AWS, the one of a stack.
    Stack(String),
}

impl Target {
    fn of(arguments: &Arguments) -> Self {
        let function = arguments.function_name.clone();
        match (&arguments.named.stack, &arguments.endpoint_url, function) {
            (Some(stack), ..) => Self::Stack(stack.clone()),
            (None, None, Some(function)) => Self::Aws { url: None, function },
            (None, Some(url), function) if is_aws(url) => {
                Self::Aws { url: Some(url.clone()), function: function.unwrap_or_else(|| LOCAL_FUNCTION.to_owned()) }
            }
            (None, url, function) => Self::Endpoint {
                url: url.clone().unwrap_or_else(|| NOTIFY_ENDPOINT.to_owned()),
                function: function.unwrap_or_else(|| LOCAL_FUNCTION.to_owned()),
            },
        }
    }
}

/// A notifier in AWS.
#[cfg(feature = "account")]
mod aws {
    use aws_sdk_lambda::Client;
    use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
    use aws_sdk_lambda::operation::invoke::InvokeError;
    use aws_sdk_lambda::primitives::Blob;

    use super::super::deployment::Deployment;
    use super::{Answer, Failure, Identity, Target};

    pub(super) async fn invoke(target: Target, identity: &Identity, body: String) -> Result<Answer, Failure> {
        let (url, function) = match target {
            Target::Endpoint { url, function } => (Some(url), function),
            Target::Aws { url, function } => (url, function),
            Target::Stack(stack) => {
                let deployment = Deployment::find(identity.at(None), &stack).await?;
                (None, deployment.needed_id("NotifierFunction")?.to_owned())
            }
        };
        let client = Client::new(&identity.at(url.as_deref()).config().await);
        let answer = client.invoke().function_name(function).payload(Blob::new(body)).send().await;
        let answer = answer.map_err(|error| failure(&error))?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        Ok(Answer { payload: payload.into(), has_failed: answer.function_error.is_some() })
    }

    /// Why the function was not even invoked, in one sentence.
    fn failure(error: &SdkError<InvokeError>) -> Failure {
        let said = error.as_service_error().and_then(|error| error.message());
        Failure(match (error, said) {
            (SdkError::ServiceError(_), Some(message)) => message.to_owned(),
            (SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_), _) => format!(
                "cannot call Lambda in AWS ({}): are the credentials and the region set, see --profile and --region?",
                tidings::describe(error)
            ),
            _ => tidings::describe(error),
        })
    }
}

#[cfg(not(feature = "account"))]
mod aws {
    use super::super::identity::needs_account;
    use super::{Answer, Failure, Identity, Target};

    pub(super) async fn invoke(_: Target, _: &Identity, _: String) -> Result<Answer, Failure> {
        Err(needs_account("to notify a stack or a function in AWS"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(arguments: &[&str]) -> Arguments {
        Cli::try_parse_from(std::iter::once("notify").chain(arguments.iter().copied())).unwrap().arguments
    }

    fn check(arguments: &[&str], expected: &Value) {
        let arguments = parse(arguments);
        assert_eq!(&arguments.notification(&arguments.data).unwrap(), expected);
    }

    #[test]
    fn arguments_become_a_notification() {
        check(&["--topic", "orders/42", r#"{"n":1}"#], &json!({"to": {"topic": "orders/42"}, "data": {"n": 1}}));
        check(&["--everyone", "-1"], &json!({"to": "everyone", "data": -1}));
        check(
            &["--topic", "t", "--user", "u", "--connection", "c=", "--type", "e", "--ttl", "5", "--id", "i", "null"],
            &json!({
                "to": [{"topic": "t"}, {"user": "u"}, {"connection": "c="}],
                "type": "e", "ttl": 5, "id": "i", "data": null,
            }),
        );
        check(&["--user", "u", "--text", "12"], &json!({"to": {"user": "u"}, "dataType": "text", "data": "12"}));
    }

    #[test]
    fn text_needs_to_be_asked_for() {
        let arguments = parse(&["--everyone", "hello"]);
        let error = arguments.notification(&arguments.data).unwrap_err().to_string();
        assert!(error.starts_with("DATA is not JSON") && error.ends_with("with --text"), "{error}");
    }

    #[test]
    fn an_audience_is_required() {
        assert!(Cli::try_parse_from(["notify", "{}"]).is_err());
    }

    #[test]
    fn a_flag_that_does_not_exist_is_named_and_not_taken_for_what_is_to_be_sent() {
        let error = Cli::try_parse_from(["notify", "--topik", "t", "{}"]).unwrap_err().to_string();
        assert!(error.contains("'--topik'") && error.contains("'--topic'"), "{error}");
        assert_eq!(parse(&["--everyone", "--text", "--", "-x"]).data, "-x");
        assert_eq!(parse(&["--everyone", "-"]).data, "-");
    }

    #[test]
    fn the_target_is_here_unless_a_function_is_named() {
        let local = Target::Endpoint { url: NOTIFY_ENDPOINT.into(), function: "notifier".into() };
        assert_eq!(Target::of(&parse(&["--everyone", "1"])), local);
        let aws = Target::Aws { url: None, function: "f".into() };
        assert_eq!(Target::of(&parse(&["--everyone", "1", "--function-name", "f"])), aws);
        let other = Target::Endpoint { url: "http://h:1".into(), function: "f".into() };
        assert_eq!(
            Target::of(&parse(&["--everyone", "1", "--function-name", "f", "--endpoint-url", "http://h:1"])),
            other
        );
    }
}
