//! The REST side, over HTTP, as producers and operators use it. Every answer is checked against the OpenAPI document.

mod clients;
mod command;
mod connections;
mod document;
mod inbox;
mod messages;
mod notifications;
mod presence;
mod refusals;
mod topics;

use std::time::Duration;

use serde_json::Value;
use tests::stack::Stack;
use tests::wire::{self, Answer, Url};
use tests::{engine, standin};
use tidings::delivery::Management;
use tidings::history::History;
use tidings::metrics::Metrics;
use tidings::queue::Queue;
use tidings::registry::Registry;
use tidings_api::Deps;
use tidings_authorizer::Authentication;
use tidings_authorizer::config::{Origins, PermissionTemplates};
use tidings_test::Client;

use document::Document;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// A stack and the description of its REST API.
struct Rest {
    stack: Stack,
    document: Document,
}

/// What the function needs where nobody may look for anything: no table, no sockets, and clients need no tokens.
async fn deps(notifications: Queue) -> Deps {
    let nowhere = "http://127.0.0.1:1";
    let clients = tidings_authorizer::Deps {
        spoken: tidings::protocol::Spoken::default(),
        web_pubsub: None,
        web_pubsub_reliable: false,
        authentication: Authentication::Anonymous,
        default_permissions: PermissionTemplates::default(),
        anonymous_permissions: PermissionTemplates::parse("subscribe:**").unwrap(),
        origins: Origins::default(),
        metrics: Metrics::default(),
    };
    Deps {
        registry: Registry::new(engine::client(nowhere, engine::http()), "ConnectionsTable"),
        notifications,
        sockets: Management::new(standin::management(nowhere, Duration::from_secs(1))),
        metrics: Metrics::default(),
        history: History::parse(tidings::history::DEFAULT).unwrap(),
        clients: tidings_authorizer::Function::new().core(clients).await.unwrap(),
        long_polls: 20,
        server_key: None,
        web_pubsub_key: None,
    }
}

impl Rest {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(parameters: &[(&str, &str)]) -> Self {
        Self { stack: Stack::start(parameters).await, document: Document::read() }
    }

    /// One call, and its answer, which the document must have.
    async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = Url::parse(&format!("{}{target}", self.stack.api()));
        let answer = wire::request(method, &url, headers, body).await;
        self.document.check(method, target, &answer);
        answer
    }

    /// A call without a body that is to be answered with this status; the answer's JSON, if it has some.
    async fn call(&self, method: &str, target: &str, status: u16) -> Value {
        let answer = self.send(method, target, &[], b"").await;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    async fn get(&self, target: &str) -> Value {
        self.call("GET", target, 200).await
    }

    /// Posts notifications; they are to be accepted.
    async fn notify(&self, body: &Value) -> Value {
        let answer = self.send("POST", "/notifications", &[JSON], body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 202, "{body}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// A client, and its connection's id.
    async fn connect(&self, query: &str) -> (Client, String) {
        let mut client = Client::connect(&format!("{}{query}", self.stack.url())).await;
        let who = client.ask(serde_json::json!({"action": "whoami", "id": 1})).await;
        (client, who["connection"].as_str().unwrap().to_owned())
    }
}
