//! The notifier: takes a notification and pushes it to everyone whom it is for.

mod time;

use std::time::SystemTime;

use lambda_runtime::{Context, Diagnostic};
use serde_json::value::RawValue;
use tidings::NotificationId;
use tidings::delivery::{Delivery, DeliveryError, Report};
use tidings::ids::InvalidId;
use tidings::notification::{Carrier, InvalidNotification, Notification};

/// What the function needs.
#[derive(Debug)]
pub struct Deps {
    /// What pushes.
    pub delivery: Delivery,
}

/// Why a notification was not delivered as a whole. Each kind has a stable `errorType`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not well formed.
    #[error(transparent)]
    Notification(#[from] InvalidNotification),
    /// It could not be pushed to its whole audience.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// Lambda's request id cannot serve as a notification's id.
    #[error("the request id cannot name a notification")]
    RequestId(#[source] InvalidId),
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        let error_type = match &error {
            Error::Notification(_) => "InvalidNotification",
            Error::RequestId(_) => "InvalidRequestId",
            Error::Delivery(DeliveryError::PayloadTooLarge { .. }) => "PayloadTooLarge",
            Error::Delivery(DeliveryError::Forbidden { .. }) => "Forbidden",
            Error::Delivery(DeliveryError::AudienceTooLarge(_)) => "AudienceTooLarge",
            Error::Delivery(DeliveryError::Registry(_)) => "RegistryError",
        };
        Self { error_type: error_type.to_owned(), error_message: tidings::describe(&error) }
    }
}

/// Delivers the notification that the event is, and answers with what came of it.
///
/// # Errors
/// When the notification is not well formed or could not be delivered as a whole; Lambda reports it as a function error.
pub async fn handle(deps: &Deps, event: &RawValue, context: &Context) -> Result<Report, Error> {
    let now = time::milliseconds(SystemTime::now());
    let id = NotificationId::parse(&context.request_id).map_err(Error::RequestId)?;
    let notification = Notification::parse(event.get(), &Carrier { id, at: now })?;
    let before = deps.delivery.registry().consumed();
    let report = deps.delivery.deliver(&notification, now, time::deadline(context.deadline)).await?;
    let consumed = deps.delivery.registry().consumed() - before;
    tracing::info!(
        notification.id = %report.id,
        audience = report.audience,
        delivered = report.delivered,
        gone = report.gone,
        pending = report.pending,
        slow = report.slow,
        failed = report.failed,
        throttled = report.throttled,
        expired = report.expired,
        read_units = consumed.read,
        write_units = consumed.write,
        "notified"
    );
    Ok(report)
}
