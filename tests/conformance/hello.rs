//! The first words of TLS, by hand: clients of our libraries no longer speak the versions that a server must refuse.

use std::net::IpAddr;
use std::time::Duration;

use tests::wire::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;

/// A version as records have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Tls10 = 0x0301,
    Tls11 = 0x0302,
    Tls12 = 0x0303,
    Tls13 = 0x0304,
}

impl Version {
    /// The older two have the field of the hello; 1.3 says 1.2 there and has an extension besides.
    fn field(self) -> u16 {
        (self as u16).min(Self::Tls12 as u16)
    }
}

/// Whether the server at `url` goes on with a client that speaks just this version.
pub(crate) async fn is_spoken(url: &Url, version: Version) -> bool {
    let (host, port) = url.authority.rsplit_once(':').unwrap_or((&url.authority, "443"));
    let mut stream = TcpStream::connect((host, port.parse().unwrap())).await.unwrap();
    stream.write_all(&hello(host, version)).await.unwrap();
    let mut head = [0; 6];
    match timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an answer to a hello") {
        Ok(_) if head[0] == HANDSHAKE => head[5] == SERVER_HELLO,
        Ok(_) => {
            assert_eq!(head[0], ALERT, "neither a handshake nor an alert: {head:?}");
            false
        }
        Err(_) => false,
    }
}

/// A ClientHello in its record.
fn hello(host: &str, version: Version) -> Vec<u8> {
    let mut body = version.field().to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    // AES with GCM for 1.3 and 1.2, for certificates of either kind, and with CBC for what was before.
    let suites = [0x1301_u16, 0xc02b, 0xc02f, 0xc009, 0xc013, 0x002f];
    body.extend(counted(&suites.map(u16::to_be_bytes).concat()));
    body.extend([1, 0]);
    body.extend(counted(&extensions(host, version)));
    let mut message = vec![1, 0];
    message.extend(counted(&body));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(counted(&message));
    record
}

fn extensions(host: &str, version: Version) -> Vec<u8> {
    let mut all = Vec::new();
    let mut add = |kind: u16, data: &[u8]| {
        all.extend(kind.to_be_bytes());
        all.extend(counted(data));
    };
    if host.parse::<IpAddr>().is_err() {
        let name = [&[0], counted(host.as_bytes()).as_slice()].concat();
        add(0, &counted(&name));
    }
    // The groups x25519 and P-256, points as they are, and the signatures that certificates have.
    add(10, &[0, 4, 0, 29, 0, 23]);
    add(11, &[1, 0]);
    add(13, &[0, 8, 4, 3, 8, 4, 4, 1, 5, 3]);
    if version == Version::Tls13 {
        add(43, &[2, 3, 4]);
        add(51, &[&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat());
    }
    all
}

/// Behind its length in two bytes.
fn counted(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap();
    [&length.to_be_bytes()[..], data].concat()
}
