//! One queue: what is in it, who sees what and when.
//!
//! A state machine without clock and without I/O: every call gets the time. A message is ready, delayed or in flight;
//! the three indexes say so, and only [`Queue::put`] and [`Queue::remove`] change them.

mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::clock::Millis;
use super::message::Message;
use super::refusal::{Code, Refusal};
use kept::Unwritten;
use tidings_local_stack::QueueSettings;

/// How long SQS recognises a duplicate in a FIFO queue: five minutes.
const DEDUPLICATION: Millis = 5 * 60 * 1000;

/// The sender of everything local, as the id of an IAM user looks.
const SENDER: &str = "AIDALOCALLOCALLOCAL00";

/// A queue with its messages.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    pub(super) created: Millis,
    /// Whether messages come once more after they are deleted. Standard queues of AWS may do that, and FIFO queues never do.
    pub(super) twice: bool,
    /// The number of the next message. Numbers are never used twice, also not by a later queue of the same name.
    next: u64,
    messages: BTreeMap<u64, Stored>,
    ready: BTreeSet<u64>,
    /// Delayed or in flight, by the end of that.
    hidden: BTreeSet<(Millis, u64)>,
    /// All, by the time they were sent.
    ages: BTreeSet<(Millis, u64)>,
    /// FIFO only: messages in flight of each group that has any.
    locked: HashMap<String, usize>,
    recent: HashMap<DuplicateKey, Sent>,
    /// The keys of `recent` with their ends, oldest first.
    recent_ends: VecDeque<(Millis, DuplicateKey)>,
    unwritten: Unwritten,
}

/// A group, where duplicates are looked for within one, and a deduplication id.
type DuplicateKey = (Option<String>, String);

#[derive(Debug)]
struct Stored {
    message: Arc<Message>,
    sent: Millis,
    state: State,
    receives: u32,
    first_received: Option<Millis>,
    /// The ARN of the queue that it came from by redrive.
    origin: Option<String>,
    /// Whether it came again after it was deleted.
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Delayed(Millis),
    InFlight(Millis),
}

/// What the sender of a message learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) id: String,
    /// Only in FIFO queues.
    pub(super) sequence_number: Option<String>,
}

/// What one receive may take.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    /// Most messages.
    pub count: usize,
    /// Most bytes of all messages together; the first one may be larger.
    pub bytes: usize,
    /// How long the messages are hidden, in seconds, if other than the queue says.
    pub visibility: Option<u64>,
}

/// A message as its receiver sees it.
#[derive(Debug, Clone)]
pub struct Received {
    /// What was sent.
    pub message: Arc<Message>,
    /// What it is deleted with.
    pub receipt: String,
    /// When it was sent.
    pub sent: Millis,
    /// How often it has been received, this time included.
    pub receives: u32,
    /// When it was received for the first time.
    pub first_received: Millis,
    /// Its place in a FIFO queue.
    pub sequence_number: Option<String>,
    /// The ARN of the queue that it came from by redrive.
    pub origin: Option<String>,
}

/// What a receive brings about.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Received>,
    /// Received too often: they belong to the dead-letter queue now.
    pub(super) dead: Vec<Dead>,
}

/// What became of a message that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Deleted,
    /// Its visibility timeout was over, and somebody has received it again: it stays.
    ReceivedAgain,
    /// It is not in the queue any more: deleted before, too old, or moved to the dead-letter queue.
    Gone,
}

/// A message on its way to a dead-letter queue.
#[derive(Debug)]
pub(super) struct Dead {
    message: Arc<Message>,
    sent: Millis,
}

/// How many messages there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) visible: usize,
    pub(super) in_flight: usize,
    pub(super) delayed: usize,
}

impl Received {
    /// All system attributes, as events and the API have them.
    pub fn system_attributes(&self) -> BTreeMap<&'static str, String> {
        let mut attributes = BTreeMap::from([
            ("SenderId", SENDER.to_owned()),
            ("SentTimestamp", self.sent.to_string()),
            ("ApproximateReceiveCount", self.receives.to_string()),
            ("ApproximateFirstReceiveTimestamp", self.first_received.to_string()),
        ]);
        let message = &self.message;
        let optional = [
            ("AWSTraceHeader", &message.trace),
            ("MessageGroupId", &message.group),
            ("MessageDeduplicationId", &message.deduplication),
            ("SequenceNumber", &self.sequence_number),
            ("DeadLetterQueueSourceArn", &self.origin),
        ];
        attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        attributes
    }
}

impl Queue {
    pub(super) fn new(settings: QueueSettings, now: Millis) -> Self {
        Self {
            settings,
            created: now,
            twice: false,
            next: now * 1000,
            messages: BTreeMap::new(),
            ready: BTreeSet::new(),
            hidden: BTreeSet::new(),
            ages: BTreeSet::new(),
            locked: HashMap::new(),
            recent: HashMap::new(),
            recent_ends: VecDeque::new(),
            unwritten: Unwritten::default(),
        }
    }

    /// Takes a message, unless it is a duplicate; `delay` is in seconds.
    pub(super) fn send(&mut self, mut message: Message, delay: Option<u64>, now: Millis) -> Result<Sent, Refusal> {
        self.check(&message, delay)?;
        let key = if self.settings.fifo { Some(self.duplicate_key(&mut message)?) } else { None };
        self.forget_duplicates(now);
        if let Some(first) = key.as_ref().and_then(|key| self.recent.get(key)) {
            return Ok(first.clone());
        }
        let id = message.id.clone();
        let delay = delay.unwrap_or(self.settings.delay) * 1000;
        let state = if delay == 0 { State::Ready } else { State::Delayed(now + delay) };
        let number = self.add(Arc::new(message), now, state, None);
        let sent = Sent { id, sequence_number: self.sequence_number(number) };
        if let Some(key) = key {
            self.recent_ends.push_back((now + DEDUPLICATION, key.clone()));
            self.unwritten.duplicates.insert(key.clone());
            self.recent.insert(key, sent.clone());
        }
        Ok(sent)
    }

    /// Takes a message that was received too often elsewhere. A standard queue keeps the time it was first sent, a
    /// FIFO queue starts it again (SQS Developer Guide, "Using dead-letter queues").
    pub(super) fn dead_letter(&mut self, dead: Dead, origin: &str, now: Millis) {
        let sent = if self.settings.fifo { now } else { dead.sent };
        self.add(dead.message, sent, State::Ready, Some(origin.to_owned()));
    }

    fn check(&self, message: &Message, delay: Option<u64>) -> Result<(), Refusal> {
        message.check()?;
        check_name("MessageGroupId", message.group.as_deref())?;
        check_name("MessageDeduplicationId", message.deduplication.as_deref())?;
        let limit = self.settings.maximum_message_size;
        if message.size() > limit {
            let text =
                format!("One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes.");
            return Err(Refusal::new(Code::InvalidParameterValue, text));
        }
        let not_valid = "The request include parameter that is not valid for this queue type.";
        if self.settings.fifo {
            if message.group.is_none() {
                return Err(Refusal::missing("MessageGroupId"));
            }
            if let Some(delay) = delay.filter(|delay| *delay > 0) {
                return Err(Refusal::value("DelaySeconds", delay, not_valid));
            }
        } else if let Some(id) = &message.deduplication {
            return Err(Refusal::value("MessageDeduplicationId", id, not_valid));
        }
        match delay {
            Some(delay) if delay > 900 => {
                Err(Refusal::value("DelaySeconds", delay, "DelaySeconds must be >= 0 and <= 900."))
            }
            _ => Ok(()),
        }
    }

    fn duplicate_key(&self, message: &mut Message) -> Result<DuplicateKey, Refusal> {
        if message.deduplication.is_none() && self.settings.content_based_deduplication {
            message.deduplication = Some(format!("{:x}", Sha256::digest(&message.body)));
        }
        let Some(id) = message.deduplication.clone() else {
            let text = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId \
                        provided explicitly";
            return Err(Refusal::new(Code::InvalidParameterValue, text));
        };
        Ok((message.group.clone().filter(|_| self.settings.deduplication_by_group), id))
    }

    fn forget_duplicates(&mut self, now: Millis) {
        while let Some((_, key)) = self.recent_ends.pop_front_if(|(end, _)| *end <= now) {
            self.recent.remove(&key);
            self.unwritten.duplicates.insert(key);
        }
    }

    /// Hands out what is visible, in the order in which it was sent; in a FIFO queue nothing of a group that has
    /// messages in flight. What was received too often is no longer handed out if there is a dead-letter queue.
    pub(super) fn receive(&mut self, take: &Take, buries: bool, now: Millis) -> Taken {
        self.advance(now);
        let limit = self.settings.redrive.as_ref().filter(|_| buries).map(|redrive| redrive.max_receive_count);
        let mut taken = Taken::default();
        let mut bytes = 0;
        for number in self.candidates(take.count, limit) {
            if self.is_worn_out(number, limit) {
                taken.dead.extend(self.remove(number));
                continue;
            }
            let size = self.messages.get(&number).map_or(0, |stored| stored.message.size());
            if !taken.messages.is_empty() && bytes + size > take.bytes {
                break;
            }
            bytes += size;
            taken.messages.extend(self.hand_out(number, take.visibility, now));
        }
        taken
    }

    /// Enough ready messages that `count` remain without the worn-out ones.
    fn candidates(&self, count: usize, limit: Option<u32>) -> Vec<u64> {
        let mut left = count;
        let is_free = |number: &u64| self.group_of(*number).is_none_or(|group| !self.locked.contains_key(group));
        let free = self.ready.iter().copied().filter(is_free);
        free.take_while(|number| {
            let go_on = left > 0;
            left -= usize::from(go_on && !self.is_worn_out(*number, limit));
            go_on
        })
        .collect()
    }

    fn is_worn_out(&self, number: u64, limit: Option<u32>) -> bool {
        let receives = self.messages.get(&number).map_or(0, |stored| stored.receives);
        limit.is_some_and(|limit| receives >= limit)
    }

    fn hand_out(&mut self, number: u64, visibility: Option<u64>, now: Millis) -> Option<Received> {
        let visibility = visibility.unwrap_or(self.settings.visibility_timeout);
        self.put(number, State::InFlight(now + visibility * 1000));
        let sequence_number = self.sequence_number(number);
        let stored = self.messages.get_mut(&number)?;
        stored.receives += 1;
        Some(Received {
            message: Arc::clone(&stored.message),
            receipt: receipt(number, stored.receives),
            sent: stored.sent,
            receives: stored.receives,
            first_received: *stored.first_received.get_or_insert(now),
            sequence_number,
            origin: stored.origin.clone(),
        })
    }

    /// Deletes a message. The receipt of an earlier receive deletes nothing and is no error; in a FIFO queue one whose
    /// time is over is.
    pub(super) fn delete(&mut self, receipt: &str, now: Millis) -> Result<Deletion, Refusal> {
        self.advance(now);
        let (number, receive) = read_receipt(receipt)?;
        let twice = self.twice && !self.settings.fifo;
        let stored = match self.messages.get_mut(&number) {
            Some(stored) if stored.receives == receive => stored,
            Some(_) => return Ok(Deletion::ReceivedAgain),
            None => return Ok(Deletion::Gone),
        };
        if self.settings.fifo && !matches!(stored.state, State::InFlight(_)) {
            return Err(Refusal::value("ReceiptHandle", receipt, "The receipt handle has expired."));
        }
        if twice && !std::mem::replace(&mut stored.again, true) {
            self.put(number, State::Ready);
            return Ok(Deletion::Deleted);
        }
        self.remove(number);
        Ok(Deletion::Deleted)
    }

    /// Hides a message that is in flight for so many seconds from now on.
    pub(super) fn change_visibility(&mut self, receipt: &str, seconds: u64, now: Millis) -> Result<(), Refusal> {
        self.advance(now);
        let (number, receive) = read_receipt(receipt)?;
        let reason = "Message does not exist or is not available for visibility timeout change.";
        match self.messages.get(&number).filter(|stored| stored.receives == receive).map(|stored| stored.state) {
            None => Err(Refusal::value("ReceiptHandle", receipt, reason)),
            Some(State::InFlight(_)) => {
                let state = if seconds == 0 { State::Ready } else { State::InFlight(now + seconds * 1000) };
                self.put(number, state);
                Ok(())
            }
            Some(_) => Err(Refusal::new(Code::MessageNotInflight, "The specified message isn't in flight.")),
        }
    }

    /// Forgets all messages, but not what would be a duplicate of them.
    pub(super) fn purge(&mut self) {
        self.unwritten.changed.extend(self.messages.keys());
        self.messages.clear();
        self.ready.clear();
        self.hidden.clear();
        self.ages.clear();
        self.locked.clear();
    }

    /// Forgets everything, for the queue is removed.
    pub(super) fn clear(&mut self) {
        self.purge();
        self.unwritten.duplicates.extend(self.recent.drain().map(|(key, _)| key));
        self.recent_ends.clear();
    }

    pub(super) fn counts(&mut self, now: Millis) -> Counts {
        self.advance(now);
        let in_flight = self.messages.values().filter(|stored| matches!(stored.state, State::InFlight(_))).count();
        Counts { visible: self.ready.len(), in_flight, delayed: self.hidden.len() - in_flight }
    }

    /// All messages, oldest first.
    pub(super) fn messages(&mut self, now: Millis) -> Vec<Arc<Message>> {
        self.advance(now);
        self.messages.values().map(|stored| Arc::clone(&stored.message)).collect()
    }

    /// When the next hidden message becomes visible.
    pub(super) fn next_visible(&self) -> Option<Millis> {
        self.hidden.first().map(|(until, _)| *until)
    }

    /// Lets the time pass: what was hidden long enough is ready, what is too old is gone.
    fn advance(&mut self, now: Millis) {
        while let Some((_, number)) = self.hidden.first().copied().filter(|(until, _)| *until <= now) {
            self.put(number, State::Ready);
        }
        let retention = self.settings.retention * 1000;
        while let Some((_, number)) = self.ages.first().copied().filter(|(sent, _)| sent + retention <= now) {
            self.remove(number);
        }
    }

    fn add(&mut self, message: Arc<Message>, sent: Millis, state: State, origin: Option<String>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.ages.insert((sent, number));
        self.ready.insert(number);
        let stored =
            Stored { message, sent, state: State::Ready, receives: 0, first_received: None, origin, again: false };
        self.messages.insert(number, stored);
        self.unwritten.added.insert(number);
        self.put(number, state);
        number
    }

    /// Moves a message to another state.
    fn put(&mut self, number: u64, state: State) {
        self.leave(number);
        match state {
            State::Ready => {
                self.ready.insert(number);
            }
            State::Delayed(until) | State::InFlight(until) => {
                self.hidden.insert((until, number));
            }
        }
        if let (State::InFlight(_), Some(group)) = (state, self.group_of(number)) {
            *self.locked.entry(group.to_owned()).or_default() += 1;
        }
        if let Some(stored) = self.messages.get_mut(&number) {
            stored.state = state;
        }
        self.unwritten.changed.insert(number);
    }

    fn remove(&mut self, number: u64) -> Option<Dead> {
        self.leave(number);
        let stored = self.messages.remove(&number)?;
        self.ages.remove(&(stored.sent, number));
        self.unwritten.changed.insert(number);
        Some(Dead { message: stored.message, sent: stored.sent })
    }

    /// Takes a message out of the indexes of its present state.
    fn leave(&mut self, number: u64) {
        let Some(state) = self.messages.get(&number).map(|stored| stored.state) else { return };
        match state {
            State::Ready => {
                self.ready.remove(&number);
            }
            State::Delayed(until) | State::InFlight(until) => {
                self.hidden.remove(&(until, number));
            }
        }
        if let (State::InFlight(_), Some(group)) = (state, self.group_of(number).map(str::to_owned))
            && let Some(count) = self.locked.get_mut(&group)
        {
            *count -= 1;
            if *count == 0 {
                self.locked.remove(&group);
            }
        }
    }

    /// The group that a message keeps in order; standard queues keep none.
    fn group_of(&self, number: u64) -> Option<&str> {
        let stored = self.messages.get(&number).filter(|_| self.settings.fifo)?;
        stored.message.group.as_deref()
    }

    fn sequence_number(&self, number: u64) -> Option<String> {
        self.settings.fifo.then(|| format!("{number:020}"))
    }
}

/// What a receiver names a message by: its number, and which receive it was.
fn receipt(number: u64, receive: u32) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("tidings/{number}/{receive}"))
}

fn read_receipt(receipt: &str) -> Result<(u64, u32), Refusal> {
    let parts = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(receipt).ok()?).ok()?;
        let (number, receive) = text.strip_prefix("tidings/")?.split_once('/')?;
        Some((number.parse().ok()?, receive.parse().ok()?))
    };
    parts().ok_or_else(|| {
        let text = format!("The input receipt handle \"{receipt}\" is not a valid receipt handle.");
        Refusal::new(Code::ReceiptHandleIsInvalid, text)
    })
}

/// What a group or a deduplication id may be; SQS's words.
fn check_name(parameter: &str, value: Option<&str>) -> Result<(), Refusal> {
    let is_fit = |value: &str| (1..=128).contains(&value.len()) && value.chars().all(|c| c.is_ascii_graphic());
    match value {
        Some(value) if !is_fit(value) => {
            let reason =
                format!("{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
            Err(Refusal::value(parameter, value, &reason))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
