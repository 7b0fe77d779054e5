//! A WebSocket server whose every word is the test's.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidings_client::{Builder, Client, Event, Events};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// A client of this server that comes back at once.
    pub(crate) fn client(&self) -> Builder {
        let url = format!("ws://{}/dev", self.0.local_addr().unwrap());
        Client::builder(url).backoff(Duration::from_millis(20), Duration::from_millis(100))
    }

    /// Takes the next connection.
    pub(crate) async fn accept(&self) -> Peer {
        self.accept_as(Some("tidings.v1.json")).await
    }

    /// Takes the next connection and says that it speaks this protocol.
    pub(crate) async fn accept_as(&self, protocol: Option<&'static str>) -> Peer {
        let stream = self.connection().await;
        let (mut headers, mut query) = (HeaderMap::new(), String::new());
        #[expect(clippy::result_large_err, reason = "the type of the answer is the library's")]
        let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            headers = request.headers().clone();
            query = request.uri().query().unwrap_or_default().to_owned();
            let protocol = protocol.map(|name| ("sec-websocket-protocol", HeaderValue::from_static(name)));
            protocol.into_iter().for_each(|(name, value)| drop(response.headers_mut().insert(name, value)));
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.unwrap();
        Peer { socket, headers, query }
    }

    /// Answers the next handshake with a status.
    pub(crate) async fn refuse(&self, status: &str) {
        let mut stream = self.connection().await;
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // Until the client has read it.
        let _ = timeout(PATIENCE, stream.readable()).await;
        let mut rest = [0; 4096];
        while stream.try_read(&mut rest).is_ok_and(|read| read > 0) {
            stream.readable().await.unwrap();
        }
    }

    async fn connection(&self) -> TcpStream {
        timeout(PATIENCE, self.0.accept()).await.expect("a client should come").unwrap().0
    }
}

/// A client's connection, seen by the server.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
    pub(crate) headers: HeaderMap,
    pub(crate) query: String,
}

impl Peer {
    /// The next command.
    pub(crate) async fn next(&mut self) -> Value {
        match timeout(PATIENCE, self.socket.next()).await.expect("a frame should come") {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("a command should come, not {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// Takes the subscription that has to come next, which is given back, and says where each topic stands.
    pub(crate) async fn subscribed(&mut self, topics: Value) -> Value {
        let command = self.next().await;
        assert_eq!(command["action"], "subscribe", "{command}");
        self.send(json!({"type": "ack", "id": command["id"], "topics": topics})).await;
        command
    }

    /// The code of the close that comes next.
    pub(crate) async fn close_code(&mut self) -> u16 {
        match timeout(PATIENCE, self.socket.next()).await.expect("a close should come") {
            Some(Ok(Message::Close(Some(frame)))) => frame.code.into(),
            other => panic!("a close should come, not {other:?}"),
        }
    }

    pub(crate) async fn close(mut self) {
        self.socket.close(None).await.unwrap();
    }
}

/// A message of the topic `a`.
pub(crate) fn message(offset: u64) -> Value {
    json!({"type": "message", "id": format!("n{offset}"), "topic": "a", "offset": offset, "epoch": "e", "at": 7, "data": offset})
}

/// What comes next.
pub(crate) async fn next(events: &mut Events) -> Event {
    timeout(PATIENCE, events.next()).await.expect("an event should come").expect("the client should go on")
}

pub(crate) async fn connected(events: &mut Events) {
    let event = next(events).await;
    assert!(matches!(event, Event::Connected), "{event:?}");
}

/// Why the connection was lost.
pub(crate) async fn disconnected(events: &mut Events) -> String {
    match next(events).await {
        Event::Disconnected { reason, .. } => reason.to_string(),
        event => panic!("the connection should be lost, not {event:?}"),
    }
}

/// The data of the next messages; nothing else may come between.
pub(crate) async fn messages<const N: usize>(events: &mut Events) -> [u64; N] {
    let mut data = [0; N];
    for one in &mut data {
        match next(events).await {
            Event::Message(message) => *one = message.read().unwrap(),
            event => panic!("a message should come, not {event:?}"),
        }
    }
    data
}
