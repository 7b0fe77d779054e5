//! The function as an application sees it: `run`.

use std::process::ExitCode;

use tidings::aws::Aws;
use tidings::config::required;
use tidings::delivery::POST_DEADLINE;
use tidings::function::BoxError;
use tidings::lambda;
use tidings::metrics::Metrics;
use tidings::trigger::Trigger;

use crate::{Deps, handle};

/// The function `api`.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Function;

impl Function {
    /// There is nothing to choose.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// Serves Lambda until it ends the environment. Reads `TABLE_NAME`, `WEBSOCKET_ENDPOINT` and `NOTIFICATION_QUEUE_URL`.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(async { deps() }, async |deps, event, _| handle(deps, event).await)
    }
}

fn deps() -> Result<Deps, BoxError> {
    let aws = Aws::from_env()?;
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
    let queue = required("NOTIFICATION_QUEUE_URL", "it is where notifications go")?;
    Ok(Deps {
        registry: aws.registry(required("TABLE_NAME", "it names the table of connections")?),
        notifications: aws.queue(queue).marked(Trigger::Rest),
        sockets: aws.management(&endpoint, POST_DEADLINE),
        metrics: Metrics::from_env(),
    })
}
