//! What is written to a gateway with a data folder while it is soaked, and whether it is there after a kill.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::Value;

/// Writes a second, of each kind.
const RATE: u32 = 50;
const QUEUE: &str = "soak";

/// Clients of a gateway's DynamoDB and SQS.
#[derive(Clone)]
pub(super) struct Services {
    dynamodb: aws_sdk_dynamodb::Client,
    table: String,
    sqs: aws_sdk_sqs::Client,
    queue: String,
}

/// How many writes were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) items: usize,
    pub(super) messages: usize,
}

impl Services {
    /// Those of the gateway that said this when it was ready.
    pub(super) async fn of(ready: &Value) -> Result<Self, String> {
        let endpoint = |name: &str| ready[name].as_str().unwrap_or_default().to_owned();
        let http = || aws_smithy_http_client::Builder::new().build_http();
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(aws_sdk_dynamodb::config::BehaviorVersion::latest())
            .region(aws_sdk_dynamodb::config::Region::new("us-east-1"))
            .endpoint_url(endpoint("dynamodb"))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("a", "b", None, None, "soak"))
            .http_client(http())
            .build();
        let dynamodb = aws_sdk_dynamodb::Client::from_conf(config);
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
            .region(aws_sdk_sqs::config::Region::new("us-east-1"))
            .endpoint_url(endpoint("sqs"))
            .credentials_provider(aws_sdk_sqs::config::Credentials::new("a", "b", None, None, "soak"))
            .http_client(http())
            .build();
        let sqs = aws_sdk_sqs::Client::from_conf(config);
        let tables = dynamodb.list_tables().send().await.map_err(|error| format!("{error:?}"))?;
        let table = tables.table_names().first().cloned().ok_or("the template has no table")?;
        let made = sqs.create_queue().queue_name(QUEUE).send().await.map_err(|error| format!("{error:?}"))?;
        let queue = made.queue_url.ok_or("the queue has no address")?;
        Ok(Self { dynamodb, table, sqs, queue })
    }

    /// Writes until nobody answers any more: a kill may come in the middle of a write.
    pub(super) async fn write(self) -> Acknowledged {
        let mut done = Acknowledged { items: 0, messages: 0 };
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
        loop {
            ticks.tick().await;
            let key = |name: &str| AttributeValue::S(format!("{name}{}", done.items));
            let put = self.dynamodb.put_item().table_name(&self.table).item("pk", key("soak")).item("sk", key("item"));
            let Ok(_) = put.send().await else { return done };
            done.items += 1;
            let send =
                self.sqs.send_message().queue_url(&self.queue).message_body(format!("message {}", done.messages));
            let Ok(_) = send.send().await else { return done };
            done.messages += 1;
        }
    }

    /// How much is there. What was on its way when the process was killed may be there or not.
    pub(super) async fn count(&self) -> Result<Acknowledged, String> {
        let mut pages = self.dynamodb.scan().table_name(&self.table).into_paginator().send();
        let mut items = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| format!("{error:?}"))?;
            items += page
                .items()
                .iter()
                .filter(|item| matches!(item.get("pk"), Some(AttributeValue::S(key)) if key.starts_with("soak")))
                .count();
        }
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let call = self.sqs.get_queue_attributes().queue_url(&self.queue).attribute_names(name.clone());
        let attributes = call.send().await.map_err(|error| format!("{error:?}"))?;
        let messages = attributes.attributes().and_then(|all| all.get(&name)).and_then(|count| count.parse().ok());
        Ok(Acknowledged { items, messages: messages.ok_or("the queue tells no number of messages")? })
    }
}
