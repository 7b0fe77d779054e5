//! `$connect`: registers a client before API Gateway completes its handshake.

mod request;

use aws_lambda_events::apigw::{ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest};
use aws_lambda_events::encodings::Body;
use aws_lambda_events::http::HeaderValue;
use lambda_runtime::Diagnostic;
use tidings::metrics::{Metric, Metrics};
use tidings::registry::{MAX_TOPIC_BYTES, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError};

use request::{Handshake, Refusal};

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// Where connections are registered.
    pub registry: Registry,
    /// What counts.
    pub metrics: Metrics,
}

/// Our own failure; the client sees status 502.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection could not be registered.
    #[error("the connection could not be registered: {}", tidings::describe(.0))]
    Registry(#[source] RegistryError),
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: "RegistryError".to_owned(), error_message: error.to_string() }
    }
}

/// Answers 200 with the chosen subprotocol, 400 to a handshake that cannot be served, 401 to one that no authorizer let in,
/// 403 to one with a topic that the client may not subscribe to.
///
/// # Errors
/// When the registry fails.
pub async fn handle(deps: &Deps, event: ApiGatewayWebsocketProxyRequest) -> Result<ApiGatewayProxyResponse, Error> {
    let handshake = match Handshake::read(&event) {
        Ok(handshake) => handshake,
        Err(refusal) => {
            tracing::info!(reason = %refusal, status = refusal.status(), "refused a handshake");
            return Ok(refuse(deps, &refusal));
        }
    };
    let connection = &handshake.connection;
    let durable = match deps.registry.connect(connection).await {
        Ok(durable) => durable,
        Err(RegistryError::TooManyTopics { count }) => {
            let refusal =
                Refusal::Invalid(format!("?topic= is there {count} times; {MAX_TOPICS_PER_CONNECTION} are allowed"));
            return Ok(refuse(deps, &refusal));
        }
        Err(RegistryError::TopicsTooLong { bytes }) => {
            let refusal = Refusal::Invalid(format!(
                "the values of ?topic= have {bytes} bytes together; {MAX_TOPIC_BYTES} are allowed, so give fewer or shorter ones"
            ));
            return Ok(refuse(deps, &refusal));
        }
        Err(error) => return Err(Error::Registry(error)),
    };
    deps.metrics.tally().add(Metric::ConnectionsOpened, 1);
    tracing::info!(
        connection.id = %connection.id,
        protocol = connection.protocol.name(),
        topics = connection.topics.len(),
        durable_topics = durable.len(),
        "connected"
    );
    Ok(accept(handshake.subprotocol))
}

fn accept(subprotocol: Option<&'static str>) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = 200;
    if let Some(name) = subprotocol {
        response.headers.insert("sec-websocket-protocol", HeaderValue::from_static(name));
    }
    response
}

fn refuse(deps: &Deps, refusal: &Refusal) -> ApiGatewayProxyResponse {
    deps.metrics.tally().add(Metric::ConnectionsRefused, 1);
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = refusal.status();
    response.body = Some(Body::Text(refusal.to_string()));
    response
}
