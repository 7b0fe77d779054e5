//! HTTP and WebSocket by the byte: what is sent is exactly what a test says, and what comes back is not interpreted.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// A connection, encrypted or not.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// The parts of a `ws`, `wss`, `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is encrypted.
    pub tls: bool,
    /// Host, with the port where the URL names one.
    pub authority: String,
    /// Path and query.
    pub target: String,
}

impl Url {
    /// Takes a URL apart.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn parse(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap();
        let tls = matches!(scheme, "wss" | "https");
        let (authority, target) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, "/"),
        };
        Self { tls, authority: authority.to_owned(), target: target.to_owned() }
    }

    /// Connects to the host.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn open(&self) -> Box<dyn Duplex> {
        let (host, port) = match self.authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().unwrap()),
            None => (self.authority.as_str(), if self.tls { 443 } else { 80 }),
        };
        let stream = TcpStream::connect((host, port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if !self.tls {
            return Box::new(stream);
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap())
    }
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Names as they were sent, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The value of a header, found in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Reads an answer: the head byte by byte, so that nothing behind it is taken, and the body by its length.
    ///
    /// # Panics
    /// When the answer is no HTTP or does not come.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.expect("an answer should come").unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        let mut answer = Self { status, headers, body: String::new() };
        let mut body = Vec::new();
        match answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
            Some(length) => {
                body.resize(length, 0);
                timeout(PATIENCE, stream.read_exact(&mut body)).await.expect("a body should come").unwrap();
            }
            None if status == 101 || status == 204 => {}
            None => drop(timeout(PATIENCE, stream.read_to_end(&mut body)).await.expect("the end should come")),
        }
        answer.body = String::from_utf8_lossy(&body).into_owned();
        answer
    }
}

/// One HTTP request on a connection of its own.
///
/// # Panics
/// When no answer comes.
pub async fn request(method: &str, url: &Url, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut head = format!("{method} {} HTTP/1.1\r\nHost: {}\r\n", url.target, url.authority);
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
    let mut stream = url.open().await;
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that has seen enough may answer and hang up before it has read all.
    let _ = stream.write_all(body).await;
    Answer::read(&mut stream).await
}

/// The headers of a handshake, with the key of the standard's example.
pub const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// What has to come back as `Sec-WebSocket-Accept`.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A handshake: the answer, and the connection behind it.
///
/// # Panics
/// When no answer comes.
pub async fn handshake(url: &str, headers: &[(&str, &str)]) -> (Answer, Socket) {
    let url = Url::parse(url);
    let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", url.target, url.authority);
    for (name, value) in UPGRADE.iter().chain(headers) {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = url.open().await;
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let answer = Answer::read(&mut stream).await;
    (answer, Socket(stream))
}

/// An open WebSocket without a library around it.
pub struct Socket(pub Box<dyn Duplex>);

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// First byte: the end of a message, reserved bits and the kind.
    pub first: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole text message.
    pub const TEXT: u8 = 0x81;
    /// A whole binary message.
    pub const BINARY: u8 = 0x82;
    /// The end of the connection.
    pub const CLOSE: u8 = 0x88;
    /// A ping.
    pub const PING: u8 = 0x89;
    /// A pong.
    pub const PONG: u8 = 0x8a;

    /// The code of a close frame.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        (self.first == Self::CLOSE).then(|| self.payload.first_chunk()).flatten().map(|code| u16::from_be_bytes(*code))
    }
}

/// A client's frame, masked with zeros so that its bytes are what they mean.
#[must_use]
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).expect("it is below 126")),
        length => match u16::try_from(length) {
            Ok(length) => {
                bytes.push(0x80 | 126);
                bytes.extend(length.to_be_bytes());
            }
            Err(_) => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        },
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

impl Socket {
    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// The next frame, or `None` at the end.
    ///
    /// # Panics
    /// When neither comes.
    pub async fn next(&mut self) -> Option<Frame> {
        timeout(PATIENCE, self.read()).await.expect("a frame or the end should come")
    }

    async fn read(&mut self) -> Option<Frame> {
        let first = self.0.read_u8().await.ok()?;
        let length = match self.0.read_u8().await.ok()? {
            126 => u64::from(self.0.read_u16().await.ok()?),
            127 => self.0.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).ok()?];
        self.0.read_exact(&mut payload).await.ok()?;
        Some(Frame { first, payload })
    }

    /// The next text frame's text.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Some(Frame { first: Frame::TEXT, payload }) => String::from_utf8(payload).unwrap(),
            other => panic!("a text frame should come, not {other:?}"),
        }
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Socket").finish_non_exhaustive()
    }
}
