//! The `api` function: what it needs from its environment, and nothing else.

use api::{Deps, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tidings::aws::Aws;
use tidings::config::required;
use tidings::delivery::POST_DEADLINE;
use tidings::metrics::{Metrics, Trigger};
use tidings::queue::Queue;
use tidings::registry::Registry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tidings::logs::init();
    let aws = Aws::from_env()?;
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
    let queue = required("NOTIFICATION_QUEUE_URL", "it is where notifications go")?;
    let deps = Deps {
        registry: Registry::new(aws.dynamodb(), required("TABLE_NAME", "it names the table of connections")?),
        notifications: Queue::new(aws.sqs(), queue).marked(Trigger::Rest),
        sockets: aws.management(&endpoint, POST_DEADLINE),
        metrics: Metrics::from_env(),
    };
    run(service_fn(async |event: LambdaEvent<_>| handle(&deps, event.payload).await)).await
}
