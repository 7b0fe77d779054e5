//! `tidings listen` and `tidings notify` as real processes, against real sockets.

use axum::http::HeaderValue;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::project::{Program, finish, tidings};
use crate::support::TestHost;

/// A WebSocket server that the test plays.
struct Server(TcpListener);

impl Server {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn url(&self) -> String {
        format!("ws://{}/dev", self.0.local_addr().unwrap())
    }

    /// Takes one client; what it asked for: its query and its token.
    async fn accept(&self) -> (WebSocketStream<TcpStream>, String, Option<String>) {
        let (stream, _) = self.0.accept().await.unwrap();
        let (mut query, mut token) = (String::new(), None);
        #[expect(clippy::result_large_err, reason = "the type of the answer is the library's")]
        let look = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            query = request.uri().query().unwrap_or_default().to_owned();
            token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("tidings.v1.json"));
            Ok(response)
        };
        let socket = accept_hdr_async(stream, look).await.unwrap();
        (socket, query, token)
    }
}

/// Takes the subscription that has to come next, which is given back, and answers it.
async fn subscribed(socket: &mut WebSocketStream<TcpStream>, answer: Value) -> Value {
    let frame = socket.next().await.unwrap().unwrap().into_text().unwrap();
    let command: Value = serde_json::from_str(&frame).unwrap();
    let mut ack = json!({"type": "ack", "id": command["id"]});
    ack.as_object_mut().unwrap().extend(answer.as_object().unwrap().clone());
    socket.send(Message::text(ack.to_string())).await.unwrap();
    command
}

/// A message of the topic `t` as it stands in its log, and as it is printed.
fn logged(offset: u64) -> Value {
    json!({"type": "message", "id": "n", "topic": "t", "offset": offset, "epoch": "e", "at": 7, "data": offset})
}

fn message(n: u64) -> Message {
    Message::text(json!({"type": "message", "data": n}).to_string())
}

#[tokio::test]
async fn messages_are_printed_across_reconnections_until_there_are_enough() {
    let server = Server::start().await;
    let url = server.url();
    let mut listen = Program::start(tidings(&[
        "listen",
        "--topic",
        "orders/42",
        "--topic",
        "b",
        "--user",
        "u",
        "--token",
        "secret",
        "--count",
        "3",
        "--url",
        &url,
    ]));
    let (mut socket, query, token) = server.accept().await;
    assert_eq!(query, "user=u");
    assert_eq!(token.as_deref(), Some("Bearer secret"));
    let topics = subscribed(&mut socket, json!({})).await;
    assert_eq!(topics, json!({"action": "subscribe", "topics": ["b", "orders/42"], "id": 1}));
    let user = subscribed(&mut socket, json!({})).await;
    assert_eq!(user, json!({"action": "subscribe", "user": true, "id": 2}));
    socket.send(message(1)).await.unwrap();
    assert_eq!(listen.line().await.as_deref(), Some(r#"{"data":1,"type":"message"}"#));
    socket.close(None).await.unwrap();

    let (mut socket, query, _) = server.accept().await;
    assert_eq!(query, "user=u");
    subscribed(&mut socket, json!({})).await;
    subscribed(&mut socket, json!({})).await;
    socket.send(Message::text(r#"{"type":"error","code":"Forbidden","message":"not yours"}"#)).await.unwrap();
    socket.send(message(2)).await.unwrap();
    socket.send(message(3)).await.unwrap();
    assert_eq!(listen.line().await.as_deref(), Some(r#"{"data":2,"type":"message"}"#));
    // The client says goodbye.
    while let Some(Ok(message)) = socket.next().await {
        assert!(message.is_close(), "{message}");
    }
    listen.says("Forbidden: not yours").await;
    let stderr = listen.stderr();
    assert!(stderr.contains("trying again in"), "{stderr}");
    assert!(!stderr.contains("secret") && !stderr.contains("orders"), "{stderr}");
    let (status, rest) = listen.end().await;
    assert_eq!((status.code(), rest), (Some(0), vec![r#"{"data":3,"type":"message"}"#.to_owned()]));
}

#[tokio::test]
async fn a_quiet_connection_is_kept_alive() {
    let server = Server::start().await;
    let _listen = Program::start(tidings(&["listen", "--topic", "t", "--keep-alive", "1", "--url", &server.url()]));
    let (mut socket, _, _) = server.accept().await;
    subscribed(&mut socket, json!({})).await;
    let frame = socket.next().await.unwrap().unwrap();
    assert_eq!(frame.into_text().unwrap().as_str(), r#"{"action":"ping"}"#);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let server = Server::start().await;
    let url = server.url();
    let refuse = async {
        let (mut stream, _) = server.0.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream
    };
    let (_stream, (status, _, stderr)) =
        tokio::join!(refuse, finish(tidings(&["listen", "--topic", "t", "--url", &url])));
    assert_eq!(status, Some(1));
    assert!(stderr.starts_with(&format!("error: {url} refuses the connection with 403 Forbidden")), "{stderr}");
}

#[tokio::test]
async fn without_reconnecting_a_lost_connection_fails() {
    let server = Server::start().await;
    let url = server.url();
    let listen = Program::start(tidings(&["listen", "--topic", "t", "--no-reconnect", "--url", &url]));
    let (mut socket, _, _) = server.accept().await;
    socket.close(None).await.unwrap();
    listen.says("error: closed by the server").await;
    assert_eq!(listen.end().await.0.code(), Some(1));
}

#[tokio::test]
async fn what_was_sent_without_a_connection_is_printed_after_it_is_made_again() {
    let server = Server::start().await;
    let mut listen = Program::start(tidings(&["listen", "--topic", "t", "--count", "3", "--url", &server.url()]));
    let (mut socket, _, _) = server.accept().await;
    subscribed(&mut socket, json!({"topics": {"t": {"offset": 4, "epoch": "e"}}})).await;
    listen.says("connected to").await;
    // The lower one comes later.
    socket.send(Message::text(logged(6).to_string())).await.unwrap();
    socket.send(Message::text(logged(5).to_string())).await.unwrap();
    assert_eq!(listen.line().await, Some(logged(5).to_string()));
    assert_eq!(listen.line().await, Some(logged(6).to_string()));
    socket.close(None).await.unwrap();

    let (mut socket, _, _) = server.accept().await;
    let missed = json!({"offset": 7, "epoch": "e", "recovered": true, "messages": [logged(7)], "more": false});
    let command = subscribed(&mut socket, json!({"topics": {"t": missed}})).await;
    assert_eq!(command["since"], json!({"t": {"offset": 6, "epoch": "e"}}));
    assert_eq!(listen.end().await.1, [logged(7).to_string()]);
}

#[tokio::test]
async fn the_newest_messages_come_first_and_then_all_that_follow() {
    let server = Server::start().await;
    let mut listen = Program::start(tidings(&["listen", "--topic", "t", "--history", "2", "--url", &server.url()]));
    let (mut socket, _, _) = server.accept().await;
    let messages = [logged(9), logged(8)];
    let page = json!({"type": "history", "offset": 9, "epoch": "e", "messages": messages, "more": true});
    let command = subscribed(&mut socket, page).await;
    assert_eq!(command, json!({"action": "history", "topic": "t", "limit": 2, "reverse": true, "id": 1}));
    let missed = json!({"offset": 10, "epoch": "e", "recovered": true, "messages": [logged(10)], "more": false});
    let command = subscribed(&mut socket, json!({"topics": {"t": missed}})).await;
    assert_eq!(command["since"], json!({"t": {"offset": 9, "epoch": "e"}}));
    for offset in [8, 9, 10] {
        assert_eq!(listen.line().await, Some(logged(offset).to_string()));
    }
    listen.says("connected to").await;
}

#[tokio::test]
async fn an_offset_is_where_it_begins_and_what_is_lost_is_told() {
    let server = Server::start().await;
    let listen = Program::start(tidings(&["listen", "--topic", "t", "--since", "3", "--url", &server.url()]));
    let (mut socket, _, _) = server.accept().await;
    let page = json!({"type": "history", "offset": 9, "epoch": "e", "messages": [logged(9)], "more": true});
    subscribed(&mut socket, page).await;
    let lost = json!({"offset": 9, "epoch": "e", "recovered": false, "messages": [], "more": false});
    let command = subscribed(&mut socket, json!({"topics": {"t": lost}})).await;
    assert_eq!(command["since"], json!({"t": {"offset": 3, "epoch": "e"}}));
    listen.says("messages may be lost of the topic t, between 3/e and 9/e").await;
}

#[cfg(unix)]
#[tokio::test]
async fn each_connection_shows_a_token_that_a_command_has_just_made() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("count");
    let command = format!("echo x >>'{0}'; test $(wc -l <'{0}') != 2 && wc -l <'{0}' | tr -d ' '", file.display());
    let listen =
        Program::start(tidings(&["listen", "--topic", "t", "--token-command", &command, "--url", &server.url()]));
    let (socket, _, token) = server.accept().await;
    assert_eq!(token.as_deref(), Some("Bearer 1"));
    drop(socket);
    let (_socket, _, token) = server.accept().await;
    assert_eq!(token.as_deref(), Some("Bearer 3"));
    listen.says("--token-command ended with exit status: 1; trying again in").await;
}

#[tokio::test]
async fn a_topic_that_is_forbidden_is_named() {
    let server = Server::start().await;
    let url = server.url();
    let listen = Program::start(tidings(&["listen", "--topic", "t", "--url", &url]));
    let (mut socket, _, _) = server.accept().await;
    socket.next().await.unwrap().unwrap();
    let error = json!({"type": "error", "id": 1, "code": "Forbidden", "message": "not yours"});
    socket.send(Message::text(error.to_string())).await.unwrap();
    listen.says("error: the topic t is refused: Forbidden: not yours").await;
    assert_eq!(listen.end().await.0.code(), Some(1));
}

/// A test function behind an Invoke API, called `notifier`.
async fn notifier() -> (TestHost, String) {
    let host = TestHost::start(|function| function.code = Some("/nowhere/notifier".into())).await;
    let router = host.router();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (host, url)
}

#[tokio::test]
async fn a_notification_reaches_the_notifier_and_its_answer_is_printed() {
    let (_host, url) = notifier().await;
    let command = tidings(&["notify", "--topic", "orders/42", "--type", "e", r#"{"n":1}"#, "--endpoint-url", &url]);
    let (status, stdout, stderr) = finish(command).await;
    assert_eq!(status, Some(0), "{stderr}");
    let answer: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(answer, json!({"to": {"topic": "orders/42"}, "type": "e", "data": {"n": 1}}));
}

#[tokio::test]
async fn data_can_come_from_standard_input() {
    let (_host, url) = notifier().await;
    let mut command = tidings(&["notify", "--everyone", "-", "--endpoint-url", &url]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[1,2]").await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer, json!({"to": "everyone", "data": [1, 2]}));
}

#[tokio::test]
async fn what_goes_wrong_with_a_notification_is_one_sentence() {
    let (_host, url) = notifier().await;
    let check = async |arguments: &[&str], code: i32, expected: &str| {
        let mut command = tidings(&["notify", "--everyone"]);
        command.args(arguments);
        let (status, stdout, stderr) = finish(command).await;
        assert_eq!((status, stdout.as_str()), (Some(code), ""), "{stderr}");
        assert!(stderr.starts_with(expected) && stderr.trim_end().lines().count() == 1, "{stderr}");
    };
    check(&["hello", "--endpoint-url", &url], 1, "error: DATA is not JSON").await;
    let unknown = "error: Function not found: arn:aws:lambda:us-east-1:123456789012:function:other";
    check(&["1", "--endpoint-url", &url, "--function-name", "other"], 1, unknown).await;
    let nobody = "error: nothing listens at http://127.0.0.1:1: is `cargo dev` running?";
    check(&["1", "--endpoint-url", "http://127.0.0.1:1"], 1, nobody).await;

    let (_host, url) = {
        let host = TestHost::start(|function| {
            function.environment.insert("TEST_INIT".into(), "error".into());
        })
        .await;
        let router = host.router();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (host, url)
    };
    let failed = "error: Config: TABLE is not set";
    check(&["1", "--endpoint-url", &url, "--function-name", "Echo"], 1, failed).await;
}
