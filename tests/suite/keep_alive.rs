//! Quiet clients of the official libraries: with signs of life they stay connected for as long as API Gateway lets them, and
//! without they come back and miss nothing. Time is compressed: a connection may be idle for seconds instead of ten minutes.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;
use tests::issuer::secret_token;
use tests::stack::Stack;
use tests::{engine, eventually, now, wire};
use tidings::metrics::Metric;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::metrics::until;
use tests::clients::{for_go, for_javascript, for_python, has};

/// API Gateway's ten minutes.
const IDLE: Duration = Duration::from_secs(8);
/// The eight minutes in which everybody has a turn: less of them, for a machine may be busy.
const TURN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that listens, and what it has said.
struct Listener {
    said: Arc<Mutex<Vec<String>>>,
    /// It ends when this is dropped.
    _program: Child,
}

impl Listener {
    fn start(program: &str, args: &[&str], folder: PathBuf) -> Self {
        let mut command = Command::new(program);
        command.args(args).current_dir(folder).stdout(Stdio::piped()).kill_on_drop(true);
        let mut program = command.spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push(line);
            }
        });
        Self { said, _program: program }
    }

    fn times(&self, what: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.as_str() == what).count()
    }

    fn got(&self) -> Vec<String> {
        self.said.lock().unwrap().iter().filter(|line| line.starts_with("got")).cloned().collect()
    }
}

/// One client of each library whose language is on this machine.
async fn listeners(stack: &Stack) -> Vec<Listener> {
    let url = format!("{}?protocol=centrifuge", stack.url());
    let token = stack.token("u1", &["subscribe:room/*"]);
    let (url, token) = (url.as_str(), token.as_str());
    let mut listeners = Vec::new();
    if has("npm").await {
        listeners.push(Listener::start("node", &["quiet.mjs", url, token], for_javascript().await));
    }
    if has("python3").await {
        let folder = for_python().await;
        let python = folder.join("venv/bin/python");
        listeners.push(Listener::start(python.to_str().unwrap(), &["quiet.py", url, token], folder));
    }
    if has("go").await {
        let folder = for_go().await;
        let client = folder.join("client");
        listeners.push(Listener::start(client.to_str().unwrap(), &["quiet", url, token], folder));
    }
    listeners
}

/// The same of Web PubSub's libraries, in the group that is the same topic.
async fn listeners_of_web_pubsub(stack: &Stack) -> Vec<Listener> {
    let key = stack.running().secrets().text("tidings-dev/webpubsub-key").unwrap();
    let claims = json!({
        "aud": "https://example.com/client/hubs/room", "exp": now() / 1_000 + 600, "role": "webpubsub.joinLeaveGroup",
    });
    let url = format!("{}?hub=room&access_token={}", stack.url(), secret_token(key.as_bytes(), &claims));
    let mut listeners = Vec::new();
    if has("npm").await {
        listeners.push(Listener::start("node", &["quiet_webpubsub.mjs", &url], for_javascript().await));
    }
    if has("python3").await {
        let folder = for_python().await;
        let python = folder.join("venv/bin/python");
        listeners.push(Listener::start(python.to_str().unwrap(), &["quiet_webpubsub.py", &url], folder));
    }
    listeners
}

async fn all(listeners: &[Listener], what: &str, times: usize) {
    let have = async || listeners.iter().all(|one| one.times(what) >= times).then_some(());
    eventually(&format!("{what}, {times} times"), PATIENCE, have).await;
}

async fn start(keep_alive: &str) -> Stack {
    start_that_keeps("false", keep_alive).await
}

/// Whether it keeps what clients of Web PubSub miss is said first.
async fn start_that_keeps(reliable: &str, keep_alive: &str) -> Stack {
    Stack::start_with(|options| {
        let parameters = [
            ("Authentication", "hs256"),
            ("AllowAnonymous", "false"),
            ("KeepAlive", keep_alive),
            ("WebPubSubReliable", reliable),
        ];
        options.parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        options.idle_timeout = IDLE;
    })
    .await
}

/// Lets the schedule find that eight minutes have gone by.
async fn let_eight_minutes_go_by(stack: &Stack) {
    let long_ago = now() / 60_000 - 8;
    let row = [
        ("pk", AttributeValue::S("keep-alive".to_owned())),
        ("sk", AttributeValue::S("keep-alive".to_owned())),
        ("span", AttributeValue::N(long_ago.to_string())),
    ];
    let client = engine::client(stack.dynamodb(), engine::http());
    let put = client.put_item().table_name(stack.table());
    put.set_item(Some(row.map(|(name, value)| (name.to_owned(), value)).into())).send().await.unwrap();
    let answer = stack.invoke("notifier", r#"{"connections":"keepAlive"}"#).await;
    assert!(!answer.failed, "{answer:?}");
}

async fn say(stack: &Stack, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let body = json!({"to": {"topic": "room/quiet"}, "data": number}).to_string();
        assert!(!stack.invoke("notifier", &body).await.failed);
    }
}

async fn all_have(listeners: &[Listener], offsets: std::ops::RangeInclusive<u64>) {
    let expected: Vec<_> = offsets.map(|offset| format!("got {offset}")).collect();
    let have = async || listeners.iter().all(|one| one.got().len() >= expected.len()).then_some(());
    eventually("all messages", PATIENCE, have).await;
    assert!(listeners.iter().all(|one| one.got() == expected), "each once and in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_client_of_each_library_stays_connected_with_signs_of_life_and_each_turn_posts_one() {
    let stack = start("true").await;
    let mut listeners = listeners(&stack).await;
    listeners.extend(listeners_of_web_pubsub(&stack).await);
    all(&listeners, "subscribed", 1).await;
    // Twenty-five minutes.
    let turns = 2 * IDLE.as_secs() / TURN.as_secs() + 2;
    for _ in 0..turns {
        let_eight_minutes_go_by(&stack).await;
        sleep(TURN).await;
    }
    say(&stack, 0..3).await;
    all_have(&listeners, 1..=3).await;
    assert!(listeners.iter().all(|one| one.times("subscribed") == 1), "none has gone away");
    let expected = turns * listeners.len() as u64;
    let sums = until(&stack, &[(Metric::KeepAlives, expected)]).await;
    // The template's own schedule may have had its minute.
    let most = expected + listeners.len() as u64;
    assert!((expected..=most).contains(&sums.get("KeepAlives").copied().unwrap_or_default()), "{sums:?}");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_signs_of_life_a_quiet_client_of_each_library_comes_back_and_misses_nothing() {
    let stack = start("false").await;
    let listeners = listeners(&stack).await;
    all(&listeners, "subscribed", 1).await;
    say(&stack, 0..2).await;
    all_have(&listeners, 1..=2).await;
    all(&listeners, "subscribed", 2).await;
    say(&stack, 2..4).await;
    all_have(&listeners, 1..=4).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_client_of_web_pubsub_that_is_closed_recovers_and_one_that_a_server_closes_begins_anew() {
    let stack = start_that_keeps("true", "false").await;
    let listeners = listeners_of_web_pubsub(&stack).await;
    let count = listeners.len() as u64;
    all(&listeners, "subscribed", 1).await;
    say(&stack, 0..2).await;
    all_have(&listeners, 1..=2).await;
    // Each comes back twice.
    until(&stack, &[(Metric::ConnectionsOpened, 3 * count)]).await;
    say(&stack, 2..4).await;
    all_have(&listeners, 1..=4).await;
    assert!(listeners.iter().all(|one| one.times("subscribed") == 1), "their connections never ended");

    let target = format!("{}/api/hubs/room/:closeConnections", stack.root());
    let key = stack.running().secrets().text("tidings-dev/webpubsub-key").unwrap();
    let token = secret_token(key.as_bytes(), &json!({"aud": target, "exp": now() / 1_000 + 60}));
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", authorization.as_str())];
    assert_eq!(wire::request("POST", &wire::Url::parse(&target), &headers, b"").await.status, 204);
    all(&listeners, "subscribed", 2).await;
    say(&stack, 4..5).await;
    all_have(&listeners, 1..=5).await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_client_of_web_pubsub_that_is_closed_comes_back_where_nothing_is_kept() {
    let stack = start("false").await;
    let listeners = listeners_of_web_pubsub(&stack).await;
    all(&listeners, "subscribed", 2).await;
    let mut numbers = 0..;
    let have = async || {
        // What is said while one of them is away again is lost to it.
        let number = numbers.next()?;
        say(&stack, number..number + 1).await;
        listeners.iter().all(|one| !one.got().is_empty()).then_some(())
    };
    eventually("a message for each", PATIENCE, have).await;
    stack.stop().await;
}
