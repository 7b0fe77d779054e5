//! The function as an application sees it: `run`.

use std::process::ExitCode;

use tidings::aws::Aws;
use tidings::config::{optional, parsed, required};
use tidings::delivery::POST_DEADLINE;
use tidings::function::BoxError;
use tidings::history::History;
use tidings::lambda;
use tidings::metrics::Metrics;
use tidings::protocol::{Protocol, Spoken};
use tidings::trigger::Trigger;
use tidings_authorizer::keys::Refresh;
use tidings_authorizer::{ServerKey, WebPubSubKey};

use crate::{Deps, handle};

/// Requests that may wait at once, where nobody says.
const DEFAULT_LONG_POLLS: u32 = 20;
/// More would make the row of slots too long.
const MOST_LONG_POLLS: u32 = 500;

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

    /// Serves Lambda until it ends the environment. Reads `TABLE_NAME`, `WEBSOCKET_ENDPOINT`, `NOTIFICATION_QUEUE_URL`,
    /// `HISTORY`, `PRESENCE`, `LONG_POLLS` (20 where it is not set), what the authorizer does, and `SECRETS`, what the names of the
    /// keys begin with that the servers of foreign protocols have: `/server-key` for Centrifugo's, `/webpubsub-key` for Web PubSub's.
    #[must_use]
    pub fn run(self) -> ExitCode {
        lambda::run(deps(), async |deps, event, _| handle(deps, event).await)
    }
}

async fn deps() -> Result<Deps, BoxError> {
    let aws = Aws::from_env()?;
    let endpoint = required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
    let queue = required("NOTIFICATION_QUEUE_URL", "it is where notifications go")?;
    let (spoken, secrets) = (Spoken::from_env()?, optional("SECRETS"));
    let key = |protocol, name: &str| {
        let secrets = secrets.as_ref().filter(|_| spoken.has(protocol))?;
        Some(aws.secret(format!("{secrets}/{name}")))
    };
    Ok(Deps {
        registry: aws.registry_from_env()?,
        notifications: aws.queue(queue).marked(Trigger::Rest),
        sockets: aws.management(&endpoint, POST_DEADLINE),
        metrics: Metrics::from_env(),
        history: History::from_env()?,
        clients: tidings_authorizer::Function::new().core(tidings_authorizer::Deps::from_env()?).await?,
        long_polls: parsed("LONG_POLLS", DEFAULT_LONG_POLLS, "use a whole number up to 500", |most| {
            *most <= MOST_LONG_POLLS
        })?,
        server_key: key(Protocol::Centrifuge, "server-key").map(|key| ServerKey::new(key, Refresh::default())),
        web_pubsub_key: key(Protocol::WebPubSub, "webpubsub-key").map(|key| WebPubSubKey::new(key, Refresh::default())),
    })
}
