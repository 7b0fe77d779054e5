//! A real WebSocket client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One open WebSocket.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
}

impl Client {
    /// Connects, offering these subprotocols; a refused handshake gives its status.
    ///
    /// # Errors
    /// The status of a refused handshake.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn offer(url: &str, subprotocols: &[&str]) -> Result<Self, u16> {
        let offer = subprotocols.join(", ");
        let headers = [("Sec-WebSocket-Protocol", offer.as_str())];
        Self::open(url, if subprotocols.is_empty() { &[] } else { &headers }).await
    }

    /// Connects with these headers; a refused handshake gives its status.
    ///
    /// # Errors
    /// The status of a refused handshake.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match timeout(PATIENCE, connect_async(request)).await.unwrap() {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                let subprotocol = chosen.map(|name| name.to_str().unwrap().to_owned());
                Ok(Self { socket, subprotocol })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("cannot connect to {url}: {error}"),
        }
    }

    /// Connects without offering a subprotocol.
    ///
    /// # Panics
    /// When the handshake is refused.
    pub async fn connect(url: &str) -> Self {
        Self::offer(url, &[]).await.unwrap()
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    /// The next text frame.
    ///
    /// # Panics
    /// When the socket closes first, or nothing comes.
    pub async fn text(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame should come") {
                Some(Ok(Message::Text(text))) => return text.to_string(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("a text frame should come, not {other:?}"),
            }
        }
    }

    /// The next text frame, as JSON.
    ///
    /// # Panics
    /// When it is something else.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.text().await).unwrap()
    }

    /// Sends a command and gives its reply.
    ///
    /// # Panics
    /// When no reply comes.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.send(command.to_string()).await;
        self.json().await
    }

    /// Subscribes to a topic.
    ///
    /// # Panics
    /// When that is not acknowledged.
    pub async fn subscribe(&mut self, topic: &str) {
        let reply = self.ask(json!({"action": "subscribe", "topic": topic, "id": 1})).await;
        assert_eq!(reply, json!({"type": "ack", "id": 1}));
    }

    /// Shows that nothing else came: the next frame answers a ping that is sent now.
    ///
    /// # Panics
    /// When something else came.
    pub async fn hears_nothing(&mut self) {
        assert_eq!(self.ask(json!({"action": "ping", "id": "quiet?"})).await, json!({"type": "pong", "id": "quiet?"}));
    }

    /// The close frame that comes next.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn closed(&mut self) -> Option<CloseFrame> {
        match timeout(PATIENCE, self.socket.next()).await.expect("a close should come") {
            Some(Ok(Message::Close(frame))) => frame,
            other => panic!("a close should come, not {other:?}"),
        }
    }

    /// Closes with a code and a reason, and waits for the answer.
    ///
    /// # Panics
    /// When the other side says something else first.
    pub async fn leave(mut self, code: u16, reason: &str) -> Option<CloseFrame> {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await.unwrap();
        self.closed().await
    }

    /// Closes the socket.
    pub async fn close(mut self) {
        // It may be closed already.
        let _ = self.socket.close(None).await;
    }
}
