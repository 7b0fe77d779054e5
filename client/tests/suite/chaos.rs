//! A server with a log, whose network does what it likes: pushes overtake one another and come twice, connections are cut, and the
//! client replaces its own. Each message comes once and in order all the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tidings_client::{Client, Event};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::server::message;

/// How many messages an answer has at most.
const PAGE: usize = 4;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many entries the log gets.
const ENTRIES: usize = 300;

#[derive(Clone)]
struct Server {
    /// Whether each entry is for the client.
    log: Arc<Mutex<Vec<bool>>>,
    /// How many entries there are.
    appended: watch::Sender<usize>,
    calm: watch::Sender<bool>,
}

impl Server {
    fn frame(&self, offset: usize) -> Value {
        match self.log.lock().unwrap()[offset - 1] {
            true => message(offset as u64),
            false => json!({"type": "skip", "topic": "a", "offset": offset, "epoch": "e"}),
        }
    }

    /// What an answer says of the log after an offset.
    fn extract(&self, since: usize) -> Value {
        let log = self.log.lock().unwrap().clone();
        let mut offsets: Vec<_> = (since + 1..=log.len()).filter(|offset| log[offset - 1]).collect();
        let more = offsets.len() > PAGE;
        offsets.truncate(PAGE);
        let messages: Vec<_> = offsets.into_iter().map(|offset| message(offset as u64)).collect();
        json!({"offset": log.len(), "epoch": "e", "recovered": true, "messages": messages, "more": more})
    }

    fn answer(&self, command: &Value) -> Value {
        let id = &command["id"];
        let offset = |since: &Value| since["offset"].as_u64().map(|offset| usize::try_from(offset).unwrap());
        match command["action"].as_str().unwrap() {
            "subscribe" => {
                let since = offset(&command["since"]["a"]).unwrap_or_else(|| self.log.lock().unwrap().len());
                json!({"type": "ack", "id": id, "topics": {"a": self.extract(since)}})
            }
            "history" => {
                let mut page = self.extract(offset(&command["since"]).unwrap());
                page["type"] = "history".into();
                page["id"] = id.clone();
                page
            }
            action => panic!("{action}"),
        }
    }

    /// One connection, until it is cut.
    async fn serve(self, mut socket: WebSocketStream<TcpStream>, mut rng: Rng) {
        let mut appended = self.appended.subscribe();
        let (mut member, mut pushed, mut air) = (false, 0, Vec::<Value>::new());
        let mut ticks = interval(Duration::from_millis(1));
        let mut left = rng.u32(20..400);
        loop {
            tokio::select! {
                frame = socket.next() => {
                    let Some(Ok(Message::Text(text))) = frame else { return };
                    let command = serde_json::from_str(&text).unwrap();
                    if !member {
                        // The membership first; and then the log is read, a little later.
                        (member, pushed) = (true, *appended.borrow());
                        sleep(Duration::from_millis(rng.u64(..3))).await;
                    }
                    air.push(self.answer(&command));
                }
                Ok(()) = appended.changed(), if member => {
                    let end = *appended.borrow_and_update();
                    for offset in pushed + 1..=end {
                        let copies = if rng.u32(..5) == 0 { 2 } else { 1 };
                        air.extend((0..copies).map(|_| self.frame(offset)));
                    }
                    pushed = end;
                }
                _ = ticks.tick() => {
                    left = if *self.calm.borrow() { u32::MAX } else { left - 1 };
                    if left == 0 {
                        return;
                    }
                    for _ in 0..rng.usize(..=air.len()) {
                        let frame = air.swap_remove(rng.usize(..air.len()));
                        if socket.send(Message::text(frame.to_string())).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn accept(self, listener: TcpListener, mut rng: Rng) {
        #[expect(clippy::result_large_err, reason = "the type of the answer is the library's")]
        let look = |_: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            response.headers_mut().insert("sec-websocket-protocol", "tidings.v1.json".parse().unwrap());
            Ok(response)
        };
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(socket) = accept_hdr_async(stream, look).await {
                tokio::spawn(self.clone().serve(socket, rng.fork()));
            }
        }
    }
}

async fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let server = Server { log: Arc::default(), appended: watch::Sender::new(0), calm: watch::Sender::new(false) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(server.clone().accept(listener, rng.fork()));
    let builder = Client::builder(url).topic("a").backoff(Duration::from_millis(5), Duration::from_millis(20));
    let (client, mut events) =
        builder.renew_at(Duration::from_millis(80)..Duration::from_millis(160)).connect().unwrap();
    while !matches!(events.next().await.unwrap(), Event::Connected) {}
    let appending = tokio::spawn(async move {
        for _ in 0..ENTRIES {
            server.log.lock().unwrap().push(rng.u32(..6) > 0);
            server.appended.send_modify(|appended| *appended += 1);
            sleep(Duration::from_micros(rng.u64(..4_000))).await;
        }
        server.calm.send_replace(true);
        server.log.lock().unwrap().clone()
    });
    let mut given = Vec::new();
    let mut owed = None;
    let mut appending = Some(appending);
    while owed.as_ref().is_none_or(|owed: &Vec<usize>| given.len() < owed.len()) {
        tokio::select! {
            log = async { appending.as_mut().unwrap().await.unwrap() }, if appending.is_some() => {
                appending = None;
                owed = Some((1..=ENTRIES).filter(|offset| log[offset - 1]).collect());
            }
            event = timeout(PATIENCE, events.next()) => match event.expect("a message should come").unwrap() {
                Event::Message(message) => given.push(message.read().unwrap()),
                Event::Connected | Event::Disconnected { .. } => {}
                event => panic!("seed {seed}: {event:?}"),
            },
        }
    }
    assert_eq!(Some(given), owed, "seed {seed}");
    client.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_network_does_each_message_comes_once_and_in_order() {
    let runs: Vec<_> = (0..8).map(|seed| tokio::spawn(run(seed))).collect();
    for run in runs {
        run.await.unwrap();
    }
}
