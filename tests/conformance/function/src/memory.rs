//! Events that the suite will ask for, in a table.

use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::Error;
use serde_json::Value;
use tidings::aws::Aws;
use tidings::config;

/// How long events are kept.
const KEPT: Duration = Duration::from_secs(3600);
/// How long a handshake waits for its door to open.
const PATIENCE: Duration = Duration::from_secs(20);

/// The table.
#[derive(Debug)]
pub(crate) struct Memory {
    client: Client,
    table: String,
}

impl Memory {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let table = config::required("TABLE_NAME", "it names the table of events")?;
        Ok(Self { client: Aws::from_env()?.dynamodb(), table })
    }

    /// Keeps an event under a key.
    pub(crate) async fn keep(&self, key: &str, kind: &str, event: &Value) -> Result<(), Error> {
        let now = SystemTime::UNIX_EPOCH.elapsed()?;
        let id = event["requestContext"]["requestId"].as_str().unwrap_or_default();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        self.client
            .put_item()
            .table_name(&self.table)
            .item("pk", text(key))
            .item("sk", text(&format!("{:020}/{id}", now.as_nanos())))
            .item("kind", text(kind))
            .item("event", text(&event.to_string()))
            .item("expires_at", AttributeValue::N((now + KEPT).as_secs().to_string()))
            .send()
            .await?;
        Ok(())
    }

    /// The events of a key in their order, each with its kind.
    pub(crate) async fn kept(&self, key: &str) -> Result<Value, Error> {
        let found = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :key")
            .expression_attribute_values(":key", AttributeValue::S(key.to_owned()))
            .consistent_read(true)
            .send()
            .await?;
        let text = |attribute: Option<&AttributeValue>| attribute.and_then(|value| value.as_s().ok()).cloned();
        let events = found.items().iter().filter_map(|item| {
            let event: Value = serde_json::from_str(&text(item.get("event"))?).ok()?;
            Some(serde_json::json!({"kind": text(item.get("kind"))?, "event": event}))
        });
        Ok(events.collect())
    }

    /// Waits until something is kept under a key.
    pub(crate) async fn wait(&self, key: &str) -> Result<(), Error> {
        let looking = async {
            while self.kept(key).await?.as_array().is_none_or(|events| events.is_empty()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, looking).await?
    }
}
