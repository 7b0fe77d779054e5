//! The function as an application sees it: `run`.

use std::process::ExitCode;

use serde_json::value::RawValue;
use tidings::aws::Aws;
use tidings::clock::Clock;
use tidings::config::{ConfigError, optional, required};
use tidings::delivery::{Delivery, Limits, POST_DEADLINE};
use tidings::fanout::{FanOut, Queues};
use tidings::function::BoxError;
use tidings::lambda;
use tidings::metrics::Metrics;

use crate::{Deps, Rules, handle};

/// The function `notifier`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Function;

impl Function {
    /// With the rules of the stack's parameter `Rules`.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Serves Lambda until it ends the environment. Reads `TABLE_NAME`, `WEBSOCKET_ENDPOINT`, the URLs of the queues,
    /// `RULES` and what [`Limits::from_env`] does.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(async { deps() }, async |deps, event: Box<RawValue>, request| handle(deps, &event, &request).await)
    }
}

fn deps() -> Result<Deps, BoxError> {
    let aws = Aws::from_env()?;
    let registry = aws.registry(required("TABLE_NAME", "it names the table of connections")?);
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where messages are posted, as https://…/<stage>")?;
    let delivery = Delivery::new(aws.sockets(&endpoint, POST_DEADLINE)?, registry, Limits::from_env()?, Clock::System);
    let queue = |name| Ok::<_, ConfigError>(aws.queue(required(name, "it is the URL of a queue")?));
    let queues = Queues {
        notifications: queue("NOTIFICATION_QUEUE_URL")?,
        fan_out: queue("FAN_OUT_QUEUE_URL")?,
        dead_letters: queue("DEAD_LETTER_QUEUE_URL")?,
    };
    let rules = Rules::parse(optional("RULES").as_deref().unwrap_or("[]"))?;
    Ok(Deps { fan_out: FanOut::new(delivery, queues), rules, metrics: Metrics::from_env(), clock: Clock::System })
}
