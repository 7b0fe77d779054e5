//! A client with a real WebSocket.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message as WebSocketMessage};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::PATIENCE;
use crate::rest::Rest;

/// A client that is about to connect.
#[derive(Debug)]
#[must_use = "it connects with `connect`"]
pub struct Connecting {
    url: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    rest: Option<Rest>,
}

impl Connecting {
    pub(crate) fn to(url: &str, rest: Rest) -> Self {
        Self { rest: Some(rest), ..Self::at(url) }
    }

    fn at(url: &str) -> Self {
        Self { url: url.to_owned(), query: Vec::new(), headers: Vec::new(), rest: None }
    }

    /// Calls itself so. A stack takes its word with `Authentication=anonymous`, as in `tidings dev`.
    pub fn user(self, user: &str) -> Self {
        self.query("user", user)
    }

    /// Listens to a topic from the start.
    pub fn topic(self, topic: &str) -> Self {
        self.query("topic", topic)
    }

    /// Shows a token, as one of [`Stack::token`](crate::Stack::token).
    pub fn token(self, token: &str) -> Self {
        let value = format!("Bearer {token}");
        self.header("Authorization", &value)
    }

    /// Speaks another protocol, as `raw`.
    pub fn protocol(self, name: &str) -> Self {
        self.query("protocol", name)
    }

    /// A parameter of the URL; one name may come several times.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header of the handshake.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Connects.
    ///
    /// # Panics
    /// When the handshake is refused, or nothing answers.
    pub async fn connect(self) -> Client {
        let url = self.url.clone();
        match self.try_connect().await {
            Ok(client) => client,
            Err(status) => panic!("{url} refused the handshake with {status}"),
        }
    }

    /// Connects, or says with which status the handshake was refused.
    ///
    /// # Errors
    /// That status.
    ///
    /// # Panics
    /// When nothing answers.
    pub async fn try_connect(self) -> Result<Client, u16> {
        let pairs = self.query.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let separator = if self.url.contains('?') { "&" } else { "?" };
        let url = if query.is_empty() { self.url } else { format!("{}{separator}{query}", self.url) };
        let mut request = url.as_str().into_client_request().expect("the URL is one");
        for (name, value) in self.headers {
            let name = tokio_tungstenite::tungstenite::http::HeaderName::try_from(name).expect("a header's name");
            request.headers_mut().append(name, value.parse().expect("a header's value"));
        }
        match timeout(PATIENCE, connect_async(request)).await.expect("the handshake is answered in time") {
            Ok((socket, response)) => {
                let chosen = response.headers().get("sec-websocket-protocol");
                let subprotocol = chosen.and_then(|name| name.to_str().ok()).map(str::to_owned);
                Ok(Client { socket, subprotocol, early: VecDeque::new(), calls: 0, rest: self.rest })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("cannot connect to {url}: {error}"),
        }
    }
}

/// Everything but what RFC 3986 calls unreserved, percent-encoded.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A message as a client of `tidings.v1.json` gets it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Message {
    /// The notification's id.
    pub id: String,
    /// The topic that reached the client, where one did.
    pub topic: Option<String>,
    /// The notification's `type`, where it has one.
    pub event: Option<String>,
    /// When it happened, in milliseconds since the epoch.
    pub at: i64,
    /// What was sent.
    pub data: Value,
}

impl Message {
    /// What was sent, read into a type of the test's own.
    ///
    /// # Panics
    /// When it does not fit.
    #[must_use]
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_value(self.data.clone()).unwrap_or_else(|error| panic!("{error}, in the data {}", self.data))
    }
}

/// What a client is told when a command or an action does not do what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Refused {
    /// For programs, as `BadRequest`, or a code of the application's own.
    pub code: String,
    /// For people.
    pub message: String,
}

/// One open WebSocket.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// What came while a reply was waited for.
    early: VecDeque<String>,
    calls: u64,
    rest: Option<Rest>,
}

impl Client {
    /// Connects to a URL without offering a subprotocol.
    ///
    /// # Panics
    /// When the handshake is refused.
    pub async fn connect(url: &str) -> Self {
        Connecting::at(url).connect().await
    }

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
    pub async fn open(url: &str, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let connecting = Connecting::at(url);
        headers.iter().fold(connecting, |client, (name, value)| client.header(name, value)).try_connect().await
    }

    /// Sends a text frame.
    ///
    /// # Panics
    /// When the socket is closed.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(WebSocketMessage::text(text.into())).await.expect("the socket is open");
    }

    /// The next text frame.
    ///
    /// # Panics
    /// When the socket closes first, or nothing comes.
    pub async fn text(&mut self) -> String {
        match self.early.pop_front() {
            Some(text) => text,
            None => self.arriving().await,
        }
    }

    async fn arriving(&mut self) -> String {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame should come") {
                Some(Ok(WebSocketMessage::Text(text))) => return text.to_string(),
                Some(Ok(WebSocketMessage::Ping(_) | WebSocketMessage::Pong(_))) => {}
                other => panic!("a text frame should come, not {other:?}"),
            }
        }
    }

    /// The next text frame, as JSON.
    ///
    /// # Panics
    /// When it is something else, or nothing comes.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}, in the frame {text}"))
    }

    /// The next message.
    ///
    /// # Panics
    /// When something else comes first, or nothing.
    pub async fn message(&mut self) -> Message {
        let frame = self.json().await;
        assert_eq!(frame["type"], "message", "a message should come, not {frame}");
        serde_json::from_value(frame.clone()).unwrap_or_else(|error| panic!("{error}, in the message {frame}"))
    }

    /// Sends a frame and gives the next one that comes.
    ///
    /// # Panics
    /// When none comes.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.send(command.to_string()).await;
        self.json().await
    }

    /// Calls an action, or a command, and gives what its reply says: the data of an action, the fields of a command, null
    /// where it is only acknowledged. Messages that come before it are kept for [`Self::message`].
    ///
    /// # Errors
    /// What the reply says, where it is an error.
    ///
    /// # Panics
    /// When the body is no object, or no reply comes.
    pub async fn call(&mut self, action: &str, body: Value) -> Result<Value, Refused> {
        self.calls += 1;
        let id = json!(format!("call-{}", self.calls));
        let Value::Object(mut fields) = body else { panic!("the body of an action is an object, not {body}") };
        fields.insert("action".to_owned(), action.into());
        fields.insert("id".to_owned(), id.clone());
        self.send(Value::Object(fields).to_string()).await;
        let mut reply = self.reply(&id).await;
        if reply["type"] == "error" {
            return Err(serde_json::from_value(reply).expect("an error has a code and a message"));
        }
        let Some(fields) = reply.as_object_mut() else { panic!("a reply is an object, not {reply}") };
        fields.retain(|name, _| !["type", "id"].contains(&name.as_str()));
        Ok(match fields.remove("data") {
            Some(data) => data,
            None if fields.is_empty() => Value::Null,
            None => reply,
        })
    }

    /// The reply of this id, whatever comes before it.
    async fn reply(&mut self, id: &Value) -> Value {
        loop {
            let text = self.arriving().await;
            match serde_json::from_str::<Value>(&text) {
                Ok(frame) if frame["id"] == *id && frame["type"] != "message" => return frame,
                _ => self.early.push_back(text),
            }
        }
    }

    /// Subscribes to a topic.
    ///
    /// # Panics
    /// When that is not acknowledged.
    pub async fn subscribe(&mut self, topic: &str) {
        let reply = self.ask(json!({"action": "subscribe", "topic": topic, "id": 1})).await;
        assert_eq!((&reply["type"], &reply["id"]), (&json!("ack"), &json!(1)), "{reply}");
    }

    /// Waits until the stack is at rest, and shows that nothing has come.
    ///
    /// # Panics
    /// When something has.
    pub async fn silence(&mut self) {
        if let Some(rest) = self.rest.clone() {
            rest.wait().await;
        }
        self.hears_nothing().await;
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
            Some(Ok(WebSocketMessage::Close(frame))) => frame,
            other => panic!("a close should come, not {other:?}"),
        }
    }

    /// The code of the close frame that comes next, as 1001 or 1005; 1006 where the connection is only cut.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn close_code(&mut self) -> u16 {
        match timeout(PATIENCE, self.socket.next()).await.expect("a close should come") {
            Some(Ok(WebSocketMessage::Close(frame))) => frame.map_or(1005, |frame| frame.code.into()),
            None | Some(Err(_)) => 1006,
            other => panic!("a close should come, not {other:?}"),
        }
    }

    /// Closes with a code and a reason, and waits for the answer.
    ///
    /// # Panics
    /// When the other side says something else first.
    pub async fn leave(mut self, code: u16, reason: &str) -> Option<CloseFrame> {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        self.socket.close(Some(frame)).await.expect("the socket is open");
        self.closed().await
    }

    /// Closes the socket.
    pub async fn close(mut self) {
        // It may be closed already.
        let _ = self.socket.close(None).await;
    }
}
