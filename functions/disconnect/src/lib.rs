//! `$disconnect`: forgets a client. API Gateway promises nothing about it: it may come late, twice or never.

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use lambda_runtime::Diagnostic;
use tidings::ConnectionId;
use tidings::metrics::{Metric, Metrics};
use tidings::registry::{Registry, RegistryError};

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// Where connections are registered.
    pub registry: Registry,
    /// What counts.
    pub metrics: Metrics,
}

/// Our own failure; nobody sees it but the log and the metric.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be forgotten now; it expires.
    #[error("the connection could not be removed: {}", tidings::describe(.0))]
    Registry(#[source] RegistryError),
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: "RegistryError".to_owned(), error_message: error.to_string() }
    }
}

/// Removes the connection and its memberships; one that is not there is no error.
///
/// # Errors
/// When the registry fails.
pub async fn handle(deps: &Deps, event: ApiGatewayWebsocketProxyRequest) -> Result<ApiGatewayProxyResponse, Error> {
    let context = &event.request_context;
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = 200;
    let id = match ConnectionId::parse(context.connection_id.as_deref().unwrap_or_default()) {
        Ok(id) => id,
        Err(error) => {
            tracing::warn!(%error, "ignored a $disconnect without a connection");
            return Ok(response);
        }
    };
    let removed = deps.registry.disconnect(&id, &id.first_socket()).await.map_err(Error::Registry)?;
    // A second $disconnect finds nothing, and neither does one after a push that found the client gone.
    deps.metrics.tally().add(Metric::ConnectionsClosed, u64::from(removed.is_some()));
    tracing::info!(
        connection.id = %id,
        known = removed.is_some(),
        status = context.disconnect_status_code,
        reason = context.disconnect_reason,
        "disconnected"
    );
    Ok(response)
}
