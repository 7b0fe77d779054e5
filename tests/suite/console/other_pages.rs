//! Other web pages in the same browser, and names that are not this machine's.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use serde_json::json;
use tests::browser::Page;
use tests::stack::Stack;
use tidings_test::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Console;

/// Serves an empty page of an origin of its own.
async fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(|| async { Html("<!doctype html><title>other</title>") }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_page_can_neither_watch_nor_notify_nor_invoke() {
    let Some(mut other) = Page::new().await else { return };
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(&format!("{}?topic=t", stack.url())).await;
    let who = client.ask(json!({"action": "whoami"})).await;
    other.open(&page().await).await;
    let (console, everyone) = (stack.console(), r#"{"to":"everyone","data":1}"#);
    let management =
        format!("{}/@connections/{}", stack.url().replace("ws:", "http:"), who["connection"].as_str().unwrap());
    let invoke = format!("{console}2015-03-31/functions/notifier/invocations");
    let notify = format!("{console}_tidings/notify");
    for url in [&notify, &invoke, &management] {
        let call = format!(
            "fetch({url:?}, {{method: 'POST', mode: 'no-cors', body: {everyone:?}}}).then((answer) => answer.type)"
        );
        assert_eq!(other.eval(&call).await, "opaque", "sent, but its answer cannot be read: {url}");
    }
    for path in ["_tidings/events", "_tidings/connections", "_tidings/console.js", ""] {
        let call = format!("fetch('{console}{path}').then(() => 'read', () => 'refused')");
        assert_eq!(other.eval(&call).await, "refused", "{path}");
    }
    let json = format!(
        "fetch({notify:?}, {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: {everyone:?}}})\
        .then(() => 'sent', () => 'refused')"
    );
    assert_eq!(other.eval(&json).await, "refused");
    let frame = format!(
        "new Promise((resolve) => {{ const frame = document.createElement('iframe'); frame.onload = () => \
        resolve(frame.contentDocument === null); frame.src = {console:?}; document.body.append(frame); }})"
    );
    assert_eq!(other.eval(&frame).await, true);
    client.hears_nothing().await;
    stack.stop().await;
}

async fn answer(console: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(console.split('/').nth(2).unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 16 * 1024];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_anyone_may_own_gets_nothing() {
    let Some(console) = Console::open().await else { return };
    for path in ["/", "/_tidings/events", "/_tidings/connections", "/_tidings/console.js"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evil.example:3030\r\n\r\n");
        let answer = answer(console.stack.console(), &request).await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("other names are refused"), "{answer}");
    }
    let page = answer(console.stack.console(), "GET / HTTP/1.1\r\nHost: localhost:1\r\n\r\n").await.to_lowercase();
    for header in
        ["frame-ancestors 'none'", "default-src 'none'", "nosniff", "cross-origin-resource-policy: same-origin"]
    {
        assert!(page.contains(header), "{header} is missing: {page}");
    }
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_broke_goes_on_where_it_was() {
    let stack = Stack::start(&[]).await;
    let mut client = Client::connect(stack.url()).await;
    client.hears_nothing().await;
    let read = async |headers: &str| {
        let mut stream = TcpStream::connect(stack.console().split('/').nth(2).unwrap()).await.unwrap();
        let request = format!("GET /_tidings/events HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.contains("\"kind\":\"frame\",\"connection\"") || !text.contains("pong") {
            let mut part = vec![0; 16 * 1024];
            let length = stream.read(&mut part).await.unwrap();
            assert!(length > 0, "the stream ended: {text}");
            text.push_str(&String::from_utf8_lossy(&part[..length]));
        }
        text
    };
    let whole = read("").await;
    assert!(whole.contains("event: hello") && whole.contains("\"seq\":1,"), "{whole}");
    let run = whole.split("\"run\":\"").nth(1).unwrap().split('"').next().unwrap();
    let rest = read(&format!("Last-Event-ID: {run}-2\r\n")).await;
    assert!(rest.contains("\"seq\":3,") && !rest.contains("\"seq\":1,"), "{rest}");
    let other = read("Last-Event-ID: another-2\r\n").await;
    assert!(other.contains("\"seq\":1,"), "{other}");
    stack.stop().await;
}
