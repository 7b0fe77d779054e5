//! `$default`: carries out what clients ask for over their socket, and the actions that an application adds.
//!
//! Replies go back as the route's response: the route is two-way.

mod commands;
mod guard;
mod publish;
mod router;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::encodings::Body;
use lambda_runtime::Diagnostic;
use tidings::aws::Aws;
use tidings::config::{ConfigError, required};
use tidings::delivery::{POST_DEADLINE, dismiss};
use tidings::metrics::{Metric, Metrics, Trigger};
use tidings::permissions::{PERMISSIONS, Permissions, USER};
use tidings::protocol::{ErrorCode, Protocol, Reply, ReplyBody};
use tidings::queue::{Queue, QueueError};
use tidings::registry::{Registry, RegistryError};
use tidings::{ConnectionId, UserId, ids::InvalidId};

use commands::Caller;
use guard::Verdict;

pub use guard::{Guard, Limits, Rate};
pub use router::{ActionError, Context, Router};

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// Where connections are registered.
    pub registry: Registry,
    /// To close connections that are not registered any more.
    pub sockets: aws_sdk_apigatewaymanagement::Client,
    /// The application's own actions.
    pub router: Router,
    /// Where clients' notifications go.
    pub notifications: Queue,
    /// What counts.
    pub metrics: Metrics,
    /// What one connection may send.
    pub guard: Guard,
}

impl Deps {
    /// Reads the environment: `TABLE_NAME`, `WEBSOCKET_ENDPOINT`, `NOTIFICATION_QUEUE_URL` and what
    /// [`Limits::from_env`] reads.
    ///
    /// # Errors
    /// When one is missing or not what it should be; the error names it.
    pub fn from_env(router: Router) -> Result<Self, ConfigError> {
        let aws = Aws::from_env()?;
        let table = required("TABLE_NAME", "it names the table of connections")?;
        let endpoint = required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
        let queue = required("NOTIFICATION_QUEUE_URL", "it is where clients' notifications go")?;
        Ok(Self {
            registry: Registry::new(aws.dynamodb(), table),
            sockets: aws.management(&endpoint, POST_DEADLINE),
            router,
            notifications: Queue::new(aws.sqs(), queue).marked(Trigger::Client),
            metrics: Metrics::from_env(),
            guard: Guard::new(Limits::from_env()?),
        })
    }
}

/// Our own failure; the client gets API Gateway's `Internal server error` frame and stays connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed.
    #[error("the command could not be carried out: {}", tidings::describe(.0))]
    Registry(#[source] RegistryError),
    /// What a client published could not be put on the queue.
    #[error("the notification could not be queued: {}", tidings::describe(.0))]
    Queue(#[source] QueueError),
    /// The event does not say which connection it comes from.
    #[error("the event's connectionId is not valid: {0}")]
    Event(#[source] InvalidId),
    /// An application's action failed.
    #[error("the action {action:?} failed: {}", tidings::describe(.source.as_ref()))]
    Action {
        /// Its name.
        action: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let error_type = match &error {
            Error::Registry(_) => "RegistryError",
            Error::Queue(_) => "QueueError",
            Error::Event(_) => "InvalidEvent",
            Error::Action { .. } => "ActionError",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// Answers one frame of one client with one frame.
///
/// # Errors
/// When the registry or an application's action fails.
pub async fn handle(deps: &Deps, event: ApiGatewayWebsocketProxyRequest) -> Result<ApiGatewayProxyResponse, Error> {
    let id = event.request_context.connection_id.as_deref().unwrap_or_default();
    let id = ConnectionId::parse(id).map_err(Error::Event)?;
    let frame = event.body.as_deref().unwrap_or_default();
    let tally = deps.metrics.tally();
    let verdict = deps.guard.frame(&id, event.request_context.request_time_epoch);
    if verdict == Verdict::Ignore {
        tally.add(Metric::CommandsRefused, 1);
        return Ok(response(None));
    }
    // Every protocol so far writes commands and replies alike, so that a ping costs no read.
    let protocol = Protocol::default();
    let reply = match protocol.decode(frame) {
        Ok(request) => {
            let (user, permissions) = (user(&event), permissions(&event));
            let (context, user) = (&event.request_context, user.as_ref());
            let caller = Caller { id: &id, context, user, permissions: &permissions, tally: &tally };
            let body = match verdict.refusal() {
                None => commands::run(deps, &caller, request.command).await?,
                Some(error) => ReplyBody::Error(error.clone()),
            };
            Reply { id: request.id, body }
        }
        Err(bad) => Reply { id: bad.id, body: ReplyBody::Error(verdict.refusal().cloned().unwrap_or(bad.error)) },
    };
    let text = protocol.encode_reply(&reply);
    if let ReplyBody::Error(error) = &reply.body {
        tally.add(Metric::CommandsRefused, 1);
        tracing::info!(connection.id = %id, code = ?error.code, "refused a command");
        if error.code == ErrorCode::NotConnected || matches!(verdict, Verdict::Dismiss(_)) {
            dismiss(&deps.sockets, &id.first_socket(), &text).await;
            return Ok(response(None));
        }
    }
    Ok(response(Some(text)))
}

/// What the authorizer said when the client connected.
fn said<'a>(event: &'a ApiGatewayWebsocketProxyRequest, name: &str) -> Option<&'a str> {
    event.request_context.authorizer.fields.get(name)?.as_str().filter(|value| !value.is_empty())
}

/// The client's user; nobody where there was no authorizer.
fn user(event: &ApiGatewayWebsocketProxyRequest) -> Option<UserId> {
    let user = said(event, USER).map(UserId::parse).transpose();
    user.unwrap_or_else(|error| {
        tracing::error!(%error, "the authorizer's user cannot be read, so this connection has none");
        None
    })
}

/// What the client may do; nothing where there was no authorizer.
fn permissions(event: &ApiGatewayWebsocketProxyRequest) -> Permissions {
    Permissions::parse(said(event, PERMISSIONS).unwrap_or_default()).unwrap_or_else(|error| {
        tracing::error!(%error, "the authorizer's permissions cannot be read, so this connection has none");
        Permissions::default()
    })
}

fn response(body: Option<String>) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = 200;
    response.body = body.map(Body::Text);
    response
}
