//! The function behind the conformance stack: it does what the client asks it to, and remembers what it was told.
//!
//! A handshake asks in its query string, a frame in its JSON: `do` says what, see [`Request`]. Events that no reply can
//! carry (authorizer, `$connect`, `$disconnect`) are kept in a table for an hour, where the suite asks for them.

mod authorizer;
mod memory;

use std::time::Duration;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::{Value, json};

use memory::Memory;

/// What a client asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    /// `answer` (also if it is missing), `fail`, `raw`, `sleep`, `wait`; of a frame also `event`, `events`, `length`,
    /// `open`.
    #[serde(rename = "do")]
    action: String,
    /// `statusCode` of the answer; 200.
    status: Option<u16>,
    /// `body` of the answer.
    body: Option<String>,
    /// `Sec-WebSocket-Protocol` of the answer.
    protocol: Option<String>,
    /// For `raw`: the whole answer, as JSON text.
    raw: String,
    /// For `sleep`: milliseconds.
    ms: u64,
    /// Keeps the event under this key, which a handshake may also send as the header `x-key`. For `events` and `open`: of whom.
    key: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::tracing::init_default_subscriber();
    let memory = Memory::from_env()?;
    run(service_fn(|event: LambdaEvent<Value>| handle(&memory, event.payload))).await
}

async fn handle(memory: &Memory, event: Value) -> Result<Value, Error> {
    if event["type"] == "REQUEST" {
        let query: authorizer::Query = from_query(&event)?;
        if let Some(key) = &query.key {
            memory.keep(key, "authorizer", &event).await?;
        }
        return authorizer::answer(&query, &event);
    }
    match event["requestContext"]["eventType"].as_str() {
        Some("CONNECT") => {
            let request: Request = from_query(&event)?;
            // A handshake without a query names its key in a header.
            if let Some(key) = request.key.as_deref().or_else(|| event["headers"]["x-key"].as_str()) {
                memory.keep(key, "connect", &event).await?;
            }
            perform(memory, &request).await
        }
        Some("DISCONNECT") => {
            let connection = event["requestContext"]["connectionId"].as_str().unwrap_or_default();
            memory.keep(connection, "disconnect", &event).await?;
            match event["requestContext"]["disconnectReason"].as_str() {
                Some("fail") => Err("the client wants $disconnect to fail".into()),
                // Nobody may see this.
                _ => Ok(json!({"statusCode": 200, "body": "disconnected"})),
            }
        }
        _ => message(memory, &event).await,
    }
}

async fn message(memory: &Memory, event: &Value) -> Result<Value, Error> {
    let text = event["body"].as_str().unwrap_or_default();
    // A frame that is no JSON object comes back as it is.
    let Ok(request) = serde_json::from_str::<Request>(text) else { return Ok(reply(200, Some(text.to_owned()))) };
    let key = request.key.as_deref().unwrap_or_default();
    match request.action.as_str() {
        "event" => return Ok(reply(200, Some(event.to_string()))),
        "events" => return Ok(reply(200, Some(memory.kept(key).await?.to_string()))),
        "length" => return Ok(reply(200, Some(json!({"length": text.len()}).to_string()))),
        "open" => {
            memory.keep(&door(key), "open", &json!({})).await?;
            return Ok(reply(200, Some("open".to_owned())));
        }
        _ if !key.is_empty() => memory.keep(key, "message", event).await?,
        _ => {}
    }
    perform(memory, &request).await
}

async fn perform(memory: &Memory, request: &Request) -> Result<Value, Error> {
    match request.action.as_str() {
        "fail" => return Err("the client wants the function to fail".into()),
        "raw" => return Ok(serde_json::from_str(&request.raw)?),
        "sleep" => tokio::time::sleep(Duration::from_millis(request.ms)).await,
        "wait" => {
            let key = request.key.as_deref().unwrap_or_default();
            memory.wait(&door(key)).await?;
            memory.keep(key, "waited", &json!({})).await?;
        }
        _ => {}
    }
    let mut answer = reply(request.status.unwrap_or(200), request.body.clone());
    if let Some(protocol) = &request.protocol {
        answer["headers"] = json!({"Sec-WebSocket-Protocol": protocol, "X-Other": "never seen"});
    }
    Ok(answer)
}

/// The key under which a handshake that waits is let through.
fn door(key: &str) -> String {
    format!("{key}/door")
}

fn reply(status: u16, body: Option<String>) -> Value {
    match body {
        Some(body) => json!({"statusCode": status, "body": body}),
        None => json!({"statusCode": status}),
    }
}

/// Query parameters as a struct; all of them are texts.
fn from_query<T: for<'a> Deserialize<'a> + Default>(event: &Value) -> Result<T, Error> {
    let Some(parameters) = event["queryStringParameters"].as_object() else { return Ok(T::default()) };
    let typed = parameters.iter().map(|(name, value)| {
        let number =
            value.as_str().and_then(|text| text.parse::<u64>().ok()).filter(|_| name != "key" && name != "body");
        (name.clone(), number.map_or_else(|| value.clone(), Value::from))
    });
    Ok(serde_json::from_value(Value::Object(typed.collect()))?)
}
