//! What runs, until it is ended.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use tidings_local_gateway::Gateway;
use tidings_local_lambda::event_sources::EventSources;
use tidings_local_lambda::{Asynchronous, EventRules, Invocation, InvokeError, Invoker, Names, Topics};
use tidings_local_observe::Observer;
use tidings_local_services::dynamodb::Embedded;
use tidings_local_services::events::Events;
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::Sqs;
use tidings_local_stack::Stack;

use crate::addresses::Addresses;
use crate::kept::Kept;

/// A running stack. Call [`shutdown`](Self::shutdown) to end it; what is merely dropped may leave processes for a moment.
#[derive(Debug)]
pub struct Running {
    /// Where everything is.
    pub addresses: Addresses,
    pub(crate) gateway: Gateway,
    pub(crate) observer: Observer,
    pub(crate) stack: Stack,
    pub(crate) invoker: Invoker,
    pub(crate) secrets: Secrets,
    pub(crate) dynamodb: Option<Embedded>,
    pub(crate) rebuild: Option<JoinHandle<()>>,
    pub(crate) sqs: Sqs,
    pub(crate) event_sources: EventSources,
    pub(crate) events: Events,
    pub(crate) event_rules: EventRules,
    pub(crate) sns: Sns,
    pub(crate) topics: Topics,
    pub(crate) asynchronous: Arc<Asynchronous>,
    pub(crate) servers: Vec<JoinHandle<()>>,
    pub(crate) stop: watch::Sender<bool>,
    /// Held until all else has ended: then the next start may have the folder.
    pub(crate) kept: Kept,
}

impl Running {
    /// The object behind `ready `.
    #[must_use]
    pub fn ready_json(&self) -> String {
        // Strings always have a JSON form.
        serde_json::to_string(&self.addresses).unwrap_or_default()
    }

    /// What the template says.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The WebSocket APIs with their open connections.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The queues.
    #[must_use]
    pub fn sqs(&self) -> &Sqs {
        &self.sqs
    }

    /// The event buses, with their rules.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The topics of SNS.
    #[must_use]
    pub fn sns(&self) -> &Sns {
        &self.sns
    }

    /// The secrets.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// What has happened.
    #[must_use]
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Invokes a function, by any of its names, and waits for its answer.
    ///
    /// # Errors
    /// When there is no such function, or it cannot be reached; one that fails is an answer.
    pub async fn invoke(&self, function: &str, payload: impl Into<Bytes>) -> Result<Invocation, InvokeError> {
        let names = Names::new(&self.stack);
        self.invoker.invoke(names.resolve(function).unwrap_or(function), payload.into()).await
    }

    /// Closes all connections, lets their `$disconnect` run, and ends everything that was started.
    pub async fn shutdown(self) {
        if let Some(rebuild) = self.rebuild {
            rebuild.abort();
        }
        self.event_sources.stop().await;
        self.gateway.close_all().await;
        self.event_rules.stop().await;
        self.topics.stop().await;
        self.asynchronous.stop().await;
        self.sqs.stop();
        // Pages that follow would keep the server from stopping.
        self.observer.end();
        self.stop.send_replace(true);
        for server in self.servers {
            // A task that was cut off has nothing left to stop.
            let _ = server.await;
        }
        if let Some(host) = self.invoker.host() {
            host.shutdown().await;
        }
        if let Some(dynamodb) = self.dynamodb {
            dynamodb.shutdown().await;
        }
        drop(self.kept);
    }
}
