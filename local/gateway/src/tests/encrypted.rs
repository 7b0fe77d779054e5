//! TLS and plain connections on one port.

use std::sync::Arc;

use serde_json::json;
use tidings_local_tls::{Authority, Tls};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::super::{Gateway, Settings, serve};
use super::harness::*;

/// A gateway that speaks both, and what its clients trust.
struct Both {
    app: App,
    trusting: TlsConnector,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<()>,
}

impl Both {
    async fn start() -> Self {
        let authority = Authority::new().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let trusting = TlsConnector::from(Arc::new(config.with_no_client_auth()));

        let functions = friendly();
        let gateway = Gateway::new([usual()], functions.start().await, Settings::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let tls = Some(Tls::new(authority).unwrap());
        let server = tokio::spawn(serve(listener, tls, gateway.router(), async move {
            let _ = stopped.await;
        }));
        Self { app: App { gateway, address, functions }, trusting, stop, server }
    }

    async fn encrypted(&self, name: &str) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.app.address).await.unwrap();
        self.trusting.connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await.unwrap()
    }
}

#[tokio::test]
async fn clients_with_and_without_tls_use_one_port_and_functions_are_told_which() {
    let both = Both::start().await;
    let plain = both.app.connect().await;
    let url = format!("wss://localhost:{}/dev", both.app.address.port());
    let (mut secret, _) =
        tokio_tungstenite::client_async(url, both.encrypted("localhost").await).await.expect("a handshake");
    let events = both.app.functions.invoked("connect", 2).await;
    let said = |index: usize| {
        let event = &events[index];
        (event["headers"]["X-Forwarded-Proto"].clone(), event["requestContext"]["domainName"].clone())
    };
    assert_eq!(said(0), (json!("http"), json!(both.app.address.to_string())));
    assert_eq!(said(1), (json!("https"), json!(format!("localhost:{}", both.app.address.port()))));

    // A function answers by the address that it makes of the event.
    let id = events[1]["requestContext"]["connectionId"].as_str().unwrap();
    let mut post = both.encrypted("localhost").await;
    let head =
        format!("POST /dev/@connections/{id} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\n");
    post.write_all(format!("{head}hello").as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut post).await.status, 200);
    let text = loop {
        match futures_util::StreamExt::next(&mut secret).await.unwrap().unwrap() {
            tokio_tungstenite::tungstenite::Message::Text(text) => break text,
            _ => continue,
        }
    };
    assert_eq!(text.as_str(), "hello");
    drop(plain);
}

#[tokio::test]
async fn an_api_answers_by_its_own_name_in_aws_and_no_other_does() {
    let both = Both::start().await;
    let name = |id: &str| format!("{id}.execute-api.us-east-1.amazonaws.com");
    let ask = async |host: String, path: &str| {
        let mut stream = both.encrypted(&host).await;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await.status
    };
    assert_eq!(ask(name("abcdef1234"), "/dev").await, 426);
    assert_eq!(ask(name("abcdef1234"), "/dev/@connections/BFHPhfCWIAMCKlQ=").await, 410);
    assert_eq!(ask(name("abcdef1234"), "/abcdef1234/dev").await, 403);
    assert_eq!(ask(name("zzzzzz1234"), "/dev").await, 403);
}

#[tokio::test]
async fn clients_that_say_nothing_or_half_or_nonsense_hold_nobody_up() {
    let both = Both::start().await;
    let mut client = both.app.connect().await;
    let hello = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 20]].concat();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5_000).collect();
    let mut waiting = Vec::new();
    for sent in [&b""[..], &[22], &hello, b"GET /dev HTTP/1.1\r\n"] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(both.app.address).await.unwrap();
            stream.write_all(sent).await.unwrap();
            waiting.push(stream);
        }
    }
    for sent in [&noise[..], &[&[22, 3, 1, 0, 5][..], &noise].concat(), &[22; 300], &[0]] {
        let mut stream = TcpStream::connect(both.app.address).await.unwrap();
        // The server may hang up in the middle.
        let _ = stream.write_all(sent).await;
        let _ = stream.shutdown().await;
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("an end");
    }
    assert_quiet(&mut client).await;
    both.app.connect().await;
    both.encrypted("localhost").await;

    // Nor do they keep it from stopping: half a request has the time that any has which is under way, five seconds.
    both.stop.send(()).unwrap();
    tokio::time::timeout(DEADLINE, both.server).await.unwrap().unwrap();
}
