//! What a queue keeps in a data folder, and how it is made from it again.
//!
//! A message is written once, its state at each change: who receives it does not write a megabyte.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DuplicateKey, Queue, Sent, State, Stored};
use crate::data::{Change, Store, StoreError};
use crate::sqs::clock::Millis;
use crate::sqs::message::Message;
use tidings_local_stack::QueueSettings;

/// What has changed since it was written last.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Messages that are new.
    pub(super) added: BTreeSet<u64>,
    /// Messages that are new, in another state, or gone.
    pub(super) changed: BTreeSet<u64>,
    /// What is recognised as a duplicate, or is no more.
    pub(super) duplicates: BTreeSet<DuplicateKey>,
}

/// A message's state as it is written.
#[derive(Serialize, Deserialize)]
struct KeptState {
    sent: Millis,
    /// Hidden until then, if it is delayed. Who received it is gone at the next start, so it is ready then.
    delayed: Option<Millis>,
    receives: u32,
    first_received: Option<Millis>,
    origin: Option<String>,
}

/// What is known of the first message of some duplicates.
#[derive(Serialize, Deserialize)]
struct KeptDuplicate {
    end: Millis,
    id: String,
    sequence_number: Option<String>,
}

impl Queue {
    /// The queue as it was written, or an empty one.
    pub(in crate::sqs) fn restored(
        name: &str,
        settings: QueueSettings,
        now: Millis,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let mut queue = Self::new(settings, now);
        let collections = Collections::new(name);
        let states = store.all(&collections.states)?;
        for ((key, message), (_, state)) in store.all(&collections.messages)?.into_iter().zip(states) {
            let message: Message = read(&collections.messages, &key, &message)?;
            let state: KeptState = read(&collections.states, &key, &state)?;
            let Ok(number) = key.parse() else { continue };
            queue.restore(number, Arc::new(message), state);
        }
        for (key, duplicate) in store.all(&collections.duplicates)? {
            let duplicate_key: DuplicateKey = read(&collections.duplicates, &key, &key)?;
            let kept: KeptDuplicate = read(&collections.duplicates, &key, &duplicate)?;
            let sent = Sent { id: kept.id, sequence_number: kept.sequence_number };
            queue.recent_ends.push_back((kept.end, duplicate_key.clone()));
            queue.recent.insert(duplicate_key, sent);
        }
        queue.recent_ends.make_contiguous().sort();
        queue.unwritten = Unwritten::default();
        Ok(queue)
    }

    fn restore(&mut self, number: u64, message: Arc<Message>, kept: KeptState) {
        let KeptState { sent, delayed, receives, first_received, origin } = kept;
        let stored = Stored { message, sent, state: State::Ready, receives, first_received, origin, again: false };
        self.next = self.next.max(number + 1);
        self.ages.insert((sent, number));
        self.ready.insert(number);
        self.messages.insert(number, stored);
        self.put(number, delayed.map_or(State::Ready, State::Delayed));
    }

    /// What is to be written now; nothing of it is told again.
    pub(in crate::sqs) fn take_changes(&mut self, name: &str) -> Vec<Change> {
        let Unwritten { added, changed, duplicates } = std::mem::take(&mut self.unwritten);
        let collections = Collections::new(name);
        let mut changes = Vec::new();
        for number in changed {
            let key = format!("{number:020}");
            let Some(stored) = self.messages.get(&number) else {
                changes.push(delete(&collections.messages, &key));
                changes.push(delete(&collections.states, &key));
                continue;
            };
            if added.contains(&number) {
                changes.push(put(&collections.messages, &key, stored.message.as_ref()));
            }
            changes.push(put(&collections.states, &key, &KeptState::of(stored)));
        }
        for duplicate in duplicates {
            let key = text(&duplicate);
            let end = self.recent_ends.iter().rev().find(|(_, other)| *other == duplicate).map(|(end, _)| *end);
            changes.push(match (end, self.recent.get(&duplicate)) {
                (Some(end), Some(Sent { id, sequence_number })) => {
                    let kept = KeptDuplicate { end, id: id.clone(), sequence_number: sequence_number.clone() };
                    put(&collections.duplicates, &key, &kept)
                }
                _ => delete(&collections.duplicates, &key),
            });
        }
        changes
    }
}

impl KeptState {
    fn of(stored: &Stored) -> Self {
        let delayed = match stored.state {
            State::Delayed(until) => Some(until),
            State::Ready | State::InFlight(_) => None,
        };
        Self {
            sent: stored.sent,
            delayed,
            receives: stored.receives,
            first_received: stored.first_received,
            origin: stored.origin.clone(),
        }
    }
}

struct Collections {
    messages: String,
    states: String,
    duplicates: String,
}

impl Collections {
    fn new(queue: &str) -> Self {
        let named = |what: &str| format!("{what}/{queue}");
        Self { messages: named("messages"), states: named("states"), duplicates: named("duplicates") }
    }
}

fn read<T: for<'a> Deserialize<'a>>(collection: &str, key: &str, value: &str) -> Result<T, StoreError> {
    let (collection, key) = (collection.to_owned(), key.to_owned());
    serde_json::from_str(value).map_err(|source| StoreError::Entry { collection, key, source })
}

/// Structs of texts and numbers always have a JSON form.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn put(collection: &str, key: &str, value: &impl Serialize) -> Change {
    Change::Put { collection: collection.to_owned(), key: key.to_owned(), value: text(value) }
}

fn delete(collection: &str, key: &str) -> Change {
    Change::Delete { collection: collection.to_owned(), key: key.to_owned() }
}
