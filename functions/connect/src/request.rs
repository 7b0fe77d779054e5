//! From the event of a handshake to the connection that it asks for.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use tidings::protocol::Protocol;
use tidings::registry::Connection;
use tidings::{ConnectionId, Topic, UserId};

/// A handshake, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) connection: Connection,
    /// What the client is told to speak, if it offered something.
    pub(crate) subprotocol: Option<&'static str>,
}

/// Why a handshake is not served: the client's fault, and its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// 400.
    #[error("{0}")]
    Invalid(String),
    /// 401.
    #[error("no authorizer named the user, and anonymous access is off (ALLOW_ANONYMOUS)")]
    Unauthorized,
}

impl Refusal {
    pub(crate) fn status(&self) -> i64 {
        match self {
            Self::Invalid(_) => 400,
            Self::Unauthorized => 401,
        }
    }
}

impl Handshake {
    pub(crate) fn read(event: &ApiGatewayWebsocketProxyRequest, allow_anonymous: bool) -> Result<Self, Refusal> {
        let context = &event.request_context;
        let id = ConnectionId::parse(context.connection_id.as_deref().unwrap_or_default()).map_err(invalid)?;
        let (protocol, subprotocol) = protocol(event)?;
        let connection = Connection {
            socket: id.first_socket(),
            user: user(event, allow_anonymous)?,
            protocol,
            connected_at: context.connected_at,
            topics: topics(event)?,
            id,
        };
        Ok(Self { connection, subprotocol })
    }
}

fn invalid(error: impl ToString) -> Refusal {
    Refusal::Invalid(error.to_string())
}

/// The authorizer's word counts; without one, the client's own where that is allowed.
fn user(event: &ApiGatewayWebsocketProxyRequest, allow_anonymous: bool) -> Result<Option<UserId>, Refusal> {
    let principal = event.request_context.authorizer.fields.get("principalId").and_then(|value| value.as_str());
    match principal.filter(|name| !name.is_empty()) {
        Some(name) => UserId::parse(name).map(Some).map_err(invalid),
        None if !allow_anonymous => Err(Refusal::Unauthorized),
        None => match event.query_string_parameters.first("user") {
            Some(name) => {
                UserId::parse(name).map(Some).map_err(|error| invalid(format!("?user= is not valid: {error}")))
            }
            None => Ok(None),
        },
    }
}

/// The client's first offer that we speak, else `?protocol=`, else the default. Offers that are all unknown are refused:
/// API Gateway would complete the handshake without a subprotocol, and a browser would drop it without a reason.
fn protocol(event: &ApiGatewayWebsocketProxyRequest) -> Result<(Protocol, Option<&'static str>), Refusal> {
    let names = || Protocol::ALL.map(Protocol::name).join(" or ");
    let offers = event.headers.get_all("sec-websocket-protocol").iter().filter_map(|value| value.to_str().ok());
    let offers: Vec<&str> =
        offers.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(protocol) = offers.iter().find_map(|name| Protocol::from_name(name)) {
        return Ok((protocol, Some(protocol.name())));
    }
    if !offers.is_empty() {
        return Err(Refusal::Invalid(format!("no subprotocol that is offered is known; offer {}", names())));
    }
    match event.query_string_parameters.first("protocol") {
        None => Ok((Protocol::default(), None)),
        Some(name) => match Protocol::from_name(name) {
            Some(protocol) => Ok((protocol, None)),
            None => Err(Refusal::Invalid(format!("?protocol= is not known; use {}", names()))),
        },
    }
}

fn topics(event: &ApiGatewayWebsocketProxyRequest) -> Result<Vec<Topic>, Refusal> {
    let names = event.multi_value_query_string_parameters.all("topic").unwrap_or_default();
    let mut topics = Vec::with_capacity(names.len());
    for name in names {
        let topic = Topic::parse(name).map_err(|error| invalid(format!("?topic= is not valid: {error}")))?;
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics.sort_unstable();
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event(change: impl FnOnce(&mut Value)) -> ApiGatewayWebsocketProxyRequest {
        let mut event = json!({
            "headers": {"Host": "h"},
            "multiValueHeaders": {"Host": ["h"]},
            "requestContext": {
                "routeKey": "$connect", "eventType": "CONNECT", "connectionId": "BFHPhfCWIAMCKlQ=",
                "connectedAt": 1_731_324_924_553_i64, "requestTimeEpoch": 1_731_324_924_561_i64,
            },
            "isBase64Encoded": false,
        });
        change(&mut event);
        serde_json::from_value(event).unwrap()
    }

    fn query(event: &mut Value, pairs: &[(&str, &[&str])]) {
        for (name, values) in pairs {
            event["queryStringParameters"][name] = json!(values.last());
            event["multiValueQueryStringParameters"][name] = json!(values);
        }
    }

    fn read(allow_anonymous: bool, change: impl FnOnce(&mut Value)) -> Result<Handshake, Refusal> {
        Handshake::read(&event(change), allow_anonymous)
    }

    #[test]
    fn the_authorizer_names_the_user_and_the_client_cannot() {
        let change = |event: &mut Value| {
            event["requestContext"]["authorizer"] = json!({"principalId": "alice", "integrationLatency": 21});
            query(event, &[("user", &["mallory"])]);
        };
        for allow_anonymous in [false, true] {
            let handshake = read(allow_anonymous, change).unwrap();
            assert_eq!(handshake.connection.user, Some(UserId::parse("alice").unwrap()));
        }
    }

    #[test]
    fn without_an_authorizer_a_client_gets_in_only_where_that_is_allowed() {
        assert_eq!(read(false, |event| query(event, &[("user", &["bob"])])), Err(Refusal::Unauthorized));
        let named = read(true, |event| query(event, &[("user", &["bob"])])).unwrap();
        assert_eq!(named.connection.user, Some(UserId::parse("bob").unwrap()));
        assert_eq!(read(true, |_| {}).unwrap().connection.user, None);
    }

    #[test]
    fn the_first_offered_protocol_that_we_speak_is_chosen_and_returned() {
        for (offer, chosen) in [
            ("raw", Protocol::Raw),
            ("unknown, tidings.v1.json", Protocol::TidingsV1Json),
            ("raw,tidings.v1.json", Protocol::Raw),
        ] {
            let handshake = read(true, |event| event["headers"]["sec-websocket-protocol"] = json!(offer)).unwrap();
            assert_eq!(
                (handshake.connection.protocol, handshake.subprotocol),
                (chosen, Some(chosen.name())),
                "{offer}"
            );
        }
    }

    #[test]
    fn a_protocol_in_the_query_is_not_returned_as_a_subprotocol() {
        let handshake = read(true, |event| query(event, &[("protocol", &["raw"])])).unwrap();
        assert_eq!((handshake.connection.protocol, handshake.subprotocol), (Protocol::Raw, None));
    }

    #[test]
    fn topics_are_taken_from_every_repetition_once_each() {
        let handshake = read(true, |event| query(event, &[("topic", &["b", "a", "b"])])).unwrap();
        assert_eq!(handshake.connection.topics, [Topic::parse("a").unwrap(), Topic::parse("b").unwrap()]);
    }

    #[test]
    fn each_refusal_names_what_is_wrong() {
        let offer = |event: &mut Value| event["headers"]["Sec-WebSocket-Protocol"] = json!("graphql-ws");
        assert_refused(offer, "no subprotocol that is offered is known; offer tidings.v1.json or raw");
        assert_refused(|event| query(event, &[("protocol", &["x"])]), "?protocol= is not known");
        assert_refused(|event| query(event, &[("topic", &["a", ""])]), "?topic= is not valid: a topic is empty");
        assert_refused(|event| query(event, &[("user", &["a\n"])]), "?user= is not valid: a user has control");
        assert_refused(|event| event["requestContext"]["connectionId"] = Value::Null, "a connection id is empty");
    }

    fn assert_refused(change: impl FnOnce(&mut Value), start: &str) {
        let refusal = read(true, change).unwrap_err();
        assert_eq!(refusal.status(), 400);
        assert!(refusal.to_string().starts_with(start), "{refusal}");
    }
}
