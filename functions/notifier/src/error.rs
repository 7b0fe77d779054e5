//! Why an event was not handled.

use tidings::delivery::DeliveryError;
use tidings::fanout::FanOutError;
use tidings::function::Failure;
use tidings::ids::InvalidId;
use tidings::notification::InvalidNotification;
use tidings::queue::QueueError;

/// Why an event was not handled. Each kind has a stable `errorType`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
            Self::FanOut(FanOutError::Events(_)) => "EventsError",
            Self::FanOut(FanOutError::Reused { .. }) => "IdReused",
            Self::FanOut(FanOutError::Delivery(DeliveryError::PayloadTooLarge { .. })) => "PayloadTooLarge",
            Self::FanOut(FanOutError::Delivery(DeliveryError::Forbidden { .. })) => "Forbidden",
            Self::FanOut(FanOutError::Delivery(DeliveryError::Unreachable { .. })) => "Unreachable",
            Self::FanOut(_) => "RegistryError",
        }
    }
}
