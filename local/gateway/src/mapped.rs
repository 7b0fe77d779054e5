//! Routes whose integration is made of mapping templates: `MOCK` and `AWS`.
//!
//! Nobody has published what a failed call of a service does on each kind of route. Here it refuses the handshake with 500 on
//! `$connect`, is an error frame on a message unless an integration response is for it, and is only logged on `$disconnect`.

use http::StatusCode;
use serde_json::{Map, Value};
use tracing::{debug, warn};

use super::connections::Connection;
use super::ending::Ending;
use super::events::{Event, Origin};
use super::frames;
use super::mapping::{MockAnswer, MockRunner, Request};
use super::responses::Refusal;
use super::service::{ServiceError, ServiceRunner};
use super::traffic::Incoming;
use super::{Api, Shared};
use tidings_local_stack::{Integration, Route};
use tidings_local_vtl::Parameters;

const CONNECT: &str = "$connect";
const DISCONNECT: &str = "$disconnect";

/// A compiled integration.
#[derive(Debug)]
pub(super) enum Mapped {
    Mock(MockRunner),
    Service(Box<ServiceRunner>),
}

impl Mapped {
    /// The integration, if it is one of these.
    pub(super) fn new(integration: &Integration) -> Option<Self> {
        match integration {
            Integration::Mock(mock) => Some(Self::Mock(MockRunner::new(mock))),
            Integration::Service(service) => Some(Self::Service(Box::new(ServiceRunner::new(service)))),
            Integration::Lambda { .. } | Integration::Unsupported { .. } => None,
        }
    }
}

/// Whether `$connect` lets a client in: by a mock's status, or because the service succeeded.
pub(super) async fn connect(shared: &Shared, api: &Api, origin: &Origin, event: &Event) -> Result<(), Refusal> {
    let Some(mapped) = api.mapped.get(CONNECT) else { return Ok(()) };
    let event = event.json();
    let parameters = parameters(&event);
    let request = request("", &event["requestContext"], origin, &parameters);
    let decided = match mapped {
        Mapped::Mock(mock) => mock.answer(&request).map_err(ServiceError::from).map(|MockAnswer { status, .. }| status),
        Mapped::Service(service) => succeed(service, shared, &request).await.map(|()| 200),
    };
    match decided {
        Ok(200..=299) => Ok(()),
        Ok(status) => {
            Err(Refusal::by_function(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)))
        }
        Err(error) => {
            warn(&error, &origin.connection_id, CONNECT);
            Err(match error {
                ServiceError::TimedOut(_) => Refusal::gateway_timeout(),
                _ => Refusal::internal(),
            })
        }
    }
}

/// What a message brings.
pub(super) async fn message(
    shared: &Shared,
    api: &Api,
    connection: &Connection,
    message: Incoming<'_>,
    (route_key, route): (&str, &Route),
) {
    let Some(mapped) = api.mapped.get(route_key) else { return };
    let event = connection.origin.message(connection.authorizer.as_ref(), route_key, message.text, message.at);
    if !message.wait.is_zero() {
        tokio::time::sleep(message.wait).await;
    }
    let (context, parameters) = (event.context(), Parameters::default());
    let request = request(message.text, &context, &connection.origin, &parameters);
    let reply = match mapped {
        Mapped::Mock(mock) => mock.answer(&request).map_err(ServiceError::from).map(|MockAnswer { body, .. }| body),
        Mapped::Service(service) => converse(service, shared, connection, &request, (route_key, route)).await,
    };
    match reply {
        Ok(body) => {
            debug!(connection.id = connection.id(), route.key = route_key, "message handled without a function");
            if let (true, Some(body)) = (route.returns_response, body) {
                shared.saw_reply(connection, route_key, &body);
                connection.send(body.into()).await;
            }
        }
        Err(error) => {
            warn(&error, connection.id(), route_key);
            let frame = frame_for(&error).frame(connection.id(), &event.request_id);
            shared.saw_error_frame(connection, Some(route_key), &frame);
            connection.send(frame.into()).await;
        }
    }
}

fn frame_for(error: &ServiceError) -> frames::Error {
    match error {
        ServiceError::TimedOut(_) => frames::Error::TimedOut,
        _ => frames::Error::Internal,
    }
}

/// What is done when a connection has ended. Nobody sees its answer.
pub(super) async fn disconnect(shared: &Shared, api: &Api, connection: &Connection, ending: &Ending) {
    let Some(Mapped::Service(service)) = api.mapped.get(DISCONNECT) else { return };
    let event = connection.origin.disconnect(connection.authorizer.as_ref(), ending.code, &ending.reason).json();
    let parameters = parameters(&event);
    let request = request("", &event["requestContext"], &connection.origin, &parameters);
    if let Err(error) = succeed(service, shared, &request).await {
        warn(&error, connection.id(), DISCONNECT);
    }
}

async fn succeed(service: &ServiceRunner, shared: &Shared, request: &Request<'_>) -> Result<(), ServiceError> {
    match service.call(&shared.backends, request).await?.failure() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Calls the service, and makes the reply of its answer. A failure that an integration response is for is logged all the same.
async fn converse(
    service: &ServiceRunner,
    shared: &Shared,
    connection: &Connection,
    request: &Request<'_>,
    (route_key, route): (&str, &Route),
) -> Result<Option<String>, ServiceError> {
    let answer = service.call(&shared.backends, request).await?;
    let reply = service.reply(&answer, request, route.returns_response)?;
    if let Some(failure) = answer.failure() {
        warn(&failure, connection.id(), route_key);
    }
    Ok(reply)
}

fn warn(error: &ServiceError, connection_id: &str, route_key: &str) {
    let error = error as &dyn std::error::Error;
    warn!(connection.id = connection_id, route.key = route_key, error, "an integration without a function failed");
}

fn request<'a>(message: &'a str, context: &'a Value, origin: &'a Origin, parameters: &'a Parameters) -> Request<'a> {
    let stage_variables = &origin.stage_variables;
    Request { message, body: message, status: None, context, stage_variables, parameters }
}

/// What `$input.params` sees: headers and query of the event, which messages do not have.
fn parameters(event: &Value) -> Parameters {
    let texts = |key: &str| {
        let entries = event[key].as_object().into_iter().flat_map(Map::iter);
        entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
    };
    Parameters { headers: texts("headers"), query: texts("queryStringParameters"), ..Parameters::default() }
}
