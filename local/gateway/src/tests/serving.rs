//! The accept loop: bad clients, other routes beside the gateway's, shutdown.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::{Gateway, Settings, serve};
use super::harness::*;
use tidings_local_lambda::{Endpoint, Invoker};

#[tokio::test]
async fn garbage_does_not_disturb_anyone() {
    let app = App::start(usual(), friendly()).await;
    let mut client = app.connect().await;
    let tls_hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    let long = format!("GET /dev HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * 1024 * 1024));
    let many = format!("GET /dev HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(10_000).collect();
    for garbage in [
        &tls_hello[..],
        &noise,
        long.as_bytes(),
        many.as_bytes(),
        b"",
        b"\r\n\r\n",
        b"GET /dev",
        b"GET  HTTP/9.9\r\n\r\n",
        b"GET /%zz/%ff%fe/@connections/%00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /dev/@connections/BFHPhfCWIAMCKlQ= HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\nshort",
        b"POST /dev/@connections/BFHPhfCWIAMCKlQ= HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        // The server may hang up in the middle.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    }
    assert_quiet(&mut client).await;
    app.connect().await;
}

#[tokio::test]
async fn other_routes_stand_beside_the_gateways_and_stopping_is_prompt() {
    let invoker = Invoker::Endpoint(Endpoint::new("http://127.0.0.1:1").into());
    let gateway = Gateway::new([api(&[])], invoker, Settings::default());
    let router = Router::new().route("/", get(|| async { "console" })).merge(gateway.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, None, router, async move {
        let _ = stopped.await;
    }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = Answer::read(&mut stream).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "console"));

    // A connection that is kept alive and does nothing does not hold up the end.
    let _idle = TcpStream::connect(address).await.unwrap();
    let (mut client, _) = {
        let stream = TcpStream::connect(address).await.unwrap();
        tokio_tungstenite::client_async(format!("ws://{address}/dev"), stream).await.unwrap()
    };
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(4), server).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    gateway.close_all().await;
    assert_eq!(u16::from(receive_close(&mut client).await.unwrap().code), 1001);
}
