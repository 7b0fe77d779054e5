//! An application's own actions, as it writes them.
//!
//! `{"action":"orders.watch","order":42,"id":1}` subscribes the client to that order's topic, so that clients need not
//! know how topics are named. `{"action":"orders.cancel","order":42,"id":2}` tells all who watch it.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::queues::{Served, nowhere};
use tests::standin::Standin;
use tidings::metrics::Metrics;
use tidings::protocol::Protocol;
use tidings::queue::Queue;
use tidings::registry::{Connection, Registry};
use tidings::{Caller, ConnectionId, Context, Error, Topic};
use tidings_default::{Commands, Frame, Function, Guard, Limits, Reply, Services};

struct Shop {
    orders: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    order: u64,
}

impl Order {
    fn topic(&self, shop: &Shop) -> Result<String, Error> {
        match self.order {
            0 => Err(Error::bad_request("`order` is 0; order numbers start at 1")),
            order if order > shop.orders => Err(Error::new("NoSuchOrder", format!("there are {} orders", shop.orders))),
            order => Ok(format!("orders/{order}")),
        }
    }
}

async fn watch(cx: Context<Shop>, order: Order) -> Result<Reply, Error> {
    let topic = order.topic(cx.state())?;
    cx.subscribe(&topic).await?;
    Ok(Reply::with(json!({"topic": topic, "by": cx.user(), "role": cx.claims().get("role")})))
}

async fn cancel(cx: Context<Shop>, order: Order) -> Result<(), Error> {
    let topic = order.topic(cx.state())?;
    cx.notify(json!({"to": {"topic": topic}, "type": "order.cancelled", "data": {"order": order.order}})).await
}

async fn shop() -> Result<Shop, std::num::ParseIntError> {
    Ok(Shop { orders: "99".parse()? })
}

async fn commands(notifications: Queue) -> (Commands<Shop>, Registry) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let services = Services {
        registry: registry.clone(),
        sockets: Standin::start().await.client(Duration::from_secs(1)),
        notifications,
        metrics: Metrics::default(),
        guard: Guard::new(Limits::default()),
    };
    let function = Function::with_state(shop).on("orders.watch", watch).on("orders.cancel", cancel);
    (function.core(services).await.unwrap(), registry)
}

fn frame(frame: &Value) -> Frame {
    let said = |name: &str| match name {
        "principalId" | "user" => Some("alice"),
        "claims" => Some(r#"{"role":"buyer"}"#),
        _ => None,
    };
    let caller = Caller::read(ConnectionId::parse("c").unwrap(), said).unwrap();
    Frame { caller, text: frame.to_string(), message: "m".to_owned(), at: 2 }
}

async fn ask(commands: &Commands<Shop>, text: Value) -> Value {
    serde_json::from_str(&commands.handle(frame(&text)).await.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn an_action_subscribes_its_client_and_sees_user_and_claims() {
    let (commands, registry) = commands(nowhere()).await;
    let id = ConnectionId::parse("c").unwrap();
    let (socket, protocol) = (id.first_socket(), Protocol::default());
    let connection = Connection { id: id.clone(), socket, user: None, protocol, connected_at: 1, topics: vec![] };
    registry.connect(&connection).await.unwrap();
    let reply = ask(&commands, json!({"action": "orders.watch", "order": 42, "id": 1})).await;
    let data = json!({"topic": "orders/42", "by": "alice", "role": "buyer"});
    assert_eq!(reply, json!({"type": "ack", "id": 1, "data": data}));
    let topics = registry.connection(&id).await.unwrap().unwrap().topics;
    assert_eq!(topics, [Topic::parse("orders/42").unwrap()]);
}

#[tokio::test]
async fn who_cancels_an_order_tells_those_who_watch_it_under_an_id_of_the_frame() {
    let queue = Served::start().await;
    let (commands, _) = commands(queue.queue()).await;
    for _ in 0..2 {
        let reply = ask(&commands, json!({"action": "orders.cancel", "order": 42, "id": 1})).await;
        assert_eq!(reply, json!({"type": "ack", "id": 1}));
    }
    let notification = json!({"id": "client-m-1", "to": {"topic": "orders/42"}, "type": "order.cancelled",
        "dataType": "json", "data": {"order": 42}, "at": 2, "ttl": 3600});
    let sent: Vec<Value> = queue.bodies().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(sent, [notification.clone(), notification], "a frame that comes twice names its notification alike");
}

#[tokio::test]
async fn an_action_whose_notification_cannot_be_queued_fails() {
    let (commands, _) = commands(nowhere()).await;
    let error = commands.handle(frame(&json!({"action": "orders.cancel", "order": 42}))).await.unwrap_err();
    let error = tidings::describe(&error);
    let start = "the action \"orders.cancel\" failed: SendMessageBatch failed in SQS: ";
    assert!(error.starts_with(start), "{error}");
}

#[tokio::test]
async fn what_the_client_does_wrong_is_told_with_a_code_of_the_application() {
    let (commands, _) = commands(nowhere()).await;
    for (frame, code, message) in [
        (
            json!({"action": "orders.watch"}),
            "BadRequest",
            "the fields of \"orders.watch\" are not valid: missing field `order`",
        ),
        (json!({"action": "orders.watch", "order": 0}), "BadRequest", "`order` is 0; order numbers start at 1"),
        (json!({"action": "orders.watch", "order": 100}), "NoSuchOrder", "there are 99 orders"),
    ] {
        let reply = ask(&commands, frame).await;
        assert_eq!((&reply["code"], &reply["message"]), (&json!(code), &json!(message)));
    }
    // The connection is not registered.
    let reply = commands.handle(frame(&json!({"action": "orders.watch", "order": 1}))).await.unwrap();
    assert_eq!(reply, None, "it is sent away");
}
