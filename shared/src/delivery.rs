//! Pushing one notification to everyone whom it is for. Nothing else knows the API Gateway Management API.
//!
//! Every member is pushed to or counted: one that fails never stops the others. What a push came to decides what
//! happens next (`run`), and how many start in a second is shared with all other workers and learnt together with them
//! (`limiter`), since every API of the account shares one quota with us. Overload is back-pressure: whoever is throttled
//! stays a member, and waits in place for a short while, then in the queue.

pub(crate) mod endpoint;
mod limiter;
mod management;
mod outbox;
mod post;
mod run;
mod sign;
mod track;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{self, ConfigError};
use crate::ids::{ConnectionId, NotificationId, Socket};
use crate::metrics::{Metric, Recorder};
use crate::notification::{Notification, Target};
use crate::registry::{Begun, Member, Members, Position, Registry, RegistryError};
use limiter::Limiter;
use run::Run;

pub use endpoint::{InvalidEndpoint, Sockets};
pub use management::{Management, SocketError};
pub use post::{check_size, most_bytes};

/// Longest message that API Gateway takes, in bytes (Developer Guide, quotas of WebSocket APIs: 128 KB).
pub const MAX_MESSAGE_BYTES: usize = 128 * 1_024;

/// How long one post may take before it counts as hanging.
pub const POST_DEADLINE: Duration = Duration::from_secs(3);

/// Audiences above this part of a second's posts are large: they leave the notification queue at once.
const LARGE: f64 = 1.0 / 40.0;

/// How hard to push.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Posts that may start in a second, those of all workers together.
    pub pushes_per_second: f64,
    /// Workers that may push at the same time: what an invocation plans to serve is its part of the rate.
    pub workers: u32,
}

/// What came of a notification, in connections, except where something else is said.
///
/// In the first report of a notification all but `throttled`, `segments` and a whole that `expired` add up to `audience`,
/// and nobody is in two. Whoever is `delayed` is settled in a later report, whose `audience` does not count it again: over
/// all reports everything but `delayed` adds up to `audience`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The notification.
    pub id: NotificationId,
    /// Whom it was for: each once, without those that it leaves out, and without those that an earlier report counted.
    pub audience: u64,
    /// API Gateway took the message.
    pub delivered: u64,
    /// Goes on through the queue: throttled, refused, in its handshake, or not reached before the time was up.
    pub delayed: u64,
    /// The client is gone; it was removed from the registry.
    pub gone: u64,
    /// Still in the handshake when it was tried a second time, 15 s later; it stays registered.
    pub pending: u64,
    /// The client did not read for a minute while others were reached; it was closed. In the dead-letter queue by name.
    pub slow: u64,
    /// API Gateway did not take the message in several attempts, or forbade it for two minutes. In the dead-letter queue.
    pub failed: u64,
    /// Posts that were answered with 429.
    pub throttled: u64,
    /// Dropped because the notification's time to live was over: members that were delayed, else 1 for all of it.
    pub expired: u64,
    /// Parts of the audience that were handed to other invocations, whose reports count for themselves.
    pub segments: u64,
}

/// What is to be delivered to whom.
pub struct Job<'a> {
    /// The notification, or several of one log: each member gets them in their order, one after the other.
    pub notifications: &'a [Notification],
    /// What becomes of a member that does not take its messages while others do.
    pub lagging: Lagging,
    /// Its audience, or a part of it.
    pub members: Members,
    /// What was read of it already.
    pub first: Vec<Member>,
    /// Where to begin.
    pub position: Position,
    /// Who is asked before strict members get anything; `None` where there can be none.
    pub doorkeeper: Option<Arc<Doorkeeper>>,
    /// How far an earlier run got with strict members that it left, by their sort keys.
    pub begun: BTreeMap<String, Begun>,
    /// Whether another worker can go on where this one stops: the position is then saved, and no more is done than can
    /// be saved.
    pub resumable: bool,
    /// Why these members are tried again, if they are.
    pub retry: Retry,
    /// When to stop, at the latest a second and a half before it is too late.
    pub deadline: Instant,
    /// Saves how far the work is.
    pub save: &'a Save,
    /// Counts what comes of it, also where it stops half way.
    pub recorder: &'a Recorder,
}

/// Says what a member is to get whose client must get nothing twice and nothing out of order. `true` where what is known of
/// it is old, and has to be read again.
pub type Doorkeeper =
    dyn Fn(Member, bool) -> Pin<Box<dyn Future<Output = Result<Admission, RegistryError>> + Send>> + Send + Sync;

/// What a doorkeeper says.
#[derive(Debug)]
pub struct Admission {
    /// The member as it is now.
    pub member: Member,
    /// What it gets.
    pub verdict: Verdict,
}

/// What a member gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// What it has not.
    Live,
    /// Nothing: it has left, or whoever subscribes it tells it.
    Passed,
    /// Nothing, for it may have a part of it: it is closed, comes back and recovers.
    Uncertain,
}

/// What becomes of a member that does not take its messages while others do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lagging {
    /// It goes on by name through the queue, and others do not wait for it.
    #[default]
    GoesOnByName,
    /// It is closed after five seconds: what it has not got is in the log, and later messages must not overtake it.
    IsClosed,
}

/// Why the members of a job are tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// They are not: this is the first time.
    #[default]
    No,
    /// They were in their handshake.
    Handshake,
    /// They were throttled, since this time in milliseconds since the epoch: each gets one post.
    Throttled {
        /// Since when.
        since: i64,
    },
    /// API Gateway forbade everything, since this time in milliseconds since the epoch.
    Refused {
        /// Since when.
        since: i64,
    },
}

/// Saves how far a delivery is. What it is told is settled once it succeeds, and not told again.
pub type Save = dyn Fn(Progress) -> Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>> + Send + Sync;

/// Why progress could not be saved.
pub type SaveError = Box<dyn std::error::Error + Send + Sync>;

/// How far a delivery is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Where another worker would go on; `None` where nobody will.
    pub position: Option<Position>,
    /// Members whose message was not taken, since the last saving.
    pub failed: Vec<Failed>,
    /// Sort keys of members that are still in their handshake, since the last saving.
    pub pending: Vec<String>,
    /// Sort keys of members that are throttled while others are not, since the last saving.
    pub delayed: Vec<String>,
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
    /// What is left, where the audience is not through.
    pub rest: Option<Rest>,
    /// How far each target was reached, in the notification's order; empty where the audience was not read to its end.
    pub reach: Vec<Reach>,
}

/// How far a target was reached by one run, in connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// Those that the target was the first to name, whom the notification leaves out included.
    pub seen: u32,
    /// Those of them that were gone or failed.
    pub lost: u32,
}

/// What is left of an audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Where to go on.
    pub position: Position,
    /// Whether there may be members beyond the position's cursor.
    pub goes_on: bool,
    /// Why it is left.
    pub why: Why,
    /// How far strict members are that were begun with, by their sort keys.
    pub begun: BTreeMap<String, Begun>,
}

/// Why a part of an audience is left to another invocation. Times are in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The time was up.
    TimeUp,
    /// Nothing has got through since.
    Overload {
        /// Since when.
        since: i64,
    },
    /// Everything has been forbidden since.
    Refused {
        /// Since when.
        since: i64,
    },
}

impl Progress {
    /// What it says of members, for one of the messages that they were to get.
    #[must_use]
    pub fn for_each_message(&self) -> Self {
        let Self { position: _, failed, pending, delayed } = self;
        Self { position: None, failed: failed.clone(), pending: pending.clone(), delayed: delayed.clone() }
    }

    fn is_empty(&self) -> bool {
        self.position.is_none() && self.failed.is_empty() && self.pending.is_empty() && self.delayed.is_empty()
    }
}

/// Why a notification could not be delivered as a whole.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The message is larger than API Gateway takes.
    #[error("the message would be {bytes} bytes, and {most} are allowed; make `data` smaller")]
    PayloadTooLarge {
        /// Its size in the largest protocol.
        bytes: usize,
        /// How large it may be.
        most: usize,
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
    /// There is nothing to deliver.
    #[error("there is no notification to deliver")]
    Empty,
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
    limiter: Arc<Limiter>,
    clock: Clock,
}

impl Delivery {
    /// Pushes through `sockets` to those whom `registry` knows.
    #[must_use]
    pub fn new(sockets: Sockets, registry: Registry, limits: Limits, clock: Clock) -> Self {
        let limiter = Arc::new(Limiter::new(registry.clone(), clock, limits.pushes_per_second, Instant::now()));
        Self { sockets, registry, limits, limiter, clock }
    }

    /// What time it is.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The registry that audiences are read from.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Posts a second that this worker can count on, if all are at work.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.limits.pushes_per_second / f64::from(self.limits.workers)
    }

    /// Most members of a small audience.
    #[must_use]
    pub fn small_audience(&self) -> usize {
        (self.limits.pushes_per_second * LARGE).max(10.0) as usize
    }

    /// Posts that an environment may start without a reservation.
    #[must_use]
    pub fn allowance(&self) -> usize {
        self.limiter.allowance()
    }

    /// Whether an overload is known that is not over.
    #[must_use]
    pub fn is_overloaded(&self) -> bool {
        self.limiter.knows_of_overload()
    }

    /// Reserves for so many posts that come soon, each for a small audience, in one write.
    pub fn expect(&self, posts: usize) {
        self.limiter.expect(posts);
    }

    /// Asks whether anything gets through. Since when it does not, in milliseconds since the epoch.
    pub async fn overload(&self, posts: usize) -> Option<i64> {
        self.limiter.consult(posts).await;
        self.limiter.overload()
    }

    /// Closes a socket; one that is gone is closed.
    ///
    /// # Errors
    /// When API Gateway does not do it.
    pub async fn close(&self, socket: &Socket) -> Result<(), DeliveryError> {
        let reason = match self.sockets.delete(socket).await {
            Ok(answer) if matches!(answer.status, 200..300 | 400 | 410) => return Ok(()),
            Ok(answer) => format!("status {}", answer.status),
            Err(error) => crate::describe(&error),
        };
        Err(DeliveryError::Unreachable { reason })
    }

    /// Pushes the notification to the members of the job, until all are settled or its deadline.
    ///
    /// # Errors
    /// When it cannot be delivered as a whole. Connections that fail one by one are counted in the report instead.
    pub async fn deliver(&self, job: Job<'_>) -> Result<Finish, DeliveryError> {
        job.notifications.iter().try_for_each(post::check_size)?;
        let (notifications, recorder, lagging) = (job.notifications, job.recorder, job.lagging);
        // A job without a notification has nothing to do.
        let Some(last) = notifications.last() else { return Err(DeliveryError::Empty) };
        let first = run::admitted(job.doorkeeper.clone(), job.first.clone()).await?;
        let mut run = Run::new(self, job, last, first);
        let finish = run.finish().await;
        if last.to == [Target::Quiet] {
            recorder.add(Metric::KeepAlives, run.report().delivered);
            recorder.add(Metric::Gone, run.report().gone);
            return finish;
        }
        run.report().record(recorder);
        if lagging == Lagging::IsClosed {
            recorder.add(Metric::ClosedForOrder, run.report().slow);
        }
        if run.report().delivered > 0 {
            notifications.iter().for_each(|notification| recorder.since(Metric::FanOutLag, notification.at));
        }
        finish
    }
}

impl Limits {
    /// Reads `PUSHES_PER_SECOND` (8,000 where it is not set: 80 % of an account's quota, which clients' own frames
    /// share), `FAN_OUT_CONCURRENCY` (1) and `NOTIFY_CONCURRENCY` (0), whose sum are the workers: the invocations that may
    /// work on the two queues at once.
    ///
    /// # Errors
    /// When one is set to something else than a number in its range.
    pub fn from_env() -> Result<Self, ConfigError> {
        let above_zero = "use a number above 0";
        let pushes_per_second = config::parsed("PUSHES_PER_SECOND", 8_000.0, above_zero, |rate: &f64| *rate > 0.0)?;
        let fan_out: u32 = config::parsed("FAN_OUT_CONCURRENCY", 1, above_zero, |count| *count > 0)?;
        let notify: u32 = config::parsed("NOTIFY_CONCURRENCY", 0, "use 0 or more", |_| true)?;
        Ok(Self { pushes_per_second, workers: fan_out.saturating_add(notify) })
    }
}

impl Report {
    /// Adds it to what an invocation counts.
    pub fn record(&self, recorder: &Recorder) {
        // Every field by name: a new one does not compile until it has its metric.
        let Self { id: _, audience, delivered, delayed, gone, pending, slow, failed, throttled, expired, segments } =
            self;
        for (metric, count) in [
            (Metric::Audience, audience),
            (Metric::Delivered, delivered),
            (Metric::Delayed, delayed),
            (Metric::Gone, gone),
            (Metric::Pending, pending),
            (Metric::Slow, slow),
            (Metric::Failed, failed),
            (Metric::Throttled, throttled),
            (Metric::Expired, expired),
            (Metric::Segments, segments),
        ] {
            recorder.add(metric, *count);
        }
    }

    /// Adds what came of another part of the same notification.
    pub fn add(&mut self, other: &Self) {
        let Self { id: _, audience, delivered, delayed, gone, pending, slow, failed, throttled, expired, segments } =
            other;
        for (sum, count) in [
            (&mut self.audience, audience),
            (&mut self.delivered, delivered),
            (&mut self.delayed, delayed),
            (&mut self.gone, gone),
            (&mut self.pending, pending),
            (&mut self.slow, slow),
            (&mut self.failed, failed),
            (&mut self.throttled, throttled),
            (&mut self.expired, expired),
            (&mut self.segments, segments),
        ] {
            *sum += count;
        }
    }

    /// A report of nothing.
    #[must_use]
    pub fn new(id: &NotificationId) -> Self {
        Self {
            id: id.clone(),
            audience: 0,
            delivered: 0,
            delayed: 0,
            gone: 0,
            pending: 0,
            slow: 0,
            failed: 0,
            throttled: 0,
            expired: 0,
            segments: 0,
        }
    }
}
