//! A client of Centrifugo's protocol that neither sorts nor drops what it gets: a message that is not the next one is a
//! failure. It comes back when its connection ends, and says where it is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::TOPIC;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a client has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// The last offset it has; `None` before it is subscribed.
    pub(super) last: Option<u64>,
    epoch: String,
    /// Messages that were pushed.
    pub(super) pushed: u64,
    /// Messages that came in the reply to a subscribe.
    pub(super) recovered: u64,
    /// How often it was subscribed.
    pub(super) subscribed: u64,
    /// When the last message came.
    pub(super) last_at: Option<Instant>,
    /// The longest time between two messages.
    pub(super) longest_silence: Duration,
    /// What should not have come.
    pub(super) failures: Vec<String>,
}

/// The client. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Strict {
    seen: Arc<Mutex<Seen>>,
    running: JoinHandle<()>,
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Strict {
    pub(super) fn start(url: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let running = tokio::spawn(come_again(format!("{url}?protocol=centrifuge"), Arc::clone(&seen)));
        Self { seen, running }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn come_again(url: String, seen: Arc<Mutex<Seen>>) {
    loop {
        if let Ok((socket, _)) = connect_async(&url).await {
            listen(socket, &seen).await;
        }
        sleep(Duration::from_millis(fastrand::u64(50..500))).await;
    }
}

/// Listens until the connection ends.
async fn listen(mut socket: Socket, seen: &Mutex<Seen>) {
    if socket.send(Message::text(json!({"id": 1, "connect": {}}).to_string())).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let answer = seen.lock().unwrap().take(&line);
            let Some(answer) = answer else { continue };
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                return;
            }
        }
    }
}

impl Seen {
    /// Takes what the server says; what it is answered.
    fn take(&mut self, line: &Value) -> Option<Value> {
        if line.as_object().is_some_and(serde_json::Map::is_empty) {
            return Some(json!({}));
        }
        if line.get("connect").is_some() {
            return Some(json!({"id": 2, "subscribe": self.subscribe()}));
        }
        if let Some(reply) = line.get("subscribe") {
            self.subscribed(reply);
        } else if line["push"].get("pub").is_some() {
            self.pushed += 1;
            self.got(&line["push"]["pub"], "a push");
        } else if line["push"].get("disconnect").is_none() {
            self.failures.push(format!("not expected: {line}"));
        }
        None
    }

    fn subscribe(&self) -> Value {
        match self.last {
            None => json!({"channel": TOPIC}),
            Some(offset) => json!({"channel": TOPIC, "recover": true, "offset": offset, "epoch": self.epoch}),
        }
    }

    fn subscribed(&mut self, reply: &Value) {
        self.subscribed += 1;
        reply["epoch"].as_str().unwrap_or_default().clone_into(&mut self.epoch);
        let Some(before) = self.last else {
            self.last = Some(reply["offset"].as_u64().unwrap_or_default());
            return;
        };
        if reply["recovered"] != true {
            self.failures.push(format!("not recovered behind {before}: {reply}"));
        }
        for publication in reply["publications"].as_array().into_iter().flatten() {
            self.recovered += 1;
            self.got(publication, "a reply");
        }
    }

    fn got(&mut self, publication: &Value, way: &str) {
        let (offset, last) = (publication["offset"].as_u64().unwrap_or_default(), self.last.unwrap_or_default());
        if offset != last + 1 {
            self.failures.push(format!("{offset} came behind {last}, in {way}"));
        }
        let now = Instant::now();
        let silence = self.last_at.replace(now).map_or(Duration::ZERO, |last| now - last);
        self.longest_silence = self.longest_silence.max(silence);
        self.last = Some(offset);
    }
}
