//! An application's own hook, as it writes it.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::queues::Served;
use tidings::aws::Aws;
use tidings::context::Notifications;
use tidings::metrics::Metrics;
use tidings::registry::{Connection, Registry};
use tidings::{Caller, ConnectionId, Context, Error};
use tidings_disconnect::{Disconnect, Function, Reason};

async fn gone(cx: Context<AtomicU32>, reason: Reason) -> Result<(), Error> {
    cx.state().fetch_add(1, Ordering::Relaxed);
    if reason.status == Some(4_000) {
        return Err(Error::new("Never", "nobody is there to be told"));
    }
    let name = cx.attributes().await?.get("name").cloned();
    cx.notify(json!({"to": {"topic": "lobby"}, "data": {"left": name}})).await
}

async fn disconnect(notifications: Notifications) -> (Disconnect<AtomicU32>, Registry) {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let load = async || Ok::<_, std::convert::Infallible>(AtomicU32::new(0));
    let function = Function::with_state(load).on_disconnect(gone);
    (function.core(registry.clone(), notifications, Metrics::default()).await.unwrap(), registry)
}

fn id() -> ConnectionId {
    ConnectionId::parse("c").unwrap()
}

fn reason(status: u16) -> Reason {
    let mut reason = Reason::default();
    (reason.status, reason.at) = (Some(status), 1_795_520_783_000);
    reason
}

#[tokio::test]
async fn the_hook_is_called_once_for_each_connection_and_its_failure_harms_nobody() {
    let (disconnect, registry) = disconnect(Notifications::none()).await;
    registry.connect(&Connection::new(id())).await.unwrap();
    for _ in 0..2 {
        disconnect.handle(Caller::anonymous(id()), reason(4_000)).await.unwrap();
    }
    assert_eq!(disconnect.state().load(Ordering::Relaxed), 1, "API Gateway may say it twice");
    assert_eq!(registry.connection(&id()).await.unwrap(), None);
}

#[tokio::test]
async fn the_hook_sees_what_was_kept_without_a_read_and_notifies() {
    let queue = Served::start().await;
    let (disconnect, registry) = disconnect(queue.queue().into()).await;
    let mut connection = Connection::new(id());
    connection.attributes.insert("name", "Ada").unwrap();
    registry.connect(&connection).await.unwrap();
    let mut caller = Caller::anonymous(id());
    caller.request_id = "r1".to_owned();
    let before = registry.consumed();
    disconnect.handle(caller, reason(1_000)).await.unwrap();
    assert_eq!((registry.consumed() - before).read, 0.0);
    let sent: Value = serde_json::from_str(&queue.bodies().await[0]).unwrap();
    assert_eq!((&sent["id"], &sent["data"]), (&json!("client-r1-1"), &json!({"left": "Ada"})), "{sent}");
}

#[tokio::test]
async fn a_connection_is_forgotten_although_nobody_can_be_told() {
    let (disconnect, registry) = disconnect(Notifications::none()).await;
    let disconnect = disconnect.with_bus(Aws::local("http://127.0.0.1:9").bus("default"));
    registry.connect(&Connection::new(id())).await.unwrap();
    disconnect.handle(Caller::anonymous(id()), reason(1_000)).await.unwrap();
    assert_eq!(registry.connection(&id()).await.unwrap(), None);
}
