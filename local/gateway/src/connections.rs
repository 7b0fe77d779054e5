//! The connections that are open, and the way to send to each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::clock::Clock;
use super::ending::Ending;
use super::events::{AuthorizerContext, Origin};
use super::traffic::Traffic;

/// How many bytes may wait for one client. AWS's size is not known.
const SEND_BUFFER: usize = 512 * 1024;
/// Counted for each message beside its text, so that empty ones do not pile up without end.
const OVERHEAD: usize = 64;

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendError {
    /// The client reads too slowly.
    Full,
    /// The connection has just ended.
    Gone,
}

/// What the socket's task writes next.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A text frame; its share of the send buffer is free once this is dropped.
    Text(Utf8Bytes, OwnedSemaphorePermit),
    /// Close, after everything before it.
    Close(Ending),
}

/// What the socket's task has to write. In boxes, because the queue keeps 32 places for each connection, idle or not.
pub(super) type Queue = mpsc::UnboundedReceiver<Box<Outgoing>>;

/// One client's open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) origin: Origin,
    pub(super) authorizer: Option<AuthorizerContext>,
    pub(super) traffic: Traffic,
    clock: Clock,
    opened: Instant,
    /// Milliseconds from `opened` to the last data in either direction.
    active: AtomicU64,
    outgoing: mpsc::UnboundedSender<Box<Outgoing>>,
    space: Arc<Semaphore>,
    deletion: Notify,
}

impl Connection {
    /// A connection, and what its socket's task has to write.
    pub(super) fn new(origin: Origin, authorizer: Option<AuthorizerContext>, clock: Clock) -> (Arc<Self>, Queue) {
        let (outgoing, receiver) = mpsc::unbounded_channel();
        let connection = Self {
            origin,
            authorizer,
            traffic: Traffic::default(),
            opened: clock.now(),
            clock,
            active: AtomicU64::new(0),
            outgoing,
            space: Arc::new(Semaphore::new(SEND_BUFFER)),
            deletion: Notify::new(),
        };
        (Arc::new(connection), receiver)
    }

    pub(super) fn id(&self) -> &str {
        &self.origin.connection_id
    }

    /// Queues a text frame, if there is room for it now.
    pub(super) fn try_send(&self, text: Utf8Bytes) -> Result<(), SendError> {
        let share = match Arc::clone(&self.space).try_acquire_many_owned(share_of(&text)) {
            Ok(share) => share,
            Err(TryAcquireError::NoPermits) => return Err(SendError::Full),
            Err(TryAcquireError::Closed) => return Err(SendError::Gone),
        };
        self.outgoing.send(Box::new(Outgoing::Text(text, share))).map_err(|_| SendError::Gone)?;
        self.traffic.count_sent();
        self.touch();
        Ok(())
    }

    /// Queues a text frame when there is room for it. On a connection that ends meanwhile it is lost.
    pub(super) async fn send(&self, text: Utf8Bytes) {
        let Ok(share) = Arc::clone(&self.space).acquire_many_owned(share_of(&text)).await else { return };
        if self.outgoing.send(Box::new(Outgoing::Text(text, share))).is_ok() {
            self.traffic.count_sent();
            self.touch();
        }
    }

    /// Closes after what is queued already.
    pub(super) fn close(&self, ending: Ending) {
        // Fails only if the socket's task has ended, and with it the connection.
        let _ = self.outgoing.send(Box::new(Outgoing::Close(ending)));
    }

    /// From here on nothing can be sent, and whoever waits to send stops waiting.
    pub(super) fn shut(&self) {
        self.space.close();
    }

    /// Asks the socket's task to close the connection as `DELETE` does.
    pub(super) fn delete(&self) {
        self.deletion.notify_one();
    }

    /// Waits for [`Self::delete`].
    pub(super) async fn deleted(&self) {
        self.deletion.notified().await;
    }

    /// Notes that data went through just now.
    pub(super) fn touch(&self) {
        let age = u64::try_from(self.clock.now().duration_since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.active.fetch_max(age, Ordering::Relaxed);
    }

    /// When it was made.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    /// When data last went through.
    pub(super) fn last_active(&self) -> Instant {
        self.opened + Duration::from_millis(self.active.load(Ordering::Relaxed))
    }

    /// When data last went through, in epoch milliseconds.
    pub(super) fn last_active_at(&self) -> i64 {
        self.origin.connected_at.saturating_add_unsigned(self.active.load(Ordering::Relaxed))
    }
}

/// A message has at most 128 KB and fits into an empty buffer; a longer one would wait for ever, so it counts as that.
fn share_of(text: &Utf8Bytes) -> u32 {
    u32::try_from((text.len() + OVERHEAD).min(SEND_BUFFER)).unwrap_or(u32::MAX)
}

/// All open connections by id. Those whose `$connect` has not returned yet are not among them.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<String, Arc<Connection>>>);

impl Connections {
    pub(super) fn insert(&self, connection: Arc<Connection>) {
        self.lock().insert(connection.id().to_owned(), connection);
    }

    pub(super) fn get(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().get(id).cloned()
    }

    pub(super) fn remove(&self, id: &str) -> Option<Arc<Connection>> {
        self.lock().remove(id)
    }

    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Identity;
    use super::*;

    fn connection() -> (Arc<Connection>, Queue) {
        let origin = Origin {
            api_id: "abcdef1234".to_owned(),
            stage: "dev".to_owned(),
            stage_variables: Default::default(),
            connection_id: "BFHPhfCWIAMCKlQ=".to_owned(),
            connected_at: 1_000,
            domain_name: "localhost".to_owned(),
            identity: Identity { source_ip: "127.0.0.1".to_owned(), user_agent: None, caller: None },
        };
        Connection::new(origin, None, Clock::default())
    }

    #[tokio::test]
    async fn the_send_buffer_is_bounded_and_frees_what_was_taken() {
        let (connection, mut outgoing) = connection();
        let message = Utf8Bytes::from("x".repeat(128 * 1024 - OVERHEAD));
        for _ in 0..4 {
            assert_eq!(connection.try_send(message.clone()), Ok(()));
        }
        assert_eq!(connection.try_send(Utf8Bytes::from("")), Err(SendError::Full));
        drop(outgoing.recv().await);
        assert_eq!(connection.try_send(message.clone()), Ok(()));
        assert_eq!(connection.try_send(message), Err(SendError::Full));
    }

    #[tokio::test]
    async fn who_waits_for_room_stops_when_the_connection_ends() {
        let (connection, _outgoing) = connection();
        while connection.try_send(Utf8Bytes::from("x".repeat(1000))).is_ok() {}
        let waiting = tokio::spawn({
            let connection = Arc::clone(&connection);
            async move { connection.send(Utf8Bytes::from("x".repeat(1000))).await }
        });
        connection.shut();
        waiting.await.unwrap();
        assert_eq!(connection.try_send(Utf8Bytes::from("")), Err(SendError::Gone));
    }

    #[test]
    fn small_messages_are_bounded_too() {
        let (connection, _outgoing) = connection();
        let taken = (0..100_000).take_while(|_| connection.try_send(Utf8Bytes::from("")).is_ok()).count();
        assert_eq!(taken, SEND_BUFFER / OVERHEAD);
    }
}
