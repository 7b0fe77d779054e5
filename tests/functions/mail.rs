//! The function of the example in `docs/events.md`: whoever was not reached gets a mail. A queue stands in for what sends it.

use std::process::ExitCode;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tidings::aws::Aws;
use tidings::config::required;
use tidings::function::{BoxError, Failure};
use tidings::lambda;
use tidings::queue::{Queue, QueueError};

/// The event `Undelivered`, as EventBridge brings it.
#[derive(Deserialize)]
struct Undelivered {
    detail: Detail,
}

#[derive(Deserialize)]
struct Detail {
    /// The same when it comes again.
    id: String,
    user: String,
    notification: Notification,
}

#[derive(Deserialize)]
struct Notification {
    data: Value,
}

#[derive(Debug, thiserror::Error)]
#[error("the mail could not be sent")]
struct Unsent(#[from] QueueError);

impl Failure for Unsent {
    fn kind(&self) -> &'static str {
        "Unsent"
    }
}

async fn start() -> Result<Queue, BoxError> {
    Ok(Aws::from_env()?.queue(required("OUTBOX_URL", "it is where mails go")?))
}

async fn mail(outbox: &Queue, event: Undelivered) -> Result<(), Unsent> {
    let Detail { id, user, notification } = event.detail;
    let mail = json!({"id": id, "to": format!("{user}@example.com"), "text": notification.data});
    Ok(outbox.send(vec![mail.to_string()], &user, Duration::ZERO).await?)
}

fn main() -> ExitCode {
    lambda::run(start(), async |outbox, event, _| mail(outbox, event).await)
}
