//! A TCP proxy between a client and a server: it cuts, delays and freezes what goes through it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::wire::Url;

/// What becomes of connections, which are numbered from 1.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// How many there were.
    count: u64,
    /// Those up to this one are cut.
    cut: u64,
    /// Those up to this one are frozen.
    frozen: u64,
    /// Whether new ones are cut at once.
    refuses: bool,
    /// How long each piece is kept.
    delay: Duration,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
}

impl Proxy {
    /// Listens on a free port, for the host and port of a URL.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, _) = watch::channel(Rules::default());
        tokio::spawn(accept(listener, Url::parse(url).authority, rules.clone()));
        Self { address, rules }
    }

    /// A URL of the server as one that leads through the proxy.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        format!("ws://{}{}", self.address, Url::parse(url).target)
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.rules.borrow().count
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        self.rules.send_modify(|rules| rules.cut = rules.count);
    }

    /// Lets nothing through any more, in either direction, on the connections that there are: they stay open, and silent. New ones
    /// are as ever.
    pub fn freeze(&self) {
        self.rules.send_modify(|rules| rules.frozen = rules.count);
    }

    /// Lets through what was frozen.
    pub fn thaw(&self) {
        self.rules.send_modify(|rules| rules.frozen = 0);
    }

    /// Cuts new connections at once, or lets them through again.
    pub fn refuse(&self, refuses: bool) {
        self.rules.send_modify(|rules| rules.refuses = refuses);
    }

    /// Keeps each piece for so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.rules.send_modify(|rules| (rules.cut, rules.refuses) = (u64::MAX, true));
    }
}

async fn accept(listener: TcpListener, server: String, rules: watch::Sender<Rules>) {
    let mut watched = rules.subscribe();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            _ = watched.wait_for(|rules| rules.cut == u64::MAX) => return,
        };
        let mut number = 0;
        rules.send_modify(|rules| {
            rules.count += 1;
            number = rules.count;
        });
        if !rules.borrow().refuses {
            tokio::spawn(connection(client, server.clone(), number, rules.subscribe()));
        }
    }
}

/// One connection, until an end closes it, or it is cut: then both ends are dropped.
async fn connection(client: TcpStream, server: String, number: u64, mut rules: watch::Receiver<Rules>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pump(from_client, to_server, number, rules.clone()) => {}
        () = pump(from_server, to_client, number, rules.clone()) => {}
        _ = rules.wait_for(|rules| rules.cut >= number) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, number: u64, mut rules: watch::Receiver<Rules>) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let Ok(delay) = rules.wait_for(|rules| rules.frozen < number).await.map(|rules| rules.delay) else { return };
        sleep(delay).await;
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
    // The end is a piece too.
    let _ = rules.wait_for(|rules| rules.frozen < number).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::time::timeout;

    use super::*;

    /// A server that sends back what it gets.
    async fn echo() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/dev", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        url
    }

    async fn says(stream: &mut TcpStream, text: &[u8]) -> Vec<u8> {
        stream.write_all(text).await.unwrap();
        let mut answer = vec![0; text.len()];
        stream.read_exact(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn what_goes_through_is_delayed_frozen_and_cut() {
        let url = echo().await;
        let proxy = Proxy::start(&url).await;
        assert!(proxy.url(&url).ends_with("/dev"));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(says(&mut stream, b"a").await, b"a");
        proxy.delay(Duration::from_millis(50));
        let start = Instant::now();
        assert_eq!(says(&mut stream, b"b").await, b"b");
        assert!(start.elapsed() >= Duration::from_millis(100), "there and back");
        proxy.delay(Duration::ZERO);
        proxy.freeze();
        timeout(Duration::from_millis(50), says(&mut stream, b"c")).await.unwrap_err();
        let mut other = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(says(&mut other, b"d").await, b"d");
        proxy.thaw();
        assert_eq!(stream.read_u8().await.unwrap(), b'c');
        proxy.cut();
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
        proxy.refuse(true);
        let mut refused = TcpStream::connect(proxy.address).await.unwrap();
        assert!(matches!(refused.read(&mut [0]).await, Ok(0) | Err(_)));
        assert_eq!(proxy.connections(), 3);
    }
}
