//! From the event of a handshake to the connection that it asks for.

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use tidings::permissions::{Action, PERMISSIONS, Permissions, USER};
use tidings::protocol::Protocol;
use tidings::registry::Connection;
use tidings::{ConnectionId, Topic, UserId};

/// A subprotocol that begins so is the authorizer's: the token of a client that cannot set headers. It is never repeated.
const TOKEN: &str = "access_token.";

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
    #[error("no authorizer has let this client in; the route $connect needs one that gives `user` and `permissions`")]
    Unauthorized,
    /// 403.
    #[error("you may not subscribe to the topic {:?}", .0.as_str())]
    Forbidden(Topic),
}

impl Refusal {
    pub(crate) fn status(&self) -> i64 {
        match self {
            Self::Invalid(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden(_) => 403,
        }
    }
}

impl Handshake {
    pub(crate) fn read(event: &ApiGatewayWebsocketProxyRequest) -> Result<Self, Refusal> {
        let context = &event.request_context;
        let (user, permissions) = client(event)?;
        let id = ConnectionId::parse(context.connection_id.as_deref().unwrap_or_default()).map_err(invalid)?;
        let (protocol, subprotocol) = protocol(event)?;
        let topics = topics(event)?;
        if let Some(topic) = permissions.first_refused(Action::Subscribe, &topics) {
            return Err(Refusal::Forbidden(topic.clone()));
        }
        let connection =
            Connection { socket: id.first_socket(), user, protocol, connected_at: context.connected_at, topics, id };
        Ok(Self { connection, subprotocol })
    }
}

fn invalid(error: impl ToString) -> Refusal {
    Refusal::Invalid(error.to_string())
}

/// Who the client is and what it may do: the authorizer's word, and nobody's where there was none.
fn client(event: &ApiGatewayWebsocketProxyRequest) -> Result<(Option<UserId>, Permissions), Refusal> {
    let said = |name: &str| {
        let value = event.request_context.authorizer.fields.get(name)?.as_str();
        value.filter(|value| !value.is_empty())
    };
    said("principalId").ok_or(Refusal::Unauthorized)?;
    let user = said(USER).map(UserId::parse).transpose().map_err(invalid)?;
    let permissions = Permissions::parse(said(PERMISSIONS).unwrap_or_default()).map_err(invalid)?;
    Ok((user, permissions))
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
    if offers.iter().any(|name| !name.starts_with(TOKEN)) {
        return Err(Refusal::Invalid(format!("no subprotocol that is offered is known; offer {}", names())));
    }
    if !offers.is_empty() {
        // A browser would drop the connection.
        return Err(Refusal::Invalid(format!(
            "a token is the only subprotocol that is offered; offer {} too",
            names()
        )));
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

    fn authorized(event: &mut Value) {
        event["requestContext"]["authorizer"] =
            json!({"principalId": "alice", "user": "alice", "permissions": "subscribe:**", "integrationLatency": 21});
    }

    fn read(change: impl FnOnce(&mut Value)) -> Result<Handshake, Refusal> {
        Handshake::read(&event(|event| {
            authorized(event);
            change(event);
        }))
    }

    #[test]
    fn the_authorizer_names_the_user_and_the_client_cannot() {
        let handshake = read(|event| query(event, &[("user", &["mallory"])])).unwrap();
        assert_eq!(handshake.connection.user, Some(UserId::parse("alice").unwrap()));
        let unnamed = json!({"principalId": "anonymous", "permissions": ""});
        let handshake = read(|event| event["requestContext"]["authorizer"] = unnamed).unwrap();
        assert_eq!(handshake.connection.user, None);
    }

    #[test]
    fn where_no_authorizer_has_run_nobody_gets_in() {
        for authorizer in [Value::Null, json!({}), json!({"user": "mallory"}), json!({"principalId": ""})] {
            let refused = read(|event| {
                event["requestContext"]["authorizer"] = authorizer.clone();
                query(event, &[("user", &["mallory"])]);
            });
            assert_eq!(refused, Err(Refusal::Unauthorized), "{authorizer}");
        }
    }

    #[test]
    fn a_client_starts_with_no_topic_that_it_may_not_subscribe_to() {
        let connect = |permissions: &str, topics: &[&str]| {
            read(|event| {
                event["requestContext"]["authorizer"]["permissions"] = json!(permissions);
                query(event, &[("topic", topics)]);
            })
        };
        assert!(connect("subscribe:orders/* publish:news", &["orders/1", "orders/2"]).is_ok());
        let refusal = connect("subscribe:orders/* publish:news", &["orders/1", "news"]).unwrap_err();
        assert_eq!(refusal, Refusal::Forbidden(Topic::parse("news").unwrap()));
        assert_eq!(
            (refusal.status(), refusal.to_string().as_str()),
            (403, "you may not subscribe to the topic \"news\"")
        );
        assert!(connect("", &["a"]).is_err());
        assert_eq!(connect("broken", &["a"]).unwrap_err().status(), 400);
    }

    #[test]
    fn a_token_among_the_offers_is_no_protocol_and_never_returned() {
        let offer = |offer: &str| read(|event| event["headers"]["sec-websocket-protocol"] = json!(offer));
        let handshake = offer("access_token.e30.e30.AA, raw").unwrap();
        assert_eq!((handshake.connection.protocol, handshake.subprotocol), (Protocol::Raw, Some("raw")));
        for offers in ["access_token.e30.e30.AA", "access_token.e30.e30.AA, other"] {
            let refusal = offer(offers).unwrap_err();
            assert!(refusal.status() == 400 && !refusal.to_string().contains("e30"), "{refusal}");
        }
    }

    #[test]
    fn the_first_offered_protocol_that_we_speak_is_chosen_and_returned() {
        for (offer, chosen) in [
            ("raw", Protocol::Raw),
            ("unknown, tidings.v1.json", Protocol::TidingsV1Json),
            ("raw,tidings.v1.json", Protocol::Raw),
        ] {
            let handshake = read(|event| event["headers"]["sec-websocket-protocol"] = json!(offer)).unwrap();
            assert_eq!(
                (handshake.connection.protocol, handshake.subprotocol),
                (chosen, Some(chosen.name())),
                "{offer}"
            );
        }
    }

    #[test]
    fn a_protocol_in_the_query_is_not_returned_as_a_subprotocol() {
        let handshake = read(|event| query(event, &[("protocol", &["raw"])])).unwrap();
        assert_eq!((handshake.connection.protocol, handshake.subprotocol), (Protocol::Raw, None));
    }

    #[test]
    fn topics_are_taken_from_every_repetition_once_each() {
        let handshake = read(|event| query(event, &[("topic", &["b", "a", "b"])])).unwrap();
        assert_eq!(handshake.connection.topics, [Topic::parse("a").unwrap(), Topic::parse("b").unwrap()]);
    }

    #[test]
    fn each_refusal_names_what_is_wrong() {
        let offer = |event: &mut Value| event["headers"]["Sec-WebSocket-Protocol"] = json!("graphql-ws");
        assert_refused(offer, "no subprotocol that is offered is known; offer tidings.v1.json or raw");
        assert_refused(|event| query(event, &[("protocol", &["x"])]), "?protocol= is not known");
        assert_refused(|event| query(event, &[("topic", &["a", ""])]), "?topic= is not valid: a topic is empty");
        assert_refused(|event| event["requestContext"]["connectionId"] = Value::Null, "a connection id is empty");
    }

    fn assert_refused(change: impl FnOnce(&mut Value), start: &str) {
        let refusal = read(change).unwrap_err();
        assert_eq!(refusal.status(), 400);
        assert!(refusal.to_string().starts_with(start), "{refusal}");
    }
}
