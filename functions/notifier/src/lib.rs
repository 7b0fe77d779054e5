//! The notifier of a [Tidings](https://docs.rs/tidings) stack: takes notifications, and events that become notifications, and
//! pushes them to everyone whom they are for.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     tidings_notifier::Function::new().run()
//! }
//! ```

mod batch;
mod function;
mod rules;
mod shape;
mod time;
mod trigger;

use serde::Serialize;
use serde_json::value::RawValue;
use tidings::clock::Clock;
use tidings::delivery::{DeliveryError, Report};
use tidings::fanout::{FanOut, FanOutError, Invocation};
use tidings::function::Failure;
use tidings::ids::InvalidId;
use tidings::lambda::Request;
use tidings::metrics::{Metric, Metrics};
use tidings::notification::{Defaults, InvalidNotification, Notification, Target};
use tidings::queue::QueueError;
use tidings::trigger::Trigger;
use tidings::{NotificationId, Topic};

pub use function::Function;
pub use rules::{InvalidRules, Rules};
use trigger::Event;

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// What delivers.
    pub fan_out: FanOut,
    /// What becomes of events that are not notifications.
    pub rules: Rules,
    /// What counts.
    pub metrics: Metrics,
    /// What time it is.
    pub clock: Clock,
}

/// Why an event was not handled. Each kind has a stable `errorType`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A notification is not well formed.
    #[error(transparent)]
    Notification(#[from] InvalidNotification),
    /// It could not be pushed to its whole audience.
    #[error(transparent)]
    FanOut(#[from] FanOutError),
    /// Lambda's request id cannot serve as a notification's id.
    #[error("the request id cannot name a notification")]
    RequestId(#[source] InvalidId),
    /// What can never succeed could not be kept.
    #[error("a record that cannot succeed could not be kept")]
    DeadLetter(#[source] QueueError),
    /// Records failed for a passing reason, and their service repeats only whole events.
    #[error("{count} of {total} records failed for a passing reason; the event is to come again")]
    Again {
        /// How many.
        count: usize,
        /// Of how many.
        total: usize,
    },
}

impl Failure for Error {
    fn kind(&self) -> &'static str {
        match self {
            Self::Notification(_) => "InvalidNotification",
            Self::RequestId(_) => "InvalidRequestId",
            Self::DeadLetter(_) | Self::FanOut(FanOutError::Queue(_)) => "QueueError",
            Self::Again { .. } => "PassingFailure",
            Self::FanOut(FanOutError::Reused { .. }) => "IdReused",
            Self::FanOut(FanOutError::Delivery(DeliveryError::PayloadTooLarge { .. })) => "PayloadTooLarge",
            Self::FanOut(FanOutError::Delivery(DeliveryError::Forbidden { .. })) => "Forbidden",
            Self::FanOut(FanOutError::Delivery(DeliveryError::Unreachable { .. })) => "Unreachable",
            Self::FanOut(_) => "RegistryError",
        }
    }
}

/// Handles an event. A direct invoke gets the report of its notification, or a list of reports; a service gets what it
/// expects.
///
/// # Errors
/// When a notification that was invoked directly is not well formed or cannot be delivered, and when the event as a whole
/// is to come again.
pub async fn handle(deps: &Deps, event: &RawValue, request: &Request) -> Result<Box<RawValue>, Error> {
    let left = time::left(request.deadline, deps.clock);
    let now = deps.clock.milliseconds();
    let invocation = Invocation {
        owner: request.id.clone(),
        now,
        deadline: time::deadline(left),
        lease_until: now + i64::try_from(left.as_millis()).unwrap_or(i64::MAX / 2),
        recorder: deps.metrics.recorder(),
    };
    let before = deps.fan_out.delivery().registry().consumed();
    let answered = match trigger::read(event, Some(deps.fan_out.queues().notifications.name())) {
        (Event::One(notification), _) => {
            let notification = parse(notification, &request.id, now)?;
            answer(&direct(deps, notification, &invocation).await?)
        }
        (Event::Many(list), _) => answer(&many(deps, &list, &invocation).await?),
        (Event::Records(batch), unreadable) => answer(&batch::serve(deps, batch, unreadable, &invocation).await?),
    };
    let consumed = deps.fan_out.delivery().registry().consumed() - before;
    tracing::debug!(read_units = consumed.read, write_units = consumed.write, "consumed");
    Ok(answered)
}

/// The answer as JSON, its fields in their documented order.
fn answer<T: Serialize>(answer: &T) -> Box<RawValue> {
    // Numbers and strings: there is nothing here that cannot be written.
    serde_json::value::to_raw_value(answer).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Several notifications, none of which is sent before all are well formed.
async fn many(deps: &Deps, list: &[&RawValue], invocation: &Invocation) -> Result<Vec<Report>, Error> {
    let parsed: Result<Vec<_>, _> = list
        .iter()
        .enumerate()
        .map(|(index, text)| parse(text, &format!("{}-{index}", invocation.owner), invocation.now))
        .collect();
    let mut reports = Vec::new();
    for notification in parsed? {
        reports.push(direct(deps, notification, invocation).await?);
    }
    Ok(reports)
}

async fn direct(deps: &Deps, notification: Notification, invocation: &Invocation) -> Result<Report, Error> {
    let topic = topic(&notification);
    count(invocation, Trigger::Direct, &notification);
    let report = Box::pin(deps.fan_out.direct(notification, invocation)).await?;
    log(&report, topic.as_ref());
    Ok(report)
}

/// Counts a notification that the notifier takes up.
fn count(invocation: &Invocation, trigger: Trigger, notification: &Notification) {
    invocation.recorder.add(Metric::notifications(trigger), 1);
    invocation.recorder.since(Metric::PickUpLag, notification.at);
}

/// The first topic that a notification is for.
fn topic(notification: &Notification) -> Option<Topic> {
    notification.to.iter().find_map(|target| match target {
        Target::Topic(topic) => Some(topic.clone()),
        _ => None,
    })
}

fn parse(text: &RawValue, id: &str, now: i64) -> Result<Notification, Error> {
    let id = NotificationId::parse(id).map_err(Error::RequestId)?;
    Ok(Notification::parse(text.get(), &Defaults { id, at: now })?)
}

/// The one line that the log gets of a delivery.
fn log(report: &Report, topic: Option<&Topic>) {
    tracing::info!(
        notification.id = %report.id,
        topic = topic.map(Topic::as_str),
        audience = report.audience,
        delivered = report.delivered,
        delayed = report.delayed,
        gone = report.gone,
        pending = report.pending,
        slow = report.slow,
        failed = report.failed,
        throttled = report.throttled,
        expired = report.expired,
        segments = report.segments,
        "notified"
    );
}
