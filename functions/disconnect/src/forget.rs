//! The core: forgets a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidings::clock::Clock;
use tidings::context::{Call, Notifications};
use tidings::events::{Event, EventBus};
use tidings::function::Failure;
use tidings::metrics::{Metric, Metrics};
use tidings::registry::{Connection, Registry, RegistryError};
use tidings::web_pubsub::{Errand, Step};
use tidings::{Attributes, Caller, Context};

use crate::hook::{Hook, Reason};

/// How clients close a connection that they do not come back to.
const NORMAL: u16 = 1_000;
/// Their libraries try for half a minute.
const RECOVERY: Duration = Duration::from_secs(35);

/// What forgets connections: the registry, and an application's hook.
pub struct Disconnect<S = ()> {
    pub(crate) registry: Registry,
    pub(crate) notifications: Notifications,
    pub(crate) bus: Option<EventBus>,
    pub(crate) metrics: Metrics,
    pub(crate) state: Arc<S>,
    pub(crate) hook: Option<Hook<S>>,
}

/// Our own failure; nobody sees it but the log and the metric.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be forgotten now; it expires.
    #[error("the connection could not be removed")]
    Registry(#[source] RegistryError),
}

impl Failure for Error {
    fn kind(&self) -> &'static str {
        "RegistryError"
    }
}

impl<S> Disconnect<S> {
    /// The same, which tells a bus of each connection that ends.
    #[must_use]
    pub fn with_bus(self, bus: impl Into<Option<EventBus>>) -> Self {
        Self { bus: bus.into(), ..self }
    }

    /// The application's own state.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Removes the connection and its memberships; one that is not there is no error. Then the bus is told, and the
    /// application's hook is called, for one that was there; what either fails with is logged.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn handle(&self, caller: Caller, reason: Reason) -> Result<(), Error> {
        let id = caller.connection.clone();
        let removed = match caller.protocol.has_outbox() {
            true => self.leave(&caller, &reason).await,
            false => self.registry.disconnect(&id, &caller.socket).await,
        };
        // It has ended, whatever the registry says: a push that found the client gone has removed it already. One that another
        // socket carries on has not.
        if !caller.protocol.has_outbox() || matches!(&removed, Ok(Some(_))) {
            self.tell(&caller, &reason).await;
        }
        let removed = removed.map_err(Error::Registry)?;
        // A second $disconnect finds nothing, and neither does one after a push that found the client gone.
        self.metrics.recorder().add(Metric::ConnectionsClosed, u64::from(removed.is_some()));
        let (status, text) = (reason.status, reason.text.clone());
        tracing::info!(connection.id = %id, known = removed.is_some(), status, reason = text, "disconnected");
        if let (Some(hook), Some(removed)) = (&self.hook, removed)
            && let Err(error) = hook(self.context(caller, reason.at, removed.attributes), reason).await
        {
            tracing::error!(connection.id = %id, %error, "the application's hook failed");
        }
        Ok(())
    }

    /// The socket of a connection that its client may come back to has ended. Who closes it normally does not; who does not
    /// come for half a minute does not either, and the notifier forgets it. What it is or was, unless another socket carries
    /// it.
    async fn leave(&self, caller: &Caller, reason: &Reason) -> Result<Option<Connection>, RegistryError> {
        let (id, socket) = (&caller.connection, &caller.socket);
        let Some((outbox, _)) = self.registry.outbox(id, 0).await? else { return Ok(None) };
        if outbox.socket != *socket {
            return Ok(None);
        }
        // We close some too, whose clients are to come back.
        if reason.status == Some(NORMAL) && outbox.gone_at.is_none() {
            return self.registry.disconnect(id, socket).await;
        }
        self.registry.note_gone(id, socket, Clock::System.milliseconds()).await?;
        let errand = Errand { outbox: id.clone(), socket: socket.clone(), step: Step::End };
        if let Err(error) = self.notifications.send_in(RECOVERY, errand.to_message(), id.as_str()).await {
            // The next push finds it gone.
            tracing::error!(connection.id = %id, %error, "nobody is told to forget it");
        }
        self.registry.connection(id).await
    }

    /// Tells the bus. A failure fails nothing else: API Gateway says only once that a connection has ended.
    async fn tell(&self, caller: &Caller, reason: &Reason) {
        let Some(bus) = &self.bus else { return };
        let (connection, user) = (&caller.connection, caller.user.as_ref());
        let duration = (reason.connected_at > 0).then(|| (reason.at - reason.connected_at).max(0));
        let (status, text) = (reason.status, reason.text.as_deref().filter(|text| !text.is_empty()));
        let event = Event::Disconnected { connection, user, status, reason: text, duration, at: reason.at };
        if let Err(error) = bus.put(&[event]).await {
            self.metrics.recorder().add(Metric::DisconnectedUntold, 1);
            let error = tidings::describe(&error);
            tracing::error!(connection.id = %connection, error, "nobody is told that it disconnected");
        }
    }

    fn context(&self, caller: Caller, at: i64, attributes: Attributes) -> Context<S> {
        let call = Call::new(caller, self.registry.clone(), at);
        let call = call.with_notifications(self.notifications.clone()).with_attributes(attributes);
        Context::new(Arc::clone(&self.state), call)
    }
}

impl<S> fmt::Debug for Disconnect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disconnect").field("registry", &self.registry).finish_non_exhaustive()
    }
}
