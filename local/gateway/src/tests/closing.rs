//! Ends of connections: what the client sees, and what `$disconnect` is told.

use std::time::{Duration, Instant};

use futures_util::SinkExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use super::super::Settings;
use super::harness::*;

/// The client must get a close frame with this code, and `$disconnect` the same code; then the id is gone.
async fn check_closed(app: &App, client: &mut Client, id: &str, code: u16, reason: &str) {
    let frame = receive_close(client).await.expect("the close frame has a code");
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
    assert_eq!(app.disconnected().await, (u64::from(code), reason.to_owned()));
    assert_eq!(app.manage("GET", id, b"").await.status, 410);
    let event = &app.functions.events("disconnect")[0];
    assert_eq!(event["requestContext"]["connectionId"], id);
}

#[tokio::test]
async fn a_client_that_closes_without_a_code_is_1005() {
    let app = App::start(usual(), friendly()).await;
    let mut client = app.connect().await;
    client.close(None).await.unwrap();
    assert_eq!(receive_close(&mut client).await, None);
    assert_eq!(app.disconnected().await, (1005, "Client-side close frame status not set".to_owned()));
}

#[tokio::test]
async fn a_clients_code_and_reason_are_passed_on() {
    for (code, reason) in [(1000, "done"), (1001, ""), (4321, "own reason")] {
        let app = App::start(usual(), friendly()).await;
        let mut client = app.connect().await;
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        client.close(Some(frame.clone())).await.unwrap();
        assert_eq!(receive_close(&mut client).await, Some(frame));
        assert_eq!(app.disconnected().await, (u64::from(code), reason.to_owned()));
    }
}

#[tokio::test]
async fn a_dropped_tcp_connection_is_1006() {
    let app = App::start(usual(), friendly()).await;
    let (client, id) = app.connect_with_id().await;
    drop(client);
    assert_eq!(app.disconnected().await, (1006, String::new()));
    assert_eq!(app.manage("POST", &id, b"x").await.status, 410);
}

#[tokio::test]
async fn binary_frames_are_closed_with_1003() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    check_closed(&app, &mut client, &id, 1003, "").await;
    assert!(app.functions.events("default").is_empty());
}

#[tokio::test]
async fn a_frame_over_32_kb_is_closed_with_1009() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, &"x".repeat(32 * 1024)).await;
    assert_eq!(receive_text(&mut client).await.len(), 32 * 1024);
    send(&mut client, &"x".repeat(32 * 1024 + 1)).await;
    check_closed(&app, &mut client, &id, 1009, "").await;
}

#[tokio::test]
async fn the_close_frame_reaches_a_client_that_is_still_sending_a_huge_frame() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    send(&mut client, &"x".repeat(4 * 1024 * 1024)).await;
    check_closed(&app, &mut client, &id, 1009, "").await;
}

#[tokio::test]
async fn a_message_over_128_kb_is_closed_with_1009() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    let part = "x".repeat(32 * 1024);
    for opcode in [Data::Text, Data::Continue, Data::Continue, Data::Continue] {
        client.feed(Message::Frame(Frame::message(part.clone(), OpCode::Data(opcode), false))).await.unwrap();
    }
    client.feed(Message::Frame(Frame::message("x", OpCode::Data(Data::Continue), true))).await.unwrap();
    client.flush().await.unwrap();
    check_closed(&app, &mut client, &id, 1009, "").await;
    assert!(app.functions.events("default").is_empty());
}

#[tokio::test]
async fn broken_frames_are_closed_with_the_standards_codes() {
    // Masked with zeros, so that what is written is what is meant.
    let invalid_text = [0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe];
    let unmasked = [0x81, 0x02, b'h', b'i'];
    let compressed = [0xc1, 0x82, 0, 0, 0, 0, b'h', b'i'];
    for (bytes, code) in [(&invalid_text[..], 1007), (&unmasked, 1002), (&compressed, 1002)] {
        let app = App::start(usual(), friendly()).await;
        let (mut client, id) = app.connect_with_id().await;
        client.get_mut().write_all(bytes).await.unwrap();
        check_closed(&app, &mut client, &id, code, "").await;
    }
}

#[tokio::test]
async fn delete_closes_normally_after_what_was_sent_before() {
    let app = App::start(usual(), friendly()).await;
    let (mut client, id) = app.connect_with_id().await;
    for index in 0..20 {
        assert_eq!(app.manage("POST", &id, index.to_string().as_bytes()).await.status, 200);
    }
    let answer = app.manage("DELETE", &id, b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    for method in ["DELETE", "POST", "GET"] {
        assert_eq!(app.manage(method, &id, b"").await.status, 410, "{method}");
    }
    for index in 0..20 {
        assert_eq!(receive_text(&mut client).await, index.to_string());
    }
    check_closed(&app, &mut client, &id, 1000, "Connection Closed Normally").await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_1001() {
    let settings = Settings { idle_timeout: Duration::from_millis(100), ..Settings::default() };
    let app = App::with_settings([usual()], friendly(), settings).await;
    let (mut client, id) = app.connect_with_id().await;
    check_closed(&app, &mut client, &id, 1001, "Going away").await;
}

/// Keeps a connection busy for longer than its idle timeout, then leaves it idle.
async fn check_kept_open(inbound: bool) {
    let idle = Duration::from_secs(2);
    let settings = Settings { idle_timeout: idle, ..Settings::default() };
    let app = App::with_settings([usual()], friendly().always("default", ok()), settings).await;
    let (mut client, id) = app.connect_with_id().await;
    let opened = Instant::now();
    let mut last = opened;
    while opened.elapsed() < idle + idle / 4 {
        last = Instant::now();
        if inbound {
            send(&mut client, "hello").await;
        } else {
            assert_eq!(app.manage("POST", &id, b"hello").await.status, 200);
            assert_eq!(receive_text(&mut client).await, "hello");
        }
        tokio::time::sleep(idle / 10).await;
    }
    check_closed(&app, &mut client, &id, 1001, "Going away").await;
    assert!(last.elapsed() >= idle, "closed {:?} after the last message", last.elapsed());
}

#[tokio::test]
async fn data_in_either_direction_keeps_a_connection_open() {
    tokio::join!(check_kept_open(true), check_kept_open(false));
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_open() {
    let settings = Settings { idle_timeout: Duration::from_millis(300), ..Settings::default() };
    let app = App::with_settings([usual()], friendly(), settings).await;
    let mut client = app.connect().await;
    let opened = Instant::now();
    while app.functions.events("disconnect").is_empty() {
        // Fails once the connection is closed.
        let _ = client.send(Message::Ping("p".into())).await;
        assert!(opened.elapsed() < DEADLINE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.disconnected().await.0, 1001);
}

#[tokio::test]
async fn a_busy_connection_ends_at_its_lifetime() {
    let settings = Settings { connection_lifetime: Duration::from_millis(500), ..Settings::default() };
    let app = App::with_settings([usual()], friendly(), settings).await;
    let (mut client, id) = app.connect_with_id().await;
    let opened = Instant::now();
    while app.manage("POST", &id, b"busy").await.status == 200 {
        assert!(opened.elapsed() < DEADLINE);
    }
    let frame = loop {
        match receive(&mut client).await {
            Message::Text(_) => {}
            Message::Close(frame) => break frame.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "Going away"));
    assert_eq!(app.disconnected().await, (1001, "Going away".to_owned()));
    assert!(opened.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn closing_all_tells_every_client_and_runs_disconnect_for_each() {
    let app = App::start(usual(), friendly()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(app.connect().await);
    }
    app.gateway.close_all().await;
    assert_eq!(app.functions.events("disconnect").len(), 10);
    for client in &mut clients {
        let frame = receive_close(client).await.unwrap();
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1001, "Going away"));
    }
    assert_eq!(app.refused("/dev", &[]).await, 503);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_nevertheless() {
    let app = App::start(usual(), friendly()).await;
    let (client, id) = app.connect_with_id().await;
    let message = "x".repeat(128 * 1024);
    while app.manage("POST", &id, message.as_bytes()).await.status == 200 {}
    assert_eq!(app.manage("DELETE", &id, b"").await.status, 204);
    assert_eq!(app.disconnected().await, (1000, "Connection Closed Normally".to_owned()));
    drop(client);
}

#[tokio::test]
async fn disconnect_runs_once_even_if_it_fails() {
    let app = App::start(usual(), friendly().always("disconnect", fails("boom"))).await;
    let client = app.connect().await;
    drop(client);
    app.functions.invoked("disconnect", 1).await;
    app.gateway.close_all().await;
    assert_eq!(app.functions.events("disconnect").len(), 1);
}
