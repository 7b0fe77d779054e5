//! `publish`: a client notifies others. Its ack means that the notification is on the queue.

use std::time::Duration;

use tidings::delivery::check_size;
use tidings::metrics::Metric;
use tidings::notification::{Carrier, Origin, Target};
use tidings::permissions::Action;
use tidings::protocol::{ClientError, ErrorCode, Publish, ReplyBody};
use tidings::{NotificationId, UserId};

use crate::commands::Caller;
use crate::{Deps, Error};

/// Puts what a client publishes on the notification queue, as a notification from its user.
pub(crate) async fn run(deps: &Deps, caller: &Caller<'_>, publish: Publish) -> Result<ReplyBody, Error> {
    let Target::Topic(topic) = &publish.target else {
        let message = "clients may publish to topics only; name a `topic`";
        return Ok(ReplyBody::Error(ClientError::new(ErrorCode::Forbidden, message)));
    };
    if let Some(refused) = caller.refused(Action::Publish, std::slice::from_ref(topic)) {
        return Ok(refused);
    }
    if let Err(error) = deps.guard.publish(caller.id, caller.context.request_time_epoch) {
        return Ok(ReplyBody::Error(error));
    }
    let sender = caller.user.map_or(caller.id.as_str(), UserId::as_str);
    // A key is the client's, so it counts only among its own; API Gateway's id of the frame is the same when it retries.
    let name = match &publish.key {
        Some(key) => tidings::hash(&[sender, key]),
        None => caller.context.message_id.clone().unwrap_or_default(),
    };
    let id = NotificationId::parse(format!("client-{name}")).map_err(Error::Event)?;
    let carrier = Carrier { id, at: caller.context.request_time_epoch };
    let notification = match publish.into_notification(&carrier, Origin { user: caller.user.cloned() }) {
        Ok(notification) => notification,
        Err(error) => return Ok(ReplyBody::Error(ClientError::bad_request(error.to_string()))),
    };
    if let Err(error) = check_size(&notification) {
        return Ok(ReplyBody::Error(ClientError::bad_request(error.to_string())));
    }
    // A notification that was parsed can be written.
    let message = serde_json::to_string(&notification).unwrap_or_default();
    let queue = deps.notifications.scoped(caller.scope());
    queue.send(vec![message], sender, Duration::ZERO).await.map_err(Error::Queue)?;
    caller.tally.add(Metric::PublishedByClients, 1);
    tracing::info!(connection.id = %caller.id, notification.id = %notification.id, "published");
    Ok(ReplyBody::Ack)
}
