//! `--inspect`: a debugger attaches to a function in Node.js.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::clients::has;
use tidings_test::Stack;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{answer, folder, function};

/// A debugger that speaks to `node` as those of editors and browsers do: https://chromedevtools.github.io/devtools-protocol/v8/Debugger/.
struct Debugger {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
}

impl Debugger {
    async fn attach(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request = format!("GET /json/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // The connection stays open.
        let targets = loop {
            let mut more = [0; 4_096];
            let length = stream.read(&mut more).await.unwrap();
            answer += str::from_utf8(&more[..length]).unwrap();
            let body = answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
            match body {
                Some(targets) => break targets,
                None => assert!(length > 0, "{answer}"),
            }
        };
        let (socket, _) = connect_async(targets[0]["webSocketDebuggerUrl"].as_str().unwrap()).await.unwrap();
        Self { socket, asked: 0 }
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let command = json!({"id": self.asked, "method": method, "params": parameters});
        self.socket.send(command.to_string().into()).await.unwrap();
        let id = self.asked;
        self.next(|frame| frame["id"] == id).await["result"].take()
    }

    async fn next(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let wanted = async {
            loop {
                let frame = self.socket.next().await.unwrap().unwrap();
                let frame = serde_json::from_str(frame.to_text().unwrap()).unwrap();
                if is_wanted(&frame) {
                    return frame;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wanted).await.expect("a word in time")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debugger_stops_a_function_in_node_at_a_line_and_changes_what_it_answers() {
    if !has("node").await {
        return;
    }
    let code =
        "exports.handler = async ({ price, count }) => {\n  let total = price * count;\n  return { total };\n};\n";
    let folder = folder(&function("Order", "nodejs20.x", "app.handler", ", Timeout: 120"), &[("code/app.js", code)]);
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let template = folder.path().join("template.yaml");
    let stack = Stack::of(template)
        .with(|options| options.inspect = BTreeMap::from([("Order".to_owned(), port)]))
        .start()
        .await;
    let order = json!({"price": 14, "count": 3});
    assert_eq!(answer(stack.running(), "Order", order.clone()).await, (false, json!({"total": 42})));
    let mut debugger = Debugger::attach(port).await;
    debugger.ask("Debugger.enable", json!({})).await;
    let line = json!({"lineNumber": 2, "urlRegex": "/app\\.js$"});
    let set = debugger.ask("Debugger.setBreakpointByUrl", line).await;
    assert_eq!(set["locations"].as_array().map(Vec::len), Some(1), "{set}");
    let debugged = async {
        let paused = debugger.next(|frame| frame["method"] == "Debugger.paused").await;
        let frame = &paused["params"]["callFrames"][0];
        assert_eq!(frame["location"]["lineNumber"], 2, "{frame}");
        let more = json!({"callFrameId": frame["callFrameId"], "expression": "total += 1"});
        let seen = debugger.ask("Debugger.evaluateOnCallFrame", more).await;
        assert_eq!(seen["result"]["value"], 43, "{seen}");
        debugger.ask("Debugger.resume", json!({})).await;
    };
    let (answered, ()) = tokio::join!(answer(stack.running(), "Order", order), debugged);
    assert_eq!(answered, (false, json!({"total": 43})));
    stack.stop().await;
}
