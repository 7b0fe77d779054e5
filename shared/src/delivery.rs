//! Pushing one notification to everyone whom it is for. Nothing else knows the API Gateway Management API.
//!
//! Every member is pushed to or counted: one that fails never stops the others. What a push came to decides what
//! happens next (`post`), how many run side by side is learnt from the answers (`window`), and how many start in a
//! second is shared with all other workers (`pace`), since every API of the account shares one quota with us.

mod dismiss;
mod endpoint;
mod pace;
mod post;
mod run;
mod sign;
mod socket;
mod track;
mod window;

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::config::{self, ConfigError};
use crate::ids::{ConnectionId, NotificationId};
use crate::metrics::{Metric, Tally};
use crate::notification::Notification;
use crate::registry::{Member, Members, Position, Registry, RegistryError};
use pace::Pace;
use run::Run;

pub use dismiss::dismiss;
pub use endpoint::{Exchange, InvalidEndpoint, Sockets, Transport, TransportError};
pub use post::check_size;
pub use socket::{SocketError, close, last_active};

/// Longest message that API Gateway takes, in bytes (Developer Guide, quotas of WebSocket APIs: 128 KB).
pub const MAX_MESSAGE_BYTES: usize = 128 * 1_024;

/// How long one post may take before it counts as hanging.
pub const POST_DEADLINE: Duration = Duration::from_secs(3);

/// How hard to push.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Posts that may start in a second, those of all workers together.
    pub pushes_per_second: f64,
    /// Workers that may push at the same time. Each has at least its share of the posts, and all that others leave.
    pub workers: u32,
    /// Posts that may be under way at once. Each holds a socket, and a function has 1,024 file descriptors.
    pub max_in_flight: usize,
}

/// What came of a notification, in connections, except where something else is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The notification.
    pub id: NotificationId,
    /// Whom it was for: each once, without those that it leaves out.
    pub audience: u64,
    /// API Gateway took the message.
    pub delivered: u64,
    /// The client is gone; it was removed from the registry.
    pub gone: u64,
    /// Still in the handshake after 3 s of trying; it stays registered.
    pub pending: u64,
    /// The client does not read as fast as it is written to; skipped.
    pub slow: u64,
    /// API Gateway did not take the message in several attempts.
    pub failed: u64,
    /// Answers that told us to slow down.
    pub throttled: u64,
    /// 1 if the notification was past its time to live, and so dropped.
    pub expired: u64,
    /// Parts of the audience that were handed to other invocations, whose reports count for themselves.
    pub segments: u64,
}

/// What is to be delivered to whom.
pub struct Job<'a> {
    /// The notification.
    pub notification: &'a Notification,
    /// Its audience, or a part of it.
    pub members: Members,
    /// What was read of it already.
    pub first: Vec<Member>,
    /// Where to begin.
    pub position: Position,
    /// Whether another worker can go on where this one stops: the position is then saved, and no more is done than can
    /// be saved.
    pub resumable: bool,
    /// Milliseconds since the epoch.
    pub now: i64,
    /// When to stop, at the latest a second and a half before it is too late.
    pub deadline: Instant,
    /// Saves how far the work is.
    pub save: &'a Save,
    /// Counts what comes of it, also where it stops half way.
    pub tally: &'a Tally,
}

/// Saves how far a delivery is. What it is told is settled once it succeeds, and not told again.
pub type Save = dyn Fn(Progress) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>> + Send + Sync;

/// Why progress could not be saved.
pub type SaveError = Box<dyn std::error::Error + Send + Sync>;

/// How far a delivery is.
#[derive(Debug)]
pub struct Progress {
    /// Where another worker would go on; `None` where nobody will.
    pub position: Option<Position>,
    /// Members whose message was not taken, since the last saving.
    pub failed: Vec<Failed>,
    /// Sort keys of members that are still in their handshake, since the last saving.
    pub pending: Vec<String>,
}

/// A connection whose message was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Which.
    pub connection: ConnectionId,
    /// What the last attempt came to.
    pub reason: String,
}

/// How a delivery ended.
#[derive(Debug)]
pub struct Finish {
    /// What came of it.
    pub report: Report,
    /// Where to go on, if the time was up before the audience was through.
    pub rest: Option<Position>,
}

impl Progress {
    fn is_empty(&self) -> bool {
        self.position.is_none() && self.failed.is_empty() && self.pending.is_empty()
    }
}

/// Why a notification could not be delivered as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The message is larger than API Gateway takes.
    #[error("the message would be {bytes} bytes, and API Gateway takes {MAX_MESSAGE_BYTES}; make `data` smaller")]
    PayloadTooLarge {
        /// Its size in the largest protocol.
        bytes: usize,
    },
    /// API Gateway forbids the post: a matter of configuration, the same for everyone.
    #[error("API Gateway forbids pushing ({reason}); check the endpoint, its stage, and execute-api:ManageConnections")]
    Forbidden {
        /// What it said.
        reason: String,
    },
    /// Nobody was reached in many attempts.
    #[error("API Gateway does not take any message ({reason})")]
    Unreachable {
        /// What the last attempt came to.
        reason: String,
    },
    /// How far it is could not be written down.
    #[error("the progress could not be saved")]
    Save(#[source] SaveError),
    /// The audience could not be read.
    #[error("the audience could not be read")]
    Registry(#[from] RegistryError),
}

/// Pushes notifications.
#[derive(Debug)]
pub struct Delivery {
    sockets: Sockets,
    registry: Registry,
    limits: Limits,
    pace: Mutex<Pace>,
}

impl Delivery {
    /// Pushes through `sockets` to those whom `registry` knows.
    #[must_use]
    pub fn new(sockets: Sockets, registry: Registry, limits: Limits) -> Self {
        Self { sockets, registry, limits, pace: Mutex::new(Pace::new(&limits, Instant::now())) }
    }

    /// The registry that audiences are read from.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Posts a second that this worker can count on, whatever others do.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.limits.pushes_per_second / f64::from(self.limits.workers)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        // Nobody panics while holding the lock; if somebody did, the pace would still be right.
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pushes the notification to the members of the job, until all are settled or its deadline.
    ///
    /// # Errors
    /// When it cannot be delivered as a whole. Connections that fail one by one are counted in the report instead.
    pub async fn deliver(&self, job: Job<'_>) -> Result<Finish, DeliveryError> {
        post::check_size(job.notification)?;
        let (notification, tally) = (job.notification, job.tally);
        self.pace().trim();
        let mut run = Run::new(self, job);
        let finished = run.finish().await;
        tally.report(&run.report);
        if run.report.delivered > 0 {
            tally.since(Metric::FanOutLag, notification.at);
        }
        Ok(Finish { rest: finished?, report: run.report })
    }
}

impl Limits {
    /// Reads `PUSHES_PER_SECOND` (8,000 where it is not set: 80 % of an account's quota, which clients' own frames
    /// share), `FAN_OUT_CONCURRENCY` (1) and `NOTIFICATION_CONCURRENCY` (0), whose sum are the workers: the invocations
    /// that may work on the two queues at once; and `MAX_IN_FLIGHT` (256).
    ///
    /// # Errors
    /// When one is set to something else than a number in its range.
    pub fn from_env() -> Result<Self, ConfigError> {
        let above_zero = "use a number above 0";
        let pushes_per_second = config::parsed("PUSHES_PER_SECOND", 8_000.0, above_zero, |rate: &f64| *rate > 0.0)?;
        let fan_out: u32 = config::parsed("FAN_OUT_CONCURRENCY", 1, above_zero, |count| *count > 0)?;
        let notification: u32 = config::parsed("NOTIFICATION_CONCURRENCY", 0, "use 0 or more", |_| true)?;
        let max_in_flight = config::parsed("MAX_IN_FLIGHT", 256, "use 1 to 300", |count| (1..=300).contains(count))?;
        Ok(Self { pushes_per_second, workers: fan_out.saturating_add(notification), max_in_flight })
    }
}

impl Report {
    /// A report of nothing.
    #[must_use]
    pub fn new(id: &NotificationId) -> Self {
        let id = id.clone();
        let (audience, delivered, gone, pending, slow) = (0, 0, 0, 0, 0);
        Self { id, audience, delivered, gone, pending, slow, failed: 0, throttled: 0, expired: 0, segments: 0 }
    }

    /// Members that nothing more will be done for in this invocation.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.delivered + self.gone + self.pending + self.slow + self.failed
    }
}
