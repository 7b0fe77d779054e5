//! DynamoDB: the embedded engine, or one that runs elsewhere, with the stack's tables in it.
//!
//! The embedded engine keeps its tables in memory. What it does not do as DynamoDB does: transactions never conflict,
//! reads are always consistent, and nothing is throttled.

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
        Self::serve(listener.map_err(|error| DynamoDbError::Embedded(error.to_string()))?)
    }

    /// Serves an engine without tables.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub fn serve(listener: TcpListener) -> Result<Self, DynamoDbError> {
        let embedded = |error: &dyn std::fmt::Display| DynamoDbError::Embedded(error.to_string());
        let address = listener.local_addr().map_err(|error| embedded(&error))?;
        let listener = listener.into_std().map_err(|error| embedded(&error))?;
        let database = Database::memory().map_err(|error| embedded(&error))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("dynamodb").enable_all().build();
        let runtime = runtime.map_err(|error| embedded(&error))?;
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(sweep(database.clone()));
        let server = runtime.spawn(async move {
            if let Err(error) = run(listener, database, stopped).await {
                tracing::error!(error, "the embedded DynamoDB has failed");
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

    /// Stops it and forgets the tables.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            // It is gone already if nobody receives.
            let _ = stop.send(());
        }
        // A client that keeps a request open is not waited for.
        let _ = tokio::time::timeout(STOP_LIMIT, &mut self.server).await;
    }
}

async fn run(
    listener: std::net::TcpListener,
    database: Database,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let stopped = async {
        // A dropped sender stops the server as well.
        let _ = stopped.await;
    };
    dynoxide::server::serve_with_shutdown(TcpListener::from_std(listener)?, database, stopped).await.map_err(Into::into)
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
    Err("this build of tidings does not read them; build it with its default features".to_owned())
}

#[cfg(feature = "account")]
async fn developers_keys() -> Result<Keys, String> {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(crate::net::https_client());
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
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {}
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
        .http_client(crate::net::https_client())
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
}
