//! What the functions count, and the one list of its names.
//!
//! A function counts into a [`Recorder`] while it handles one event. When that ends, well or not, the recorder becomes one line
//! on standard output in CloudWatch's embedded metric format, which CloudWatch turns into metrics of the namespace
//! [`NAMESPACE`]. No call is made, nothing is waited for, and nothing is allocated for a single push. See
//! `docs/decisions/0007-metrics.md`.
//!
//! ```
//! use tidings::metrics::{Metric, Metrics};
//!
//! async fn handle(metrics: &Metrics) -> Result<(), std::io::Error> {
//!     let recorder = metrics.recorder();
//!     recorder.add(Metric::RestRequests, 1);
//!     // … whatever may fail; the line is written when `recorder` goes.
//!     Ok(())
//! }
//! ```

mod line;

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Clock;
use crate::config::optional;
use crate::trigger::Trigger;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "Tidings";

/// The one dimension of all metrics: the name of the stack. CloudWatch bills each metric once for each value of it.
pub const DIMENSION: &str = "Stack";

/// What a metric's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things. Its `Sum` is what to look at.
    Count,
    /// A time. Its percentiles and its `Maximum` are what to look at.
    Milliseconds,
}

impl Unit {
    /// CloudWatch's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

macro_rules! metrics {
    ($($(#[doc = $meaning:literal])+ $name:ident: $unit:ident of $function:literal,)+) => {
        /// Everything that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Metric {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Metric {
    /// What counts the notifications of a trigger.
    #[must_use]
    pub fn notifications(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Direct => Self::DirectNotifications,
            Trigger::Sqs => Self::SqsNotifications,
            Trigger::Sns => Self::SnsNotifications,
            Trigger::EventBridge => Self::EventBridgeNotifications,
            Trigger::DynamoDb => Self::DynamoDbNotifications,
            Trigger::Kinesis => Self::KinesisNotifications,
            Trigger::S3 => Self::S3Notifications,
            Trigger::Client => Self::ClientNotifications,
            Trigger::Rest => Self::RestNotifications,
        }
    }

            /// All of them, in the order of the functions.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in CloudWatch.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What its values are.
            #[must_use]
            pub fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit,)+ }
            }

            /// The function that counts it, by its folder.
            #[must_use]
            pub fn function(self) -> &'static str {
                match self { $(Self::$name => $function,)+ }
            }
        }
    };
}

metrics! {
    /// Clients whose token was accepted, or who may do without one.
    AuthorizerAllowed: Count of "authorizer",
    /// Clients that were refused, for whatever reason. The four that follow are its parts.
    AuthorizerDenied: Count of "authorizer",
    /// Refused without a token.
    DeniedNoToken: Count of "authorizer",
    /// Refused with a token whose time is over or has not begun.
    DeniedExpired: Count of "authorizer",
    /// Refused with a token that is wrong in another way: signature, issuer, audience, form.
    DeniedInvalid: Count of "authorizer",
    /// Refused for the page that they come from.
    DeniedOrigin: Count of "authorizer",
    /// Keys that were fetched anew from their issuer or from Secrets Manager.
    KeyRefreshes: Count of "authorizer",
    /// Keys that could not be fetched.
    KeyRefreshFailures: Count of "authorizer",
    /// Connections that were registered.
    ConnectionsOpened: Count of "connect",
    /// Handshakes that were refused: without a user, or malformed.
    ConnectionsRefused: Count of "connect",
    /// Events `Connected` that could not be put on the bus.
    ConnectedUntold: Count of "connect",
    /// Registered connections that ended.
    ConnectionsClosed: Count of "disconnect",
    /// Events `Disconnected` that could not be put on the bus.
    DisconnectedUntold: Count of "disconnect",
    /// Topics that connections subscribed to with a command.
    Subscriptions: Count of "default",
    /// Topics that connections unsubscribed from with a command.
    Unsubscriptions: Count of "default",
    /// Logs that clients which came back read what they missed from, all of it.
    Recovered: Count of "default",
    /// Logs that had no longer all of what a client missed.
    MissedBeyondLog: Count of "default",
    /// Commands that were answered with an error.
    CommandsRefused: Count of "default",
    /// Notifications that clients published and that are on the queue.
    PublishedByClients: Count of "default",
    /// Calls of the REST API.
    RestRequests: Count of "api",
    /// Calls of the REST API that were answered with a status from 400 to 499.
    RestRefused: Count of "api",
    /// Calls of the REST API that were answered with a status from 500 on.
    RestErrors: Count of "api",
    /// Requests for messages that waited for something new.
    LongPolls: Count of "api",
    /// Requests for messages that should have waited, and were answered at once because too many others waited.
    LongPollsRefused: Count of "api",
    /// Notifications of direct invokes. This and the eight that follow count each attempt.
    DirectNotifications: Count of "notifier",
    /// Notifications of producers that used a queue.
    SqsNotifications: Count of "notifier",
    /// Notifications out of SNS, also through a queue.
    SnsNotifications: Count of "notifier",
    /// Notifications out of EventBridge, also scheduled ones.
    EventBridgeNotifications: Count of "notifier",
    /// Notifications out of a table's stream.
    DynamoDbNotifications: Count of "notifier",
    /// Notifications out of a Kinesis stream.
    KinesisNotifications: Count of "notifier",
    /// Notifications out of a bucket.
    S3Notifications: Count of "notifier",
    /// Notifications that clients published.
    ClientNotifications: Count of "notifier",
    /// Notifications that came through the REST API.
    RestNotifications: Count of "notifier",
    /// Connections that notifications were for.
    Audience: Count of "notifier",
    /// Messages that API Gateway took.
    Delivered: Count of "notifier",
    /// Connections whose message goes on through the queue: throttled, refused, in their handshake, or not reached before
    /// the time was up. A later report settles them; the sum of all others is the audience.
    Delayed: Count of "notifier",
    /// Signs of life that API Gateway took, for connections that hear nothing else for minutes.
    KeepAlives: Count of "notifier",
    /// Connections that were found gone and removed.
    Gone: Count of "notifier",
    /// Connections that were still in their handshake when they were tried a second time, 15 s later.
    Pending: Count of "notifier",
    /// Connections that were closed because their client did not read while others were reached: for a minute, or for five
    /// seconds where it held up an ordered topic.
    Slow: Count of "notifier",
    /// Those of them that were closed because they held up an ordered topic.
    ClosedForOrder: Count of "notifier",
    /// Connections whose message API Gateway did not take in several attempts, or forbade for two minutes.
    Failed: Count of "notifier",
    /// Posts that API Gateway answered with 429.
    Throttled: Count of "notifier",
    /// What was dropped because its time to live was over: delayed connections, or 1 for a notification or a part of its
    /// audience.
    Expired: Count of "notifier",
    /// Parts of an audience that were handed to other invocations.
    Segments: Count of "notifier",
    /// Notifications that came again and were recognised: nobody was pushed to.
    Duplicates: Count of "notifier",
    /// Messages that were appended to logs.
    Appended: Count of "notifier",
    /// Lanes that were left to another worker with something still to push.
    LanesBehind: Count of "notifier",
    /// Places in a log that others took first, so that the next one was tried.
    AppendsContended: Count of "notifier",
    /// Users whom a notification named and did not reach: nobody of theirs was there, nobody took it, or it was too late.
    Undelivered: Count of "notifier",
    /// Users who came to a topic or left it, of whom its watchers were told.
    PresenceEvents: Count of "notifier",
    /// Letters that the notifier put into the dead-letter queue.
    DeadLetters: Count of "notifier",
    /// From a notification's `at` until the notifier takes it up.
    PickUpLag: Milliseconds of "notifier",
    /// From a notification's `at` until the last push of a part of its audience.
    FanOutLag: Milliseconds of "notifier",
}

/// Makes tallies.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    stack: Option<Arc<str>>,
}

impl Metrics {
    /// Metrics of the stack that `METRICS_STACK` names; where it is not set, nothing is written.
    #[must_use]
    pub fn from_env() -> Self {
        Self { stack: optional("METRICS_STACK").map(Into::into) }
    }

    /// A recorder for one event.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder(Arc::new(Counted { stack: self.stack.clone(), values: Mutex::default() }))
    }
}

/// What one invocation counts. Clones count into the same; when the last one goes, the line is written.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Counted>);

#[derive(Debug)]
struct Counted {
    stack: Option<Arc<str>>,
    values: Mutex<Values>,
}

/// Sums of what is counted, and each value of what is timed.
#[derive(Debug, Clone)]
struct Values {
    sums: [u64; Metric::ALL.len()],
    times: Vec<(Metric, u64)>,
}

impl Default for Values {
    fn default() -> Self {
        Self { sums: [0; Metric::ALL.len()], times: Vec::new() }
    }
}

impl Recorder {
    /// Adds to a metric in [`Unit::Count`].
    pub fn add(&self, metric: Metric, count: u64) {
        self.0.change(|values| values.sums[metric as usize] += count);
    }

    /// Notes a time, in a metric in [`Unit::Milliseconds`]: since `at`, in milliseconds since the epoch. A producer whose
    /// clock is ahead makes it 0.
    pub fn since(&self, metric: Metric, at: i64) {
        let time = u64::try_from(now().saturating_sub(at)).unwrap_or(0);
        self.0.change(|values| values.times.push((metric, time)));
    }
}

impl Counted {
    fn change(&self, change: impl FnOnce(&mut Values)) {
        // Nobody panics while holding the lock; if somebody did, the sums would still be right.
        change(&mut self.values.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some(stack) = &self.stack else { return };
        let values = self.values.get_mut().unwrap_or_else(PoisonError::into_inner);
        let text = line::lines(stack, level(), now(), values);
        // Metrics are no reason to fail, and where standard output is closed there is nowhere to say so.
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }
}

/// The level that lines are marked with. Lambda takes a line without one for INFO, and drops it where the function's level
/// is WARN or above (Lambda Developer Guide, "Log-level filtering"); metrics must not depend on how much is logged.
fn level() -> &'static str {
    match optional("AWS_LAMBDA_LOG_LEVEL").as_deref() {
        Some("WARN") => "WARN",
        Some("ERROR") => "ERROR",
        Some("FATAL") => "FATAL",
        _ => "INFO",
    }
}

fn now() -> i64 {
    Clock::System.milliseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Metric::ALL.len());
    }

    #[test]
    fn the_list_is_in_the_order_of_the_numbers_that_index_it() {
        for (index, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index);
        }
    }

    #[test]
    fn every_trigger_is_found_by_its_name() {
        for trigger in Trigger::ALL {
            assert_eq!(Trigger::of_name(trigger.name()), Some(trigger));
            assert!(Metric::notifications(trigger).name().ends_with("Notifications"));
        }
        assert_eq!(Trigger::of_name("orders"), None);
    }
}
