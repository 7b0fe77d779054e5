//! What an application is told, and how it gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::error::{Reason, Refusal};
use crate::message::Message;
use crate::position::{Log, Position, Positions};

/// With so many events that nobody has taken, the client stops reading from its connection, and the server has to wait.
const MOST_WAITING: usize = 1_024;

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection is made, and all that is subscribed to is acknowledged on it.
    Connected,
    /// There is no connection any more, or none could be made. The next attempt comes by itself.
    #[non_exhaustive]
    Disconnected {
        /// Why.
        reason: Reason,
        /// How long until the next attempt.
        retry_in: Duration,
    },
    /// A message. Those of a log come by offset, each once; others as they come, each once as far as its id tells.
    Message(Message),
    /// Of what lies between these two positions of a log something may be lost for good. What is left of it may still follow.
    #[non_exhaustive]
    Missed {
        /// Which log.
        log: Log,
        /// Up to here everything had come.
        from: Position,
        /// From here on everything comes. With another epoch than `from` the log was made anew, and it is not known how much is
        /// missing; `None` where there is no log any more.
        to: Option<Position>,
    },
    /// A subscription is over: the server does not accept it.
    #[non_exhaustive]
    Refused {
        /// Which one.
        log: Log,
        /// What the server says.
        refusal: Refusal,
    },
    /// A complaint of the server that belongs to no command. Those of API Gateway itself, which says so when a function fails, have
    /// the code `ApiGateway`.
    Complaint(Refusal),
    /// A frame that is none of the protocol's: one of an application's own.
    Other(String),
    /// The client has given up: trying again cannot help. Nothing follows.
    Failed(Reason),
}

/// What goes to the application's side.
#[derive(Debug)]
pub(crate) enum Item {
    Event(Event),
    /// Where a log is read from now on; `None` where it is read no more.
    Position(Log, Option<Position>),
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: AtomicUsize,
    taken: Notify,
}

/// The events of a client, one after the other. A client whose events are dropped ends.
#[derive(Debug)]
pub struct Events {
    items: UnboundedReceiver<Item>,
    backlog: Arc<Backlog>,
    positions: Positions,
}

/// The other end.
#[derive(Debug)]
pub(crate) struct EventSender {
    items: UnboundedSender<Item>,
    backlog: Arc<Backlog>,
}

/// Both ends, for somebody who stands at these positions.
pub(crate) fn events(positions: Positions) -> (EventSender, Events) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let backlog = Arc::<Backlog>::default();
    let sender = EventSender { items: sender, backlog: Arc::clone(&backlog) };
    (sender, Events { items: receiver, backlog, positions })
}

impl EventSender {
    pub(crate) fn send(&self, item: Item) {
        self.backlog.waiting.fetch_add(1, Ordering::Relaxed);
        // Whoever has dropped the events is noticed by `closed`.
        let _ = self.items.send(item);
    }

    /// Whether more may come.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.waiting.load(Ordering::Relaxed) < MOST_WAITING
    }

    /// Waits until something was taken.
    pub(crate) async fn taken(&self) {
        self.backlog.taken.notified().await;
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn closed(&self) {
        self.items.closed().await;
    }
}

impl Events {
    /// The next event; `None` when the client has ended. Nothing is lost when this is dropped before it is done, as in a
    /// `select!`.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let item = self.items.recv().await?;
            self.backlog.waiting.fetch_sub(1, Ordering::Relaxed);
            self.backlog.taken.notify_one();
            match item {
                Item::Event(event) => {
                    self.note(&event);
                    return Some(event);
                }
                Item::Position(log, Some(position)) => self.positions.insert(log, position),
                Item::Position(log, None) => self.positions.remove(&log),
            }
        }
    }

    /// Where each log stands: everything up to there has been given out by [`Self::next`]. Save it when that is also dealt with,
    /// and give it to [`Builder::positions`](crate::Builder::positions) the next time.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    fn note(&mut self, event: &Event) {
        let Event::Message(Message { log: Some(log), position: Some(position), .. }) = event else { return };
        // Only of a log that is read: others push as they like.
        if self.positions.get(log).is_some_and(|known| known.epoch == position.epoch && known.offset < position.offset)
        {
            self.positions.insert(log.clone(), position.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Incoming, read};

    fn message(offset: u64) -> Item {
        let text = format!(r#"{{"type":"message","id":"n","topic":"a","offset":{offset},"epoch":"e","data":1}}"#);
        let Incoming::Message(message) = read(&text) else { panic!("a message expected") };
        Item::Event(Event::Message(message))
    }

    #[tokio::test]
    async fn positions_follow_what_was_taken_and_not_what_waits() {
        let at = |offset| Position { offset, epoch: "e".to_owned() };
        let (sender, mut events) = events(Positions::default());
        sender.send(Item::Position(Log::topic("a"), Some(at(4))));
        sender.send(message(5));
        sender.send(message(6));
        sender.send(Item::Position(Log::topic("a"), Some(at(9))));
        events.next().await;
        assert_eq!(events.positions().get(&Log::topic("a")), Some(&at(5)));
        events.next().await;
        assert_eq!(events.positions().get(&Log::topic("a")), Some(&at(6)));
        drop(sender);
        assert!(events.next().await.is_none());
        assert_eq!(events.positions().get(&Log::topic("a")), Some(&at(9)), "offsets for others are done too");
    }

    #[tokio::test]
    async fn a_slow_application_is_noticed_and_so_is_one_that_goes_on() {
        let (sender, mut events) = events(Positions::default());
        for offset in 0..MOST_WAITING as u64 {
            assert!(sender.has_room());
            sender.send(message(offset));
        }
        assert!(!sender.has_room());
        events.next().await;
        sender.taken().await;
        assert!(sender.has_room());
        drop(events);
        sender.closed().await;
    }
}
