//! DynamoDB: the embedded engine, or one that runs elsewhere, with the stack's tables in it.
//!
//! The embedded engine keeps its tables in memory, or in a file of a data folder, behind a front that mends what it does otherwise than DynamoDB (`front`). What
//! stays: transactions never conflict, reads are always consistent, and nothing is throttled.

mod front;
mod schema;
mod streams;

use std::path::Path;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use aws_smithy_types::body::SdkBody;
use dynoxide::Database;
use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use front::Home;

use crate::Keys;
use tidings_local_stack::Table;

/// How often the embedded engine deletes what has expired. DynamoDB takes up to a few days.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a table may take until it is there: DynamoDB needs about ten seconds.
const CREATION_LIMIT: Duration = Duration::from_secs(120);

/// How long connections may take to end when the engine is stopped.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no DynamoDB, or a table is missing.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbError {
    /// The embedded engine has no database.
    #[error("the embedded DynamoDB cannot start: {0}")]
    Embedded(String),
    /// Nothing is there.
    #[error("DynamoDB does not answer at {endpoint}: is it running, and is --dynamodb-endpoint right?")]
    Unreachable {
        /// Where it should be.
        endpoint: String,
    },
    /// It refuses a table.
    #[error("DynamoDB refuses the table {table}: {reason}")]
    Table {
        /// The table's name.
        table: String,
        /// What it said.
        reason: String,
    },
    /// It is there already, with other keys.
    #[error(
        "the table {table} has other keys or indexes than the template: give it another name, delete it, or choose another \
         folder with --data"
    )]
    Keys {
        /// The table's name.
        table: String,
    },
    /// DynamoDB in AWS needs credentials.
    #[error("{endpoint} needs AWS credentials; set AWS_PROFILE, or run `aws configure` ({reason})")]
    NoCredentials {
        /// Where it is.
        endpoint: String,
        /// What was tried.
        reason: String,
    },
}

/// An embedded engine with an HTTP endpoint. It ends when it is dropped or stopped.
///
/// It has a thread of its own: a long scan holds up nobody's sockets.
#[derive(Debug)]
pub struct Embedded {
    url: String,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
    runtime: Option<Runtime>,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // It would wait for its thread otherwise, which must not be done in asynchronous code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Embedded {
    /// Starts an engine without tables on a random port of the loopback interface, for tests.
    ///
    /// # Errors
    /// When no port or no database is to be had.
    pub async fn start() -> Result<Self, DynamoDbError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        Self::serve(listener.map_err(|error| DynamoDbError::Embedded(error.to_string()))?, Home::default(), None)
    }

    /// Serves an engine that is at home in a region and an account: without tables, or with those of a file.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn serve(listener: TcpListener, home: Home, file: Option<&Path>) -> Result<Self, DynamoDbError> {
        let embedded = |error: &dyn std::fmt::Display| DynamoDbError::Embedded(error.to_string());
        let address = listener.local_addr().map_err(|error| embedded(&error))?;
        let listener = listener.into_std().map_err(|error| embedded(&error))?;
        let engine = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(|error| embedded(&error))?;
        engine.set_nonblocking(true).map_err(|error| embedded(&error))?;
        let behind = engine.local_addr().map_err(|error| embedded(&error))?;
        let database = open(file).map_err(|error| embedded(&error))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("dynamodb").enable_all().build();
        let runtime = runtime.map_err(|error| embedded(&error))?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(sweep(database.clone()));
        let server = runtime.spawn(async move {
            tokio::select! {
                result = run(engine, database) => if let Err(error) = result {
                    tracing::error!(error, "the embedded DynamoDB has failed");
                },
                result = front::serve(listener, behind, home, stopped) => if let Err(error) = result {
                    tracing::error!(error = &error as &dyn std::error::Error, "the embedded DynamoDB cannot be served");
                },
            }
        });
        let url = format!("http://{}", crate::net::reachable(address));
        Ok(Self { url, stop: Some(stop), server, runtime: Some(runtime) })
    }

    /// Where it listens, for example `http://127.0.0.1:8000`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops it. Tables in memory are forgotten.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // It is gone already if nobody receives.
            let _ = stop.send(());
        }
        // A client that keeps a request open is not waited for.
        let _ = tokio::time::timeout(STOP_LIMIT, &mut self.server).await;
    }
}

fn open(file: Option<&Path>) -> dynoxide::Result<Database> {
    let Some(file) = file else { return Database::memory() };
    let database = Database::new(&file.to_string_lossy())?;
    // Ends a bulk load that never began: it is the engine's only way to SQLite's NORMAL, which does not sync each write to the disk.
    database.disable_bulk_loading()?;
    Ok(database)
}

/// The engine itself, which ends with the front.
async fn run(listener: std::net::TcpListener, database: Database) -> Result<(), String> {
    let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()).await
}

async fn sweep(database: Database) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "expired items cannot be deleted"),
            Err(error) => tracing::warn!(%error, "expired items cannot be deleted"),
        }
    }
}

/// The keys for DynamoDB at `endpoint`: the developer's own for AWS, else keys that open nothing.
///
/// # Errors
/// When AWS is meant and there are no credentials.
pub async fn keys(endpoint: &str) -> Result<Keys, DynamoDbError> {
    if !crate::net::is_aws(endpoint) {
        return Ok(Keys::local());
    }
    let keys = developers_keys().await;
    keys.map_err(|reason| DynamoDbError::NoCredentials { endpoint: endpoint.to_owned(), reason })
}

#[cfg(not(feature = "account"))]
async fn developers_keys() -> Result<Keys, String> {
    Err("this build of tidings does not read them: use `cargo aws dev`, or install it whole".to_owned())
}

#[cfg(feature = "account")]
async fn developers_keys() -> Result<Keys, String> {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(crate::net::http_client(None));
    let config = config.load().await;
    let provider = config.credentials_provider().ok_or_else(|| "none are configured".to_owned())?;
    let credentials = aws_credential_types::provider::ProvideCredentials::provide_credentials(&provider).await;
    let credentials = credentials.map_err(|error| tidings::describe(&error))?;
    Ok(Keys {
        access_key_id: credentials.access_key_id().to_owned(),
        secret_access_key: credentials.secret_access_key().to_owned(),
        session_token: credentials.session_token().map(str::to_owned),
    })
}

/// Creates the tables that do not exist yet, waits until they can be used, and sets their TTL attribute.
///
/// # Errors
/// When DynamoDB does not answer or refuses a table.
pub async fn create_tables<'a>(
    endpoint: &str,
    region: &str,
    keys: &Keys,
    tables: impl IntoIterator<Item = &'a Table>,
) -> Result<(), DynamoDbError> {
    let client = client(endpoint, region, keys);
    if client.list_tables().limit(1).send().await.is_err_and(|error| is_unreachable(&error)) {
        return Err(DynamoDbError::Unreachable { endpoint: endpoint.to_owned() });
    }
    try_join_all(tables.into_iter().map(|table| create(&client, table))).await?;
    Ok(())
}

async fn create(client: &Client, table: &Table) -> Result<(), DynamoDbError> {
    let refused = |reason: String| DynamoDbError::Table { table: table.name.clone(), reason };
    let body = table.create.to_string();
    // The template's JSON is the request already; only the signature and the rest of the protocol are the SDK's.
    let call = client.create_table().table_name(&table.name).customize().mutate_request(move |request| {
        request.headers_mut().insert("content-length", body.len().to_string());
        *request.body_mut() = SdkBody::from(body.as_str());
    });
    match call.send().await {
        Ok(_) => {}
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            let described = client.describe_table().table_name(&table.name).send().await;
            let described = described.map_err(|error| refused(said(&error)))?.table;
            if !described.is_some_and(|described| schema::is_of(&described, &table.create)) {
                return Err(DynamoDbError::Keys { table: table.name.clone() });
            }
        }
        Err(error) => return Err(refused(said(&error))),
    }
    let ready = client.wait_until_table_exists().table_name(&table.name).wait(CREATION_LIMIT).await;
    ready.map_err(|error| refused(tidings::describe(&error)))?;
    set_ttl(client, table).await.map_err(refused)
}

async fn set_ttl(client: &Client, table: &Table) -> Result<(), String> {
    let Some(attribute) = &table.ttl_attribute else { return Ok(()) };
    let described = client.describe_time_to_live().table_name(&table.name).send().await;
    let described = described.map_err(|error| said(&error))?;
    let current = described.time_to_live_description.and_then(|description| description.attribute_name);
    if current.as_ref() == Some(attribute) {
        return Ok(());
    }
    let ttl = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
    let ttl = ttl.map_err(|error| error.to_string())?;
    let update = client.update_time_to_live().table_name(&table.name).time_to_live_specification(ttl);
    update.send().await.map(drop).map_err(|error| said(&error))
}

/// A client for DynamoDB at `endpoint`.
pub fn client(endpoint: &str, region: &str, keys: &Keys) -> Client {
    let token = keys.session_token.clone();
    let credentials = Credentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "tidings");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .endpoint_url(endpoint)
        .credentials_provider(credentials)
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(TimeoutConfig::builder().operation_timeout(Duration::from_secs(10)).build())
        .http_client(crate::net::http_client(Some(endpoint)))
        .build();
    Client::from_conf(config)
}

fn is_unreachable<E>(error: &SdkError<E>) -> bool {
    matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ConstructionFailure(_))
}

/// The service's own message where there is one.
fn said<E>(error: &SdkError<E>) -> String
where
    E: aws_sdk_dynamodb::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    let message = error.as_service_error().and_then(|error| error.message());
    message.map_or_else(|| tidings::describe(error), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        Table {
            name: "things".to_owned(),
            create: json!({
                "TableName": "things",
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
            }),
            ttl_attribute: Some("expires_at".to_owned()),
        }
    }

    #[tokio::test]
    async fn tables_are_created_once_with_their_ttl() {
        let engine = Embedded::start().await.unwrap();
        for _ in 0..2 {
            create_tables(engine.url(), "us-east-1", &Keys::local(), [&table()]).await.unwrap();
        }
        let client = client(engine.url(), "us-east-1", &Keys::local());
        let ttl = client.describe_time_to_live().table_name("things").send().await.unwrap();
        assert_eq!(ttl.time_to_live_description.unwrap().attribute_name.as_deref(), Some("expires_at"));
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_table_that_is_refused_says_why() {
        let engine = Embedded::start().await.unwrap();
        let mut table = table();
        table.create["KeySchema"] = json!([]);
        let error = create_tables(engine.url(), "us-east-1", &Keys::local(), [&table]).await.unwrap_err();
        assert!(error.to_string().starts_with("DynamoDB refuses the table things: "), "{error}");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_one_sentence() {
        let error = create_tables("http://127.0.0.1:1", "us-east-1", &Keys::local(), []).await.unwrap_err();
        let expected =
            "DynamoDB does not answer at http://127.0.0.1:1: is it running, and is --dynamodb-endpoint right?";
        assert_eq!(error.to_string(), expected);
    }

    /// A table with a stream of this view.
    async fn streaming(client: &Client, view: &str) -> String {
        let mut table = table();
        table.create["StreamSpecification"] = json!({"StreamEnabled": true, "StreamViewType": view});
        create(client, &table).await.unwrap();
        let described = client.describe_table().table_name("things").send().await.unwrap().table.unwrap();
        assert_eq!(described.stream_specification.unwrap().stream_view_type.unwrap().as_str(), view);
        described.latest_stream_arn.unwrap()
    }

    async fn put(client: &Client, table: &str, value: &str) {
        use aws_sdk_dynamodb::types::AttributeValue::S;
        let put = client.put_item().table_name(table).item("pk", S("a".to_owned())).item("v", S(value.to_owned()));
        put.send().await.unwrap();
    }

    #[tokio::test]
    async fn a_table_has_the_arn_of_its_template_and_is_found_by_it() {
        let engine = Embedded::start().await.unwrap();
        create_tables(engine.url(), "us-east-1", &Keys::local(), [&table()]).await.unwrap();
        let client = client(engine.url(), "us-east-1", &Keys::local());
        let arn = "arn:aws:dynamodb:us-east-1:123456789012:table/things";
        let described = client.describe_table().table_name(arn).send().await.unwrap().table.unwrap();
        assert_eq!((described.table_arn.as_deref(), described.table_name.as_deref()), (Some(arn), Some("things")));
        put(&client, arn, "1").await;
        let found = client.scan().table_name("things").send().await.unwrap();
        assert_eq!(found.count, 1);
        engine.shutdown().await;
    }

    #[tokio::test]
    async fn a_stream_has_no_record_for_a_write_that_changes_nothing_and_only_its_view() {
        for (view, new, old) in [
            ("NEW_IMAGE", true, false),
            ("OLD_IMAGE", false, true),
            ("KEYS_ONLY", false, false),
            ("NEW_AND_OLD_IMAGES", true, true),
        ] {
            let engine = Embedded::start().await.unwrap();
            let client = client(engine.url(), "us-east-1", &Keys::local());
            let arn = streaming(&client, view).await;
            assert!(arn.starts_with("arn:aws:dynamodb:us-east-1:123456789012:table/things/stream/"), "{arn}");
            for value in ["1", "1", "2", "2", "1"] {
                put(&client, "things", value).await;
            }
            let streams = engine.records(&arn).await;
            let names: Vec<_> = streams.iter().map(|record| record["eventName"].as_str().unwrap()).collect();
            assert_eq!(names, ["INSERT", "MODIFY", "MODIFY"], "{view}");
            let change = &streams[1]["dynamodb"];
            assert_eq!((change.get("NewImage").is_some(), change.get("OldImage").is_some()), (new, old), "{view}");
            assert_eq!(change["StreamViewType"], view);
            assert_eq!(change["Keys"], json!({"pk": {"S": "a"}}));
            engine.shutdown().await;
        }
    }

    impl Embedded {
        /// All records of a stream, over the wire.
        async fn records(&self, arn: &str) -> Vec<serde_json::Value> {
            let described = self.call("DescribeStream", &json!({"StreamArn": arn})).await;
            let shard = &described["StreamDescription"]["Shards"][0]["ShardId"];
            let iterator = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
            let iterator = self.call("GetShardIterator", &iterator).await["ShardIterator"].take();
            assert!(iterator.as_str().unwrap().starts_with(arn), "{iterator}");
            let first = self.call("GetRecords", &json!({"ShardIterator": iterator, "Limit": 2})).await;
            let next = json!({"ShardIterator": first["NextShardIterator"]});
            let second = self.call("GetRecords", &next).await;
            [first, second].iter().flat_map(|answer| answer["Records"].as_array().unwrap().clone()).collect()
        }

        async fn call(&self, operation: &str, body: &serde_json::Value) -> serde_json::Value {
            use http_body_util::{BodyExt as _, Full};
            let executor = hyper_util::rt::TokioExecutor::new();
            let client = hyper_util::client::legacy::Client::builder(executor).build_http();
            let request = http::Request::post(self.url())
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-target", format!("DynamoDBStreams_20120810.{operation}"))
                .header("x-amz-date", "20250101T000000Z")
                .header(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=a/20250101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=b",
                )
                .body(Full::new(bytes::Bytes::from(body.to_string())))
                .unwrap();
            let answer = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice(&answer).unwrap()
        }
    }
}
