//! An application's own `default` function: the toolkit's commands, and two actions more.
//!
//! `{"action":"orders.watch","order":42,"id":1}` subscribes the client to that order's topic, so that clients need not
//! know how topics are named. `{"action":"orders.cancel","order":42,"id":2}` tells all who watch it. To deploy it, make
//! this the `main.rs` of the function.

use default::{ActionError, Context, Deps, Router, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde::Deserialize;
use serde_json::json;
use tidings::Topic;
use tidings::protocol::{ClientError, ReplyBody};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    order: u64,
}

impl Order {
    fn topic(&self) -> Result<Topic, ActionError> {
        if self.order == 0 {
            return Err(ClientError::bad_request("`order` is 0; order numbers start at 1").into());
        }
        Topic::parse(format!("orders/{}", self.order)).map_err(ActionError::internal)
    }
}

async fn watch(context: Context, order: Order) -> Result<ReplyBody, ActionError> {
    let topic = order.topic()?;
    context.subscribe(std::slice::from_ref(&topic)).await?;
    Ok(ReplyBody::AckWith(json!({"topic": topic})))
}

async fn cancel(context: Context, order: Order) -> Result<ReplyBody, ActionError> {
    let topic = order.topic()?;
    context.notify(json!({"to": {"topic": topic}, "type": "order.cancelled", "data": {"order": order.order}})).await?;
    Ok(ReplyBody::Ack)
}

fn router() -> Router {
    Router::new().on("orders.watch", watch).on("orders.cancel", cancel)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tidings::logs::init();
    let deps = Deps::from_env(router())?;
    run(service_fn(|event: LambdaEvent<_>| handle(&deps, event.payload))).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::tests::engine::Engine;
    use ::tests::standin::Standin;
    use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
    use default::{Guard, Limits};
    use serde_json::{Value, json};
    use tidings::ConnectionId;
    use tidings::metrics::Metrics;
    use tidings::protocol::Protocol;
    use tidings::registry::{Connection, Registry};

    use super::*;

    async fn deps() -> Deps {
        let table = Engine::Embedded.table().await.unwrap();
        let sockets = Standin::start().await.client(Duration::from_secs(1));
        let notifications = ::tests::queues::nowhere();
        let registry = Registry::new(table.client(), &table.name);
        let (guard, metrics) = (Guard::new(Limits::default()), Metrics::default());
        Deps { registry, sockets, router: router(), notifications, metrics, guard }
    }

    async fn ask(deps: &Deps, frame: Value) -> Value {
        let event: ApiGatewayWebsocketProxyRequest = serde_json::from_value(json!({
            "requestContext": {"connectionId": "c", "messageId": "m", "connectedAt": 1, "requestTimeEpoch": 2},
            "body": frame.to_string(),
        }))
        .unwrap();
        let Some(aws_lambda_events::encodings::Body::Text(reply)) = handle(deps, event).await.unwrap().body else {
            panic!("a reply should come")
        };
        serde_json::from_str(&reply).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_watches_an_order_is_subscribed_to_its_topic() {
        let deps = deps().await;
        let id = ConnectionId::parse("c").unwrap();
        let (socket, protocol) = (id.first_socket(), Protocol::default());
        let connection = Connection { id: id.clone(), socket, user: None, protocol, connected_at: 1, topics: vec![] };
        deps.registry.connect(&connection).await.unwrap();
        let reply = ask(&deps, json!({"action": "orders.watch", "order": 42, "id": 1})).await;
        assert_eq!(reply, json!({"type": "ack", "id": 1, "data": {"topic": "orders/42"}}));
        let topics = deps.registry.connection(&id).await.unwrap().unwrap().topics;
        assert_eq!(topics, [Topic::parse("orders/42").unwrap()]);
    }

    #[tokio::test]
    async fn who_cancels_an_order_tells_those_who_watch_it_under_an_id_of_the_frame() {
        let queue = ::tests::queues::Served::start().await;
        let deps = Deps { notifications: queue.queue(), ..deps().await };
        for _ in 0..2 {
            let reply = ask(&deps, json!({"action": "orders.cancel", "order": 42, "id": 1})).await;
            assert_eq!(reply, json!({"type": "ack", "id": 1}));
        }
        let notification = json!({"id": "client-m-1", "to": {"topic": "orders/42"}, "type": "order.cancelled",
            "dataType": "json", "data": {"order": 42}, "at": 2, "ttl": 3600});
        let sent: Vec<Value> = queue.bodies().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
        assert_eq!(sent, [notification.clone(), notification], "a frame that comes twice names its notification alike");
    }

    #[tokio::test]
    async fn an_action_whose_notification_cannot_be_queued_fails() {
        let event = json!({
            "requestContext": {"connectionId": "c", "messageId": "m", "connectedAt": 1, "requestTimeEpoch": 2},
            "body": json!({"action": "orders.cancel", "order": 42}).to_string(),
        });
        let error = handle(&deps().await, serde_json::from_value(event).unwrap()).await.unwrap_err().to_string();
        let start = "the action \"orders.cancel\" failed: SendMessageBatch failed in SQS: ";
        assert!(error.starts_with(start), "{error}");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_told_and_names_the_field() {
        let deps = deps().await;
        for (frame, message) in [
            (json!({"action": "orders.watch"}), "the fields of \"orders.watch\" are not valid: missing field `order`"),
            (json!({"action": "orders.watch", "order": 0}), "`order` is 0; order numbers start at 1"),
        ] {
            let reply = ask(&deps, frame).await;
            assert_eq!((&reply["code"], &reply["message"]), (&json!("BadRequest"), &json!(message)));
        }
    }
}
