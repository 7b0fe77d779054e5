//! The least that a Lambda function in Rust can be: `lambda_runtime` and nothing else. What any function in Rust costs at
//! least; it lets every client in and sends each message back.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(service_fn(async |event: LambdaEvent<Value>| {
        let body = event.payload.get("body").cloned().unwrap_or_default();
        Ok::<_, Error>(json!({"statusCode": 200, "body": body}))
    }))
    .await
}
