//! From a handshake to the connection that it asks for.

use tidings::caller::UnknownCaller;
use tidings::handshake::TOKEN_SUBPROTOCOL;
use tidings::permissions::Action;
use tidings::protocol::{Protocol, Spoken};
use tidings::registry::Connection;
use tidings::{Caller, Handshake, Refusal, Topic};

/// A handshake, checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) connection: Connection,
    pub(crate) caller: Caller,
    /// What the client is told to speak, if it offered something.
    pub(crate) subprotocol: Option<&'static str>,
}

impl Asked {
    pub(crate) fn read(
        handshake: &Handshake,
        caller: Result<Caller, UnknownCaller>,
        spoken: &Spoken,
    ) -> Result<Self, Refusal> {
        let caller = caller.map_err(|unknown| match unknown {
            UnknownCaller::Unauthorized => Refusal::unauthorized(unknown.to_string()),
            _ => invalid(unknown),
        })?;
        let (protocol, subprotocol) = protocol(handshake)?;
        if !spoken.has(protocol) {
            return Err(invalid(format!("?protocol={} is not spoken here; name it in PROTOCOLS", protocol.name())));
        }
        let topics = topics(handshake)?;
        if protocol.identifies_in_a_frame() && !topics.is_empty() {
            return Err(invalid(format!("?topic= is not for {}; subscribe to the channel", protocol.name())));
        }
        if let Some(topic) = caller.permissions.first_refused(Action::Subscribe, &topics) {
            let reason = format!("you may not subscribe to the topic {:?}", topic.as_str());
            return Err(Refusal::forbidden(reason));
        }
        let mut connection = Connection::new(handshake.connection.clone());
        connection.user = caller.user.clone();
        connection.protocol = protocol;
        connection.connected_at = handshake.connected_at;
        connection.topics = topics;
        Ok(Self { connection, caller, subprotocol })
    }
}

pub(crate) fn invalid(reason: impl ToString) -> Refusal {
    Refusal::new(400, reason.to_string())
}

/// The client's first offer that we speak, else `?protocol=`, else the default. Offers that are all unknown are refused:
/// API Gateway would complete the handshake without a subprotocol, and a browser would drop it without a reason.
fn protocol(handshake: &Handshake) -> Result<(Protocol, Option<&'static str>), Refusal> {
    let names = || Protocol::SUBPROTOCOLS.map(Protocol::name).join(" or ");
    let offers = handshake.headers("sec-websocket-protocol").flat_map(|list| list.split(',')).map(str::trim);
    let offers: Vec<&str> = offers.filter(|name| !name.is_empty()).collect();
    let known = |name: &&str| Protocol::from_name(name).filter(|protocol| Protocol::SUBPROTOCOLS.contains(protocol));
    if let Some(protocol) = offers.iter().find_map(known) {
        return Ok((protocol, Some(protocol.name())));
    }
    if offers.iter().any(|name| !name.starts_with(TOKEN_SUBPROTOCOL)) {
        return Err(invalid(format!("no subprotocol that is offered is known; offer {}", names())));
    }
    if !offers.is_empty() {
        // A browser would drop the connection.
        return Err(invalid(format!("a token is the only subprotocol that is offered; offer {} too", names())));
    }
    match handshake.query("protocol") {
        None => Ok((Protocol::default(), None)),
        Some(name) => match Protocol::from_name(name) {
            Some(protocol) => Ok((protocol, None)),
            None => Err(invalid(format!("?protocol= is not known; use {}", names()))),
        },
    }
}

fn topics(handshake: &Handshake) -> Result<Vec<Topic>, Refusal> {
    let mut topics = Vec::new();
    for name in handshake.queries("topic") {
        topics.push(Topic::parse(name).map_err(|error| invalid(format!("?topic= is not valid: {error}")))?);
    }
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
    use serde_json::{Value, json};
    use tidings::{UserId, lambda};

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

    fn read(change: impl FnOnce(&mut Value)) -> Result<Asked, Refusal> {
        let event = event(|event| {
            authorized(event);
            change(event);
        });
        let handshake = lambda::handshake(&event).map_err(invalid)?;
        let spoken = Spoken::parse("centrifuge").unwrap();
        Asked::read(&handshake, lambda::caller(&event, handshake.connection.clone()), &spoken)
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
            assert_eq!(refused.map_err(|refusal| refusal.status()), Err(401), "{authorizer}");
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
