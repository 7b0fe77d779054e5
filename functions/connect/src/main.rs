//! The `connect` function: what it needs from its environment, and nothing else.

use connect::{Deps, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tidings::aws::Aws;
use tidings::config;
use tidings::metrics::Metrics;
use tidings::registry::Registry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tidings::logs::init();
    let aws = Aws::from_env()?;
    let table = config::required("TABLE_NAME", "it names the table of connections")?;
    let deps = Deps { registry: Registry::new(aws.dynamodb(), table), metrics: Metrics::from_env() };
    run(service_fn(|event: LambdaEvent<_>| handle(&deps, event.payload))).await
}
