//! A gateway on a port of its own, the functions behind it, and clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};

use super::super::{Gateway, Settings, serve};
use tidings_local_lambda::{Endpoint, Invoker};
use tidings_local_stack::{Authorizer, ConnectAuthorization, Integration, Route, Stage, WebSocketApi};

/// Nothing here takes this long unless it is broken.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) type Client = WebSocketStream<TcpStream>;

/// How an invocation ends.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Returns(Value),
    Fails(Value),
    /// Lambda itself says no.
    Refused,
}

pub(super) fn returns(value: Value) -> Outcome {
    Outcome::Returns(value)
}

pub(super) fn ok() -> Outcome {
    returns(json!({"statusCode": 200}))
}

pub(super) fn fails(message: &str) -> Outcome {
    Outcome::Fails(json!({"errorMessage": message, "errorType": "Error"}))
}

type Handler = Arc<dyn Fn(Value) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// Functions by name, and what they were invoked with.
#[derive(Clone, Default)]
pub(super) struct Functions {
    handlers: HashMap<String, Handler>,
    invocations: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Functions {
    /// A function that takes its time.
    pub(super) fn on<F>(mut self, name: &str, handler: impl Fn(Value) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        self.handlers.insert(name.to_owned(), Arc::new(move |event| Box::pin(handler(event))));
        self
    }

    /// A function that always ends the same way.
    pub(super) fn always(self, name: &str, outcome: Outcome) -> Self {
        self.on(name, move |_| {
            let outcome = outcome.clone();
            async move { outcome }
        })
    }

    pub(super) fn events(&self, name: &str) -> Vec<Value> {
        let invocations = self.invocations.lock().unwrap();
        invocations.iter().filter(|(function, _)| function == name).map(|(_, event)| event.clone()).collect()
    }

    /// Waits until a function was invoked so many times.
    pub(super) async fn invoked(&self, name: &str, times: usize) -> Vec<Value> {
        eventually(&format!("{name} is invoked {times} times"), || {
            let events = self.events(name);
            (events.len() >= times).then_some(events)
        })
        .await
    }

    pub(super) async fn start(&self) -> Invoker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let path = "/2015-03-31/functions/{name}/invocations";
        let router = Router::new().route(path, axum::routing::post(invoke)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Invoker::Endpoint(Endpoint::new(&url).into())
    }
}

async fn invoke(State(functions): State<Functions>, Path(name): Path<String>, body: Bytes) -> Response {
    let event: Value = serde_json::from_slice(&body).unwrap();
    functions.invocations.lock().unwrap().push((name.clone(), event.clone()));
    let Some(handler) = functions.handlers.get(&name) else { return StatusCode::NOT_FOUND.into_response() };
    match handler(event).await {
        Outcome::Returns(value) => value.to_string().into_response(),
        Outcome::Fails(error) => ([("x-amz-function-error", "Unhandled")], error.to_string()).into_response(),
        Outcome::Refused => {
            let error = [("x-amzn-errortype", "AccessDeniedException")];
            (StatusCode::FORBIDDEN, error, r#"{"message":"no"}"#).into_response()
        }
    }
}

/// Polls until there is an answer.
pub(super) async fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let started = tokio::time::Instant::now();
    loop {
        if let Some(answer) = poll() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "it did not happen in time that {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn lambda(function: &str) -> Route {
    let integration = Integration::Lambda { function: function.to_owned(), timeout_ms: 29_000 };
    Route { integration, returns_response: false, authorization: ConnectAuthorization::None, validation: None }
}

pub(super) fn two_way(function: &str) -> Route {
    Route { returns_response: true, ..lambda(function) }
}

pub(super) fn impatient(function: &str, timeout_ms: u64) -> Route {
    let integration = Integration::Lambda { function: function.to_owned(), timeout_ms };
    Route { integration, ..lambda(function) }
}

pub(super) fn authorized(function: &str, identity_sources: &[&str]) -> Route {
    let identity_sources = identity_sources.iter().map(|source| (*source).to_owned()).collect();
    let authorizer = Authorizer { function: "authorizer".to_owned(), identity_sources };
    Route { authorization: ConnectAuthorization::Custom(authorizer), ..lambda(function) }
}

/// An API with the stage `dev`.
pub(super) fn api(routes: &[(&str, Route)]) -> WebSocketApi {
    WebSocketApi {
        api_id: "abcdef1234".to_owned(),
        route_selection_expression: "$request.body.action".to_owned(),
        stages: vec![Stage { name: "dev".to_owned(), ..Stage::default() }],
        routes: routes.iter().map(|(key, route)| ((*key).to_owned(), route.clone())).collect(),
        has_only_domains: false,
    }
}

/// `$connect` and `$disconnect` with functions of those names, and a two-way `$default` behind `default`.
pub(super) fn usual() -> WebSocketApi {
    api(&[("$connect", lambda("connect")), ("$disconnect", lambda("disconnect")), ("$default", two_way("default"))])
}

/// For [`usual`]: everything succeeds and `default` sends the body back.
pub(super) fn friendly() -> Functions {
    Functions::default()
        .always("connect", ok())
        .always("disconnect", ok())
        .on("default", |event| async move { returns(json!({"statusCode": 200, "body": event["body"]})) })
}

/// A running gateway.
pub(super) struct App {
    pub(super) gateway: Gateway,
    pub(super) address: SocketAddr,
    pub(super) functions: Functions,
}

impl App {
    pub(super) async fn start(api: WebSocketApi, functions: Functions) -> Self {
        Self::with_settings([api], functions, Settings::default()).await
    }

    pub(super) async fn with_settings(
        apis: impl IntoIterator<Item = WebSocketApi>,
        functions: Functions,
        settings: Settings,
    ) -> Self {
        let gateway = Gateway::new(apis, functions.start().await, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, None, gateway.router(), std::future::pending()));
        Self { gateway, address, functions }
    }

    /// A handshake at a path, with headers.
    pub(super) async fn open(&self, path: &str, headers: &[(&str, &str)]) -> Result<Client, tungstenite::Error> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        let stream = TcpStream::connect(self.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.map(|(client, _)| client)
    }

    pub(super) async fn connect(&self) -> Client {
        self.open("/dev", &[]).await.unwrap()
    }

    /// Connects, and tells the connection id; of one client at a time.
    pub(super) async fn connect_with_id(&self) -> (Client, String) {
        let before = self.functions.events("connect").len();
        let client = self.connect().await;
        let event = self.functions.invoked("connect", before + 1).await.remove(before);
        (client, event["requestContext"]["connectionId"].as_str().unwrap().to_owned())
    }

    /// The status of a handshake that is refused.
    pub(super) async fn refused(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        match self.open(path, headers).await {
            Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
            other => panic!("the handshake was not refused: {other:?}"),
        }
    }

    /// One HTTP request on a connection of its own.
    pub(super) async fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        Answer::read(&mut stream).await
    }

    /// A call of `@connections` in the stage `dev`.
    pub(super) async fn manage(&self, method: &str, id: &str, body: &[u8]) -> Answer {
        self.http(method, &format!("/dev/@connections/{id}"), &[], body).await
    }

    /// What `$disconnect` was told of the first connection: code and reason.
    pub(super) async fn disconnected(&self) -> (u64, String) {
        let event = self.functions.invoked("disconnect", 1).await.remove(0);
        let context = &event["requestContext"];
        let reason = context["disconnectReason"].as_str().unwrap().to_owned();
        (context["disconnectStatusCode"].as_u64().unwrap(), reason)
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Answer {
    /// Reads until the server closes, or until the head of an upgrade is complete.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        loop {
            let read = tokio::time::timeout(DEADLINE, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
            if read == 0 || bytes.starts_with(b"HTTP/1.1 101") && bytes.ends_with(b"\r\n\r\n") {
                return Self::parse(&bytes);
            }
        }
    }

    fn parse(bytes: &[u8]) -> Self {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let length = response.parse(bytes).unwrap().unwrap();
        let headers = response
            .headers
            .iter()
            .map(|header| (header.name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(header.value).unwrap()));
        let headers = headers.collect();
        let body = String::from_utf8(bytes[length..].to_vec()).unwrap();
        Self { status: response.code.unwrap(), headers, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub(super) async fn send(client: &mut Client, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}

/// The next message.
pub(super) async fn receive(client: &mut Client) -> Message {
    let next = tokio::time::timeout(DEADLINE, client.next()).await.expect("no message came in time");
    next.expect("the connection ended").unwrap()
}

pub(super) async fn receive_text(client: &mut Client) -> String {
    match receive(client).await {
        Message::Text(text) => text.as_str().to_owned(),
        other => panic!("{other:?} is not text"),
    }
}

/// The next message must be a close frame.
pub(super) async fn receive_close(client: &mut Client) -> Option<CloseFrame> {
    match receive(client).await {
        Message::Close(frame) => frame,
        other => panic!("{other:?} is not a close frame"),
    }
}

/// Sends a message that comes back at once, which shows that the connection is open and nothing came before.
pub(super) async fn assert_quiet(client: &mut Client) {
    send(client, "still here").await;
    assert_eq!(receive_text(client).await, "still here");
}
