//! A real browser: Chromium without a window, driven over its DevTools protocol.
//!
//! One process serves all tests of a run, each in a profile of its own. `TIDINGS_CHROMIUM` names the program where it
//! is not in the path. Where there is none the tests say so and pass, unless `TIDINGS_BROWSER_REQUIRED` is set.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::eventually;

/// Names the program.
pub const CHROMIUM: &str = "TIDINGS_CHROMIUM";
/// Makes a missing browser a failure.
pub const REQUIRED: &str = "TIDINGS_BROWSER_REQUIRED";

const NAMES: [&str; 5] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

/// How long anything may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a browser that only talks to this machine needs, also as root and in a container.
const FLAGS: &str = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --no-default-browser-check \
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions --disable-dev-shm-usage \
    --disable-backgrounding-occluded-windows --disable-renderer-backgrounding --disable-background-timer-throttling \
    --hide-scrollbars --force-color-profile=srgb --remote-debugging-port=0";

/// One tab.
#[derive(Debug)]
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    last: u64,
    events: Vec<Value>,
}

/// A running browser. It ends with its standard input, and that ends with the tests.
struct Running {
    _child: Child,
    profile: TempDir,
}

impl Page {
    /// A new tab; `None`, with the reason printed, where there is no browser.
    ///
    /// # Panics
    /// When the browser does not start, or there is none although it is required.
    pub async fn new() -> Option<Self> {
        let (socket, _) = connect_async(browser().await?).await.unwrap();
        let mut page = Self { socket, session: String::new(), last: 0, events: Vec::new() };
        let context = page.call("Target.createBrowserContext", json!({"disposeOnDetach": true})).await;
        let target = json!({"url": "about:blank", "browserContextId": context["browserContextId"], "newWindow": true});
        let target = page.call("Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        page.session = page.call("Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.resize(1280, 800, false).await;
        Some(page)
    }

    /// Calls a method of the protocol. Events that come meanwhile are kept.
    ///
    /// # Panics
    /// When the browser refuses, or does not answer in time.
    pub async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut call = json!({"id": id, "method": method, "params": parameters});
        if !self.session.is_empty() {
            call["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        loop {
            let message =
                timeout(PATIENCE, self.socket.next()).await.unwrap_or_else(|_| panic!("no answer to {method}"));
            let Some(Ok(Message::Text(text))) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.events.push(message);
        }
    }

    /// Opens an address.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
        self.until("document.readyState === 'complete'").await;
    }

    /// Evaluates an expression, waiting for a promise.
    ///
    /// # Panics
    /// When it throws.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut result = self.call("Runtime.evaluate", parameters).await;
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn until(&mut self, condition: &str) {
        let start = Instant::now();
        while self.eval(condition).await != json!(true) {
            if start.elapsed() > PATIENCE {
                let text = self.eval("document.body.innerText").await;
                panic!("not true in {PATIENCE:?}: {condition}\n{}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Clicks the middle of the element that a selector finds.
    ///
    /// # Panics
    /// When there is none to be seen.
    pub async fn click(&mut self, selector: &str) {
        let place = self.middle(selector).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await;
        }
    }

    async fn middle(&mut self, selector: &str) -> Value {
        let middle = format!(
            "(() => {{ const element = document.querySelector({selector:?}); if (!element) return null; \
             element.scrollIntoView({{block: 'nearest'}}); const box = element.getBoundingClientRect(); \
             return box.width ? [box.x + box.width / 2, box.y + box.height / 2] : null; }})()"
        );
        let start = Instant::now();
        loop {
            let place = self.eval(&middle).await;
            if place.is_array() {
                return place;
            }
            // On a busy machine a page takes a while to be there.
            assert!(start.elapsed() < PATIENCE, "{selector} is not to be seen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Turns the wheel over the middle of an element; upwards where `by` is negative.
    ///
    /// # Panics
    /// When there is none to be seen.
    pub async fn wheel(&mut self, selector: &str, by: i32) {
        let place = self.middle(selector).await;
        let event = json!({"type": "mouseWheel", "x": place[0], "y": place[1], "deltaX": 0, "deltaY": by});
        self.call("Input.dispatchMouseEvent", event).await;
    }

    /// Puts the focus into a field and a text in place of its own.
    pub async fn fill(&mut self, selector: &str, text: &str) {
        self.eval(&format!(
            "(() => {{ const field = document.querySelector({selector:?}); field.focus(); field.select(); }})()"
        ))
        .await;
        self.press("Delete", 0).await;
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key by its name (`Tab`, `Enter`, `a`); `modifiers` is 2 with Ctrl and 8 with Shift.
    pub async fn press(&mut self, key: &str, modifiers: u32) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "Delete" => 46,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.len() == 1 && modifiers & 2 == 0 => key,
            _ => "",
        };
        let mut event = json!({"type": "keyDown", "key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers});
        if !text.is_empty() {
            event["text"] = json!(text);
        }
        self.call("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = json!("keyUp");
        self.call("Input.dispatchKeyEvent", event).await;
    }

    /// Sets the size of the window in CSS pixels, and the colours that the user prefers.
    pub async fn resize(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// A picture of what is to be seen, in PNG.
    ///
    /// # Panics
    /// When the browser gives none.
    pub async fn screenshot(&mut self) -> Vec<u8> {
        let picture = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// What the page complained about: exceptions, console errors and warnings, refused resources.
    pub async fn complaints(&mut self) -> Vec<String> {
        self.eval("1").await;
        let complaint = |event: &Value| {
            let parameters = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
                "Runtime.consoleAPICalled" if parameters["type"] != "log" => Some(parameters["args"].to_string()),
                "Log.entryAdded" if parameters["entry"]["level"] == "error" => Some(parameters["entry"].to_string()),
                _ => None,
            }
        };
        self.events.iter().filter_map(complaint).collect()
    }

    /// The hosts that the page has asked for anything, WebSockets included.
    pub async fn hosts(&mut self) -> HashSet<String> {
        self.eval("1").await;
        let urls = self.events.iter().filter_map(|event| match event["method"].as_str()? {
            "Network.requestWillBeSent" => event["params"]["request"]["url"].as_str(),
            "Network.webSocketCreated" => event["params"]["url"].as_str(),
            _ => None,
        });
        let hosts = urls.filter(|url| !url.starts_with("data:") && !url.starts_with("about:"));
        hosts.map(|url| url.split('/').nth(2).unwrap_or(url).to_owned()).collect()
    }
}

/// The address of the browser's DevTools.
async fn browser() -> Option<String> {
    static RUNNING: Mutex<Option<Running>> = Mutex::new(None);
    let Some(program) = program() else {
        let message = format!("no Chromium was found; install it, or name it in {CHROMIUM}: not tested in a browser");
        assert!(std::env::var_os(REQUIRED).is_none(), "{message}");
        let _ = writeln!(std::io::stderr(), "{message}");
        return None;
    };
    let port_file = {
        let mut running = RUNNING.lock().unwrap();
        running.get_or_insert_with(|| Running::start(&program)).profile.path().join("DevToolsActivePort")
    };
    let address = eventually("the browser", PATIENCE, async || {
        let text = std::fs::read_to_string(&port_file).ok()?;
        let (port, path) = text.split_once('\n')?;
        Some(format!("ws://127.0.0.1:{port}{path}"))
    });
    Some(address.await)
}

fn program() -> Option<PathBuf> {
    if let Some(program) = std::env::var_os(CHROMIUM) {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name)));
    candidates.find(|candidate| candidate.is_file())
}

impl Running {
    fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let script =
            r#""$1" $3 --user-data-dir="$2" about:blank >/dev/null 2>&1 & cat >/dev/null; kill $!; wait; rm -rf "$2""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "chromium"]).arg(program).arg(profile.path()).arg(FLAGS);
        Self { _child: command.stdin(Stdio::piped()).spawn().unwrap(), profile }
    }
}
