//! A client that does what the official libraries do: it drops what it has, confirms once a second, comes back to its
//! connection for half a minute, and begins anew only then. It looks at every frame.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{Plan, about};
use crate::eventually;

const SUBPROTOCOL: &str = "json.reliable.webpubsub.azure.v1";
/// For so long, and so often, the libraries try to come back.
const RECOVERY: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A client that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Client {
    number: usize,
    seen: Arc<Mutex<Seen>>,
    running: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    is_joined: bool,
    is_calm: bool,
    /// What it was given, and how often.
    messages: BTreeMap<u64, u32>,
    cuts: u64,
    recoveries: u64,
    repeated: u64,
    failures: Vec<String>,
}

/// What it knows of its connection.
#[derive(Debug, Default)]
struct Session {
    /// Its id and what it comes back by.
    known: Option<(String, String)>,
    /// The highest number that it has.
    largest: u64,
}

struct Run {
    url: String,
    seen: Arc<Mutex<Seen>>,
    chance: Rng,
    life: Duration,
}

impl Client {
    pub(super) fn start(plan: &Plan, number: usize, url: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let run = Run {
            url: format!("{url}?hub=chat&user=crowd"),
            seen: Arc::clone(&seen),
            chance: Rng::with_seed(plan.seed ^ (number as u64 + 2)),
            life: plan.socket_life,
        };
        Self { number, seen, running: tokio::spawn(run.go_on()) }
    }

    pub(super) async fn is_in_its_group(&self, patience: Duration) {
        let is_joined = async || self.seen.lock().unwrap().is_joined.then_some(());
        eventually("a client in its group", patience, is_joined).await;
    }

    /// Nothing is cut any more.
    pub(super) fn calm_down(&self) {
        self.seen.lock().unwrap().is_calm = true;
    }

    pub(super) fn received(&self) -> u64 {
        self.seen.lock().unwrap().messages.len() as u64
    }

    pub(super) fn counts(&self) -> [(&'static str, u64); 3] {
        let seen = self.seen.lock().unwrap();
        [("cuts", seen.cuts), ("recoveries", seen.recoveries), ("repeated", seen.repeated)]
    }

    pub(super) fn failures(&self, messages: u64) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let missing: BTreeSet<_> = (0..messages).filter(|number| !seen.messages.contains_key(number)).collect();
        let twice: Vec<_> = seen.messages.iter().filter(|(_, count)| **count > 1).collect();
        let mut failures = seen.failures.clone();
        if !missing.is_empty() {
            failures.push(format!("missed {missing:?}"));
        }
        if !twice.is_empty() {
            failures.push(format!("came more than once: {twice:?}"));
        }
        failures.into_iter().map(|failure| format!("client {}: {failure}", self.number)).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Run {
    async fn go_on(mut self) {
        let mut session = Session::default();
        loop {
            let Some(socket) = self.open(&session).await else {
                self.note(|seen| seen.failures.push("could not come back for half a minute".to_owned()));
                session = Session::default();
                continue;
            };
            if session.known.is_some() {
                self.note(|seen| seen.recoveries += 1);
            }
            let ends = Instant::now() + about(self.life, &mut self.chance).max(Duration::from_millis(200));
            self.read(socket, &mut session, ends).await;
        }
    }

    fn note<T>(&self, note: impl FnOnce(&mut Seen) -> T) -> T {
        note(&mut self.seen.lock().unwrap())
    }

    /// Opens a socket: one that carries on what is known of the connection, as long as the libraries try to, or a new one.
    async fn open(&self, session: &Session) -> Option<Socket> {
        let begin = Instant::now();
        let url = match &session.known {
            Some((id, token)) => format!("{}&awps_connection_id={id}&awps_reconnection_token={token}", self.url),
            None => self.url.clone(),
        };
        while begin.elapsed() < RECOVERY {
            let mut request = url.as_str().into_client_request().unwrap();
            request.headers_mut().insert("Sec-WebSocket-Protocol", SUBPROTOCOL.parse().unwrap());
            if let Ok(Ok((socket, _))) = timeout(Duration::from_secs(20), connect_async(request)).await {
                return Some(socket);
            }
            sleep(PAUSE).await;
        }
        None
    }

    /// Takes what comes until the socket is to be cut, or ends.
    async fn read(&self, mut socket: Socket, session: &mut Session, ends: Instant) {
        if session.known.is_none() {
            let join = json!({"type": "joinGroup", "group": "all", "ackId": 1}).to_string();
            let _ = socket.send(Message::text(join)).await;
        }
        let (mut on_this_socket, mut confirmed) = (0, session.largest);
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cut = interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = cut.tick() => if Instant::now() >= ends && self.cuts_now() { return },
                _ = seconds.tick() => if session.largest > confirmed {
                    confirmed = session.largest;
                    let ack = json!({"type": "sequenceAck", "sequenceId": confirmed}).to_string();
                    let _ = socket.send(Message::text(ack)).await;
                },
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        let frame = serde_json::from_str(&text).unwrap_or_default();
                        self.take(&frame, session, &mut on_this_socket);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    /// Whether the socket is dropped, as a network that is gone drops it.
    fn cuts_now(&self) -> bool {
        self.note(|seen| {
            // Nobody is cut before all are there.
            let cuts = seen.is_joined && !seen.is_calm;
            seen.cuts += u64::from(cuts);
            cuts
        })
    }

    fn take(&self, frame: &Value, session: &mut Session, on_this_socket: &mut u64) {
        let text = |name: &str| frame[name].as_str().map(str::to_owned);
        match (frame["type"].as_str(), frame["event"].as_str()) {
            (Some("system"), Some("connected")) => {
                session.known = text("connectionId").zip(text("reconnectionToken"));
            }
            (Some("system"), _) => self.note(|seen| seen.failures.push(format!("was sent away: {frame}"))),
            (Some("ack"), _) if frame["ackId"] == 1 => self.note(|seen| seen.is_joined = true),
            (Some("message"), _) => self.take_message(frame, session, on_this_socket),
            _ => {}
        }
    }

    fn take_message(&self, frame: &Value, session: &mut Session, on_this_socket: &mut u64) {
        let (Some(number), Some(data)) = (frame["sequenceId"].as_u64(), frame["data"].as_u64()) else {
            return self.note(|seen| seen.failures.push(format!("no number: {frame}")));
        };
        let before = std::mem::replace(on_this_socket, number.max(*on_this_socket));
        let is_new = number > session.largest;
        session.largest = session.largest.max(number);
        self.note(|seen| {
            if number < before {
                seen.failures.push(format!("{number} came after {before} on one socket"));
            }
            match is_new {
                true => *seen.messages.entry(data).or_default() += 1,
                false => seen.repeated += 1,
            }
        });
    }
}
