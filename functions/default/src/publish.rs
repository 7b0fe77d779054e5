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

#[cfg(test)]
mod tests {
    use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
    use serde_json::{Value, json};
    use tests::queues::{self, Served};
    use tests::{engine, standin};
    use tidings::metrics::Metrics;
    use tidings::queue::{Queue, SCOPE_ATTRIBUTE};
    use tidings::registry::Registry;

    use super::*;
    use crate::{Guard, Limits, Router, handle};

    /// What there is where nobody may look for anything: no table, no sockets.
    fn deps(notifications: Queue) -> Deps {
        let nowhere = "http://127.0.0.1:9";
        Deps {
            registry: Registry::new(engine::client(nowhere, engine::http()), "ConnectionsTable"),
            sockets: standin::management(nowhere, Duration::from_secs(1)),
            router: Router::new(),
            notifications,
            metrics: Metrics::default(),
            guard: Guard::new(Limits::default()),
        }
    }

    async fn publish(deps: &Deps, connection: &str, user: Option<&str>, data: &Value) -> Value {
        let authorizer = json!({"principalId": "p", "user": user, "permissions": "publish:**"});
        let event: ApiGatewayWebsocketProxyRequest = serde_json::from_value(json!({
            "requestContext": {
                "connectionId": connection, "messageId": "m", "connectedAt": 1, "requestTimeEpoch": 1_795_520_783_000_i64,
                "authorizer": authorizer,
            },
            "body": json!({"action": "publish", "topic": "t", "data": data, "key": "1"}).to_string(),
        }))
        .unwrap();
        let Some(aws_lambda_events::encodings::Body::Text(reply)) = handle(deps, event).await.unwrap().body else {
            panic!("a reply should come")
        };
        serde_json::from_str(&reply).unwrap()
    }

    #[tokio::test]
    async fn the_user_comes_from_the_event_and_the_registry_is_not_asked() {
        let served = Served::start().await;
        let deps = deps(served.queue());
        assert_eq!(publish(&deps, "c", Some("alice"), &json!(1)).await, json!({"type": "ack"}));
        let bodies: Vec<Value> = served.bodies().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        assert_eq!(bodies[0]["from"], json!({"user": "alice"}));
    }

    #[tokio::test]
    async fn each_user_and_each_anonymous_connection_has_a_scope_of_its_own() {
        let served = Served::start().await;
        let deps = deps(served.queue());
        for (connection, user) in
            [("c", Some("alice")), ("d", Some("alice")), ("c", Some("bob")), ("c", None), ("d", None), ("e", Some("c"))]
        {
            publish(&deps, connection, user, &json!(1)).await;
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
        let deps = deps(queues::nowhere());
        let reply = publish(&deps, "c", None, &json!("x".repeat(131_000))).await;
        assert_eq!(reply["code"], "BadRequest", "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(
            message.starts_with("the message would be 131") && message.ends_with("make `data` smaller"),
            "{message}"
        );
    }
}
