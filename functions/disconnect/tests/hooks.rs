//! An application's own hook, as it writes it.

use std::sync::atomic::{AtomicU32, Ordering};

use tests::engine::Engine;
use tidings::metrics::Metrics;
use tidings::protocol::Protocol;
use tidings::registry::{Connection, Registry};
use tidings::{Caller, ConnectionId, Context, Error};
use tidings_disconnect::{Function, Reason};

async fn count(cx: Context<AtomicU32>, _: Reason) -> Result<(), Error> {
    cx.state().fetch_add(1, Ordering::Relaxed);
    Err(Error::new("Never", "nobody is there to be told"))
}

#[tokio::test]
async fn the_hook_is_called_once_for_each_connection_and_its_failure_harms_nobody() {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client(), &table.name);
    let id = ConnectionId::parse("c").unwrap();
    let (socket, protocol) = (id.first_socket(), Protocol::default());
    let connection = Connection { id: id.clone(), socket, user: None, protocol, connected_at: 1, topics: vec![] };
    registry.connect(&connection).await.unwrap();
    let load = async || Ok::<_, std::convert::Infallible>(AtomicU32::new(0));
    let disconnect = Function::with_state(load).on_disconnect(count);
    let disconnect = disconnect.core(registry.clone(), Metrics::default()).await.unwrap();
    for _ in 0..2 {
        disconnect.handle(Caller::anonymous(id.clone()), Reason::default()).await.unwrap();
    }
    assert_eq!(disconnect.state().load(Ordering::Relaxed), 1, "API Gateway may say it twice");
    assert_eq!(registry.connection(&id).await.unwrap(), None);
}
