//! The core: from a handshake to a registered connection.

use std::fmt;
use std::sync::Arc;

use tidings::caller::UnknownCaller;
use tidings::context::{Call, Notifications};
use tidings::events::{Event, EventBus};
use tidings::function::{BoxError, Failure};
use tidings::metrics::{Metric, Metrics};
use tidings::protocol::Spoken;
use tidings::registry::{
    Connection, LONGEST_MOVING_MS, MAX_TOPIC_BYTES, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError,
};
use tidings::web_pubsub::{Errand, Greeting, Step};
use tidings::{Attributes, Caller, ConnectionId, Context, Handshake, Refusal};

use crate::hook::{Hook, Welcome};
use crate::request::{Asked, invalid};

/// What serves handshakes: the registry, and an application's hook.
pub struct Connect<S = ()> {
    pub(crate) registry: Registry,
    pub(crate) notifications: Notifications,
    pub(crate) bus: Option<EventBus>,
    pub(crate) spoken: Spoken,
    pub(crate) metrics: Metrics,
    pub(crate) state: Arc<S>,
    pub(crate) hook: Option<Hook<S>>,
}

/// What becomes of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The connection is registered, and speaks this subprotocol, if it offered one.
    Accepted {
        /// What `Sec-WebSocket-Protocol` of the answer says.
        subprotocol: Option<&'static str>,
    },
    /// The client does not get in.
    Refused(Refusal),
}

/// Our own failure; the client sees status 502.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection could not be registered.
    #[error("the connection could not be registered")]
    Registry(#[source] RegistryError),
    /// Nobody could be asked to go on with the connection.
    #[error("nobody could be asked to go on with the connection")]
    Queue(#[source] BoxError),
}

impl Failure for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Registry(_) => "RegistryError",
            Self::Queue(_) => "QueueError",
        }
    }
}

impl<S> Connect<S> {
    /// The same, which tells a bus of each connection that is registered.
    #[must_use]
    pub fn with_bus(self, bus: impl Into<Option<EventBus>>) -> Self {
        Self { bus: bus.into(), ..self }
    }

    /// The same, for clients that speak these protocols too.
    #[must_use]
    pub fn with_protocols(self, spoken: Spoken) -> Self {
        Self { spoken, ..self }
    }

    /// Serves a handshake of who the authorizer says: 400 where it cannot be served, 401 where no authorizer let it in,
    /// 403 where it names a topic that the client may not subscribe to, and what the application's hook says.
    ///
    /// # Errors
    /// When the registry fails.
    pub async fn handle(&self, handshake: Handshake, caller: Result<Caller, UnknownCaller>) -> Result<Outcome, Error> {
        let connection = handshake.connection.clone();
        match self.accept(handshake, caller).await {
            Ok(Ok(subprotocol)) => Ok(Outcome::Accepted { subprotocol }),
            Ok(Err(refusal)) => {
                self.metrics.recorder().add(Metric::ConnectionsRefused, 1);
                if !refusal.is_valid() {
                    tracing::error!(
                        connection.id = %connection,
                        "the hook refused with a status outside 400 to 599; the client gets 500"
                    );
                }
                let status = refusal.status();
                tracing::info!(connection.id = %connection, reason = %refusal, status, "refused a handshake");
                Ok(Outcome::Refused(refusal))
            }
            Err(error) => Err(error),
        }
    }

    async fn accept(
        &self,
        handshake: Handshake,
        caller: Result<Caller, UnknownCaller>,
    ) -> Result<Result<Option<&'static str>, Refusal>, Error> {
        let asked = match Asked::read(&handshake, caller, &self.spoken) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Asked { mut connection, caller, subprotocol } = asked;
        let back = caller.has_come_back().then(|| caller.connection.clone());
        let token = caller.reconnection_token.clone();
        if let Some(hook) = &self.hook {
            match hook(self.context(&handshake, caller), handshake).await {
                Ok(welcome) => add(&mut connection, welcome),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if connection.protocol.identifies_in_a_frame() {
            self.registry.open(&connection).await.map_err(Error::Registry)?;
            tracing::info!(connection.id = %connection.id, protocol = connection.protocol.name(), "opened");
            return Ok(Ok(subprotocol));
        }
        if let Some(back) = back {
            self.go_on(&connection, &back).await?;
            return Ok(Ok(subprotocol));
        }
        let durable = match self.registry.connect(&connection).await {
            Ok(durable) => durable,
            Err(error) => return too_much(error).map(Err),
        };
        self.metrics.recorder().add(Metric::ConnectionsOpened, 1);
        tracing::info!(
            connection.id = %connection.id,
            protocol = connection.protocol.name(),
            topics = connection.topics.len(),
            durable_topics = durable.len(),
            "connected"
        );
        if connection.protocol.has_system_frames() {
            self.greet(&connection, token).await;
        }
        self.tell(&connection).await;
        Ok(Ok(subprotocol))
    }

    /// Tells the bus. The client is let in even if that fails: who is connected is what the registry says, and a client
    /// that was turned away would come again at once, to the same failure.
    async fn tell(&self, connection: &Connection) {
        let Some(bus) = &self.bus else { return };
        let (id, user, protocol) = (&connection.id, connection.user.as_ref(), connection.protocol.name());
        if let Err(error) =
            bus.put(&[Event::Connected { connection: id, user, protocol, at: connection.connected_at }]).await
        {
            self.metrics.recorder().add(Metric::ConnectedUntold, 1);
            tracing::error!(connection.id = %id, error = tidings::describe(&error), "nobody is told that it connected");
        }
    }

    /// Has the client told that it is connected, once it is. It is let in even if that fails: it can do without.
    async fn greet(&self, connection: &Connection, token: Option<String>) {
        let (id, user) = (connection.id.clone(), connection.user.clone());
        let message = match token {
            Some(token) => {
                let socket = connection.socket.clone();
                Errand { outbox: id, socket, step: Step::Greet { user, token } }.to_message()
            }
            None => Greeting::new(id, user, connection.connected_at).to_message(),
        };
        if let Err(error) = self.notifications.send(message, connection.id.as_str()).await {
            tracing::error!(connection.id = %connection.id, %error, "the client is not told that it is connected");
        }
    }

    /// Lets the socket of this handshake carry on a connection that another one has. Where there is none any more, its client
    /// is let in to be told so, and begins anew: one that is refused tries for half a minute.
    async fn go_on(&self, asked: &Connection, id: &ConnectionId) -> Result<(), Error> {
        let (socket, now) = (&asked.socket, asked.connected_at);
        let was = self.registry.move_to(id, socket, now, now - LONGEST_MOVING_MS).await.map_err(Error::Registry)?;
        tracing::info!(connection.id = %id, socket = %socket, is_there = was.is_some(), "came back");
        let step = was.as_ref().map_or(Step::SendAway, |was| Step::Resume(was.socket.clone()));
        if let Some(was) = &was {
            self.metrics.recorder().add(Metric::ConnectionsOpened, 1);
            self.tell(was).await;
        }
        let errand = Errand { outbox: id.clone(), socket: socket.clone(), step };
        let sent = self.notifications.send(errand.to_message(), id.as_str()).await;
        // The client tries again.
        sent.map_err(|error| Error::Queue(error.to_string().into()))
    }

    fn context(&self, handshake: &Handshake, caller: Caller) -> Context<S> {
        let call = Call::new(caller, self.registry.clone(), handshake.connected_at);
        let call = call.with_notifications(self.notifications.clone()).with_attributes(Attributes::new());
        Context::new(Arc::clone(&self.state), call)
    }
}

fn add(connection: &mut Connection, welcome: Welcome) {
    connection.attributes = welcome.attributes;
    let topics = &mut connection.topics;
    topics.extend(welcome.topics);
    topics.sort_unstable();
    topics.dedup();
}

/// The refusal of a handshake that names too much.
fn too_much(error: RegistryError) -> Result<Refusal, Error> {
    match error {
        RegistryError::TooManyTopics { count } => {
            Ok(invalid(format!("?topic= is there {count} times; {MAX_TOPICS_PER_CONNECTION} are allowed")))
        }
        RegistryError::TopicsTooLong { bytes } => Ok(invalid(format!(
            "the values of ?topic= have {bytes} bytes together; {MAX_TOPIC_BYTES} are allowed, so give fewer or shorter ones"
        ))),
        error => Err(Error::Registry(error)),
    }
}

impl<S> fmt::Debug for Connect<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect").field("registry", &self.registry).finish_non_exhaustive()
    }
}
