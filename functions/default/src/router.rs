//! The toolkit's extension point: actions that an application adds to what clients can ask for.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidings::delivery::check_size;
use tidings::notification::{Carrier, Notification};
use tidings::permissions::Permissions;
use tidings::protocol::{ClientError, ErrorCode, ReplyBody};
use tidings::queue::Queue;
use tidings::registry::{Registry, RegistryError};
use tidings::{ConnectionId, NotificationId, Topic};

use crate::Deps;
use crate::commands::{Caller, refusal};

type Answer = Pin<Box<dyn Future<Output = Result<ReplyBody, ActionError>> + Send>>;
type Action = Box<dyn Fn(Context, Map<String, Value>) -> Answer + Send + Sync>;

/// Names of what every client can ask for; an application cannot take them.
const BUILT_IN: [&str; 5] = ["subscribe", "unsubscribe", "publish", "ping", "whoami"];

/// The application's actions by name.
///
/// ```
/// use default::{ActionError, Context, Router};
/// use tidings::protocol::ReplyBody;
///
/// #[derive(serde::Deserialize)]
/// struct Echo {
///     text: String,
/// }
///
/// async fn echo(_: Context, body: Echo) -> Result<ReplyBody, ActionError> {
///     Ok(ReplyBody::AckWith(body.text.into()))
/// }
///
/// let router = Router::new().on("echo", echo);
/// ```
#[derive(Default)]
pub struct Router {
    actions: BTreeMap<&'static str, Action>,
}

/// Why an action did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The client's doing; it is told.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Our own doing; it is logged, and the function fails.
    #[error("the action failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ActionError {
    /// Our own failure, with its cause.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }
}

impl From<RegistryError> for ActionError {
    fn from(error: RegistryError) -> Self {
        refusal(error).map_or_else(Self::internal, Self::Client)
    }
}

/// What an action can do for the connection that asked.
#[derive(Debug, Clone)]
pub struct Context {
    connection: ConnectionId,
    registry: Registry,
    permissions: Permissions,
    outbox: Arc<Outbox>,
}

/// Where an action's notifications go, and what names them.
#[derive(Debug)]
struct Outbox {
    queue: Queue,
    /// API Gateway's id of the frame.
    message: String,
    /// When the frame came, in milliseconds since the epoch.
    at: i64,
    notified: AtomicU32,
}

impl Context {
    pub(crate) fn new(deps: &Deps, caller: &Caller<'_>) -> Self {
        let outbox = Outbox {
            queue: deps.notifications.scoped(caller.scope()),
            message: caller.context.message_id.clone().unwrap_or_default(),
            at: caller.context.request_time_epoch,
            notified: AtomicU32::new(0),
        };
        Self {
            connection: caller.id.clone(),
            registry: deps.registry.clone(),
            permissions: caller.permissions.clone(),
            outbox: Arc::new(outbox),
        }
    }

    /// The connection that asked.
    #[must_use]
    pub fn connection(&self) -> &ConnectionId {
        &self.connection
    }

    /// Where connections are registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What the connection may do of itself. An action is the application's: it may do more for a connection, or ask here
    /// first.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Subscribes the connection to topics, all or none of them, whatever its permissions.
    ///
    /// # Errors
    /// When the connection is gone, would exceed its limit of topics, or DynamoDB fails.
    pub async fn subscribe(&self, topics: &[Topic]) -> Result<(), ActionError> {
        Ok(self.registry.subscribe(&self.connection, topics).await?)
    }

    /// Unsubscribes the connection from topics, all or none of them.
    ///
    /// # Errors
    /// When the connection is gone or DynamoDB fails.
    pub async fn unsubscribe(&self, topics: &[Topic]) -> Result<(), ActionError> {
        Ok(self.registry.unsubscribe(&self.connection, topics).await?)
    }

    /// Notifies others, as a producer in AWS does: `notification` is an object with `to`, `data` and the other fields of
    /// `docs/protocol.md`. Once this returns, it is on the notification queue.
    ///
    /// Without an `id` of its own it is called `client-<message id>-<n>`, the n-th notification of this frame. An `id` is
    /// unique among the notifications of the client that asked: its user, or the connection where it has none. Its `at`
    /// is when the frame came.
    ///
    /// ```
    /// use default::{ActionError, Context};
    /// use serde_json::{Value, json};
    /// use tidings::protocol::ReplyBody;
    ///
    /// async fn greet(context: Context, (): ()) -> Result<ReplyBody, ActionError> {
    ///     context.notify(json!({"to": {"topic": "lobby"}, "type": "greeting", "data": "hello"})).await?;
    ///     Ok(ReplyBody::Ack)
    /// }
    /// ```
    ///
    /// # Errors
    /// When it is not a notification or a larger one than API Gateway takes, which is a mistake of the action, or SQS does
    /// not take it.
    pub async fn notify(&self, notification: Value) -> Result<(), ActionError> {
        let Outbox { queue, message, at, notified } = self.outbox.as_ref();
        let number = notified.fetch_add(1, Ordering::Relaxed) + 1;
        let id = NotificationId::parse(format!("client-{message}-{number}")).map_err(ActionError::internal)?;
        let carrier = Carrier { id, at: *at };
        let notification = Notification::parse(&notification.to_string(), &carrier).map_err(ActionError::internal)?;
        check_size(&notification).map_err(ActionError::internal)?;
        // A notification that was parsed can be written.
        let body = serde_json::to_string(&notification).unwrap_or_default();
        queue.send(vec![body], self.connection.as_str(), Duration::ZERO).await.map_err(ActionError::internal)
    }
}

impl Router {
    /// A router without actions of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an action. Its body is the frame's fields but `action` and `id`, read into `B`; a frame that does not fit is
    /// answered with `BadRequest` and never reaches `handler`.
    ///
    /// # Panics
    /// When the name is taken: a mistake of the program, found at its start.
    #[must_use]
    pub fn on<B, F>(mut self, name: &'static str, handler: impl Fn(Context, B) -> F + Send + Sync + 'static) -> Self
    where
        B: DeserializeOwned,
        F: Future<Output = Result<ReplyBody, ActionError>> + Send + 'static,
    {
        let action: Action = Box::new(move |context, body| match serde_json::from_value(Value::Object(body)) {
            Ok(body) => Box::pin(handler(context, body)),
            Err(error) => {
                let error = ClientError::bad_request(format!("the fields of {name:?} are not valid: {error}"));
                Box::pin(std::future::ready(Err(error.into())))
            }
        });
        let taken = BUILT_IN.contains(&name) || self.actions.insert(name, action).is_some();
        assert!(!taken, "the action {name:?} is there already");
        self
    }

    pub(crate) async fn run(
        &self,
        name: &str,
        context: Context,
        body: Map<String, Value>,
    ) -> Result<ReplyBody, ActionError> {
        match self.actions.get(name) {
            Some(action) => action(context, body).await,
            None => Err(self.unknown(name).into()),
        }
    }

    fn unknown(&self, name: &str) -> ClientError {
        let known: Vec<_> = BUILT_IN.into_iter().chain(self.actions.keys().copied()).collect();
        let name: String = name.chars().take(64).collect();
        ClientError::new(ErrorCode::UnknownAction, format!("`action` {name:?} is not known; use {}", known.join(", ")))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.actions.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_action_is_told_which_ones_there_are() {
        let router = Router::new().on("chat.send", async |_, (): ()| Ok(ReplyBody::Ack));
        let message = router.unknown("nope").message;
        assert_eq!(
            message,
            "`action` \"nope\" is not known; use subscribe, unsubscribe, publish, ping, whoami, chat.send"
        );
    }
}
