//! SQS: standard queues in memory, on tokio's clock, behind the JSON that its SDK speaks.
//!
//! What is *not* here: fair queues (a message group holds up others as if it had none), duplicates, and messages that come
//! out of order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::time::{Time, between};
use super::wire::Service;

/// The queue of segments.
pub const FAN_OUT: &str = "fan-out";
/// The queue of notifications.
pub const NOTIFICATIONS: &str = "notifications";
/// The queue of what cannot be delivered.
pub const DEAD_LETTERS: &str = "dead-letters";

/// How long a message that was received is hidden.
pub(super) const VISIBILITY: Duration = Duration::from_secs(180);
/// A message that was received so often goes to the dead-letter queue.
const MOST_RECEIVES: u32 = 10;
/// From its sender until a message can be received.
const WAY: Duration = Duration::from_millis(20);

/// A message of a queue. Its id is its receipt, too.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// What was sent.
    pub body: String,
    /// Its attributes, as the API has them.
    pub attributes: Value,
    /// How often it was received.
    pub receives: u32,
    /// When it was sent, in milliseconds since the epoch.
    pub sent: i64,
}

#[derive(Debug, Default)]
struct Queue {
    /// By number, with the moment from which on each can be received.
    messages: BTreeMap<u64, (Message, Instant)>,
    /// Those that can be received now, the oldest first.
    ready: BTreeSet<u64>,
    /// All others.
    hidden: BTreeSet<(Instant, u64)>,
    changed: Arc<Notify>,
}

/// All queues. Clones share them.
#[derive(Debug, Clone)]
pub struct Queues {
    shared: Arc<Mutex<Shared>>,
    time: Time,
}

#[derive(Debug, Default)]
struct Shared {
    queues: HashMap<String, Queue>,
    /// Messages ever, which numbers them.
    sent: u64,
}

impl Queues {
    /// Empty queues.
    #[must_use]
    pub fn new(time: Time) -> Self {
        let queues = [FAN_OUT, NOTIFICATIONS, DEAD_LETTERS].map(|name| (name.to_owned(), Queue::default()));
        Self { shared: Arc::new(Mutex::new(Shared { queues: queues.into(), sent: 0 })), time }
    }

    /// The address of a queue.
    #[must_use]
    pub fn url(name: &str) -> String {
        format!("http://sqs.test/123456789012/{name}")
    }

    /// Puts a message into a queue, from where it can be received after `delay`.
    pub fn send(&self, queue: &str, body: String, attributes: Value, delay: Duration) -> String {
        let mut shared = self.shared();
        shared.sent += 1;
        let number = shared.sent;
        let id = format!("m-{number}");
        let message = Message { id: id.clone(), body, attributes, receives: 0, sent: self.time.epoch_ms() };
        shared.queue(queue).put(number, message, Instant::now() + WAY + delay);
        id
    }

    /// Waits until something can be received.
    pub async fn ready(&self, name: &str) {
        loop {
            if !self.is_idle(name) {
                return;
            }
            let (changed, next) = {
                let mut shared = self.shared();
                let queue = shared.queue(name);
                (Arc::clone(&queue.changed), queue.hidden.first().map(|(moment, _)| *moment))
            };
            // Nothing runs beside this thread, so no change is missed between the look and the wait.
            match next {
                None => changed.notified().await,
                Some(next) => {
                    let _ = tokio::time::timeout_at(next, changed.notified()).await;
                }
            }
        }
    }

    /// Whether nothing can be received now.
    #[must_use]
    pub fn is_idle(&self, name: &str) -> bool {
        let mut shared = self.shared();
        let queue = shared.queue(name);
        queue.look();
        queue.ready.is_empty()
    }

    /// Receives at most `most` messages. What was received too often becomes a dead letter.
    #[must_use]
    pub fn receive(&self, name: &str, most: usize) -> Vec<Message> {
        let mut shared = self.shared();
        let mut received = Vec::new();
        let queue = shared.queue(name);
        queue.look();
        let mut dead = Vec::new();
        while received.len() < most
            && let Some(number) = queue.ready.pop_first()
        {
            let Some((mut message, _)) = queue.messages.remove(&number) else { continue };
            if message.receives >= MOST_RECEIVES {
                dead.push((number, message));
                continue;
            }
            message.receives += 1;
            received.push(message.clone());
            queue.put(number, message, Instant::now() + VISIBILITY);
        }
        for (number, message) in dead {
            shared.queue(DEAD_LETTERS).put(number, message, Instant::now());
        }
        received
    }

    /// Deletes a message.
    pub fn delete(&self, name: &str, id: &str) {
        if let Some(number) = number(id) {
            self.shared().queue(name).take(number);
        }
    }

    /// Everything that is in a queue.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<Message> {
        self.shared().queue(name).messages.values().map(|(message, _)| message.clone()).collect()
    }

    /// Whether nothing is in a queue, neither now nor later.
    #[must_use]
    pub fn is_empty(&self, name: &str) -> bool {
        self.shared().queue(name).messages.is_empty()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, operation: &str, input: &Value) -> Value {
        let queue = input["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default();
        match operation {
            "SendMessage" => json!({"MessageId": self.send_one(queue, input)}),
            "SendMessageBatch" => {
                let entries = input["Entries"].as_array().into_iter().flatten();
                let sent = entries.map(|entry| json!({"Id": entry["Id"], "MessageId": self.send_one(queue, entry)}));
                json!({"Successful": sent.collect::<Vec<_>>(), "Failed": []})
            }
            "ChangeMessageVisibility" => {
                let id = input["ReceiptHandle"].as_str().and_then(number);
                let seconds = input["VisibilityTimeout"].as_u64().unwrap_or_default();
                let mut shared = self.shared();
                let queue = shared.queue(queue);
                if let Some((number, message)) = id.and_then(|number| Some((number, queue.take(number)?))) {
                    queue.put(number, message, Instant::now() + Duration::from_secs(seconds));
                }
                json!({})
            }
            other => unreachable!("the notifier does not call {other}"),
        }
    }

    fn send_one(&self, queue: &str, input: &Value) -> String {
        let body = input["MessageBody"].as_str().unwrap_or_default().to_owned();
        let delay = Duration::from_secs(input["DelaySeconds"].as_u64().unwrap_or_default());
        self.send(queue, body, input["MessageAttributes"].clone(), delay)
    }
}

impl Service for Queues {
    async fn answer(self, operation: String, body: String) -> (u16, String) {
        sleep(between(0.002, 0.004)).await;
        let input = serde_json::from_str(&body).unwrap();
        let output = match too_long(&input) {
            true => (400, json!({"__type": "com.amazonaws.sqs#BatchRequestTooLong", "message": "above 1 MiB"})),
            false => (200, self.call(&operation, &input)),
        };
        sleep(between(0.002, 0.004)).await;
        (output.0, output.1.to_string())
    }
}

/// Whether it is more than the 1 MiB that one call takes.
fn too_long(input: &Value) -> bool {
    let messages = input["Entries"].as_array().map_or(std::slice::from_ref(input), Vec::as_slice);
    messages.iter().filter_map(|message| message["MessageBody"].as_str()).map(str::len).sum::<usize>() > 1_048_576
}

fn number(id: &str) -> Option<u64> {
    id.strip_prefix("m-")?.parse().ok()
}

impl Shared {
    fn queue(&mut self, name: &str) -> &mut Queue {
        self.queues.entry(name.to_owned()).or_default()
    }
}

impl Queue {
    fn put(&mut self, number: u64, message: Message, visible: Instant) {
        self.messages.insert(number, (message, visible));
        self.hidden.insert((visible, number));
        self.changed.notify_waiters();
    }

    fn take(&mut self, number: u64) -> Option<Message> {
        let (message, visible) = self.messages.remove(&number)?;
        self.ready.remove(&number);
        self.hidden.remove(&(visible, number));
        Some(message)
    }

    /// Makes ready what is hidden no longer.
    fn look(&mut self) {
        let now = Instant::now();
        while let Some((visible, number)) = self.hidden.pop_first() {
            if visible > now {
                self.hidden.insert((visible, number));
                return;
            }
            self.ready.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(queues: &Queues) -> Message {
        queues.ready(FAN_OUT).await;
        queues.receive(FAN_OUT, 1).remove(0)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_deleted_comes_again_and_after_ten_receives_is_a_dead_letter() {
        let time = Time::begin();
        let queues = Queues::new(time);
        queues.send(FAN_OUT, "body".to_owned(), Value::Null, Duration::from_secs(7));
        for receive in 1..=10 {
            let message = next(&queues).await;
            assert_eq!((message.body.as_str(), message.receives), ("body", receive));
            let expected = 7.02 + 180.0 * f64::from(receive - 1);
            assert!((time.seconds() - expected).abs() < 0.1, "{} {expected}", time.seconds());
        }
        queues.ready(FAN_OUT).await;
        assert!(queues.receive(FAN_OUT, 1).is_empty());
        assert_eq!(queues.all(DEAD_LETTERS).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_put_back_comes_when_it_should_and_a_deleted_one_never() {
        let time = Time::begin();
        let queues = Queues::new(time);
        for body in ["first", "second"] {
            queues.send(FAN_OUT, body.to_owned(), Value::Null, Duration::ZERO);
        }
        let (first, second) = (next(&queues).await, next(&queues).await);
        let put_back = json!({"QueueUrl": Queues::url(FAN_OUT), "ReceiptHandle": first.id, "VisibilityTimeout": 5});
        queues.call("ChangeMessageVisibility", &put_back);
        queues.delete(FAN_OUT, &second.id);
        assert_eq!(next(&queues).await.body, "first");
        assert!((5.0..5.1).contains(&time.seconds()));
        queues.delete(FAN_OUT, &first.id);
        assert!(queues.is_empty(FAN_OUT));
    }
}
