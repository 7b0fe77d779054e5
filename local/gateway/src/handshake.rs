//! The WebSocket handshake: held until the authorizer and `$connect` have spoken.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tracing::{info, warn};

use super::authorizer::{self, Authorized};
use super::connections::Connection;
use super::events::{Caller, Identity, Origin, epoch_ms};
use super::integration::{self, Failure, ProxyResponse};
use super::request::Handshake;
use super::responses::Refusal;
use super::settings::Settings;
use super::signature::{Signature, Signed};
use super::watched::Attempt;
use super::{Api, Shared, ids, mapped, socket};
use tidings_local_stack::{ConnectAuthorization, Integration, Stage};

const CONNECT: &str = "$connect";

/// A client that is let in.
struct Admission {
    authorized: Option<Authorized>,
    subprotocols: Vec<HeaderValue>,
}

/// Answers a request to a stage's address.
pub(super) async fn upgrade(shared: &Arc<Shared>, api: &Arc<Api>, stage: &Stage, mut request: Request) -> Response {
    let accept = match check(request.method(), request.version(), request.headers()) {
        Ok(accept) => accept,
        Err(refusal) => return refusal.into_response(),
    };
    if shared.throttle.as_ref().is_some_and(|throttle| !throttle.admit(Instant::now())) {
        shared.saw_refusal(&request, StatusCode::TOO_MANY_REQUESTS);
        return Refusal::too_many_requests().into_response();
    }
    if !api.admits(&stage.name, CONNECT) {
        return Refusal::too_many_requests().into_response();
    }
    let Some(presence) = shared.enter() else { return Refusal::unavailable().into_response() };
    let handshake = Handshake::new(&request);
    let attempt = Attempt::new(shared, &request, &handshake);
    let upgraded = hyper::upgrade::on(&mut request);
    let mut origin = origin(api, stage, &handshake);
    let (verdict, answer) = oneshot::channel();
    let (shared, api) = (Arc::clone(shared), Arc::clone(api));
    // A task of its own, so that `$connect` and what belongs to it runs to its end even if the client leaves.
    tokio::spawn(async move {
        match admit(&shared, &api, &mut origin, handshake).await {
            Ok(Admission { authorized, subprotocols }) => {
                info!(connection.id = origin.connection_id, route.key = CONNECT, status = 101, "connected");
                attempt.end(Some(&origin.connection_id), StatusCode::SWITCHING_PROTOCOLS, &subprotocols);
                let context = authorized.map(|authorized| authorized.context);
                let (connection, outgoing) = Connection::new(origin, context, shared.clock.clone());
                shared.note_subprotocol(&connection, &subprotocols);
                shared.connections.insert(Arc::clone(&connection));
                // If nobody takes the verdict, the upgrade fails and tells the same.
                let _ = verdict.send(Ok(subprotocols));
                // Another task, for this one is as large as all that a handshake needs, and most connections are idle.
                tokio::spawn(async move {
                    let _presence = presence;
                    socket::run(&shared, &api, connection, outgoing, upgraded.await).await;
                });
            }
            Err(refusal) => {
                attempt.end(Some(&origin.connection_id), refusal.status, &[]);
                let status = refusal.status.as_u16();
                info!(connection.id = origin.connection_id, route.key = CONNECT, status, "handshake refused");
                let _ = verdict.send(Err(refusal));
            }
        }
    });
    match answer.await {
        Ok(Ok(subprotocols)) => switching_protocols(accept, subprotocols),
        Ok(Err(refusal)) => refusal.into_response(),
        Err(_) => Refusal::internal().into_response(),
    }
}

/// Whether a request is a WebSocket handshake; the value of `Sec-WebSocket-Accept` if so.
fn check(method: &Method, version: http::Version, headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    if method != Method::GET {
        return Err(Refusal::forbidden());
    }
    let lists = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(wanted))
    };
    let upgrades = lists(header::CONNECTION, "upgrade") && lists(header::UPGRADE, "websocket");
    if !upgrades || version < http::Version::HTTP_11 || !lists(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::upgrade_required());
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).filter(|key| !key.is_empty());
    key.and_then(|key| HeaderValue::from_str(&derive_accept_key(key)).ok())
        .ok_or_else(|| Refusal::bad_request("the header Sec-WebSocket-Key is missing".to_owned()))
}

fn origin(api: &Api, stage: &Stage, handshake: &Handshake) -> Origin {
    Origin {
        api_id: api.id.clone(),
        stage: stage.name.clone(),
        stage_variables: stage.variables.clone(),
        connection_id: ids::connection(),
        connected_at: epoch_ms(),
        domain_name: handshake.host(),
        identity: Identity {
            source_ip: handshake.source_ip(),
            user_agent: handshake.header("user-agent").map(str::to_owned),
            caller: None,
        },
    }
}

/// Runs the authorizer and `$connect`. Either may be missing.
async fn admit(shared: &Shared, api: &Api, origin: &mut Origin, handshake: Handshake) -> Result<Admission, Refusal> {
    let Some(route) = api.routes.get(CONNECT) else {
        return Ok(Admission { authorized: None, subprotocols: Vec::new() });
    };
    let (handshake, authorized) = match &route.authorization {
        ConnectAuthorization::Custom(authorizer) => {
            let arn = shared.connect_arn(api, &origin.stage);
            let authorized = authorizer::authorize(&shared.invoker, authorizer, origin, &handshake, &arn).await?;
            (handshake, Some(authorized))
        }
        ConnectAuthorization::Iam => {
            origin.identity.caller = caller(shared, &handshake)?;
            (handshake.without_authorization(), None)
        }
        ConnectAuthorization::None => (handshake, None),
    };
    let context = authorized.as_ref().map(Authorized::for_connect);
    let event = origin.connect(&handshake, context.as_ref());
    let (function, timeout_ms) = match &route.integration {
        Integration::Lambda { function, timeout_ms } => (function, timeout_ms),
        Integration::Mock(_) | Integration::Service(_) => {
            mapped::connect(shared, api, origin, &event).await?;
            return Ok(Admission { authorized, subprotocols: Vec::new() });
        }
        Integration::Unsupported { reason } => {
            warn!(connection.id = origin.connection_id, route.key = CONNECT, reason, "$connect is not emulated");
            return Err(Refusal::internal());
        }
    };
    let limit = Duration::from_millis(*timeout_ms);
    let subprotocols = integration::call(&shared.invoker, function, limit, event.payload)
        .await
        .and_then(|answer| ProxyResponse::parse(&answer))
        .map_err(|failure| refuse(&failure, function, origin))
        .and_then(accepted)?;
    Ok(Admission { authorized, subprotocols })
}

/// Who signed. Unsigned clients are let in unless the gateway is strict, and only then are signatures verified.
fn caller(shared: &Shared, handshake: &Handshake) -> Result<Option<Caller>, Refusal> {
    let Settings { strict, keys, account_id, .. } = &shared.settings;
    match Signature::of(handshake) {
        Some(signature) if !strict || signature.is_valid(handshake, Signed::HANDSHAKE, keys, SystemTime::now()) => {
            Ok(Some(signature.caller(account_id)))
        }
        None if !strict => Ok(None),
        Some(_) => Err(Refusal::forbidden()),
        None => Err(Refusal::missing_authentication_token()),
    }
}

fn refuse(failure: &Failure, function: &str, origin: &Origin) -> Refusal {
    let error = failure as &dyn std::error::Error;
    warn!(connection.id = origin.connection_id, route.key = CONNECT, function, error, "$connect failed");
    match failure {
        Failure::NotInvoked(_) | Failure::Lost(_) => Refusal::internal(),
        Failure::Function(_) | Failure::Malformed(_) => Refusal::bad_gateway(),
        Failure::TimedOut(_) => Refusal::gateway_timeout(),
    }
}

/// The subprotocols of an accepting answer. A client is told what the function chose, offered or not.
fn accepted(response: ProxyResponse) -> Result<Vec<HeaderValue>, Refusal> {
    let status = StatusCode::from_u16(response.status).map_err(|_| Refusal::bad_gateway())?;
    if !status.is_success() {
        return Err(Refusal::by_function(status));
    }
    let values = response.subprotocols.iter().map(|value| HeaderValue::from_str(value));
    values.collect::<Result<_, _>>().map_err(|_| Refusal::bad_gateway())
}

/// No extension is ever accepted: offers of permessage-deflate are declined by silence.
fn switching_protocols(accept: HeaderValue, subprotocols: Vec<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    for subprotocol in subprotocols {
        headers.append(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}
