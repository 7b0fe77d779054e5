//! What an application's hooks and actions get.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::attributes::Attributes;
use crate::aws::Aws;
use crate::caller::{Caller, Claims};
use crate::config::optional;
use crate::delivery::check_size;
use crate::error::Error;
use crate::ids::{ConnectionId, NotificationId, Topic, UserId};
use crate::notification::{Defaults, Notification};
use crate::permissions::Permissions;
use crate::queue::Queue;
use crate::registry::{By, Change, Registry, RegistryError};
use crate::trigger::Trigger;

/// The application's state, who is on the other end, and what can be done for it.
pub struct Context<S = ()> {
    state: Arc<S>,
    call: Arc<Call>,
}

/// What a hook or an action was called for.
#[derive(Debug)]
pub struct Call {
    caller: Caller,
    registry: Registry,
    notifications: Notifications,
    message: String,
    at: i64,
    notified: AtomicU32,
    /// What is kept with the connection, as soon as somebody has read it.
    attributes: OnceLock<Attributes>,
}

impl Call {
    /// A call of this client at `at`, in milliseconds since the epoch, that cannot notify.
    #[must_use]
    pub fn new(caller: Caller, registry: Registry, at: i64) -> Self {
        Self {
            message: caller.request_id.clone(),
            notifications: Notifications::none(),
            notified: AtomicU32::new(0),
            attributes: OnceLock::new(),
            caller,
            registry,
            at,
        }
    }

    /// Its notifications are named after this id instead of the request's: the same when it comes again.
    #[must_use]
    pub fn with_message(self, message: String) -> Self {
        Self { message, ..self }
    }

    /// Its notifications go here.
    #[must_use]
    pub fn with_notifications(self, notifications: Notifications) -> Self {
        Self { notifications, ..self }
    }

    /// These attributes are kept with the connection, so that nobody need read them.
    #[must_use]
    pub fn with_attributes(self, attributes: Attributes) -> Self {
        Self { attributes: attributes.into(), ..self }
    }
}

/// Where hooks and actions send notifications: what SQS needs is made when the first of them notifies, so that a start
/// does not wait for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifications(Arc<Destination>);

#[derive(Debug)]
enum Destination {
    Nowhere,
    Queue(Queue),
    Url { aws: Box<Aws>, url: String, queue: OnceLock<Queue> },
}

impl Notifications {
    /// Nowhere: who notifies fails.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(Destination::Nowhere))
    }

    /// The queue of `NOTIFICATION_QUEUE_URL`; nowhere where that is not set.
    #[must_use]
    pub fn from_env(aws: &Aws) -> Self {
        let Some(url) = optional("NOTIFICATION_QUEUE_URL") else { return Self::none() };
        Self(Arc::new(Destination::Url { aws: Box::new(aws.clone()), url, queue: OnceLock::new() }))
    }

    /// Sends a message of our own functions to each other.
    ///
    /// # Errors
    /// When there is no queue, or SQS does not take it.
    pub async fn send(&self, message: String, group: &str) -> Result<(), Error> {
        self.send_in(Duration::ZERO, message, group).await
    }

    /// The same, which is received after `delay`, at most 15 minutes.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_in(&self, delay: Duration, message: String, group: &str) -> Result<(), Error> {
        self.queue()?.send(vec![message], group, delay).await.map_err(Error::internal)
    }

    fn queue(&self) -> Result<&Queue, Error> {
        match self.0.as_ref() {
            Destination::Nowhere => Err(Error::internal(NO_QUEUE)),
            Destination::Queue(queue) => Ok(queue),
            Destination::Url { aws, url, queue } => Ok(queue.get_or_init(|| aws.queue(url).marked(Trigger::Client))),
        }
    }
}

impl From<Queue> for Notifications {
    fn from(queue: Queue) -> Self {
        Self(Arc::new(Destination::Queue(queue)))
    }
}

impl<S> Context<S> {
    /// For one call.
    #[must_use]
    pub fn new(state: Arc<S>, call: Call) -> Self {
        Self { state, call: Arc::new(call) }
    }

    /// Of an anonymous connection in no stack, without attributes, for tests of actions that neither subscribe nor notify.
    #[must_use]
    pub fn detached(state: S) -> Self {
        Self::detached_for(state, Caller::anonymous(ConnectionId::detached()))
    }

    /// The same of a client with a user, permissions or claims.
    ///
    /// ```
    /// use tidings::{Caller, ConnectionId, Context, UserId};
    ///
    /// let mut caller = Caller::anonymous(ConnectionId::parse("c")?);
    /// caller.user = Some(UserId::parse("ada")?);
    /// caller.claims.insert("plan".to_owned(), "gold".into());
    /// let cx = Context::detached_for((), caller);
    /// assert_eq!(cx.claims()["plan"], "gold");
    /// # Ok::<(), tidings::ids::InvalidId>(())
    /// ```
    #[must_use]
    pub fn detached_for(state: S, caller: Caller) -> Self {
        let call = Call::new(caller, Aws::local(NOWHERE).registry("nowhere"), 0);
        Self::new(Arc::new(state), call.with_message("detached".to_owned()).with_attributes(Attributes::new()))
    }

    /// The application's own state, made once in a cold start.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &ConnectionId {
        &self.call.caller.connection
    }

    /// Its user, as the authorizer named it; `None` for who is anonymous.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        self.call.caller.user.as_ref()
    }

    /// What the connection may do of itself. An action is the application's: it may do more for a connection, or ask here
    /// first.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.call.caller.permissions
    }

    /// What the application's authorizer knows of the client.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.call.caller.claims
    }

    /// The address that the client comes from.
    #[must_use]
    pub fn source_ip(&self) -> Option<&str> {
        self.call.caller.source_ip.as_deref()
    }

    /// API Gateway's id of what the client sent, for logs.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.call.caller.request_id
    }

    /// Where connections are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.call.registry
    }

    /// Subscribes the connection to a topic, whatever its permissions.
    ///
    /// # Errors
    /// When it is no topic, or the connection is gone or would exceed its limit of topics: the client is told. When
    /// DynamoDB fails.
    pub async fn subscribe(&self, topic: impl AsRef<str>) -> Result<(), Error> {
        self.subscribe_all(&[parse(topic.as_ref())?]).await
    }

    /// Subscribes the connection to topics, all or none of them.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub async fn subscribe_all(&self, topics: &[Topic]) -> Result<(), Error> {
        self.change(Change::Join, topics).await
    }

    /// Unsubscribes the connection from a topic.
    ///
    /// # Errors
    /// When it is no topic or the connection is gone: the client is told. When DynamoDB fails.
    pub async fn unsubscribe(&self, topic: impl AsRef<str>) -> Result<(), Error> {
        self.change(Change::Leave, &[parse(topic.as_ref())?]).await
    }

    async fn change(&self, change: Change, topics: &[Topic]) -> Result<(), Error> {
        let now = self.call.registry.change_own(self.connection(), change, topics, By::Server).await?;
        self.call.attributes.get_or_init(|| now.attributes);
        Ok(())
    }

    /// What the application's `on_connect` has kept with the connection. Costs a read of the connection's row the first
    /// time, unless [`Self::subscribe`] or [`Self::unsubscribe`] has just read it, and nothing when a connection ends. In
    /// `on_connect` itself there are none yet.
    ///
    /// # Errors
    /// When the connection is gone: the client is told. When DynamoDB fails.
    pub async fn attributes(&self) -> Result<&Attributes, Error> {
        if let Some(known) = self.call.attributes.get() {
            return Ok(known);
        }
        let row = self.call.registry.connection(self.connection()).await?;
        let row = row.ok_or(RegistryError::NotConnected)?;
        Ok(self.call.attributes.get_or_init(|| row.attributes))
    }

    /// Notifies others, as a producer in AWS does: `notification` is an object with `to`, `data` and the other fields of
    /// `docs/protocol.md`. Once this returns, it is on the notification queue.
    ///
    /// Without an `id` of its own it is called `client-<message id>-<n>`, the n-th notification of this frame, or of this
    /// handshake or end of a connection. An `id` is unique among the notifications of the client that asked: its user, or
    /// the connection where it has none. Its `at` is when the frame came.
    ///
    /// In `on_connect` the connection is not there yet: what is for itself reaches nobody.
    ///
    /// ```
    /// use serde_json::json;
    /// use tidings::{Context, Error};
    ///
    /// async fn greet(context: Context, (): ()) -> Result<(), Error> {
    ///     context.notify(json!({"to": {"topic": "lobby"}, "type": "greeting", "data": "hello"})).await
    /// }
    /// ```
    ///
    /// # Errors
    /// When it is not a notification or a larger one than API Gateway takes, which is a mistake of the action; when SQS
    /// does not take it; when the function has no queue.
    pub async fn notify(&self, notification: Value) -> Result<(), Error> {
        let Call { caller, notifications, message, at, notified, .. } = self.call.as_ref();
        let queue = notifications.queue()?;
        let number = notified.fetch_add(1, Ordering::Relaxed) + 1;
        let defaults = Defaults { id: NotificationId::parse(format!("client-{message}-{number}"))?, at: *at };
        let notification = Notification::parse(&notification.to_string(), &defaults).map_err(Error::internal)?;
        check_size(&notification).map_err(Error::internal)?;
        // A notification that was parsed can be written.
        let body = serde_json::to_string(&notification).unwrap_or_default();
        let queue = queue.scoped(caller.scope());
        queue.send(vec![body], caller.connection.as_str(), Duration::ZERO).await.map_err(Error::internal)
    }
}

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9";

const NO_QUEUE: &str = "this function cannot notify: NOTIFICATION_QUEUE_URL is not set for it";

fn parse(topic: &str) -> Result<Topic, Error> {
    Topic::parse(topic).map_err(|error| Error::bad_request(format!("the topic {topic:?} is not valid: {error}")))
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), call: Arc::clone(&self.call) }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("call", &self.call).finish_non_exhaustive()
    }
}
