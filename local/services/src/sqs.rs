//! SQS in this process: standard and FIFO queues in memory, and in a data folder if there is one, behind the API that SDKs and the AWS command line speak.
//!
//! `queue` is one queue as a state machine, [`Sqs`] all of them with a clock and with waiting, `operations` the API's
//! calls, `server` their two protocols on the wire.
//!
//! What is *not* here: permissions, tags, encryption, message move tasks, the limits on messages in flight and on
//! throughput. Standard queues keep their order and deliver once unless told otherwise, which AWS does not promise, and a
//! message group in one is carried but gets no fairer share.

mod clock;
mod message;
mod operations;
mod query;
mod queue;
mod refusal;
mod server;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use tokio::sync::{Notify, watch};

use crate::data::{Change, Store, StoreError};
use clock::Clock;
use queue::{Counts, Queue, Sent};
use tidings_local_stack::{self as stack, QueueSettings};

pub use clock::Millis;
pub use message::{Attribute, Content, Message};
pub use message::{md5_of, md5_of_attributes};
pub use queue::{Deletion, Received, Take};
pub use refusal::{Code, Refusal};
pub(crate) use server::{REQUEST_LIMIT, addresses, answer};

/// The longest wait of a receive, in seconds.
const LONGEST_WAIT: u64 = 20;

/// All queues. Clones share them.
#[derive(Debug, Clone)]
pub struct Sqs(Arc<Shared>);

/// Where the queues are said to be.
#[derive(Debug, Clone)]
pub struct Place {
    /// The address of the API, without a slash at the end; queue URLs begin with it.
    pub endpoint: String,
    /// The region in ARNs, for example `us-east-1`.
    pub region: String,
    /// The account in ARNs and URLs, twelve digits.
    pub account: String,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    clock: Clock,
    queues: Mutex<IndexMap<String, Entry>>,
    /// Where they are kept between starts.
    store: Option<Store>,
    stopping: watch::Sender<bool>,
}

#[derive(Debug)]
struct Entry {
    queue: Queue,
    /// Told when a message may have become visible earlier than it was going to.
    changed: Arc<Notify>,
}

impl Sqs {
    /// The queues of a template, empty.
    #[must_use]
    pub fn new<'a>(place: Place, queues: impl IntoIterator<Item = &'a stack::Queue>) -> Self {
        let clock = Clock::new();
        let now = clock.now();
        let queues = queues.into_iter().map(|queue| (queue.name.clone(), Entry::new(queue.settings.clone(), now)));
        Self::with_queues(place, clock, queues.collect(), None)
    }

    /// The queues of a template with what a data folder has of them, and those that were made by calls before. What is of other
    /// queues stays there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn kept<'a>(
        place: Place,
        queues: impl IntoIterator<Item = &'a stack::Queue>,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let clock = Clock::new();
        let now = clock.now();
        let mut restored = IndexMap::new();
        let made = made_by_calls(store)?;
        let settings = queues.into_iter().map(|queue| (queue.name.clone(), queue.settings.clone()));
        for (name, settings) in made.into_iter().chain(settings) {
            let queue = Queue::restored(&name, settings, now, store)?;
            restored.insert(name, Entry { queue, changed: Arc::default() });
        }
        Ok(Self::with_queues(place, clock, restored, Some(store.clone())))
    }

    fn with_queues(place: Place, clock: Clock, queues: IndexMap<String, Entry>, store: Option<Store>) -> Self {
        let (queues, stopping) = (Mutex::new(queues), watch::Sender::new(false));
        Self(Arc::new(Shared { place, clock, queues, store, stopping }))
    }

    /// Ends all receives that wait, so that nobody has to wait for them.
    pub fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    /// Moves the time of all queues ahead: delays, visibility timeouts and retention end so much earlier.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
        for entry in self.queues().values() {
            entry.changed.notify_waiters();
        }
    }

    /// From now on each message of a standard queue comes once more after it is deleted, as may happen on AWS.
    pub fn deliver_twice(&self) {
        for entry in self.queues().values_mut() {
            entry.queue.twice = true;
        }
    }

    /// What is in a queue, oldest first, whoever works on it; nothing is received.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn messages(&self, queue: &str) -> Result<Vec<Arc<Message>>, Refusal> {
        self.with(queue, Queue::messages)
    }

    /// How many messages of a queue are to be done now: those that somebody works on count, those that are delayed do not.
    ///
    /// # Errors
    /// When there is no such queue.
    pub fn unfinished(&self, queue: &str) -> Result<usize, Refusal> {
        self.counts(queue).map(|counts| counts.visible + counts.in_flight)
    }

    /// Puts a message into the queue of this ARN.
    ///
    /// # Errors
    /// When there is no such queue, or it does not take the message.
    pub fn send_to_arn(&self, arn: &str, message: Message) -> Result<(), Refusal> {
        let name = self.name_of_arn(arn).ok_or_else(Refusal::no_queue)?;
        self.send(&name, message, None).map(drop)
    }

    /// Puts a message into a queue, after so many seconds.
    ///
    /// # Errors
    /// When there is no such queue, or it does not take the message.
    pub fn put(&self, queue: &str, message: Message, delay: Option<u64>) -> Result<(), Refusal> {
        self.send(queue, message, delay).map(drop)
    }

    fn send(&self, queue: &str, message: Message, delay: Option<u64>) -> Result<Sent, Refusal> {
        self.with(queue, |queue, now| queue.send(message, delay, now))?
    }

    /// Receives messages, and waits for the first one for as long as said, or else as the queue says.
    pub async fn receive(&self, queue: &str, take: &Take, wait: Option<Duration>) -> Result<Vec<Received>, Refusal> {
        let started = Instant::now();
        let mut stopping = self.0.stopping.subscribe();
        loop {
            let (changed, default_wait) = self.waiting_room(queue)?;
            let mut changed = std::pin::pin!(changed.notified());
            // From here on no change is missed, also none between the look into the queue and the wait.
            changed.as_mut().enable();
            let (messages, next) = self.try_receive(queue, take)?;
            let end = started + wait.unwrap_or(default_wait);
            if !messages.is_empty() || Instant::now() >= end || *stopping.borrow() {
                return Ok(messages);
            }
            let wake = next.map_or(end, |next| next.min(end));
            tokio::select! {
                () = &mut changed => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                _ = stopping.wait_for(|stopping| *stopping) => {}
            }
        }
    }

    fn waiting_room(&self, queue: &str) -> Result<(Arc<Notify>, Duration), Refusal> {
        let queues = self.queues();
        let entry = queues.get(queue).ok_or_else(Refusal::no_queue)?;
        Ok((Arc::clone(&entry.changed), Duration::from_secs(entry.queue.settings.receive_wait)))
    }

    /// What can be received now, else when to look again. What was received too often moves on.
    fn try_receive(&self, name: &str, take: &Take) -> Result<(Vec<Received>, Option<Instant>), Refusal> {
        let now = self.0.clock.now();
        let mut queues = self.queues();
        let source = queues.get(name).ok_or_else(Refusal::no_queue)?;
        let target = source.queue.settings.redrive.as_ref().and_then(|redrive| {
            self.name_of_arn(&redrive.dead_letter_queue).filter(|target| queues.contains_key(target) && target != name)
        });
        let source = queues.get_mut(name).ok_or_else(Refusal::no_queue)?;
        let taken = source.queue.receive(take, target.is_some(), now);
        let next = source.queue.next_visible().map(|next| self.0.clock.instant(next));
        let mut changes = source.queue.take_changes(name);
        if let Some((target_name, target)) =
            target.and_then(|target| queues.get_full_mut(&target)).map(|(_, name, entry)| (name, entry))
            && !taken.dead.is_empty()
        {
            let origin = self.arn(name);
            for dead in taken.dead {
                target.queue.dead_letter(dead, &origin, now);
            }
            changes.extend(target.queue.take_changes(target_name));
            target.changed.notify_waiters();
        }
        self.write(&changes)?;
        Ok((taken.messages, next))
    }

    /// Deletes a message.
    pub fn delete(&self, queue: &str, receipt: &str) -> Result<Deletion, Refusal> {
        self.with(queue, |queue, now| queue.delete(receipt, now))?
    }

    fn change_visibility(&self, queue: &str, receipt: &str, seconds: u64) -> Result<(), Refusal> {
        self.with(queue, |queue, now| queue.change_visibility(receipt, seconds, now))?
    }

    fn counts(&self, queue: &str) -> Result<Counts, Refusal> {
        self.with(queue, Queue::counts)
    }

    fn settings(&self, queue: &str) -> Result<(QueueSettings, Millis), Refusal> {
        self.with(queue, |queue, _| (queue.settings.clone(), queue.created))
    }

    /// Does something with a queue, and wakes those who wait for its messages.
    fn with<T>(&self, queue: &str, work: impl FnOnce(&mut Queue, Millis) -> T) -> Result<T, Refusal> {
        let mut queues = self.queues();
        let entry = queues.get_mut(queue).ok_or_else(Refusal::no_queue)?;
        let result = work(&mut entry.queue, self.0.clock.now());
        entry.changed.notify_waiters();
        self.write(&entry.queue.take_changes(queue))?;
        Ok(result)
    }

    /// Keeps what has changed, before anybody is told of it.
    fn write(&self, changes: &[Change]) -> Result<(), Refusal> {
        let Some(store) = &self.0.store else { return Ok(()) };
        store.write(changes).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "queues cannot be kept in the data folder");
            Refusal::new(Code::InternalFailure, format!("The data folder cannot be written: {error}"))
        })
    }

    /// Adds a queue. One that exists with the same settings is left as it is.
    fn create(&self, name: &str, settings: QueueSettings) -> Result<(), Refusal> {
        let now = self.0.clock.now();
        let mut queues = self.queues();
        match queues.get(name) {
            Some(entry) if entry.queue.settings == settings => Ok(()),
            Some(_) => Err(Refusal::new(
                Code::QueueNameExists,
                "A queue already exists with the same name and a different value for attribute(s).",
            )),
            None => {
                self.write(&[kept_settings(name, Some(&settings))])?;
                queues.insert(name.to_owned(), Entry::new(settings, now));
                Ok(())
            }
        }
    }

    fn remove(&self, queue: &str) -> Result<(), Refusal> {
        let mut entry = self.queues().shift_remove(queue).ok_or_else(Refusal::no_queue)?;
        entry.changed.notify_waiters();
        entry.queue.clear();
        let mut changes = entry.queue.take_changes(queue);
        changes.push(kept_settings(queue, None));
        self.write(&changes)
    }

    /// The names of all queues.
    fn names(&self) -> Vec<String> {
        self.queues().keys().cloned().collect()
    }

    /// The names of the queues whose dead letters go to this one.
    fn sources_of(&self, dead_letter_queue: &str) -> Vec<String> {
        let arn = self.arn(dead_letter_queue);
        let queues = self.queues();
        let redrives = |entry: &Entry| {
            entry.queue.settings.redrive.as_ref().is_some_and(|redrive| redrive.dead_letter_queue == arn)
        };
        queues.iter().filter(|(_, entry)| redrives(entry)).map(|(name, _)| name.clone()).collect()
    }

    fn url(&self, queue: &str) -> String {
        format!("{}/{}/{queue}", self.0.place.endpoint, self.0.place.account)
    }

    fn arn(&self, queue: &str) -> String {
        let Place { region, account, .. } = &self.0.place;
        format!("arn:aws:sqs:{region}:{account}:{queue}")
    }

    fn name_of_arn(&self, arn: &str) -> Option<String> {
        let name = arn.rsplit(':').next()?;
        (self.arn(name) == arn).then(|| name.to_owned())
    }

    fn queues(&self) -> MutexGuard<'_, IndexMap<String, Entry>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(settings: QueueSettings, now: Millis) -> Self {
        Self { queue: Queue::new(settings, now), changed: Arc::default() }
    }
}

/// The collection of queues that were made by calls, with their settings. Those of the template stand in the template.
const MADE_BY_CALLS: &str = "queues";

fn made_by_calls(store: &Store) -> Result<Vec<(String, QueueSettings)>, StoreError> {
    let all = store.all(MADE_BY_CALLS)?.into_iter().map(|(name, settings)| match serde_json::from_str(&settings) {
        Ok(settings) => Ok((name, settings)),
        Err(source) => Err(StoreError::Entry { collection: MADE_BY_CALLS.to_owned(), key: name, source }),
    });
    all.collect()
}

/// A queue that a call has made, or has removed.
fn kept_settings(queue: &str, settings: Option<&QueueSettings>) -> Change {
    let (collection, key) = (MADE_BY_CALLS.to_owned(), queue.to_owned());
    match settings {
        // Texts and numbers always have a JSON form.
        Some(settings) => Change::Put { collection, key, value: serde_json::to_string(settings).unwrap_or_default() },
        None => Change::Delete { collection, key },
    }
}
