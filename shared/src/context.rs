//! What an application's hooks and actions get.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::aws::Aws;
use crate::caller::{Caller, Claims};
use crate::delivery::check_size;
use crate::error::Error;
use crate::ids::{ConnectionId, NotificationId, Topic, UserId};
use crate::notification::{Carrier, Notification};
use crate::permissions::Permissions;
use crate::queue::Queue;
use crate::registry::Registry;

/// The application's state, who is on the other end, and what can be done for it.
pub struct Context<S = ()> {
    state: Arc<S>,
    call: Arc<Call>,
}

/// What a hook or an action was called for.
#[derive(Debug)]
pub struct Call {
    /// Who.
    pub caller: Caller,
    /// Where connections are registered.
    pub registry: Registry,
    /// Where notifications go; a function without one cannot notify.
    pub notifications: Option<Queue>,
    /// What names its notifications: API Gateway's id of the frame, which is the same when it comes again.
    pub message: String,
    /// When it came, in milliseconds since the epoch.
    pub at: i64,
    /// Notifications so far.
    pub notified: AtomicU32,
}

impl<S> Context<S> {
    /// For one call.
    #[must_use]
    pub fn new(state: Arc<S>, call: Call) -> Self {
        Self { state, call: Arc::new(call) }
    }

    /// Of an anonymous connection in no stack, for tests of actions that neither subscribe nor notify.
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
        let call = Call {
            caller,
            registry: Registry::new(Aws::local(NOWHERE).dynamodb(), "nowhere"),
            notifications: None,
            message: "detached".to_owned(),
            at: 0,
            notified: AtomicU32::new(0),
        };
        Self::new(Arc::new(state), call)
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
        Ok(self.call.registry.subscribe(self.connection(), topics).await?)
    }

    /// Unsubscribes the connection from a topic.
    ///
    /// # Errors
    /// When it is no topic or the connection is gone: the client is told. When DynamoDB fails.
    pub async fn unsubscribe(&self, topic: impl AsRef<str>) -> Result<(), Error> {
        Ok(self.call.registry.unsubscribe(self.connection(), &[parse(topic.as_ref())?]).await?)
    }

    /// Notifies others, as a producer in AWS does: `notification` is an object with `to`, `data` and the other fields of
    /// `docs/protocol.md`. Once this returns, it is on the notification queue.
    ///
    /// Without an `id` of its own it is called `client-<message id>-<n>`, the n-th notification of this frame. An `id` is
    /// unique among the notifications of the client that asked: its user, or the connection where it has none. Its `at`
    /// is when the frame came.
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
        let queue = notifications.as_ref().ok_or_else(|| Error::internal(NO_QUEUE))?;
        let number = notified.fetch_add(1, Ordering::Relaxed) + 1;
        let carrier = Carrier { id: NotificationId::parse(format!("client-{message}-{number}"))?, at: *at };
        let notification = Notification::parse(&notification.to_string(), &carrier).map_err(Error::internal)?;
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
