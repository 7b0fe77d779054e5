//! What a client polls where there is no push: the newest item under a key, once there is one that it does not know.
//!
//! `{"known": 7, "wait": 20}` is answered with `{"n": 8, "at": …}`, or with `{"n": 7}` when nothing newer came within so
//! many seconds; long polling looks into the table four times a second, as such functions do.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

/// Runs as a function.
pub(super) async fn run() -> Result<(), Error> {
    let client = tidings::aws::Aws::from_env()?.dynamodb();
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| poll(&client, event.payload))).await
}

async fn poll(client: &Client, request: Value) -> Result<Value, Error> {
    let known = request["known"].as_u64().unwrap_or_default();
    let end = Instant::now() + Duration::from_secs(request["wait"].as_u64().unwrap_or_default());
    loop {
        let key = AttributeValue::S("update".to_owned());
        let answer = client.get_item().table_name(std::env::var("TABLE_NAME")?).key("pk", key.clone()).key("sk", key);
        let item = answer.send().await?.item.unwrap_or_default();
        let number = |name: &str| item.get(name)?.as_n().ok()?.parse::<u64>().ok();
        let newest = number("n").unwrap_or_default();
        if newest != known || Instant::now() >= end {
            return Ok(
                json!({"n": newest, "at": number("at"), "data": item.get("data").and_then(|data| data.as_s().ok())}),
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
