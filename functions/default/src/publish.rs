//! `publish`: a client notifies others. Its ack means that the notification is on the queue, or in its topic's log.

use std::time::Duration;

use tidings::delivery::check_size;
use tidings::fanout::{self, Said};
use tidings::metrics::{Metric, Recorder};
use tidings::notification::{Defaults, Notification, Origin, Target};
use tidings::permissions::Action;
use tidings::protocol::{ClientError, ErrorCode, Publish, ReplyBody};
use tidings::{Caller, NotificationId, Topic, UserId};

use crate::frame::Frame;
use crate::services::{Error, Services};

/// Puts what a client publishes on the notification queue, as a notification from its user.
pub(crate) async fn run(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    publish: Publish,
) -> Result<ReplyBody, Error> {
    match said(services, frame, publish)? {
        Ok((_, notification)) => {
            queue(services, frame, recorder, &notification).await?;
            Ok(ReplyBody::Ack)
        }
        Err(refused) => Ok(ReplyBody::Error(refused)),
    }
}

/// The same for who waits for the answer before it says more: where the topic has a log, the message is in it by then, so that
/// what one client says one after the other stands so.
pub(crate) async fn in_order(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    publish: Publish,
) -> Result<ReplyBody, Error> {
    let (topic, notification) = match said(services, frame, publish)? {
        Ok(said) => said,
        Err(refused) => return Ok(ReplyBody::Error(refused)),
    };
    let Some(retention) = services.history.of_topic(&topic) else {
        queue(services, frame, recorder, &notification).await?;
        return Ok(ReplyBody::Ack);
    };
    let (scope, id) = (frame.caller.scope(), notification.id.clone());
    let scope = scope.as_str();
    // API Gateway calls a function once for a frame, so nothing comes again under this name.
    let said = Said { topic: &topic, notification, scope, is_keyed: false };
    let queue = services.notifications.scoped(scope);
    fanout::publish(&services.registry, &queue, &said, retention, services.clock).await.map_err(Error::Log)?;
    note(frame, recorder, &id);
    Ok(ReplyBody::Ack)
}

/// What a client says, as a notification for a topic that it may publish to; else what it is told.
fn said(
    services: &Services,
    frame: &Frame,
    publish: Publish,
) -> Result<Result<(Topic, Notification), ClientError>, Error> {
    let caller = &frame.caller;
    let Target::Topic(topic) = &publish.target else {
        let message = "clients may publish to topics only; name a `topic`";
        return Ok(Err(ClientError::new(ErrorCode::Forbidden, message)));
    };
    if let Some(refused) = frame.refused(Action::Publish, std::slice::from_ref(topic)) {
        return Ok(Err(refused));
    }
    if let Err(error) = services.guard.publish(&caller.connection, frame.at) {
        return Ok(Err(error));
    }
    let topic = topic.clone();
    // A key is the client's, so it counts only among its own.
    let name = publish.key.as_ref().map_or_else(|| frame.message.clone(), |key| tidings::hash(&[sender(caller), key]));
    let id = NotificationId::parse(format!("client-{name}")).map_err(Error::Event)?;
    let defaults = Defaults { id, at: frame.at };
    let bad = |error: &dyn std::error::Error| ClientError::bad_request(error.to_string());
    let notification = publish.into_notification(&defaults, Origin { user: caller.user.clone() });
    Ok(notification.map_err(|error| bad(&error)).and_then(|notification| {
        check_size(&notification).map_err(|error| bad(&error))?;
        Ok((topic, notification))
    }))
}

/// Puts a client's notification on the notification queue.
pub(crate) async fn queue(
    services: &Services,
    frame: &Frame,
    recorder: &Recorder,
    notification: &Notification,
) -> Result<(), Error> {
    let caller = &frame.caller;
    // A notification that was checked can be written.
    let message = serde_json::to_string(notification).unwrap_or_default();
    let queue = services.notifications.scoped(caller.scope());
    queue.send(vec![message], sender(caller), Duration::ZERO).await.map_err(Error::Queue)?;
    note(frame, recorder, &notification.id);
    Ok(())
}

fn note(frame: &Frame, recorder: &Recorder, id: &NotificationId) {
    recorder.add(Metric::PublishedByClients, 1);
    tracing::info!(connection.id = %frame.caller.connection, notification.id = %id, "published");
}

/// Who publishes: a user, or a connection without one.
fn sender(caller: &Caller) -> &str {
    caller.user.as_ref().map_or(caller.connection.as_str(), UserId::as_str)
}

#[cfg(test)]
mod tests {
    use ::tests::queues::{self, Served};
    use ::tests::{engine, standin};
    use serde_json::{Value, json};
    use tidings::delivery::Management;
    use tidings::queue::{Queue, SCOPE_ATTRIBUTE};
    use tidings::registry::Registry;

    use super::*;
    use crate::{Commands, Function};

    /// What there is where nobody may look for anything: no table, no sockets.
    async fn commands(notifications: Queue) -> Commands {
        let nowhere = "http://127.0.0.1:9";
        let registry = Registry::new(engine::client(nowhere, engine::http()), "ConnectionsTable");
        let sockets = Management::new(standin::management(nowhere, Duration::from_secs(1)));
        let services = Services::new(registry, sockets, notifications);
        Function::new().core(services).await.unwrap()
    }

    async fn publish(commands: &Commands, connection: &str, user: Option<&str>, data: &Value) -> Value {
        let said = |name: &str| match name {
            "principalId" => Some("p"),
            "user" => user,
            "permissions" => Some("publish:**"),
            _ => None,
        };
        let caller = Caller::read(tidings::ConnectionId::parse(connection).unwrap(), said).unwrap();
        let text = json!({"action": "publish", "topic": "t", "data": data, "key": "1"}).to_string();
        let frame = Frame { caller, text, message: "m".to_owned(), at: 1_795_520_783_000 };
        serde_json::from_str(&commands.handle(frame).await.unwrap().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_user_comes_from_the_event_and_the_registry_is_not_asked() {
        let served = Served::start().await;
        let commands = commands(served.queue()).await;
        assert_eq!(publish(&commands, "c", Some("alice"), &json!(1)).await, json!({"type": "ack"}));
        let bodies: Vec<Value> = served.bodies().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        assert_eq!(bodies[0]["from"], json!({"user": "alice"}));
    }

    #[tokio::test]
    async fn each_user_and_each_anonymous_connection_has_a_scope_of_its_own() {
        let served = Served::start().await;
        let commands = commands(served.queue()).await;
        for (connection, user) in
            [("c", Some("alice")), ("d", Some("alice")), ("c", Some("bob")), ("c", None), ("d", None), ("e", Some("c"))]
        {
            publish(&commands, connection, user, &json!(1)).await;
        }
        let messages = served.take().await;
        let scope = |index: usize| {
            let attributes = messages[index].message_attributes().unwrap();
            attributes[SCOPE_ATTRIBUTE].string_value().unwrap()
        };
        assert_eq!(scope(0), scope(1), "a user keeps its scope on every connection");
        let all: std::collections::BTreeSet<_> = (0..messages.len()).map(scope).collect();
        assert_eq!((messages.len(), all.len()), (6, 5), "{all:?}");
        assert!(all.iter().all(|scope| scope.starts_with("client-")), "{all:?}");
    }

    #[tokio::test]
    async fn a_message_that_api_gateway_would_not_push_is_refused_with_its_field_and_a_fix() {
        let commands = commands(queues::nowhere()).await;
        let reply = publish(&commands, "c", None, &json!("x".repeat(131_000))).await;
        assert_eq!(reply["code"], "BadRequest", "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(
            message.starts_with("the message would be 131") && message.ends_with("make `data` smaller"),
            "{message}"
        );
    }
}
