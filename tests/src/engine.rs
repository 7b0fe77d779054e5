//! DynamoDB to test against: the embedded engine always, DynamoDB Local where `TIDINGS_DYNAMODB_LOCAL` names its folder.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use serde_json::Value;
use tidings_local_services::Keys;

use crate::eventually;

/// Names the folder with DynamoDB Local's jars and native libraries.
pub const DYNAMODB_LOCAL: &str = "TIDINGS_DYNAMODB_LOCAL";

/// One row, by attribute.
pub type Row = std::collections::HashMap<String, AttributeValue>;

/// A table of its own on one of the engines.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What it is on.
    pub engine: Engine,
    endpoint: String,
}

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The one that `tidings dev` embeds.
    Embedded,
    /// Amazon's DynamoDB Local, in Java.
    DynamoDbLocal,
}

impl Engine {
    /// A new table on this engine; `None`, with the reason printed, where the engine is not at hand.
    ///
    /// # Panics
    /// When the engine does not start.
    pub async fn table(self) -> Option<Table> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let endpoint = match self {
            Self::Embedded => embedded().await,
            Self::DynamoDbLocal => dynamodb_local().await?,
        };
        let name = format!("connections-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let table = Table { name, engine: self, endpoint };
        table.create().await;
        Some(table)
    }
}

async fn embedded() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    format!("http://{address}")
}

/// One process serves all tests of a run. It ends with its standard input, and that ends with the tests.
async fn dynamodb_local() -> Option<String> {
    static RUNNING: Mutex<Option<(Child, u16)>> = Mutex::new(None);
    let Some(folder) = std::env::var_os(DYNAMODB_LOCAL).map(PathBuf::from) else {
        let _ = writeln!(std::io::stderr(), "{DYNAMODB_LOCAL} is not set: not run against DynamoDB Local");
        return None;
    };
    let port = {
        let mut running = RUNNING.lock().unwrap();
        running.get_or_insert_with(|| spawn(&folder)).1
    };
    eventually("DynamoDB Local", Duration::from_secs(60), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    Some(format!("http://127.0.0.1:{port}"))
}

fn spawn(folder: &Path) -> (Child, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = r#"java -Djava.library.path="$1" -cp "$1/*" software.amazon.dynamodb.services.local.main.ServerRunner \
        -inMemory -sharedDb -disableTelemetry -port "$2" >/dev/null 2>&1 & cat >/dev/null; kill $!"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "dynamodb-local"]).arg(folder).arg(port.to_string());
    let child = command.stdin(Stdio::piped()).spawn().unwrap();
    (child, port)
}

/// A client that talks to `endpoint` in plain HTTP.
#[must_use]
pub fn client(endpoint: &str, http: SharedHttpClient) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .retry_config(tidings::aws::dynamodb_retries())
        .http_client(http);
    Client::from_conf(config.build())
}

/// A plain HTTP client.
#[must_use]
pub fn http() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_http()
}

impl Table {
    /// A client of the engine that the table is on.
    #[must_use]
    pub fn client(&self) -> Client {
        client(&self.endpoint, http())
    }

    /// The same through another HTTP client.
    #[must_use]
    pub fn client_through(&self, http: SharedHttpClient) -> Client {
        client(&self.endpoint, http)
    }

    /// Where the engine is.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Creates the table as `infra/table.json` describes it.
    async fn create(&self) {
        let mut description: Value = serde_json::from_str(include_str!("../../infra/table.json")).unwrap();
        description["TableName"] = Value::from(self.name.as_str());
        let table = tidings_local_stack::Table { name: self.name.clone(), create: description, ttl_attribute: None };
        tidings_local_services::dynamodb::create_tables(&self.endpoint, "us-east-1", &Keys::local(), [&table])
            .await
            .unwrap();
    }

    /// Every row.
    ///
    /// # Panics
    /// When the engine fails.
    pub async fn rows(&self) -> Vec<Row> {
        rows(&self.client(), &self.name).await
    }
}

/// Every row of a table.
///
/// # Panics
/// When the engine fails.
pub async fn rows(client: &Client, table: &str) -> Vec<Row> {
    let pages = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
    pages.collect::<Result<Vec<_>, _>>().await.unwrap()
}
