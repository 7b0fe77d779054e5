//! What logs cost: a message on its way, clients that come back, producers that append to the same log, and a topic that everybody
//! comes back to at once. Functions, gateway, table and clients are real.

mod contention;
mod latency;
mod recovery;
mod rush;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::Result;
use crate::gateway::Gateway;
use crate::rows::gateway::Socket;
use crate::rows::polling;
use crate::setup::Setup;
use crate::table::Line;

/// A gateway with the functions behind it.
struct Place {
    gateway: Gateway,
    notifier: SendRequest<Full<Bytes>>,
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let mut place = Place::start(setup).await?;
    let mut lines = latency::measure(setup, &mut place).await?;
    lines.extend(recovery::measure(setup, &mut place).await?);
    lines.extend(contention::measure(setup, place.address("dynamodb")?).await?);
    lines.extend(rush::measure(setup, &mut place).await?);
    place.gateway.program.finish().await?;
    Ok(lines)
}

impl Place {
    async fn start(setup: &Setup) -> Result<Self> {
        let gateway = Gateway::ours(setup, "logs.yaml").await?;
        let lambda = gateway.addresses["lambda"].as_str().ok_or("the gateway names no Lambda")?;
        let notifier = polling::connect(lambda, &Arc::new(AtomicU64::new(0))).await?;
        Ok(Self { gateway, notifier })
    }

    fn address(&self, name: &str) -> Result<&str> {
        self.gateway.addresses[name].as_str().ok_or_else(|| format!("the gateway names no {name}").into())
    }

    /// Says something to a topic, and waits until the notifier is through.
    async fn say(&mut self, topic: &str, data: &Value) -> Result<()> {
        let notification = json!({"to": {"topic": topic}, "data": data});
        let report = polling::invoke(&mut self.notifier, "NotifierFunction", &notification).await?;
        match report["failed"] {
            Value::Null => Err(format!("the notifier did not deliver: {report}").into()),
            _ => Ok(()),
        }
    }

    async fn connect(&self, query: &str) -> Result<Socket> {
        Ok(connect_async(format!("{}{query}", self.gateway.websocket)).await?.0)
    }
}

/// The next frame of a client.
async fn next(socket: &mut Socket) -> Result<Value> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(serde_json::from_str(&text)?);
        }
    }
    Err("the gateway closed a connection".into())
}
