//! From a handshake to the connection that it asks for.

use tidings::caller::UnknownCaller;
use tidings::handshake::TOKEN_SUBPROTOCOL;
use tidings::permissions::Action;
use tidings::protocol::web_pubsub::is_binary;
use tidings::protocol::{Protocol, Spoken};
use tidings::registry::{Connection, WebPubSub};
use tidings::web_pubsub::{Client, SendsTo};
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
        let (protocol, subprotocol) = protocol(handshake, spoken)?;
        if !spoken.has(protocol) {
            return Err(invalid(format!("?protocol={} is not spoken here; name it in PROTOCOLS", protocol.name())));
        }
        if protocol.has_outbox() {
            return Err(invalid("?protocol= is not known; offer json.reliable.webpubsub.azure.v1"));
        }
        let protocol = if caller.protocol.has_outbox() { caller.protocol } else { protocol };
        let topics = match protocol.is_web_pubsub() {
            true => groups(handshake, &caller)?,
            false => asked_topics(handshake, &caller, protocol)?,
        };
        let mut connection = Connection::new(handshake.connection.clone());
        connection.user = caller.user.clone();
        connection.protocol = protocol;
        connection.connected_at = handshake.connected_at;
        connection.topics = topics;
        connection.web_pubsub = caller.web_pubsub.clone().filter(|_| protocol.is_web_pubsub()).map(WebPubSub::new);
        if let Some(kept) = connection.web_pubsub.as_mut().filter(|_| protocol == Protocol::WebPubSubRaw) {
            kept.client.sends_to = sends_to(handshake, &kept.client)?;
        }
        Ok(Self { connection, caller, subprotocol })
    }
}

pub(crate) fn invalid(reason: impl ToString) -> Refusal {
    Refusal::new(400, reason.to_string())
}

/// The client's first offer that we speak, else `?protocol=`, else the default. Offers that are all unknown are refused:
/// API Gateway would complete the handshake without a subprotocol, and a browser would drop it without a reason.
fn protocol(handshake: &Handshake, spoken: &Spoken) -> Result<(Protocol, Option<&'static str>), Refusal> {
    let names = || spoken.subprotocols().collect::<Vec<_>>().join(" or ");
    let offers: Vec<&str> = handshake.subprotocols().collect();
    if let Some(protocol) = offers.iter().find_map(|name| spoken.offered(name)) {
        return Ok((protocol, protocol.subprotocol()));
    }
    if offers.iter().any(|name| is_binary(name)) {
        return Err(invalid(format!("only subprotocols with binary frames are offered; offer {}", names())));
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

/// What a client of ours asks for in its address, if it may have that.
fn asked_topics(handshake: &Handshake, caller: &Caller, protocol: Protocol) -> Result<Vec<Topic>, Refusal> {
    let topics = topics(handshake)?;
    if protocol.identifies_in_a_frame() && !topics.is_empty() {
        return Err(invalid(format!("?topic= is not for {}; subscribe to the channel", protocol.name())));
    }
    match caller.permissions.first_refused(Action::Subscribe, &topics) {
        Some(topic) => Err(Refusal::forbidden(format!("you may not subscribe to the topic {:?}", topic.as_str()))),
        None => Ok(topics),
    }
}

/// The hub of a client of Web PubSub, and the groups that its token names.
fn groups(handshake: &Handshake, caller: &Caller) -> Result<Vec<Topic>, Refusal> {
    if handshake.query("topic").is_some() {
        return Err(invalid("?topic= is not for clients of Web PubSub; join the group"));
    }
    let Some(Client { hub, groups, .. }) = &caller.web_pubsub else {
        return Err(Refusal::unauthorized("no authorizer says in which hub this client of Web PubSub is"));
    };
    let named = groups.iter().map(|group| hub.group(group));
    let mut topics: Vec<_> =
        std::iter::once(Ok(hub.topic().clone())).chain(named).collect::<Result<_, _>>().map_err(invalid)?;
    topics.sort_unstable();
    topics.dedup();
    Ok(topics)
}

/// Where the frames of a client of Web PubSub go that offers no subprotocol; `None` where they are events.
fn sends_to(handshake: &Handshake, client: &Client) -> Result<Option<SendsTo>, Refusal> {
    let mode = handshake.query("webpubsub_mode").unwrap_or("sendEvent");
    if mode.eq_ignore_ascii_case("sendEvent") {
        return Ok(None);
    }
    if !mode.eq_ignore_ascii_case("sendToGroup") {
        return Err(invalid("?webpubsub_mode= is not known; use sendEvent or sendToGroup"));
    }
    let group = handshake.query("group").unwrap_or_default().to_owned();
    client.hub.group(&group).map_err(invalid)?;
    let no_echo = handshake.query("noEcho").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    Ok(Some(SendsTo { group, no_echo }))
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
        let spoken = Spoken::parse("centrifuge,webpubsub").unwrap();
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
        assert_refused(
            offer,
            "no subprotocol that is offered is known; offer tidings.v1.json or raw or json.webpubsub",
        );
        assert_refused(|event| query(event, &[("protocol", &["x"])]), "?protocol= is not known");
        assert_refused(|event| query(event, &[("topic", &["a", ""])]), "?topic= is not valid: a topic is empty");
        assert_refused(|event| event["requestContext"]["connectionId"] = Value::Null, "a connection id is empty");
    }

    fn in_hub(event: &mut Value, said: &Value) {
        event["requestContext"]["authorizer"]["webPubSub"] = json!(said.to_string());
        event["headers"]["sec-websocket-protocol"] = json!("json.reliable.webpubsub.azure.v1");
    }

    #[test]
    fn a_client_of_web_pubsub_is_in_its_hub_and_in_the_groups_of_its_token() {
        let said = json!({"hub": "chat", "roles": ["webpubsub.sendToGroup"], "groups": ["g/1", "g/1", "a"]});
        let handshake = read(|event| in_hub(event, &said)).unwrap();
        assert_eq!(handshake.subprotocol, Some("json.reliable.webpubsub.azure.v1"));
        let names: Vec<_> = handshake.connection.topics.iter().map(Topic::as_str).collect();
        assert_eq!(names, ["chat", "chat/a", "chat/g/1"]);
        let kept = handshake.connection.web_pubsub.unwrap();
        assert_eq!((kept.client.hub.as_str(), kept.client.groups.len()), ("chat", 0));
        let refusal = read(|event| {
            in_hub(event, &said);
            query(event, &[("topic", &["a"])]);
        });
        assert_eq!(refusal.unwrap_err().status(), 400);
    }

    #[test]
    fn a_client_of_web_pubsub_without_a_subprotocol_says_where_its_frames_go() {
        let raw = |pairs: &[(&str, &[&str])]| {
            read(|event| {
                event["requestContext"]["authorizer"]["webPubSub"] = json!(r#"{"hub":"chat","groups":["g"]}"#);
                query(event, &[&[("protocol", &["webpubsub.raw"][..])], pairs].concat());
            })
        };
        let events = raw(&[("webpubsub_mode", &["sendEvent"]), ("group", &["g"])]).unwrap();
        assert_eq!((events.connection.protocol, events.subprotocol), (Protocol::WebPubSubRaw, None));
        assert_eq!(events.connection.topics.len(), 2, "those of its token");
        assert_eq!(events.connection.web_pubsub.unwrap().client.sends_to, None);
        let messages = raw(&[("webpubsub_mode", &["SendToGroup"]), ("group", &["a/b"]), ("noEcho", &["true"])]);
        let sends_to = messages.unwrap().connection.web_pubsub.unwrap().client.sends_to;
        assert_eq!(sends_to, Some(SendsTo { group: "a/b".to_owned(), no_echo: true }));
        for (pairs, start) in [
            (&[("webpubsub_mode", &["fly"][..])][..], "?webpubsub_mode= is not known"),
            (&[("webpubsub_mode", &["sendToGroup"])], "the group is blank"),
            (&[("topic", &["a"])], "?topic= is not for clients"),
        ] {
            let refusal = raw(pairs).unwrap_err();
            assert!(refusal.status() == 400 && refusal.to_string().starts_with(start), "{refusal}");
        }
    }

    #[test]
    fn without_a_hub_from_the_authorizer_nobody_speaks_web_pubsub_and_nobody_speaks_what_the_stack_does_not() {
        let offer = |name: &str| read(|event| event["headers"]["sec-websocket-protocol"] = json!(name));
        assert_eq!(offer("json.webpubsub.azure.v1").unwrap_err().status(), 401);
        let binary = offer("protobuf.webpubsub.azure.v1").unwrap_err();
        assert!(
            binary.status() == 400 && binary.to_string().starts_with("only subprotocols with binary frames"),
            "{binary}"
        );
        let handshake = Handshake::new(tidings::ConnectionId::parse("c").unwrap());
        let handshake = handshake.with_header("Sec-WebSocket-Protocol", "json.webpubsub.azure.v1");
        for (spoken, expected) in [("", None), ("centrifuge", None), ("webpubsub", Some(Protocol::WebPubSub))] {
            let protocol = protocol(&handshake, &Spoken::parse(spoken).unwrap()).ok().map(|(protocol, _)| protocol);
            assert_eq!(protocol, expected, "{spoken}");
        }
    }

    fn assert_refused(change: impl FnOnce(&mut Value), start: &str) {
        let refusal = read(change).unwrap_err();
        assert_eq!(refusal.status(), 400);
        assert!(refusal.to_string().starts_with(start), "{refusal}");
    }
}
