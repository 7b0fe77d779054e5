//! What commands are carried out with.

use tidings::aws::{Aws, tells_backend};
use tidings::clock::Clock;
use tidings::config::{self, required};
use tidings::delivery::{Management, POST_DEADLINE, SocketError};
use tidings::fanout::FanOutError;
use tidings::function::{BoxError, Failure};
use tidings::history::History;
use tidings::ids::InvalidId;
use tidings::metrics::Metrics;
use tidings::protocol::{Protocol, Spoken};
use tidings::queue::{Queue, QueueError};
use tidings::registry::{Registry, RegistryError};
use tidings::trigger::Trigger;
use tidings_authorizer::{Authorizer, Deps};

use crate::guard::{Guard, Limits};

/// What the function needs.
#[derive(Debug)]
#[non_exhaustive]
pub struct Services {
    /// Where connections are registered.
    pub registry: Registry,
    /// To close connections that are not registered any more.
    pub sockets: Management,
    /// Where clients' notifications go.
    pub notifications: Queue,
    /// What counts.
    pub metrics: Metrics,
    /// What one connection may send.
    pub guard: Guard,
    /// Which audiences have a log.
    pub history: History,
    /// Who verifies the tokens of clients that say who they are in a frame; `None` where there are no such clients.
    pub tokens: Option<Authorizer>,
    /// A client that hears nothing for so many seconds, and a little longer, may take its connection for dead: what is quiet
    /// gets signs of life more often. 0 where there are none.
    pub ping: u64,
    /// Whether a bus is told of clients that say who they are in a frame.
    pub tells_backend: bool,
    /// What time it is.
    pub clock: Clock,
}

impl Services {
    /// With these, the default limits, no metrics and no logs.
    #[must_use]
    pub fn new(registry: Registry, sockets: Management, notifications: Queue) -> Self {
        let (metrics, guard) = (Metrics::default(), Guard::new(Limits::default()));
        let (history, tokens, clock) = (History::default(), None, Clock::System);
        Self { registry, sockets, notifications, metrics, guard, history, tokens, ping: 0, tells_backend: false, clock }
    }

    /// Reads the environment: `TABLE_NAME`, `WEBSOCKET_ENDPOINT`, `NOTIFICATION_QUEUE_URL`, `HISTORY`, `PRESENCE`, what
    /// [`Limits::from_env`] reads, `PING`, and, where `PROTOCOLS` names one whose clients say who they are in a frame,
    /// what the authorizer does.
    ///
    /// # Errors
    /// When one is missing or not what it should be; the error names it.
    pub async fn from_env() -> Result<Self, BoxError> {
        let aws = Aws::from_env()?;
        let endpoint = required("WEBSOCKET_ENDPOINT", "it is where sockets are closed, as https://…/<stage>")?;
        let queue = required("NOTIFICATION_QUEUE_URL", "it is where clients' notifications go")?;
        Ok(Self {
            registry: aws.registry_from_env()?,
            sockets: aws.management(&endpoint, POST_DEADLINE),
            notifications: aws.queue(queue).marked(Trigger::Client),
            metrics: Metrics::from_env(),
            guard: Guard::new(Limits::from_env()?),
            history: History::from_env()?,
            tokens: match Spoken::from_env()?.has(Protocol::Centrifuge) {
                true => Some(tidings_authorizer::Function::new().core(Deps::from_env()?).await?),
                false => None,
            },
            tells_backend: tells_backend(),
            ping: config::parsed("PING", 0, "use seconds", |_| true)?,
            clock: Clock::System,
        })
    }
}

/// Our own failure; the client gets API Gateway's `Internal server error` frame and stays connected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry failed.
    #[error("the command could not be carried out")]
    Registry(#[source] RegistryError),
    /// What a client published could not be put on the queue.
    #[error("the notification could not be queued")]
    Queue(#[source] QueueError),
    /// What a client published could not be put into its topic's log.
    #[error("the notification could not be put into its log")]
    Log(#[source] FanOutError),
    /// An answer that is too long for a response could not be posted.
    #[error("the answer could not be posted")]
    Reply(#[source] SocketError),
    /// The event does not say which connection it comes from.
    #[error("the event's connectionId is not valid")]
    Event(#[source] InvalidId),
    /// An application's handler of other frames failed.
    #[error("the handler of other frames failed")]
    Otherwise(#[source] BoxError),
    /// An application's action failed.
    #[error("the action {action:?} failed")]
    Action {
        /// Its name.
        action: String,
        /// Why.
        source: BoxError,
    },
}

impl Failure for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Registry(_) => "RegistryError",
            Self::Queue(_) => "QueueError",
            Self::Log(_) => "LogError",
            Self::Reply(_) => "SocketError",
            Self::Event(_) => "InvalidEvent",
            Self::Action { .. } | Self::Otherwise(_) => "ActionError",
        }
    }
}
