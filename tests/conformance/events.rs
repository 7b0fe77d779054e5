//! Section 1: the events that functions get.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tests::wire;
use tidings_test::Client;

use super::bench::{Bench, connection_id, message_event};
use super::facts::Grade::{Cap, Doc, Infer, Unsure};
use super::facts::{Check, Fact, anywhere, fact};

pub(crate) const FACTS: &[Fact] = &[
    fact(
        "1.1",
        Cap,
        "Powertools' captures; DG: integration request",
        "A CONNECT event has headers, multiValueHeaders, requestContext and isBase64Encoded: false; beside the query keys nothing else, no body, path, httpMethod or resource.",
        anywhere!(connect_has_its_keys),
    ),
    fact(
        "1.2",
        Cap,
        "Powertools' captures",
        "The requestContext of a CONNECT event has the thirteen captured keys and no others.",
        anywhere!(connect_has_its_context),
    ),
    fact(
        "1.3",
        Cap,
        "Powertools' captures against DG: Lambda authorizers",
        "Connection, Upgrade and content-length are absent from a CONNECT event.",
        anywhere!(connect_lacks_the_upgrade),
    ),
    fact(
        "1.4",
        Cap,
        "Powertools' captures",
        "A CONNECT event has no query keys, not even null, where there is no query string.",
        anywhere!(no_query_keys_without_a_query),
    ),
    fact(
        "1.5",
        Cap,
        "DG: integration request",
        "A query string arrives decoded as queryStringParameters and multiValueQueryStringParameters.",
        anywhere!(queries_are_decoded),
    ),
    fact(
        "1.6",
        Cap,
        "Powertools' captures",
        "No event has stageVariables where the stage defines none.",
        anywhere!(no_variables_without_variables),
    ),
    fact(
        "1.7",
        Unsure,
        "no capture of a stage with variables",
        "Events carry stageVariables where the stage defines some.",
        anywhere!(variables_arrive),
    ),
    fact(
        "1.8",
        Cap,
        "Powertools' captures",
        "Header names keep the case that the client sent.",
        anywhere!(header_names_keep_their_case),
    ),
    fact(
        "1.9",
        Cap,
        "Powertools' captures",
        "A CONNECT event has Host, the Sec-WebSocket headers, X-Amzn-Trace-Id and X-Forwarded-For, -Port and -Proto.",
        anywhere!(headers_are_added),
    ),
    fact(
        "1.10",
        Cap,
        "Powertools' captures",
        "multiValueHeaders holds the same headers as lists.",
        anywhere!(multi_value_headers_are_lists),
    ),
    fact(
        "1.11",
        Cap,
        "Powertools' captures",
        "On CONNECT requestTimeEpoch is at most a few milliseconds after connectedAt.",
        anywhere!(connected_at_is_just_before),
    ),
    fact(
        "1.12",
        Cap,
        "Powertools' captures",
        "A MESSAGE event has requestContext, body and isBase64Encoded: false; no headers and no query keys.",
        anywhere!(message_has_its_keys),
    ),
    fact(
        "1.13",
        Cap,
        "Powertools' captures",
        "The body of a MESSAGE event is the text frame as it is.",
        anywhere!(the_body_is_the_frame),
    ),
    fact(
        "1.14",
        Doc,
        "DG: mapping template reference",
        "messageId is in MESSAGE events only.",
        anywhere!(message_ids_are_of_messages),
    ),
    fact(
        "1.15",
        Doc,
        "DG: mapping template reference",
        "routeKey is the selected route's key, $default where nothing else matches.",
        anywhere!(the_route_key_is_the_selected_one),
    ),
    fact(
        "1.16",
        Cap,
        "Powertools' captures; DG: integration request",
        "A DISCONNECT event has four synthetic headers, three of them empty, no query and no body, a numeric disconnectStatusCode and a disconnectReason.",
        anywhere!(disconnect_has_its_shape),
    ),
    fact("1.17", Cap, "all captures", "messageDirection is IN in every event.", anywhere!(the_direction_is_in)),
    fact(
        "1.18",
        Cap,
        "captures with and without",
        "identity has sourceIp always, and userAgent only if the client sent one.",
        anywhere!(identity_tells_the_user_agent),
    ),
    fact(
        "1.19",
        Cap,
        "a fixture of awslabs/aws-lambda-rust-runtime",
        "With an API key identity has apiKey and apiKeyId.",
        Check::None("API keys and usage plans are not emulated; a template that wants them gets a note"),
    ),
    fact(
        "1.20",
        Doc,
        "DG: WebSocket API logging",
        "With AWS_IAM identity has accountId, caller, user, userArn and principalOrgId.",
        Check::None(
            "the conformance stack has no route with AWS_IAM; the gateway's own tests check a signed handshake",
        ),
    ),
    fact(
        "1.21",
        Doc,
        "DG: mapping template reference; all captures",
        "requestId and extendedRequestId are the same, and new for each event.",
        anywhere!(request_ids_are_new),
    ),
    fact(
        "1.22",
        Doc,
        "DG: mapping template reference; all captures",
        "requestTime is in the common log format, and the epochs are whole milliseconds of the same time.",
        anywhere!(times_agree),
    ),
    fact(
        "1.23",
        Cap,
        "all captures",
        "apiId has ten lower-case letters and digits, and domainName is the host that the client connected to.",
        anywhere!(the_api_is_named),
    ),
    fact(
        "1.24",
        Cap,
        "twenty captured ids of nine APIs",
        "Connection, message and request ids have 16 characters: base64url of 11 bytes with one = at the end.",
        anywhere!(ids_have_their_form),
    ),
    fact(
        "1.25",
        Infer,
        "twenty captured ids of nine APIs",
        "The ninth byte tells the kind of id, and a message id ends like its connection's.",
        anywhere!(ids_tell_their_kind),
    ),
];

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn set<'a>(names: &[&'a str]) -> BTreeSet<&'a str> {
    names.iter().copied().collect()
}

async fn disconnected(bench: &Bench) -> Value {
    let (client, id) = bench.connect_with_id().await;
    client.close().await;
    bench.event(&id, "disconnect").await
}

async fn connect_has_its_keys(bench: Arc<Bench>) {
    let event = bench.connected(&bench.main, &[]).await;
    let expected = [
        "headers",
        "isBase64Encoded",
        "multiValueHeaders",
        "multiValueQueryStringParameters",
        "queryStringParameters",
        "requestContext",
    ];
    assert_eq!(keys(&event), set(&expected));
    assert_eq!(event["isBase64Encoded"], false);
}

const CONTEXT: [&str; 13] = [
    "apiId",
    "connectedAt",
    "connectionId",
    "domainName",
    "eventType",
    "extendedRequestId",
    "identity",
    "messageDirection",
    "requestId",
    "requestTime",
    "requestTimeEpoch",
    "routeKey",
    "stage",
];

async fn connect_has_its_context(bench: Arc<Bench>) {
    let event = bench.connected(&bench.main, &[]).await;
    let context = &event["requestContext"];
    assert_eq!(keys(context), set(&CONTEXT));
    assert_eq!((&context["routeKey"], &context["eventType"]), (&json!("$connect"), &json!("CONNECT")));
    assert_eq!(context["stage"], "main");
}

async fn connect_lacks_the_upgrade(bench: Arc<Bench>) {
    let event = bench.connected(&bench.main, &[]).await;
    for name in keys(&event["headers"]) {
        assert!(!["connection", "upgrade", "content-length"].contains(&name.to_lowercase().as_str()), "{name}");
    }
}

async fn no_query_keys_without_a_query(bench: Arc<Bench>) {
    let key = bench.key();
    Client::open(&bench.main, &[("x-key", &key)]).await.unwrap().close().await;
    let event = bench.event(&key, "connect").await;
    assert_eq!(keys(&event), set(&["headers", "isBase64Encoded", "multiValueHeaders", "requestContext"]));
}

async fn queries_are_decoded(bench: Arc<Bench>) {
    let event = bench.connected(&format!("{}?a=one%2Ftwo&a=c%20d&empty=", bench.main), &[]).await;
    let mut single = event["queryStringParameters"].clone();
    let key = single.as_object_mut().unwrap().remove("key").unwrap();
    assert_eq!(single, json!({"a": "c d", "empty": ""}));
    let expected = json!({"a": ["one/two", "c d"], "empty": [""], "key": [key]});
    assert_eq!(event["multiValueQueryStringParameters"], expected);
}

async fn no_variables_without_variables(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for event in [bench.connected(&bench.main, &[]).await, message_event(&mut client).await, disconnected(&bench).await]
    {
        assert_eq!(event.get("stageVariables"), None);
    }
}

async fn variables_arrive(bench: Arc<Bench>) {
    let event = bench.connected(&bench.limited, &[]).await;
    assert_eq!(event["stageVariables"], json!({"colour": "blue"}));
}

async fn header_names_keep_their_case(bench: Arc<Bench>) {
    let key = bench.key();
    let headers = [("x-api-key", "1"), ("X-OwN-Case", "2")];
    let (answer, _socket) = wire::handshake(&format!("{}?key={key}", bench.main), &headers).await;
    assert_eq!(answer.status, 101);
    let event = bench.event(&key, "connect").await;
    assert_eq!((&event["headers"]["x-api-key"], &event["headers"]["X-OwN-Case"]), (&json!("1"), &json!("2")));
    assert_eq!(event["headers"]["Sec-WebSocket-Key"], "dGhlIHNhbXBsZSBub25jZQ==");
}

async fn headers_are_added(bench: Arc<Bench>) {
    let key = bench.key();
    let (answer, _socket) = wire::handshake(&format!("{}?key={key}", bench.main), &[]).await;
    assert_eq!(answer.status, 101);
    let event = bench.event(&key, "connect").await;
    let expected = [
        "Host",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
        "X-Amzn-Trace-Id",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
    ];
    let names = keys(&event["headers"]);
    assert!(set(&expected).is_subset(&names), "{names:?}");
    assert!(event["headers"]["X-Amzn-Trace-Id"].as_str().unwrap().starts_with("Root=1-"));
}

async fn multi_value_headers_are_lists(bench: Arc<Bench>) {
    let event = bench.connected(&bench.main, &[]).await;
    assert_eq!(keys(&event["headers"]), keys(&event["multiValueHeaders"]));
    for (name, value) in event["headers"].as_object().unwrap() {
        assert_eq!(event["multiValueHeaders"][name], json!([value]), "{name}");
    }
}

async fn connected_at_is_just_before(bench: Arc<Bench>) {
    let event = bench.connected(&bench.main, &[]).await;
    let context = &event["requestContext"];
    let delay = context["requestTimeEpoch"].as_i64().unwrap() - context["connectedAt"].as_i64().unwrap();
    // AWS needs up to 8 ms; a busy laptop may need longer.
    assert!((0..1_000).contains(&delay), "{delay} ms");
}

async fn message_has_its_keys(bench: Arc<Bench>) {
    let mut client = Client::connect(&format!("{}?some=query", bench.main)).await;
    let event = message_event(&mut client).await;
    assert_eq!(keys(&event), set(&["body", "isBase64Encoded", "requestContext"]));
    assert_eq!(event["isBase64Encoded"], false);
    let mut expected = set(&CONTEXT);
    expected.insert("messageId");
    assert_eq!(keys(&event["requestContext"]), expected);
    assert_eq!(event["requestContext"]["eventType"], "MESSAGE");
}

async fn the_body_is_the_frame(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    let frame = r#" {"action" :"twoway","do":"event",  "text":"ünï \u00e9 😀"}"#;
    client.send(frame).await;
    assert_eq!(client.json().await["body"], frame);
}

async fn message_ids_are_of_messages(bench: Arc<Bench>) {
    for event in [bench.connected(&bench.main, &[]).await, disconnected(&bench).await] {
        assert_eq!(event["requestContext"].get("messageId"), None);
    }
}

async fn the_route_key_is_the_selected_one(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for (action, key) in [("twoway", "twoway"), ("other", "$default")] {
        let event = client.ask(json!({"action": action, "do": "event"})).await;
        assert_eq!(event["requestContext"]["routeKey"], key);
    }
}

async fn disconnect_has_its_shape(bench: Arc<Bench>) {
    let event = disconnected(&bench).await;
    assert_eq!(keys(&event), set(&["headers", "isBase64Encoded", "multiValueHeaders", "requestContext"]));
    let context = &event["requestContext"];
    let host = &context["domainName"];
    assert_eq!(event["headers"], json!({"Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""}));
    let lists = json!({"Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""]});
    assert_eq!(event["multiValueHeaders"], lists);
    let mut expected = set(&CONTEXT);
    expected.extend(["disconnectReason", "disconnectStatusCode"]);
    assert_eq!(keys(context), expected);
    assert!(context["disconnectStatusCode"].is_u64() && context["disconnectReason"].is_string(), "{context}");
    assert_eq!((&context["routeKey"], &context["eventType"]), (&json!("$disconnect"), &json!("DISCONNECT")));
}

async fn the_direction_is_in(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    for event in [bench.connected(&bench.main, &[]).await, message_event(&mut client).await, disconnected(&bench).await]
    {
        assert_eq!(event["requestContext"]["messageDirection"], "IN");
    }
}

async fn identity_tells_the_user_agent(bench: Arc<Bench>) {
    let with = bench.connected(&bench.main, &[("User-Agent", "conformance/1")]).await;
    assert_eq!(with["requestContext"]["identity"]["userAgent"], "conformance/1");
    let without = bench.connected(&bench.main, &[]).await;
    assert_eq!(keys(&without["requestContext"]["identity"]), set(&["sourceIp"]));
    let address = without["requestContext"]["identity"]["sourceIp"].as_str().unwrap();
    assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
}

async fn request_ids_are_new(bench: Arc<Bench>) {
    let mut client = bench.connect().await;
    let (first, second) = (message_event(&mut client).await, message_event(&mut client).await);
    let connect = bench.connected(&bench.main, &[]).await;
    let ids = [&first, &second, &connect].map(|event| event["requestContext"]["requestId"].clone());
    for event in [&first, &second, &connect] {
        assert_eq!(event["requestContext"]["requestId"], event["requestContext"]["extendedRequestId"]);
    }
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
}

async fn times_agree(bench: Arc<Bench>) {
    let event = message_event(&mut bench.connect().await).await;
    let context = &event["requestContext"];
    let time = context["requestTime"].as_str().unwrap();
    let (day, zone) = time.split_once(' ').unwrap();
    assert_eq!(zone, "+0000");
    let parts: Vec<_> = day.split(['/', ':']).collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    assert_eq!(lengths, [2, 3, 4, 2, 2, 2], "{time}");
    let number = |at: usize| parts[at].parse::<i64>().unwrap();
    let epoch = context["requestTimeEpoch"].as_i64().unwrap();
    assert_eq!(number(3) * 3_600 + number(4) * 60 + number(5), epoch / 1_000 % 86_400, "{time} against {epoch}");
    assert!(context["connectedAt"].as_i64().unwrap() <= epoch);
}

async fn the_api_is_named(bench: Arc<Bench>) {
    let event = message_event(&mut bench.connect().await).await;
    let api = event["requestContext"]["apiId"].as_str().unwrap();
    assert!(api.len() == 10 && api.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{api}");
    assert_eq!(event["requestContext"]["domainName"], wire::Url::parse(&bench.main).authority);
}

/// The eleven bytes of an id.
fn decode(id: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0_u128;
    let body = id.strip_suffix('=').unwrap_or_else(|| panic!("{id} does not end in one ="));
    assert_eq!(id.len(), 16, "{id}");
    for byte in body.bytes() {
        let value = alphabet.iter().position(|one| *one == byte).unwrap_or_else(|| panic!("{id} is no base64url"));
        bits = bits << 6 | value as u128;
    }
    // 90 bits, of which the last two are none of the 88.
    (bits >> 2).to_be_bytes()[5..].to_vec()
}

async fn ids(bench: &Bench) -> [String; 3] {
    let event = message_event(&mut bench.connect().await).await;
    ["connectionId", "messageId", "requestId"].map(|name| event["requestContext"][name].as_str().unwrap().to_owned())
}

async fn ids_have_their_form(bench: Arc<Bench>) {
    for id in ids(&bench).await {
        assert_eq!(decode(&id).len(), 11);
    }
    assert_eq!(decode("BFHPhfCWIAMCKlQ=")[8], 2, "a captured id");
}

async fn ids_tell_their_kind(bench: Arc<Bench>) {
    let [connection, message, request] = ids(&bench).await;
    assert_eq!([decode(&connection)[8], decode(&message)[8], decode(&request)[8]], [2, 2, 5]);
    assert_eq!(message[11..], connection[11..]);
    let again = connection_id(&mut bench.connect().await).await;
    assert_ne!(again, connection);
}
