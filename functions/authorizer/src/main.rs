//! The `authorizer` function: what it needs from its environment, and nothing else.

use authorizer::{Deps, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tidings::logs::init();
    let deps = Deps::from_env()?;
    run(service_fn(|event: LambdaEvent<_>| handle(&deps, event.payload))).await
}
