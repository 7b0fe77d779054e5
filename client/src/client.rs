//! What an application does with a client while it runs.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::driver::Command;
use crate::error::CallError;
use crate::history::{History, Page};
use crate::position::{Log, Position};
use crate::requests::Answer;
use crate::wire;

/// A client's commands. Clones are the same client.
///
/// A command that is called while there is no connection waits for one. All of them end with [`CallError::TimedOut`] when the time
/// that [`Builder::call_within`](crate::Builder::call_within) gives is over, and with [`CallError::Ended`] when the client has ended. They need nobody who
/// takes events meanwhile.
#[derive(Clone)]
pub struct Client {
    commands: UnboundedSender<Command>,
    call_within: Duration,
}

impl Client {
    pub(crate) fn new(commands: UnboundedSender<Command>, call_within: Duration) -> Self {
        Self { commands, call_within }
    }

    /// Subscribes to a log from now on.
    ///
    /// # Errors
    /// See [`CallError`]. After one that is not a refusal it is tried again with the next connection.
    pub async fn subscribe(&self, log: Log) -> Result<(), CallError> {
        self.subscribe_from(log, None).await
    }

    /// Subscribes to a log, and recovers what came after a position.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub async fn subscribe_since(&self, log: Log, position: Position) -> Result<(), CallError> {
        self.subscribe_from(log, Some(position)).await
    }

    async fn subscribe_from(&self, log: Log, since: Option<Position>) -> Result<(), CallError> {
        let (done, answered) = oneshot::channel();
        self.ask(Command::Subscribe(log, since, done), answered).await
    }

    /// Ends a subscription. A message that is on its way may still come.
    ///
    /// # Errors
    /// See [`CallError`]. Whatever it says, the next connection does not subscribe again.
    pub async fn unsubscribe(&self, log: Log) -> Result<(), CallError> {
        let (answer, answered) = oneshot::channel();
        let text = self.ask(Command::Unsubscribe(log, answer), answered).await?;
        understood(&text)
    }

    /// Publishes to a topic. [`Self::call`] with the action `publish` can say more: a `type`, a `ttl`, a `key` that makes it safe to
    /// send again.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Body`] if the data is not JSON.
    pub async fn publish(&self, topic: &str, data: impl Serialize) -> Result<(), CallError> {
        let data = serde_json::to_value(data).map_err(|error| CallError::Body(Some(error)))?;
        self.call("publish", json!({"topic": topic, "data": data})).await.map(drop)
    }

    /// Calls an action of an application, or a command, with the fields of an object. The answer is what its reply says: the data of
    /// an action, the fields of a command, null where it is only acknowledged.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Body`] if the body is not an object.
    pub async fn call(&self, action: &str, body: impl Serialize) -> Result<Value, CallError> {
        let body = serde_json::to_value(body).map_err(|error| CallError::Body(Some(error)))?;
        let Value::Object(mut body) = body else { return Err(CallError::Body(None)) };
        body.insert("action".to_owned(), action.into());
        let text = self.send(body).await?;
        let mut fields: Map<String, Value> = serde_json::from_str(&text).map_err(CallError::Answer)?;
        fields.retain(|name, _| !["type", "id"].contains(&name.as_str()));
        Ok(match fields.remove("data") {
            Some(data) => data,
            None if fields.is_empty() => Value::Null,
            None => fields.into(),
        })
    }

    /// Reads a part of a log, subscribed to or not.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn history(&self, log: &Log, history: History) -> Result<Page, CallError> {
        let text = self.send(history.command(log)).await?;
        Page::read(log, &text).map_err(CallError::Answer)
    }

    /// Asks a function whether it is there. A connection is looked after without this.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn ping(&self) -> Result<(), CallError> {
        self.call("ping", json!({})).await.map(drop)
    }

    /// Says goodbye to the server and ends, for all clones. The events end too.
    pub async fn close(self) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Close(done)).is_ok() {
            // Either way it has ended.
            let _ = ended.await;
        }
    }

    async fn send(&self, body: Map<String, Value>) -> Result<String, CallError> {
        let (answer, answered): (Answer, _) = oneshot::channel();
        let text = self.ask(Command::Call(body, answer), answered).await?;
        understood(&text)?;
        Ok(text)
    }

    async fn ask<T>(
        &self,
        command: Command,
        answered: oneshot::Receiver<Result<T, CallError>>,
    ) -> Result<T, CallError> {
        self.commands.send(command).map_err(|_| CallError::Ended)?;
        match timeout(self.call_within, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Ended),
            Err(_) => Err(CallError::TimedOut(self.call_within)),
        }
    }
}

fn understood(text: &str) -> Result<(), CallError> {
    wire::refusal(text).map_or(Ok(()), |refusal| Err(refusal.into()))
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").field("call_within", &self.call_within).finish_non_exhaustive()
    }
}
