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
use tidings::queue::Queue;
use tidings::registry::{Connection, Registry};
use tidings::{Caller, ConnectionId, Context, Error, Topic};
use tidings_default::{Commands, Frame, Function, Reply, Services};

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

/// `{"action":"seat","id":3}` says where the client sits, which was kept when it connected.
async fn seat(cx: Context<Shop>, (): ()) -> Result<Reply, Error> {
    let before = cx.registry().consumed();
    let seat = cx.attributes().await?.get("seat").cloned();
    let read = (cx.registry().consumed() - before).read;
    cx.attributes().await?;
    let again = (cx.registry().consumed() - before).read - read;
    Ok(Reply::with(json!({"seat": seat, "units": [read, again]})))
}

/// The same behind a `subscribe`.
async fn sit(cx: Context<Shop>, (): ()) -> Result<Reply, Error> {
    cx.subscribe("seats").await?;
    seat(cx, ()).await
}

/// What the old client of this shop sends: `order 42`.
async fn old(cx: Context<Shop>, text: String) -> Result<Reply, Error> {
    let Some(order) = text.strip_prefix("order ") else {
        return Err(Error::new("NotUnderstood", format!("{} sends {text:?}", cx.connection())));
    };
    let order: u64 = order.parse()?;
    Ok(Reply::with(json!({"order": order})))
}

async fn shop() -> Result<Shop, std::num::ParseIntError> {
    Ok(Shop { orders: "99".parse()? })
}

async fn commands(notifications: Queue) -> (Commands<Shop>, Registry) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let sockets = Standin::start().await.client(Duration::from_secs(1));
    let services = Services::new(registry.clone(), sockets, notifications);
    let function = Function::with_state(shop).on("orders.watch", watch).on("orders.cancel", cancel);
    let function = function.on("seat", seat).on("sit", sit).otherwise(old);
    (function.core(services).await.unwrap(), registry)
}

fn frame(frame: &Value) -> Frame {
    text_frame(&frame.to_string())
}

fn text_frame(text: &str) -> Frame {
    let said = |name: &str| match name {
        "principalId" | "user" => Some("alice"),
        "claims" => Some(r#"{"role":"buyer"}"#),
        _ => None,
    };
    let caller = Caller::read(ConnectionId::parse("c").unwrap(), said).unwrap();
    let mut frame = Frame::new(caller, text);
    (frame.message, frame.at) = ("m".to_owned(), 2);
    frame
}

async fn ask(commands: &Commands<Shop>, text: Value) -> Value {
    serde_json::from_str(&commands.handle(frame(&text)).await.unwrap().unwrap()).unwrap()
}

#[tokio::test]
async fn an_action_subscribes_its_client_and_sees_user_and_claims() {
    let (commands, registry) = commands(nowhere()).await;
    let id = ConnectionId::parse("c").unwrap();
    registry.connect(&Connection::new(id.clone())).await.unwrap();
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

#[tokio::test]
async fn frames_that_nobody_knows_go_to_the_handler_of_other_frames() {
    let (commands, _) = commands(nowhere()).await;
    for (text, expected) in [
        ("order 42", json!({"type": "ack", "data": {"order": 42}})),
        ("nonsense", json!({"type": "error", "code": "NotUnderstood", "message": "c sends \"nonsense\""})),
        ("[1]", json!({"type": "error", "code": "NotUnderstood", "message": "c sends \"[1]\""})),
        (
            r#"{"id":7}"#,
            json!({"type": "error", "id": 7, "code": "NotUnderstood", "message": "c sends \"{\\\"id\\\":7}\""}),
        ),
        (
            r#"{"action":"x","id":"a"}"#,
            json!({"type": "error", "id": "a", "code": "NotUnderstood",
                "message": "c sends \"{\\\"action\\\":\\\"x\\\",\\\"id\\\":\\\"a\\\"}\""}),
        ),
    ] {
        let reply = commands.handle(text_frame(text)).await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&reply).unwrap(), expected, "{text}");
    }
}

#[tokio::test]
async fn a_command_with_a_mistake_in_it_is_answered_by_the_protocol() {
    let (commands, _) = commands(nowhere()).await;
    for (text, start) in [
        (r#"{"action":"subscribe"}"#, "`topic` is missing"),
        (r#"{"action":"x","id":[]}"#, "`id` is not valid"),
        (r#"{"action":"orders.watch"}"#, "the fields of \"orders.watch\" are not valid"),
    ] {
        let reply: Value = serde_json::from_str(&commands.handle(text_frame(text)).await.unwrap().unwrap()).unwrap();
        assert!(reply["code"] == "BadRequest" && reply["message"].as_str().unwrap().starts_with(start), "{reply}");
    }
}

#[tokio::test]
async fn a_failure_of_the_handler_of_other_frames_is_ours() {
    let (commands, _) = commands(nowhere()).await;
    let error = commands.handle(text_frame("order many")).await.unwrap_err();
    assert_eq!(tidings::describe(&error), "the handler of other frames failed: invalid digit found in string");
}

#[tokio::test]
async fn an_action_reads_what_was_kept_once_and_not_at_all_where_the_row_was_read_for_something_else() {
    let (commands, registry) = commands(nowhere()).await;
    let mut connection = Connection::new(ConnectionId::parse("c").unwrap());
    connection.attributes.insert("seat", "12A").unwrap();
    registry.connect(&connection).await.unwrap();
    let reply = ask(&commands, json!({"action": "seat"})).await;
    assert_eq!(reply["data"], json!({"seat": "12A", "units": [1.0, 0.0]}));
    let reply = ask(&commands, json!({"action": "sit"})).await;
    assert_eq!(reply["data"], json!({"seat": "12A", "units": [0.0, 0.0]}));
}
