//! The JSON that functions receive, in the form of captured events.
//!
//! What a capture does not have is absent, not `null`: no query keys without a query, no headers with a message.

use bytes::Bytes;
use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;

use super::ids;
use super::request::{Handshake, Pairs};

/// `dd/MMM/yyyy:HH:mm:ss +0000`, as in Apache's logs.
const REQUEST_TIME: &[FormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// What an authorizer said about a client: goes into every event of its connection.
pub(super) type AuthorizerContext = Map<String, Value>;

/// What all events of one connection have in common.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) api_id: String,
    pub(super) stage: String,
    pub(super) stage_variables: IndexMap<String, String>,
    pub(super) connection_id: String,
    /// Epoch milliseconds; set before the authorizer runs.
    pub(super) connected_at: i64,
    pub(super) domain_name: String,
    pub(super) identity: Identity,
}

/// Who is at the other end.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) source_ip: String,
    /// Only if the client sent one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_agent: Option<String>,
    /// Only of a client that signed.
    #[serde(flatten)]
    pub(super) caller: Option<Caller>,
}

/// Whose signature a handshake has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Caller {
    pub(super) principal_org_id: &'static str,
    pub(super) account_id: String,
    pub(super) caller: String,
    pub(super) user: String,
    pub(super) user_arn: String,
    pub(super) access_key: String,
}

/// An event and the id that stands in it as `requestId`.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
}

impl Event {
    /// All of it as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or_default()
    }

    /// Its `requestContext`.
    pub(super) fn context(&self) -> Value {
        self.json()["requestContext"].take()
    }
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<IndexMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<IndexMap<&'a str, Vec<&'a str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_parameters: Option<IndexMap<&'a str, &'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_query_string_parameters: Option<IndexMap<&'a str, Vec<&'a str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_variables: Option<&'a IndexMap<String, String>>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_base64_encoded: Option<bool>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    route_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<&'a AuthorizerContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    event_type: &'static str,
    extended_request_id: &'a str,
    request_time: String,
    message_direction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    disconnect_reason: Option<&'a str>,
    stage: &'a str,
    connected_at: i64,
    request_time_epoch: i64,
    identity: Option<&'a Identity>,
    request_id: &'a str,
    domain_name: &'a str,
    connection_id: &'a str,
    api_id: &'a str,
}

impl Origin {
    /// The `$connect` event.
    pub(super) fn connect(&self, handshake: &Handshake, authorizer: Option<&AuthorizerContext>) -> Event {
        let request_id = ids::request();
        let headers = handshake.event_headers();
        let envelope = Envelope {
            request_context: RequestContext {
                authorizer,
                ..self.context("$connect", "CONNECT", &request_id, epoch_ms())
            },
            is_base64_encoded: Some(false),
            ..self.opening(&headers, handshake.query())
        };
        finish(&envelope, &request_id)
    }

    /// The event of a REQUEST authorizer: like `$connect`, with the headers of the upgrade and without a body's keys.
    pub(super) fn authorize(&self, handshake: &Handshake, method_arn: &str) -> Event {
        let request_id = ids::request();
        let headers = handshake.authorizer_headers();
        let envelope = Envelope {
            kind: Some("REQUEST"),
            method_arn: Some(method_arn),
            request_context: self.context("$connect", "CONNECT", &request_id, epoch_ms()),
            stage_variables: Some(&self.stage_variables),
            ..self.opening(&headers, handshake.query())
        };
        finish(&envelope, &request_id)
    }

    /// The event of one text message that came at `at`, in epoch milliseconds.
    pub(super) fn message(
        &self,
        authorizer: Option<&AuthorizerContext>,
        route_key: &str,
        body: &str,
        at: i64,
    ) -> Event {
        let request_id = ids::request();
        let envelope = Envelope {
            request_context: RequestContext {
                authorizer,
                message_id: Some(ids::message(&self.connection_id)),
                ..self.context(route_key, "MESSAGE", &request_id, at)
            },
            stage_variables: self.variables(),
            body: Some(body),
            is_base64_encoded: Some(false),
            ..Envelope::default()
        };
        finish(&envelope, &request_id)
    }

    /// The `$disconnect` event. Its headers are synthetic, three of them empty, as captured.
    pub(super) fn disconnect(&self, authorizer: Option<&AuthorizerContext>, code: u16, reason: &str) -> Event {
        let request_id = ids::request();
        let headers =
            [("Host", self.domain_name.as_str()), ("x-api-key", ""), ("X-Forwarded-For", ""), ("x-restapi", "")];
        let envelope = Envelope {
            headers: Some(headers.into_iter().collect()),
            multi_value_headers: Some(headers.into_iter().map(|(name, value)| (name, vec![value])).collect()),
            request_context: RequestContext {
                authorizer,
                disconnect_status_code: Some(code),
                disconnect_reason: Some(reason),
                ..self.context("$disconnect", "DISCONNECT", &request_id, epoch_ms())
            },
            stage_variables: self.variables(),
            is_base64_encoded: Some(false),
            ..Envelope::default()
        };
        finish(&envelope, &request_id)
    }

    fn opening<'a>(&'a self, headers: &'a Pairs, query: &'a Pairs) -> Envelope<'a> {
        let has_query = !query.is_empty();
        Envelope {
            headers: Some(last_values(headers)),
            multi_value_headers: Some(all_values(headers)),
            query_string_parameters: has_query.then(|| last_values(query)),
            multi_value_query_string_parameters: has_query.then(|| all_values(query)),
            stage_variables: self.variables(),
            ..Envelope::default()
        }
    }

    /// Captures are of stages without variables and lack the key; that it is there when a stage has some is REST's way.
    fn variables(&self) -> Option<&IndexMap<String, String>> {
        (!self.stage_variables.is_empty()).then_some(&self.stage_variables)
    }

    fn context<'a>(
        &'a self,
        route_key: &'a str,
        event_type: &'static str,
        request_id: &'a str,
        now: i64,
    ) -> RequestContext<'a> {
        RequestContext {
            route_key,
            event_type,
            extended_request_id: request_id,
            request_time: request_time(now),
            message_direction: "IN",
            stage: &self.stage,
            connected_at: self.connected_at,
            request_time_epoch: now,
            identity: Some(&self.identity),
            request_id,
            domain_name: &self.domain_name,
            connection_id: &self.connection_id,
            api_id: &self.api_id,
            ..RequestContext::default()
        }
    }
}

fn last_values(pairs: &Pairs) -> IndexMap<&str, &str> {
    all_values(pairs).into_iter().map(|(name, values)| (name, values.last().copied().unwrap_or_default())).collect()
}

fn all_values(pairs: &Pairs) -> IndexMap<&str, Vec<&str>> {
    let mut all: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for (name, value) in pairs {
        all.entry(name).or_default().push(value);
    }
    all
}

fn finish(envelope: &Envelope<'_>, request_id: &str) -> Event {
    let payload = serde_json::to_vec(envelope).expect("an envelope has only text keys and writes to memory");
    Event { request_id: request_id.to_owned(), payload: payload.into() }
}

/// Now, in epoch milliseconds.
pub(super) fn epoch_ms() -> i64 {
    let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_millis());
    i64::try_from(elapsed).unwrap_or(i64::MAX)
}

pub(super) fn request_time(epoch_ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(epoch_ms / 1000)
        .ok()
        .and_then(|time| time.format(REQUEST_TIME).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use serde_json::json;

    use super::super::head::RawHead;
    use super::*;

    const CONNECTION: &str = "BFHPhfCWIAMCKlQ=";

    fn origin(user_agent: Option<&str>) -> Origin {
        Origin {
            api_id: "abcdef1234".to_owned(),
            stage: "prod".to_owned(),
            stage_variables: IndexMap::new(),
            connection_id: CONNECTION.to_owned(),
            connected_at: 1_731_324_924_553,
            domain_name: "localhost:3030".to_owned(),
            identity: Identity {
                source_ip: "127.0.0.1".to_owned(),
                user_agent: user_agent.map(str::to_owned),
                caller: None,
            },
        }
    }

    fn handshake(uri: &str) -> Handshake {
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        let headers = [
            ("Host", "localhost:3030"),
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("X-Twice", "one"),
            ("X-Twice", "two"),
            ("X-Amzn-Trace-Id", "Root=1-6731ebfc-08e1e656421db73c5d2eef31"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        request.extensions_mut().insert(RawHead { target: uri.to_owned(), headers });
        Handshake::new(&request)
    }

    /// Checks what differs between events and leaves what does not.
    #[track_caller]
    fn settled(event: &Event) -> Value {
        let mut value: Value = serde_json::from_slice(&event.payload).unwrap();
        let context = value["requestContext"].as_object_mut().unwrap();
        assert_eq!(context["requestId"], event.request_id);
        assert_eq!(context.remove("requestId"), context.remove("extendedRequestId"));
        let epoch = context.remove("requestTimeEpoch").unwrap().as_i64().unwrap();
        assert!((epoch - epoch_ms()).abs() < 60_000, "{epoch} is not now");
        assert_eq!(context.remove("requestTime").unwrap(), request_time(epoch));
        value
    }

    fn headers() -> (Value, Value) {
        let trace = "Root=1-6731ebfc-08e1e656421db73c5d2eef31";
        (
            json!({"Host": "localhost:3030", "X-Amzn-Trace-Id": trace, "X-Forwarded-For": "127.0.0.1",
                "X-Forwarded-Port": "80", "X-Forwarded-Proto": "http", "X-Twice": "two"}),
            json!({"Host": ["localhost:3030"], "X-Amzn-Trace-Id": [trace], "X-Forwarded-For": ["127.0.0.1"],
                "X-Forwarded-Port": ["80"], "X-Forwarded-Proto": ["http"], "X-Twice": ["one", "two"]}),
        )
    }

    #[test]
    fn a_connect_event_has_the_captured_shape() {
        let (headers, multi_value_headers) = headers();
        let event = settled(&origin(None).connect(&handshake("/prod"), None));
        assert_eq!(
            event,
            json!({"headers": headers, "multiValueHeaders": multi_value_headers,
                "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "messageDirection": "IN",
                    "stage": "prod", "connectedAt": 1_731_324_924_553_i64, "identity": {"sourceIp": "127.0.0.1"},
                    "domainName": "localhost:3030", "connectionId": CONNECTION, "apiId": "abcdef1234"},
                "isBase64Encoded": false})
        );
    }

    #[test]
    fn query_authorizer_and_user_agent_are_there_if_there_are_any() {
        let context = json!({"principalId": "u", "integrationLatency": 21}).as_object().unwrap().clone();
        let event = settled(&origin(Some("test/1")).connect(&handshake("/prod?a=1&a=2&b="), Some(&context)));
        assert_eq!(event["queryStringParameters"], json!({"a": "2", "b": ""}));
        assert_eq!(event["multiValueQueryStringParameters"], json!({"a": ["1", "2"], "b": [""]}));
        assert_eq!(event["requestContext"]["authorizer"], json!({"principalId": "u", "integrationLatency": 21}));
        assert_eq!(event["requestContext"]["identity"], json!({"sourceIp": "127.0.0.1", "userAgent": "test/1"}));
    }

    #[test]
    fn a_message_event_has_no_headers_and_no_query() {
        let event = settled(&origin(None).message(None, "chat", "{\"action\":\"chat\"}", epoch_ms()));
        let message_id = event["requestContext"]["messageId"].as_str().unwrap().to_owned();
        assert_eq!(message_id[11..], CONNECTION[11..]);
        assert_eq!(
            event,
            json!({"requestContext": {"routeKey": "chat", "messageId": message_id, "eventType": "MESSAGE",
                    "messageDirection": "IN", "stage": "prod", "connectedAt": 1_731_324_924_553_i64,
                    "identity": {"sourceIp": "127.0.0.1"}, "domainName": "localhost:3030",
                    "connectionId": CONNECTION, "apiId": "abcdef1234"},
                "body": "{\"action\":\"chat\"}", "isBase64Encoded": false})
        );
    }

    #[test]
    fn a_disconnect_event_has_its_synthetic_headers() {
        let reason = "Client-side close frame status not set";
        let event = settled(&origin(None).disconnect(None, 1005, reason));
        assert_eq!(
            event,
            json!({"headers": {"Host": "localhost:3030", "x-api-key": "", "X-Forwarded-For": "", "x-restapi": ""},
                "multiValueHeaders": {"Host": ["localhost:3030"], "x-api-key": [""], "X-Forwarded-For": [""],
                    "x-restapi": [""]},
                "requestContext": {"routeKey": "$disconnect", "disconnectStatusCode": 1005,
                    "eventType": "DISCONNECT", "messageDirection": "IN", "disconnectReason": reason,
                    "stage": "prod", "connectedAt": 1_731_324_924_553_i64, "identity": {"sourceIp": "127.0.0.1"},
                    "domainName": "localhost:3030", "connectionId": CONNECTION, "apiId": "abcdef1234"},
                "isBase64Encoded": false})
        );
    }

    #[test]
    fn an_authorizer_event_has_the_upgrade_and_the_arn_but_no_body() {
        let arn = "arn:aws:execute-api:us-east-1:123456789012:abcdef1234/prod/$connect";
        let event = settled(&origin(None).authorize(&handshake("/prod"), arn));
        let (mut headers, _) = headers();
        headers["Connection"] = "upgrade".into();
        headers["Upgrade"] = "websocket".into();
        headers["content-length"] = "0".into();
        assert_eq!(event["type"], "REQUEST");
        assert_eq!(event["methodArn"], arn);
        assert_eq!(event["headers"], headers);
        assert_eq!(event["stageVariables"], json!({}));
        assert_eq!(event["requestContext"]["connectionId"], CONNECTION);
        for absent in ["isBase64Encoded", "body", "queryStringParameters", "multiValueQueryStringParameters"] {
            assert_eq!(event.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn stage_variables_are_there_if_the_stage_has_some() {
        let mut origin = origin(None);
        origin.stage_variables.insert("table".to_owned(), "t1".to_owned());
        let handshake = handshake("/prod");
        for event in [
            origin.connect(&handshake, None),
            origin.authorize(&handshake, "arn"),
            origin.message(None, "chat", "", epoch_ms()),
            origin.disconnect(None, 1000, ""),
        ] {
            assert_eq!(settled(&event)["stageVariables"], json!({"table": "t1"}));
        }
    }

    #[test]
    fn keys_come_in_the_order_of_the_captures() {
        let event = origin(None).message(None, "chat", "hi", epoch_ms());
        let text = std::str::from_utf8(&event.payload).unwrap();
        let keys = [
            "routeKey",
            "messageId",
            "eventType",
            "extendedRequestId",
            "requestTime",
            "messageDirection",
            "stage",
            "connectedAt",
            "requestTimeEpoch",
            "identity",
            "\"requestId",
            "domainName",
            "connectionId",
            "apiId",
            "body",
            "isBase64Encoded",
        ];
        let places: Vec<_> = keys.iter().map(|key| text.find(key).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn request_times_are_in_the_common_log_format() {
        assert_eq!(request_time(1_731_324_924_561), "11/Nov/2024:11:35:24 +0000");
    }
}
