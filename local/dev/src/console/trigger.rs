//! Events by hand, for the page's buttons and `tidings trigger`: a schedule fires now, a message is published, and a function
//! gets what S3 or Kinesis would bring it.

mod events;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tidings::describe;

use super::Console;
use events::{Object, Record};

/// What is to happen.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Trigger {
    /// A rule with a schedule, by its logical id or its name.
    Schedule { name: String },
    /// A message for a topic, by its logical id, its name or its ARN.
    Sns { topic: String, message: String },
    /// What a bucket tells of an object.
    S3 {
        bucket: String,
        key: String,
        #[serde(default = "created")]
        event: String,
        #[serde(default)]
        size: u64,
        function: Option<String>,
    },
    /// A record of a stream.
    Kinesis { stream: String, data: String, partition: Option<String>, function: Option<String> },
}

fn created() -> String {
    "ObjectCreated:Put".to_owned()
}

/// Why nothing happened: one sentence.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "message": self.1 }))).into_response()
    }
}

pub(super) async fn trigger(State(console): State<Arc<Console>>, body: Bytes) -> Response {
    let trigger = match serde_json::from_slice(&body) {
        Ok(trigger) => trigger,
        Err(error) => return Refusal(StatusCode::BAD_REQUEST, format!("this is no trigger: {error}")).into_response(),
    };
    match console.carry_out(trigger).await {
        Ok(done) => Json(json!({ "done": done })).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Console {
    /// What was done, in one sentence.
    async fn carry_out(&self, trigger: Trigger) -> Result<String, Refusal> {
        match trigger {
            Trigger::Schedule { name } => self.fire(&name),
            Trigger::Sns { topic, message } => self.publish(&topic, &message),
            Trigger::S3 { bucket, key, event, size, function } => {
                let object = Object { region: &self.region, bucket: &bucket, key: &key, event: &event, size };
                self.bring(function.as_deref(), &object.event()?).await
            }
            Trigger::Kinesis { stream, data, partition, function } => {
                let partition = partition.as_deref().unwrap_or("1");
                let record = Record { region: &self.region, stream: &stream, data: &data, partition };
                self.bring(function.as_deref(), &record.event()).await
            }
        }
    }

    fn fire(&self, name: &str) -> Result<String, Refusal> {
        if self.events.fire(name) {
            return Ok(format!("the schedule {name} has fired"));
        }
        let rules = self.events.rules().iter().filter(|rule| rule.schedule.is_some());
        let known: Vec<_> = rules.map(|rule| rule.id.as_str()).collect();
        Err(missing("schedule", name, &known))
    }

    fn publish(&self, topic: &str, message: &str) -> Result<String, Refusal> {
        let arn = self.topics.get(topic).cloned().or_else(|| self.sns.find(topic));
        let Some(arn) = arn else {
            let known: Vec<_> = self.topics.keys().map(String::as_str).collect();
            return Err(missing("topic", topic, &known));
        };
        match self.sns.publish(&arn, message) {
            Ok(()) => Ok(format!("published to the topic {topic}")),
            Err(error) => Err(Refusal(StatusCode::BAD_REQUEST, describe(&error))),
        }
    }

    /// Invokes a function with an event, and waits for its answer.
    async fn bring(&self, function: Option<&str>, event: &Value) -> Result<String, Refusal> {
        let name = function.unwrap_or(&self.default_function);
        let Some(id) = self.names.resolve(name) else {
            let hint = if function.is_none() { "; name one with --function" } else { "" };
            let known = self.functions.join(", ");
            let text = format!("this stack has no function {name}{hint}: it has {known}");
            return Err(Refusal(StatusCode::NOT_FOUND, text));
        };
        let label = self.names.label(id);
        let invocation = self.invoker.invoke(id, event.to_string().into()).await;
        let invocation = invocation.map_err(|error| Refusal(StatusCode::BAD_GATEWAY, describe(&error)))?;
        match invocation.error() {
            None => Ok(format!("{label} has taken it, in {} ms", invocation.duration.as_millis())),
            Some(error) => Err(Refusal(StatusCode::BAD_GATEWAY, format!("{label} failed: {error}"))),
        }
    }
}

fn missing(kind: &str, name: &str, known: &[&str]) -> Refusal {
    let known = match known {
        [] => format!("it has no {kind} at all"),
        known => format!("it has {}", known.join(", ")),
    };
    Refusal(StatusCode::NOT_FOUND, format!("this stack has no {kind} {name}: {known}"))
}
