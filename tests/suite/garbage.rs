//! Garbage of every kind on the port, while a good client goes on as if nothing were.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tests::eventually;
use tests::stack::Stack;
use tests::wire::{self, Frame, UPGRADE, Url, frame};
use tidings_test::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a single thing may take the gateway.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that asks and is answered until it is told to stop: how often that was.
struct Witness {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Witness {
    async fn start(url: &str) -> Self {
        let mut client = Client::connect(url).await;
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                client.hears_nothing().await;
                count.fetch_add(1, Ordering::Relaxed);
            }
            client.close().await;
        });
        Self { stop, asked, task }
    }

    /// It must still be answered, and a newcomer let in.
    async fn check(&self, url: &str, after: &str) {
        let before = self.asked.load(Ordering::Relaxed);
        eventually(after, PATIENCE, async || (self.asked.load(Ordering::Relaxed) > before).then_some(())).await;
        let mut newcomer = Client::connect(url).await;
        newcomer.hears_nothing().await;
        newcomer.close().await;
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

/// Writes bytes, says that nothing more comes, and waits until the server hangs up.
async fn throw(url: &Url, bytes: &[u8]) {
    let mut stream = url.open().await;
    // The server may hang up in the middle.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(end.is_ok(), "the server holds on to {}", bytes[..bytes.len().min(200)].escape_ascii());
}

fn head(target: &str, more: &str) -> Vec<u8> {
    let headers: String = UPGRADE.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}{more}\r\n").into_bytes()
}

async fn bad_http(url: &Url) {
    let mut noise = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| noise.u8(..)).take(100_000).collect();
    let connection = "/dev/@connections/BFHPhfCWIAMCKlQ=";
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        noise,
        b"\r\n\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /dev HTTP/0.9\r\n\r\n".to_vec(),
        b"GET http://[::1 HTTP/1.1\r\n\r\n".to_vec(),
        b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n".to_vec(),
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".to_vec(),
        head("/dev", &"x: y\r\n".repeat(2_000)),
        head("/dev", &format!("x: {}\r\n", "y".repeat(2_000_000))),
        head(&format!("/dev?{}", "q".repeat(60_000)), ""),
        head("/%00%ff/../..//dev", "connection: close\r\n"),
        head("/dev?user=%00%ff&topic=%", ""),
        head("/dev", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        head("/dev", "Sec-WebSocket-Key: again\r\nHost: twice\r\n"),
        format!("POST {connection} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n").into_bytes(),
        format!("POST {connection} HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nshort").into_bytes(),
        format!("POST {connection} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n").into_bytes(),
        b"POST /2015-03-31/functions/notifier/invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{\"a\":\xff\xfe}".to_vec(),
    ] {
        throw(url, &bytes).await;
    }
}

async fn bad_frames(url: &Url) {
    let mut rng = fastrand::Rng::with_seed(2);
    let mut good = head(&url.target, "");
    let huge = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let mut cases = vec![
        frame(0xf1, b"x"),
        frame(0x83, b"x"),
        vec![0x81, 0x01, b'x'],
        huge,
        frame(0x80, b"an end without a beginning"),
        [frame(0x01, b"a"), frame(0x81, b"a beginning in the middle")].concat(),
        frame(0x09, b"a ping in two"),
        frame(Frame::PING, &[b'p'; 126]),
        frame(Frame::CLOSE, b"x"),
        frame(Frame::CLOSE, &999_u16.to_be_bytes()),
        frame(Frame::CLOSE, b"\x03\xe8\xff"),
        frame(Frame::TEXT, &[0xc0, 0x80]),
        frame(Frame::BINARY, b"binary"),
        frame(Frame::TEXT, &[b'x'; 40_000]),
        frame(0x01, b"").repeat(10_000),
    ];
    cases.extend((0..50).map(|_| (0..rng.usize(..400)).map(|_| rng.u8(..)).collect()));
    for bytes in cases {
        good.truncate(head(&url.target, "").len());
        good.extend(bytes);
        throw(url, &good).await;
    }
}

/// Handshakes that stop in the middle, hundreds at once, all of them held open; and some that come a byte at a time.
async fn half_handshakes(url: &Url) -> Vec<Box<dyn wire::Duplex>> {
    let whole = head(&url.target, "");
    let mut held = Vec::new();
    for index in 0..300 {
        let mut stream = url.open().await;
        stream.write_all(&whole[..index * (whole.len() - 1) / 300]).await.unwrap();
        held.push(stream);
    }
    let mut slow = url.open().await;
    for byte in &whole {
        slow.write_all(std::slice::from_ref(byte)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(wire::Answer::read(&mut slow).await.status, 101);
    held
}

/// Clients that are sent more than they read, and one that sends more than anybody can handle.
async fn slow_readers_and_floods(stack: &Stack) {
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(Client::connect(&format!("{}?user=slow", stack.url())).await);
    }
    for _ in 0..8 {
        let note = json!({"to": {"user": "slow"}, "data": "x".repeat(100_000)}).to_string();
        stack.invoke("notifier", &note).await;
    }
    let (answer, mut flood) = wire::handshake(stack.url(), &[]).await;
    assert_eq!(answer.status, 101);
    let pings = frame(Frame::PING, b"flood").repeat(20_000);
    let messages = frame(Frame::TEXT, br#"{"action":"ping","id":1}"#).repeat(300);
    // It does not read either: at some point nothing more goes through, and nobody else is to notice.
    for bytes in [&messages, &pings] {
        let _ = tokio::time::timeout(Duration::from_secs(2), flood.0.write_all(bytes)).await;
    }
    let open_and_gone = (0..200).map(|_| async {
        let mut stream = Url::parse(stack.url()).open().await;
        let _ = stream.write_all(&head("/dev", "")).await;
    });
    futures_util::future::join_all(open_and_gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_every_kind_leaves_the_gateway_standing() {
    // The witness asks as fast as it can, and this is about the gateway, not about what one client may send.
    let stack = Stack::start(&[("FramesPerSecond", "100000"), ("FramesBurst", "100000")]).await;
    let url = Url::parse(stack.url());
    let witness = Witness::start(stack.url()).await;
    bad_http(&url).await;
    witness.check(stack.url(), "an answer after bad HTTP").await;
    bad_frames(&url).await;
    witness.check(stack.url(), "an answer after bad frames").await;
    let held = half_handshakes(&url).await;
    witness.check(stack.url(), "an answer beside half handshakes").await;
    slow_readers_and_floods(&stack).await;
    witness.check(stack.url(), "an answer beside slow readers and floods").await;
    drop(held);
    witness.end().await;
    // Every connection that was let in has been let out: nothing is left of any of them.
    eventually("an empty table", Duration::from_secs(60), async || {
        stack.connection_rows().await.is_empty().then_some(())
    })
    .await;
    stack.stop().await;
}
