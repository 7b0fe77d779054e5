//! What the cases are run against: the conformance stack on our gateway, on somebody else's, or deployed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_apigatewaymanagement::config::retry::RetryConfig;
use aws_sdk_apigatewaymanagement::config::{BehaviorVersion, Region};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use serde_json::{Value, json};
use tests::eventually;
use tests::stack::root;
use tests::wire::{self, Answer, Frame, Socket, Url, frame};
use tidings_local_dev::{self as dev, DevOptions, Running};
use tidings_test::Client;
use tokio::sync::Mutex;

/// Names the deployed stack's main API; with it the suite runs against AWS.
pub(crate) const URL: &str = "TIDINGS_CONFORMANCE_URL";

/// Says that the stack runs on an emulator of this name, which `beside.py` has started.
pub(crate) const PEER: &str = "TIDINGS_CONFORMANCE_PEER";

/// Names a stage of the main API, on an emulator, whose connections end as soon as those of [`Hasty`].
const HASTY: &str = "TIDINGS_CONFORMANCE_HASTY_URL";

/// How long anything may take, a cold start in AWS included.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// The stack.
pub(crate) struct Bench {
    /// Where clients connect: the API with all kinds of routes, its limited stage, the one with an authorizer, the one
    /// without `$connect` and `$default`, the one whose `$connect` cannot be invoked, and the one where it must be quick.
    pub(crate) main: String,
    pub(crate) limited: String,
    pub(crate) guarded: String,
    pub(crate) bare: String,
    pub(crate) closed: String,
    pub(crate) hurried: String,
    management: String,
    region: String,
    credentials: Credentials,
    /// Asks the function what it remembers.
    asking: Mutex<Option<Client>>,
    pub(crate) place: Place,
    /// The same with short limits, where they can be had.
    pub(crate) hasty: Option<Hasty>,
    /// What runs here, and is ended with the bench.
    running: Vec<Running>,
}

/// Whose API Gateway it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Ours,
    /// An emulator that others wrote.
    Peer(String),
    Aws,
}

/// A gateway whose connections end soon. Ours refuses unsigned calls, too.
pub(crate) struct Hasty {
    /// Where clients connect.
    pub(crate) url: String,
    /// The `@connections` API.
    pub(crate) management: String,
}

/// Connections of [`Hasty`] end after so long without data.
pub(crate) const IDLE: Duration = Duration::from_millis(1_500);

/// Connections of [`Hasty`] end at this age.
pub(crate) const LIFETIME: Duration = Duration::from_millis(4_000);

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The last segment of a URL's path replaced. A URL without a path gets one.
pub(crate) fn with_stage(url: &str, stage: &str) -> String {
    let (base, _) = url.rsplit_once('/').filter(|(base, _)| !base.ends_with('/')).unwrap_or((url, ""));
    format!("{base}/{stage}")
}

impl Bench {
    /// The deployed stack that the environment names, or one on this machine.
    pub(crate) async fn start() -> Self {
        match variable(URL) {
            Some(url) => Self::deployed(url.trim_end_matches('/')),
            None => Self::here().await,
        }
    }

    fn deployed(main: &str) -> Self {
        let needed = |name: &str| variable(name).unwrap_or_else(|| panic!("{URL} is set, so {name} must be too"));
        let management = |url: &str| url.replacen("ws", "http", 1);
        let hasty = variable(HASTY).map(|url| Hasty { management: management(&url), url });
        Self {
            main: main.to_owned(),
            limited: variable("TIDINGS_CONFORMANCE_LIMITED_URL").unwrap_or_else(|| with_stage(main, "limited")),
            guarded: needed("TIDINGS_CONFORMANCE_GUARDED_URL"),
            bare: needed("TIDINGS_CONFORMANCE_BARE_URL"),
            closed: needed("TIDINGS_CONFORMANCE_CLOSED_URL"),
            hurried: needed("TIDINGS_CONFORMANCE_HURRIED_URL"),
            management: variable("TIDINGS_CONFORMANCE_MANAGEMENT_URL").unwrap_or_else(|| management(main)),
            region: needed("AWS_REGION"),
            credentials: Credentials::new(
                needed("AWS_ACCESS_KEY_ID"),
                needed("AWS_SECRET_ACCESS_KEY"),
                variable("AWS_SESSION_TOKEN"),
                None,
                "environment",
            ),
            asking: Mutex::default(),
            place: variable(PEER).map_or(Place::Aws, Place::Peer),
            hasty,
            running: Vec::new(),
        }
    }

    async fn here() -> Self {
        let running = start(|_| {}).await;
        let hasty = start(|options| {
            options.idle_timeout = IDLE;
            options.connection_lifetime = LIFETIME;
            options.strict = true;
        })
        .await;
        let main = running.addresses.websocket.clone();
        let stage = |name| with_stage(&main, name);
        // No function runs there, which may take its time to start.
        let quick = with_stage(&hasty.addresses.websocket, "bare");
        Self {
            limited: stage("limited"),
            guarded: stage("guarded"),
            bare: stage("bare"),
            closed: stage("closed"),
            hurried: stage("hurried"),
            management: running.addresses.management.clone(),
            region: "us-east-1".to_owned(),
            credentials: Credentials::new("local", "local", None, None, "tests"),
            asking: Mutex::default(),
            place: Place::Ours,
            hasty: Some(Hasty { management: quick.replacen("ws", "http", 1), url: quick }),
            running: vec![running, hasty],
            main,
        }
    }

    /// Ends what runs here.
    pub(crate) async fn stop(self) {
        futures_util::future::join_all(self.running.into_iter().map(Running::shutdown)).await;
    }

    /// The gateway with short limits; only cases that need them ask for it.
    pub(crate) fn hasty(&self) -> &Hasty {
        self.hasty.as_ref().expect("the case runs where limits are short")
    }

    /// A key under which nothing has been remembered yet.
    pub(crate) fn key(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        format!("{now}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A client of the main API.
    pub(crate) async fn connect(&self) -> Client {
        Client::connect(&self.main).await
    }

    /// A client of the main API, and its connection id.
    pub(crate) async fn connect_with_id(&self) -> (Client, String) {
        let mut client = self.connect().await;
        let id = connection_id(&mut client).await;
        (client, id)
    }

    /// A raw socket of the main API, and its connection id.
    pub(crate) async fn raw(&self) -> (Socket, String) {
        let (answer, mut socket) = wire::handshake(&self.main, &[]).await;
        assert_eq!(answer.status, 101);
        socket.send(&frame(Frame::TEXT, br#"{"action":"twoway","do":"event"}"#)).await;
        let event: Value = serde_json::from_str(&socket.text().await).unwrap();
        (socket, event["requestContext"]["connectionId"].as_str().unwrap().to_owned())
    }

    /// Code and reason that `$disconnect` of a connection was told.
    pub(crate) async fn reported(&self, id: &str) -> (u64, String) {
        let event = self.event(id, "disconnect").await;
        let context = &event["requestContext"];
        let reason = context["disconnectReason"].as_str().unwrap().to_owned();
        (context["disconnectStatusCode"].as_u64().unwrap(), reason)
    }

    /// What the function remembers under a key.
    pub(crate) async fn events(&self, key: &str, kind: &str) -> Vec<Value> {
        let mut asking = self.asking.lock().await;
        let mut client = match asking.take() {
            Some(client) => client,
            None => self.connect().await,
        };
        let found = client.ask(json!({"action": "twoway", "do": "events", "key": key})).await;
        *asking = Some(client);
        let of_kind = found.as_array().unwrap().iter().filter(|one| one["kind"] == kind);
        of_kind.map(|one| one["event"].clone()).collect()
    }

    /// The first event of a kind under a key, once there is one.
    pub(crate) async fn event(&self, key: &str, kind: &str) -> Value {
        let what = format!("{kind} of {key}");
        eventually(&what, PATIENCE, async || self.events(key, kind).await.into_iter().next()).await
    }

    /// The events of a connection that connects with this query and closes at once: its `$connect` event.
    pub(crate) async fn connected(&self, url: &str, headers: &[(&'static str, &str)]) -> Value {
        let key = self.key();
        let separator = if url.contains('?') { '&' } else { '?' };
        Client::open(&format!("{url}{separator}key={key}"), headers).await.unwrap().close().await;
        self.event(&key, "connect").await
    }

    /// Lets a handshake through that waits.
    pub(crate) async fn open_door(&self, key: &str) {
        let mut client = self.connect().await;
        client.send(json!({"action": "twoway", "do": "open", "key": key}).to_string()).await;
        assert_eq!(client.text().await, "open");
    }

    /// The URL of a connection in the `@connections` API, encoded as SDKs do it.
    pub(crate) fn connection_url(&self, id: &str) -> String {
        format!("{}/%40connections/{}", self.management, id.replace('=', "%3D"))
    }

    /// A signed call of `@connections`.
    pub(crate) async fn manage(&self, method: &str, id: &str, body: &[u8]) -> Answer {
        self.call(method, &self.connection_url(id), body).await
    }

    /// A signed call of any URL.
    pub(crate) async fn call(&self, method: &str, url: &str, body: &[u8]) -> Answer {
        request(method, url, &self.signature(method, url, body), body).await
    }

    /// A call whose signature has one digit changed.
    pub(crate) async fn forged(&self, method: &str, url: &str, body: &[u8]) -> Answer {
        let mut headers = self.signature(method, url, body);
        for (_, value) in headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            let digit = value.pop().unwrap();
            value.push(if digit == '0' { '1' } else { '0' });
        }
        request(method, url, &headers, body).await
    }

    fn signature(&self, method: &str, url: &str, body: &[u8]) -> Vec<(String, String)> {
        let identity = self.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("execute-api")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let request = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The AWS SDK's client of `@connections`.
    pub(crate) fn sdk(&self) -> aws_sdk_apigatewaymanagement::Client {
        let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
        let config = aws_sdk_apigatewaymanagement::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(self.credentials.clone())
            .endpoint_url(&self.management)
            .retry_config(RetryConfig::disabled())
            .http_client(http.build_https());
        aws_sdk_apigatewaymanagement::Client::from_conf(config.build())
    }
}

async fn request(method: &str, url: &str, headers: &[(String, String)], body: &[u8]) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    wire::request(method, &Url::parse(url), &headers, body).await
}

/// The conformance stack on ports of its own.
async fn start(change: impl FnOnce(&mut DevOptions)) -> Running {
    let mut options = DevOptions::new(root().join("tests/conformance/template.yaml"));
    options.port = 0;
    change(&mut options);
    dev::start(options).await.unwrap()
}

/// The MESSAGE event of a frame that is sent now over a two-way route.
pub(crate) async fn message_event(client: &mut Client) -> Value {
    client.ask(json!({"action": "twoway", "do": "event"})).await
}

/// Over what connection a client talks.
pub(crate) async fn connection_id(client: &mut Client) -> String {
    message_event(client).await["requestContext"]["connectionId"].as_str().unwrap().to_owned()
}

/// A client of a stage that lets in only few; it tries until it is let in.
pub(crate) async fn patiently(url: &str) -> Client {
    eventually("a place in the stage", PATIENCE, async || Client::open(url, &[]).await.ok()).await
}

/// Shows that the connection is open and that nothing came before.
pub(crate) async fn assert_quiet(client: &mut Client) {
    client.send("still here").await;
    assert_eq!(client.text().await, "still here");
}
