//! A client that looks at what it is given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_client::{Client, Event, Events};
use tokio::task::JoinHandle;

use super::Plan;
use crate::eventually;
use crate::proxy::Proxy;

/// How long a connection may be silent before it is asked, and how long it may take to answer: one that is frozen for long is
/// found out.
const SILENCE: Duration = Duration::from_secs(2);

/// A client behind a proxy of its own.
#[derive(Debug)]
pub(super) struct Witness {
    number: usize,
    proxy: Arc<Proxy>,
    seen: Arc<Mutex<Seen>>,
    taking: JoinHandle<()>,
    /// It ends when this is dropped.
    _client: Client,
}

/// What it has seen.
#[derive(Debug, Default)]
struct Seen {
    is_connected: bool,
    /// The last offset of each topic.
    last: BTreeMap<String, u64>,
    received: u64,
    failures: Vec<String>,
}

impl Witness {
    pub(super) async fn start(plan: &Plan, number: usize, url: &str) -> Self {
        let proxy = Arc::new(Proxy::start(url).await);
        let topics = plan.topics_of(number);
        let mut builder = Client::builder(proxy.url(url))
            .backoff(Duration::from_millis(50), Duration::from_secs(1))
            .connect_within(Duration::from_secs(10))
            .ping_after(SILENCE)
            .pong_within(SILENCE);
        for topic in &topics {
            builder = builder.topic(topic);
        }
        let (client, events) = builder.connect().unwrap();
        let last = topics.into_iter().map(|topic| (topic, 0)).collect();
        let seen = Arc::new(Mutex::new(Seen { last, ..Seen::default() }));
        let taking = tokio::spawn(take(events, Arc::clone(&seen)));
        Self { number, proxy, seen, taking, _client: client }
    }

    /// Waits until it is subscribed for the first time.
    pub(super) async fn is_connected(&self, patience: Duration) {
        let is_connected = async || self.seen.lock().unwrap().is_connected.then_some(());
        eventually("a first connection", patience, is_connected).await;
    }

    pub(super) fn proxy(&self) -> Arc<Proxy> {
        Arc::clone(&self.proxy)
    }

    pub(super) fn received(&self) -> u64 {
        self.seen.lock().unwrap().received
    }

    pub(super) fn connections(&self) -> u64 {
        self.proxy.connections()
    }

    /// How many messages it does not have, of logs that end there.
    pub(super) fn lacks(&self, ends: &BTreeMap<String, u64>) -> u64 {
        let seen = self.seen.lock().unwrap();
        seen.last.iter().map(|(topic, last)| ends[topic].saturating_sub(*last)).sum()
    }

    /// What was not as it should be.
    pub(super) fn failures(&self, ends: &BTreeMap<String, u64>) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let short = seen.last.iter().filter(|(topic, last)| ends[*topic] != **last);
        let short = short.map(|(topic, last)| format!("{topic} ends at {}, and it has {last}", ends[topic]));
        let ended = self.taking.is_finished().then(|| "it has ended".to_owned());
        let all = seen.failures.iter().cloned().chain(short).chain(ended);
        all.map(|failure| format!("client {}: {failure}", self.number)).collect()
    }
}

async fn take(mut events: Events, seen: Arc<Mutex<Seen>>) {
    while let Some(event) = events.next().await {
        seen.lock().unwrap().take(&event);
    }
}

impl Seen {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::Disconnected { .. } => {}
            Event::Message(message) => {
                self.received += 1;
                let last = message.topic().and_then(|topic| self.last.get_mut(topic));
                match (last, &message.position) {
                    (Some(last), Some(position)) if position.offset == *last + 1 => *last += 1,
                    (last, position) => {
                        let failure = format!("{:?} {position:?} after {last:?}", message.topic());
                        self.failures.push(failure);
                    }
                }
            }
            event => self.failures.push(format!("{event:?}")),
        }
    }
}
