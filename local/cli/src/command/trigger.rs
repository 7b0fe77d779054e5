//! `tidings trigger`: makes something happen at a running `tidings dev` that AWS would do by itself.

use bytes::Bytes;
use clap::Subcommand;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::http::call;
use super::{Failure, status};
use tidings_local_dev::NOTIFY_ENDPOINT;

/// Send an event by hand to a running `tidings dev`: of S3, Kinesis, a schedule or SNS.
///
/// A schedule and a topic are the template's. An event of S3 or Kinesis goes to the notifier, or to the function that
/// --function names; the bucket or stream need not be in the template.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    event: Event,
    /// The address of `tidings dev`
    #[arg(long, value_name = "URL", default_value = NOTIFY_ENDPOINT, global = true)]
    endpoint_url: String,
}

#[derive(Debug, Subcommand)]
enum Event {
    /// What a bucket tells of an object
    S3 {
        /// The bucket's name
        bucket: String,
        /// The object's key
        key: String,
        /// What happened to it
        #[arg(long, value_name = "EVENT", default_value = "ObjectCreated:Put")]
        event: String,
        /// The object's size in bytes
        #[arg(long, value_name = "BYTES", default_value_t = 1024)]
        size: u64,
        /// The function that gets it [default: the notifier]
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
    },
    /// A record of a Kinesis stream
    Kinesis {
        /// The stream's name
        stream: String,
        /// The record's data, as text
        #[arg(allow_negative_numbers = true)]
        data: String,
        /// The partition key
        #[arg(long, value_name = "KEY", default_value = "1")]
        partition_key: String,
        /// The function that gets it [default: the notifier]
        #[arg(long, value_name = "NAME")]
        function: Option<String>,
    },
    /// Fire a schedule of the template now
    Schedule {
        /// Its logical id in the template, or the rule's name
        name: String,
    },
    /// Publish a message to a topic of the template
    Sns {
        /// Its logical id in the template, its name or its ARN
        topic: String,
        /// The message
        #[arg(allow_negative_numbers = true)]
        message: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  tidings trigger s3 photos holiday/beach.jpg
  tidings trigger s3 photos holiday/beach.jpg --event ObjectRemoved:Delete --function resize
  tidings trigger kinesis clicks '{\"page\":\"/home\"}'
  tidings trigger schedule Nightly
  tidings trigger sns News 'Good morning'
  tidings trigger schedule Nightly --endpoint-url http://127.0.0.1:4040";

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let done = send(arguments.endpoint_url.trim_end_matches('/'), &arguments.event.to_json()).await?;
    status(&done);
    Ok(())
}

impl Event {
    fn to_json(&self) -> Value {
        match self {
            Self::S3 { bucket, key, event, size, function } => {
                json!({"kind": "s3", "bucket": bucket, "key": key, "event": event, "size": size, "function": function})
            }
            Self::Kinesis { stream, data, partition_key, function } => {
                json!({"kind": "kinesis", "stream": stream, "data": data, "partition": partition_key, "function": function})
            }
            Self::Schedule { name } => json!({"kind": "schedule", "name": name}),
            Self::Sns { topic, message } => json!({"kind": "sns", "topic": topic, "message": message}),
        }
    }
}

/// What was done, as the gateway says it.
async fn send(endpoint: &str, event: &Value) -> Result<String, Failure> {
    let url = format!("{endpoint}/_tidings/trigger");
    let request = Request::post(&url).header(header::CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(Bytes::from(event.to_string())));
    let request = request.map_err(|error| Failure(format!("{endpoint} is no address: {error}; see --endpoint-url")))?;
    let (parts, body) = call(request).await.map_err(|error| {
        let why = tidings::describe(&error);
        Failure(format!(
            "cannot reach {endpoint} ({why}): start `tidings dev` in another shell, or name it with --endpoint-url"
        ))
    })?;
    let code = parts.status;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (answer["done"].as_str(), answer["message"].as_str()) {
        (Some(done), _) if code.is_success() => Ok(done.to_owned()),
        (_, Some(why)) if code != StatusCode::NOT_FOUND || why.starts_with("this stack") => {
            Err(Failure(why.to_owned()))
        }
        _ => Err(Failure(format!(
            "{endpoint} answers {code}, and not as `tidings dev` does: is it one, of this version?"
        ))),
    }
}
