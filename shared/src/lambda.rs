//! How functions run in Lambda: the runtime, and its events as types of our own.

use std::process::ExitCode;

use aws_lambda_events::apigw::{
    ApiGatewayProxyResponse, ApiGatewayWebsocketProxyRequest, ApiGatewayWebsocketProxyRequestContext,
};
use aws_lambda_events::encodings::Body;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::caller::{Caller, UnknownCaller};
use crate::function::{BoxError, Failure};
use crate::handshake::Handshake;
use crate::ids::{ConnectionId, InvalidId};

/// One call of a function.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// Lambda's id of it.
    pub id: String,
    /// When Lambda ends it, in milliseconds since the epoch.
    pub deadline: u64,
}

impl Request {
    /// A call of this id that Lambda ends at `deadline`, in milliseconds since the epoch.
    #[must_use]
    pub fn new(id: String, deadline: u64) -> Self {
        Self { id, deadline }
    }
}

/// Serves Lambda until it ends the environment: starts once, then handles each event.
#[must_use]
pub fn run<D, In, Out, E>(
    start: impl Future<Output = Result<D, BoxError>>,
    handle: impl AsyncFn(&D, In, Request) -> Result<Out, E>,
) -> ExitCode
where
    In: DeserializeOwned,
    Out: Serialize,
    E: Failure,
{
    crate::logs::init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(BoxError::from).and_then(|runtime| runtime.block_on(serve(start, handle))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = crate::describe(error.as_ref()), "the function does not start");
            ExitCode::FAILURE
        }
    }
}

async fn serve<D, In, Out, E>(
    start: impl Future<Output = Result<D, BoxError>>,
    handle: impl AsyncFn(&D, In, Request) -> Result<Out, E>,
) -> Result<(), BoxError>
where
    In: DeserializeOwned,
    Out: Serialize,
    E: Failure,
{
    crate::config::check_application()?;
    let (deps, handle) = (&start.await?, &handle);
    let serve = service_fn(move |event: LambdaEvent<In>| async move {
        let request = Request { id: event.context.request_id.clone(), deadline: event.context.deadline };
        Box::pin(handle(deps, event.payload, request))
            .await
            .map_err(|error| Diagnostic { error_type: error.kind().to_owned(), error_message: crate::describe(&error) })
    });
    lambda_runtime::run(serve).await
}

/// The client that an event of a route comes from.
///
/// # Errors
/// When it is not known who it is.
pub fn caller(event: &ApiGatewayWebsocketProxyRequest, connection: ConnectionId) -> Result<Caller, UnknownCaller> {
    let context = &event.request_context;
    let said = |name: &str| context.authorizer.fields.get(name)?.as_str();
    let caller = Caller::read(connection, said)?;
    Ok(Caller { source_ip: source_ip(context), request_id: request_id(context), ..caller })
}

/// The handshake that an event of `$connect` is.
///
/// # Errors
/// When it does not say which connection it is for.
pub fn handshake(event: &ApiGatewayWebsocketProxyRequest) -> Result<Handshake, InvalidId> {
    let context = &event.request_context;
    let mut handshake = Handshake::new(connection(context)?);
    handshake.connected_at = context.connected_at;
    handshake.source_ip = source_ip(context);
    handshake.request_id = request_id(context);
    for (name, value) in &event.headers {
        if let Ok(value) = value.to_str() {
            handshake = handshake.with_header(name.as_str(), value);
        }
    }
    for (name, value) in event.multi_value_query_string_parameters.iter() {
        handshake = handshake.with_query(name, value);
    }
    if event.multi_value_query_string_parameters.is_empty() {
        for (name, value) in event.query_string_parameters.iter() {
            handshake = handshake.with_query(name, value);
        }
    }
    Ok(handshake)
}

/// The connection that an event is about.
///
/// # Errors
/// When it names none.
pub fn connection(context: &ApiGatewayWebsocketProxyRequestContext) -> Result<ConnectionId, InvalidId> {
    ConnectionId::parse(context.connection_id.as_deref().unwrap_or_default())
}

fn source_ip(context: &ApiGatewayWebsocketProxyRequestContext) -> Option<String> {
    context.identity.source_ip.clone()
}

fn request_id(context: &ApiGatewayWebsocketProxyRequestContext) -> String {
    context.request_id.clone().unwrap_or_default()
}

/// The answer of a route.
#[must_use]
pub fn response(status: u16, body: Option<String>) -> ApiGatewayProxyResponse {
    let mut response = ApiGatewayProxyResponse::default();
    response.status_code = i64::from(status);
    response.body = body.map(Body::Text);
    response
}
