//! The `default` function: what it needs from its environment, and nothing else.

use std::time::Duration;

use default::{Deps, Router, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use tidings::aws::Aws;
use tidings::config;
use tidings::registry::Registry;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let aws = Aws::from_env()?;
    let table = config::required("TABLE_NAME", "it names the table of connections")?;
    let endpoint = config::required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
    let deps = Deps {
        registry: Registry::new(aws.dynamodb(), table),
        sockets: aws.management(&endpoint, Duration::from_secs(3)),
        router: Router::new(),
    };
    run(service_fn(|event: LambdaEvent<_>| handle(&deps, event.payload))).await
}
