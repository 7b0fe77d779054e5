//! The `notifier` function: what it needs from its environment, and nothing else.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use notifier::{Deps, Rules, handle};
use serde_json::value::RawValue;
use tidings::aws::Aws;
use tidings::clock::Clock;
use tidings::config::{optional, required};
use tidings::delivery::{Delivery, Limits, POST_DEADLINE};
use tidings::fanout::{FanOut, Queues};
use tidings::metrics::Metrics;
use tidings::queue::Queue;
use tidings::registry::Registry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tidings::logs::init();
    let aws = Aws::from_env()?;
    let registry = Registry::new(aws.dynamodb(), required("TABLE_NAME", "it names the table of connections")?);
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where messages are posted, as https://…/<stage>")?;
    let delivery = Delivery::new(aws.sockets(&endpoint, POST_DEADLINE)?, registry, Limits::from_env()?, Clock::System);
    let queue = |name| Ok::<_, Error>(Queue::new(aws.sqs(), required(name, "it is the URL of a queue")?));
    let queues = Queues {
        notifications: queue("NOTIFICATION_QUEUE_URL")?,
        fan_out: queue("FAN_OUT_QUEUE_URL")?,
        dead_letters: queue("DEAD_LETTER_QUEUE_URL")?,
    };
    let rules = Rules::parse(optional("RULES").as_deref().unwrap_or("[]"))?;
    let deps =
        &Deps { fan_out: FanOut::new(delivery, queues), rules, metrics: Metrics::from_env(), clock: Clock::System };
    run(service_fn(async |event: LambdaEvent<Box<RawValue>>| handle(deps, &event.payload, &event.context).await)).await
}
