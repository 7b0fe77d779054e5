//! All functions of an application with a protocol of its own: lines that a person can type.
//!
//! `join room/1`, `leave room/1` and `say room/1 hello` are answered with `ok` or `no: <why>`; what is said comes as `room/1 hello`.

use std::process::ExitCode;

use serde_json::json;
use tidings::notification::{Notification, Payload, Target};
use tidings::protocol::{BadFrame, ClientError, Command, Own, Reply, ReplyBody, Request, bring};

struct Lines;

impl Own for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn decode(&self, frame: &str) -> Result<Request, BadFrame> {
        let command = match frame.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["join", topic] => Command::subscribe(topic)?,
            ["leave", topic] => Command::unsubscribe(topic)?,
            ["say", topic, text] => Command::publish(topic, &json!(text))?,
            _ => return Err(ClientError::bad_request("say join, leave or say, and a room").into()),
        };
        Ok(Request::new(command))
    }

    fn encode_reply(&self, reply: &Reply) -> Option<String> {
        Some(match &reply.body {
            ReplyBody::Error(error) => format!("no: {error}"),
            _ => "ok".to_owned(),
        })
    }

    fn encode_message(&self, notification: &Notification, target: &Target) -> String {
        let (Payload::Json(json), Target::Topic(topic)) = (&notification.payload, target) else { return String::new() };
        format!("{topic} {}", serde_json::from_str::<String>(json.get()).unwrap_or_default())
    }
}

fn main() -> ExitCode {
    bring(Lines);
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    let is = |name: &str| function.contains(name);
    match () {
        () if is("Authorizer") => tidings_authorizer::Function::new().run(),
        () if is("Connect") => tidings_connect::Function::new().run(),
        () if is("Disconnect") => tidings_disconnect::Function::new().run(),
        () if is("Notifier") => tidings_notifier::Function::new().run(),
        () if is("Api") => tidings_api::Function::new().run(),
        () => tidings_default::Function::new().run(),
    }
}
