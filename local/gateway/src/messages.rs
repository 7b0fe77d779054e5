//! One text message: its route is chosen, its integration run, and what comes of it is sent back.

use std::time::Duration;

use tracing::{debug, warn};

use super::connections::Connection;
use super::frames;
use super::integration::{self, Failure, ProxyResponse};
use super::traffic::{Incoming, MAX_MESSAGE};
use super::{Api, Shared, ids, mapped};
use tidings_local_stack::{Integration, Route};

const DEFAULT: &str = "$default";

/// Handles one message. Messages of a connection may overtake each other, as they may on AWS.
pub(super) async fn handle(shared: &Shared, api: &Api, connection: &Connection, message: Incoming<'_>) {
    let text = message.text;
    let Some((route_key, route)) = select(api, text) else {
        let request_id = ids::request();
        debug!(connection.id = connection.id(), request.id = request_id, "no route for a message; sent Forbidden");
        let frame = frames::Error::Forbidden.frame(connection.id(), &request_id);
        shared.saw_message(connection, None, text);
        shared.saw_error_frame(connection, None, &frame);
        connection.send(frame.into()).await;
        return;
    };
    shared.saw_message(connection, Some(route_key), text);
    if let Some(frame) = refuse(api, connection, route_key, text) {
        shared.saw_error_frame(connection, Some(route_key), &frame);
        connection.send(frame.into()).await;
        return;
    }
    match &route.integration {
        Integration::Mock(_) | Integration::Service(_) => {
            mapped::message(shared, api, connection, message, (route_key, route)).await;
        }
        Integration::Lambda { function, timeout_ms } => {
            let limit = Duration::from_millis(*timeout_ms);
            invoke(shared, connection, message, Invocation { route_key, route, function, limit }).await;
        }
        Integration::Unsupported { reason } => {
            warn!(connection.id = connection.id(), route.key = route_key, reason, "the route is not emulated");
            connection.send(frames::Error::Internal.frame(connection.id(), &ids::request()).into()).await;
        }
    }
}

/// The frame for a message that never reaches its integration: its route is throttled, or it does not match its model.
fn refuse(api: &Api, connection: &Connection, route_key: &str, text: &str) -> Option<String> {
    let id = connection.id();
    if !api.admits(&connection.origin.stage, route_key) {
        debug!(connection.id = id, route.key = route_key, "a message was throttled");
        return Some(frames::Error::TooManyRequests.frame(id, &ids::request()));
    }
    if api.validators.get(route_key).is_some_and(|validator| !validator.accepts(text)) {
        debug!(connection.id = id, route.key = route_key, "a message does not match its model");
        return Some(frames::bad_request_body(id, &ids::message(id)));
    }
    None
}

#[derive(Clone, Copy)]
struct Invocation<'a> {
    route_key: &'a str,
    route: &'a Route,
    function: &'a str,
    limit: Duration,
}

async fn invoke(shared: &Shared, connection: &Connection, message: Incoming<'_>, invocation: Invocation<'_>) {
    let Invocation { route_key, route, function, limit } = invocation;
    let event = connection.origin.message(connection.authorizer.as_ref(), route_key, message.text, message.at);
    if !message.wait.is_zero() {
        tokio::time::sleep(message.wait).await;
    }
    let answer = integration::call(&shared.invoker, function, limit, event.payload)
        .await
        .and_then(|answer| ProxyResponse::parse(&answer))
        .and_then(sized);
    match answer {
        Ok(response) => {
            // The status has no effect on message routes.
            let status = response.status;
            debug!(connection.id = connection.id(), route.key = route_key, function, status, "message handled");
            if let (true, Some(body)) = (route.returns_response, response.body) {
                shared.saw_reply(connection, route_key, &body);
                connection.send(body.into()).await;
            }
        }
        Err(failure) => {
            let frame = explain(&failure, connection, &invocation).frame(connection.id(), &event.request_id);
            shared.saw_error_frame(connection, Some(route_key), &frame);
            connection.send(frame.into()).await;
        }
    }
}

fn explain(failure: &Failure, connection: &Connection, invocation: &Invocation<'_>) -> frames::Error {
    let Invocation { route_key, function, .. } = invocation;
    let error = failure as &dyn std::error::Error;
    warn!(connection.id = connection.id(), route.key = route_key, function, error, "a message failed");
    match failure {
        Failure::TimedOut(_) => frames::Error::TimedOut,
        _ => frames::Error::Internal,
    }
}

/// A reply has the limit of any message. What AWS does with a longer one is not known.
fn sized(response: ProxyResponse) -> Result<ProxyResponse, Failure> {
    match response.body.as_ref().map_or(0, String::len) {
        length if length > MAX_MESSAGE => {
            Err(Failure::Malformed(format!("its body has {length} bytes; at most {MAX_MESSAGE} are allowed")))
        }
        _ => Ok(response),
    }
}

/// The route with the selected key, else `$default`. A message cannot select `$connect` or `$disconnect`.
fn select<'a>(api: &'a Api, text: &str) -> Option<(&'a str, &'a Route)> {
    let key = api.selection.select(text).filter(|key| !key.starts_with('$'));
    key.and_then(|key| api.routes.get_key_value(&key))
        .or_else(|| api.routes.get_key_value(DEFAULT))
        .map(|(key, route)| (key.as_str(), route))
}
