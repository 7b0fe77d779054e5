//! The least that a Lambda function in Rust can be: `lambda_runtime` and nothing else. What any function in Rust costs at
//! least; it lets every client in and sends each message back.
//!
//! It has the threads that `#[tokio::main]` gives it, as in the runtime's own examples; where `ONE_THREAD` is set it has
//! one, as ours have.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::{Value, json};
use tokio::runtime::Builder;

fn main() -> Result<(), Error> {
    let mut builder = match std::env::var_os("ONE_THREAD") {
        Some(_) => Builder::new_current_thread(),
        None => Builder::new_multi_thread(),
    };
    builder.enable_all().build()?.block_on(async {
        tracing::init_default_subscriber();
        run(service_fn(async |event: LambdaEvent<Value>| {
            let body = event.payload.get("body").cloned().unwrap_or_default();
            Ok::<_, Error>(json!({"statusCode": 200, "body": body}))
        }))
        .await
    })
}
