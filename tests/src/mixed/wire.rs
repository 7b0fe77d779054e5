//! What lies between all clients and their server: it cuts sockets, and counts in which way messages go through them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::about;
use crate::wire::Url;

/// How often it happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Sockets that were opened.
    pub(super) sockets: u64,
    /// Those of them that were cut.
    pub(super) cuts: u64,
    /// Publications in pushes.
    pub(super) pushed: u64,
    /// Publications in replies to subscribes.
    pub(super) recovered: u64,
    /// How sockets ended, and the errors and disconnects that clients were told.
    pub(super) told: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Counters {
    sockets: AtomicU64,
    cuts: AtomicU64,
    pushed: AtomicU64,
    recovered: AtomicU64,
    told: Mutex<BTreeMap<String, u64>>,
}

#[derive(Debug)]
pub(super) struct Wire {
    address: String,
    counters: Arc<Counters>,
}

impl Wire {
    /// Listens for the server of a URL. Each socket is cut after a time of its own, until all is to be calm.
    pub(super) async fn start(url: &str, life: Duration, mut chance: Rng, calm: watch::Receiver<bool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (server, counters) = (Url::parse(url).authority, Arc::new(Counters::default()));
        let counting = Arc::clone(&counters);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let life = about(life, &mut chance);
                tokio::spawn(socket(client, server.clone(), life, Arc::clone(&counting), calm.clone()));
            }
        });
        Self { address, counters }
    }

    /// A URL of the server as one that leads through here.
    pub(super) fn url(&self, url: &str) -> String {
        format!("ws://{}{}", self.address, Url::parse(url).target)
    }

    pub(super) fn counts(&self) -> Counts {
        let Counters { sockets, cuts, pushed, recovered, told } = &*self.counters;
        let told = told.lock().unwrap().clone();
        let [sockets, cuts, pushed, recovered] =
            [sockets, cuts, pushed, recovered].map(|count| count.load(Ordering::Relaxed));
        Counts { sockets, cuts, pushed, recovered, told }
    }
}

async fn socket(
    client: TcpStream,
    server: String,
    life: Duration,
    counters: Arc<Counters>,
    mut calm: watch::Receiver<bool>,
) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    counters.sockets.fetch_add(1, Ordering::Relaxed);
    let cut = async {
        let is_calm = timeout(life, calm.wait_for(|calm| *calm)).await.is_ok();
        if is_calm {
            std::future::pending::<()>().await;
        }
        counters.cuts.fetch_add(1, Ordering::Relaxed);
    };
    let mut seen = Seen::default();
    let end = tokio::select! {
        () = up(from_client, to_server) => "by its client",
        () = down(from_server, to_client, &counters, &mut seen) => "by the server",
        () = cut => "by a cut",
    };
    counters.note(format!("ended {end} {}", seen.stage()));
}

/// How far a connection has come.
#[derive(Debug, Default)]
struct Seen {
    is_open: bool,
    is_connected: bool,
    subscribed: usize,
}

impl Seen {
    fn stage(&self) -> String {
        match (self.is_open, self.is_connected) {
            (false, _) => "in its handshake".to_owned(),
            (_, false) => "before it was connected".to_owned(),
            _ => format!("with {} subscriptions", self.subscribed),
        }
    }
}

async fn up(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// What comes from the server is looked at before it goes on.
async fn down(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counters: &Counters, seen: &mut Seen) {
    let (mut piece, mut frames) = (vec![0; 16 * 1024], Frames::default());
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        frames.add(&piece[..length], |line| counters.count(line, seen));
        seen.is_open |= frames.is_open;
        if let Some(status) = frames.status.take().filter(|status| status != "101") {
            counters.note(format!("handshake {status}"));
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

impl Counters {
    fn note(&self, what: String) {
        *self.told.lock().unwrap().entry(what).or_default() += 1;
    }

    fn count(&self, line: &Value, seen: &mut Seen) {
        seen.is_connected |= line["connect"].is_object();
        seen.subscribed += usize::from(line["subscribe"].is_object());
        for (kind, said) in [("error", &line["error"]), ("disconnect", &line["push"]["disconnect"])] {
            if let Some(code) = said["code"].as_u64() {
                self.note(format!("{kind} {code}"));
            }
        }
        let publications = line["subscribe"]["publications"].as_array().map_or(0, Vec::len);
        self.recovered.fetch_add(publications as u64, Ordering::Relaxed);
        let is_pushed = line["push"].get("pub").is_some();
        self.pushed.fetch_add(u64::from(is_pushed), Ordering::Relaxed);
    }
}

/// The frames of a server, whose text is JSON in lines. They are not masked, and a message is one frame.
#[derive(Debug, Default)]
struct Frames {
    rest: Vec<u8>,
    is_open: bool,
    /// What the handshake was answered, until somebody takes it.
    status: Option<String>,
}

impl Frames {
    fn add(&mut self, piece: &[u8], mut line: impl FnMut(&Value)) {
        self.rest.extend_from_slice(piece);
        if !self.is_open {
            let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
            self.status = head.split(' ').nth(1).map(str::to_owned);
            self.rest.drain(..end + 4);
            self.is_open = true;
        }
        while let Some((head, length)) = self.next() {
            let text = String::from_utf8_lossy(&self.rest[head..head + length]);
            text.lines().filter_map(|text| serde_json::from_str(text).ok()).for_each(|value| line(&value));
            self.rest.drain(..head + length);
        }
    }

    /// How long the head and the payload of the next frame are, if all of it is there.
    fn next(&self) -> Option<(usize, usize)> {
        let (head, length) = match *self.rest.get(1)? & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(self.rest.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.rest.get(2..10)?.try_into().ok()?)),
            short => (2, u64::from(short)),
        };
        let length = usize::try_from(length).ok()?;
        (self.rest.len() >= head + length).then_some((head, length))
    }
}
