//! Watching what happens: the gateway and the functions' host record events, the console shows them.
//!
//! An [`Observer`] keeps the last [`KEPT`] events. Who wants to follow takes a [`Cursor`], which reads them from there
//! as fast as it can: a slow reader misses events and is told how many, and nobody ever waits for it. While nobody reads,
//! an event costs its place in the ring and nothing else.
//!
//! What goes in has lost its tokens already ([`Text`]).

mod event;
pub mod mask;
mod trigger;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

pub use event::{
    Actor, BusEvent, Close, Direction, Event, Frame, Handshake, Invocation, Outcome, Push, Status, Text, TopicMessage,
};
pub use trigger::Trigger;

/// How many events are kept. The oldest goes first.
pub const KEPT: usize = 2_000;

/// Takes events. Clones share them; the default one forgets everything at once.
#[derive(Debug, Clone, Default)]
pub struct Observer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    run: String,
    ring: Mutex<VecDeque<Arc<Recorded>>>,
    progress: watch::Sender<Progress>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The number of the last event; 0 before the first.
    last: u64,
    ended: bool,
    /// Invocations that have not ended.
    running: usize,
}

/// An event with its place among the others.
#[derive(Debug, Serialize)]
pub struct Recorded {
    /// Counted from 1, without gaps.
    pub seq: u64,
    /// When it was recorded, in epoch milliseconds.
    pub at: i64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Observer {
    /// Whether it keeps anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// An observer that keeps events.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::new(Shared {
            run: Uuid::new_v4().simple().to_string(),
            ring: Mutex::default(),
            progress: watch::Sender::default(),
        })))
    }

    /// Records an event; where nothing is kept, `event` is not even made.
    pub fn record(&self, event: impl FnOnce() -> Event) {
        let Some(shared) = &self.0 else { return };
        let event = event();
        let mut ring = shared.ring();
        let seq = ring.back().map_or(1, |last| last.seq + 1);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(Arc::new(Recorded { seq, at: epoch_ms(), event }));
        // Within the lock, so that progress never goes back.
        shared.progress.send_modify(|progress| progress.last = seq);
    }

    /// Counts an invocation that begins.
    pub fn begin(&self) {
        if let Some(shared) = &self.0 {
            shared.progress.send_modify(|progress| progress.running += 1);
        }
    }

    /// Counts an invocation that has ended.
    pub fn finish(&self) {
        if let Some(shared) = &self.0 {
            shared.progress.send_modify(|progress| progress.running = progress.running.saturating_sub(1));
        }
    }

    /// How many invocations are under way.
    #[must_use]
    pub fn running(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.progress.borrow().running)
    }

    /// The number of the last event; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.as_ref().map_or(0, |shared| shared.progress.borrow().last)
    }

    /// The events that are kept, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<Arc<Recorded>> {
        self.0.as_ref().map_or_else(Vec::new, |shared| shared.ring().iter().cloned().collect())
    }

    /// Tells everyone who follows that nothing more will come.
    pub fn end(&self) {
        if let Some(shared) = &self.0 {
            shared.progress.send_modify(|progress| progress.ended = true);
        }
    }

    /// Names this observer among those of other runs, whose numbers start at 1 as well.
    #[must_use]
    pub fn run(&self) -> &str {
        self.0.as_ref().map_or("", |shared| &shared.run)
    }

    /// Follows the events behind number `after`; 0 starts with the oldest that is kept.
    #[must_use]
    pub fn follow(&self, after: u64) -> Cursor {
        let progress = self.0.as_ref().map(|shared| shared.progress.subscribe());
        Cursor { observer: self.clone(), progress, after }
    }
}

impl Shared {
    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Recorded>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's place among the events.
#[derive(Debug)]
pub struct Cursor {
    observer: Observer,
    progress: Option<watch::Receiver<Progress>>,
    after: u64,
}

/// Events in their order.
#[derive(Debug, Serialize)]
pub struct Batch {
    /// How many were gone before they could be read, just before these.
    pub missed: u64,
    /// At least one.
    pub events: Vec<Arc<Recorded>>,
}

impl Cursor {
    /// The next events, at most `limit`; waits for the first. `None` once nothing more will come.
    pub async fn next(&mut self, limit: usize) -> Option<Batch> {
        let (progress, shared) = (self.progress.as_mut()?, self.observer.0.as_ref()?);
        let after = self.after;
        let ended = progress.wait_for(|progress| progress.last > after || progress.ended).await.ok()?.ended;
        let ring = shared.ring();
        let oldest = ring.front().map(|event| event.seq)?;
        let missed = oldest.saturating_sub(after + 1);
        let start = usize::try_from((after + 1).saturating_sub(oldest)).unwrap_or(usize::MAX);
        let events: Vec<_> = ring.iter().skip(start).take(limit.max(1)).cloned().collect();
        drop(ring);
        match events.last() {
            Some(last) => self.after = last.seq,
            None if ended => return None,
            // A number from another run, ahead of this one: nothing of it is known here.
            None => self.after = 0,
        }
        Some(Batch { missed, events })
    }
}

/// Milliseconds since 1970.
pub fn epoch_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Since `started`, in milliseconds with one digit behind the point.
#[must_use]
pub fn milliseconds(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16) -> Event {
        Event::Close(Close { connection: "c=".to_owned(), code, reason: Text::of(""), by: Actor::Client })
    }

    fn codes(batch: &Batch) -> Vec<u16> {
        let code = |recorded: &Arc<Recorded>| match &recorded.event {
            Event::Close(close) => close.code,
            other => panic!("{other:?}"),
        };
        batch.events.iter().map(code).collect()
    }

    #[tokio::test]
    async fn what_was_recorded_is_read_in_order_and_what_comes_is_waited_for() {
        let observer = Observer::new();
        observer.record(|| closed(1));
        observer.record(|| closed(2));
        observer.record(|| closed(3));
        let mut cursor = observer.follow(0);
        assert_eq!(codes(&cursor.next(2).await.unwrap()), [1, 2]);
        assert_eq!(codes(&cursor.next(2).await.unwrap()), [3]);
        let waiting = tokio::spawn(async move { (cursor.next(2).await, cursor.next(2).await.is_none()) });
        tokio::task::yield_now().await;
        observer.record(|| closed(4));
        observer.end();
        let (batch, over) = waiting.await.unwrap();
        assert_eq!((codes(&batch.unwrap()), over), (vec![4], true));
        assert_eq!(codes(&observer.follow(2).next(9).await.unwrap()), [3, 4]);
    }

    #[tokio::test]
    async fn a_reader_that_is_late_is_told_how_much_it_missed() {
        let observer = Observer::new();
        let mut cursor = observer.follow(0);
        for code in 0..2_005 {
            observer.record(|| closed(code));
        }
        let batch = cursor.next(usize::MAX).await.unwrap();
        assert_eq!((batch.missed, batch.events.len(), batch.events[0].seq), (5, KEPT, 6));
    }

    #[tokio::test]
    async fn without_a_ring_nothing_is_made_and_nothing_comes() {
        let observer = Observer::default();
        observer.record(|| panic!("made for nobody"));
        assert!(observer.follow(0).next(1).await.is_none());
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let observer = Observer::new();
        observer.record(|| closed(1001));
        let ring = observer.0.as_ref().unwrap().ring();
        let mut json = serde_json::to_value(&ring[0]).unwrap();
        assert!(json["at"].take().as_i64().unwrap() > 1_700_000_000_000);
        let expected = serde_json::json!({"seq": 1, "at": null, "kind": "close", "connection": "c=", "code": 1001,
            "reason": {"text": "", "bytes": 0}, "by": "client"});
        assert_eq!(json, expected);
    }
}
