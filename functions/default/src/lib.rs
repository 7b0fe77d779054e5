//! `$default`: carries out what clients ask for over their socket, and the actions that an application adds.
//!
//! Replies go back as the route's response: the route is two-way.

mod commands;
mod router;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::encodings::Body;
use lambda_runtime::Diagnostic;
use tidings::delivery::dismiss;
use tidings::protocol::{ErrorCode, Protocol, Reply, ReplyBody};
use tidings::registry::{Registry, RegistryError};
use tidings::{ConnectionId, ids::InvalidId};

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
}

/// Our own failure; the client gets API Gateway's `Internal server error` frame and stays connected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry failed.
    #[error("the command could not be carried out: {}", tidings::describe(.0))]
    Registry(#[source] RegistryError),
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
    // Every protocol so far writes commands and replies alike, so that a ping costs no read.
    let protocol = Protocol::default();
    let reply = match protocol.decode(frame) {
        Ok(request) => Reply { id: request.id, body: commands::run(deps, &id, request.command).await? },
        Err(bad) => Reply { id: bad.id, body: ReplyBody::Error(bad.error) },
    };
    let text = protocol.encode_reply(&reply);
    if let ReplyBody::Error(error) = &reply.body {
        tracing::info!(connection.id = %id, code = ?error.code, "refused a command");
        if error.code == ErrorCode::NotConnected {
            dismiss(&deps.sockets, &id.first_socket(), &text).await;
            return Ok(response(None));
        }
    }
    Ok(response(Some(text)))
}

fn response(body: Option<String>) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = 200;
    response.body = body.map(Body::Text);
    response
}
