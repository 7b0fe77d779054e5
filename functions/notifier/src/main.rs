//! The `notifier` function: what it needs from its environment, and nothing else.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use notifier::{Deps, handle};
use serde_json::value::RawValue;
use tidings::aws::Aws;
use tidings::config;
use tidings::delivery::{Delivery, Limits, POST_DEADLINE};
use tidings::registry::Registry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::from_env()?;
    let table = config::required("TABLE_NAME", "it names the table of connections")?;
    let endpoint = config::required("WEBSOCKET_ENDPOINT", "it is where messages are posted, as https://…/<stage>")?;
    let limits = Limits::from_env()?;
    let registry = Registry::new(aws.dynamodb(), table);
    let deps = Deps { delivery: Delivery::new(aws.management(&endpoint, POST_DEADLINE), registry, limits) };
    let deps = &deps;
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| handle(deps, &event.payload, &event.context).await)).await
}
