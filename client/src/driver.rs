//! The task behind a client: it makes connections, replaces them in time, and has one event after the other dealt with.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::conversation::{Conversation, Subscribed};
use crate::error::Reason;
use crate::event::{Event, EventSender, Item};
use crate::handshake::Failure;
use crate::link::{self, Link, Received, What};
use crate::options::Options;
use crate::position::{Log, Position};
use crate::requests::Answer;
use crate::retry::Attempts;

/// How long a connection that was replaced is still read from: what was on its way when the new one was subscribed comes there.
const OVERLAP: Duration = Duration::from_secs(5);

/// The same, while an answer is waited for on it.
const LONGEST_OVERLAP: Duration = Duration::from_secs(30);

/// How long subscriptions may take after a handshake.
const SUBSCRIBE_WITHIN: Duration = Duration::from_secs(45);

/// How long the goodbyes may take in the end.
const GOODBYES: Duration = Duration::from_secs(3);

/// What an application wants.
pub(crate) enum Command {
    Call(Map<String, Value>, Answer),
    Subscribe(Log, Option<Position>, Subscribed),
    Unsubscribe(Log, Answer),
    Close(oneshot::Sender<()>),
}

pub(crate) struct Driver {
    options: Arc<Options>,
    conversation: Conversation,
    events: EventSender,
    commands: UnboundedReceiver<Command>,
    to_us: Sender<Received>,
    from_links: Receiver<Received>,
    /// How many links there were.
    count: u64,
    primary: Option<Link>,
    /// One that is being made, and whether its handshake is done.
    next: Option<(Link, bool)>,
    /// Those that were replaced, and since when.
    replaced: Vec<(Link, Instant)>,
    /// When to make the next one.
    start_at: Option<Instant>,
    attempts: Attempts,
    /// What is to be sent once there is a connection.
    waiting: VecDeque<(Map<String, Value>, Answer)>,
}

/// Whether to go on.
#[derive(Debug, PartialEq, Eq)]
enum Run {
    On,
    End,
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        logs: Vec<(Log, Option<Position>)>,
        events: EventSender,
        commands: UnboundedReceiver<Command>,
    ) -> Self {
        let now = Instant::now();
        let mut conversation = Conversation::with_presence(options.presence);
        for (log, since) in logs {
            conversation.add(log, since, &[], None, now);
        }
        let (to_us, from_links) = link::channel();
        Self {
            options: Arc::new(options),
            conversation,
            events,
            commands,
            to_us,
            from_links,
            count: 0,
            primary: None,
            next: None,
            replaced: Vec::new(),
            start_at: Some(now),
            attempts: Attempts::default(),
            waiting: VecDeque::new(),
        }
    }

    /// Until the application has enough, or trying again cannot help.
    pub(crate) async fn run(mut self) {
        let mut closing = None;
        let mut has_clients = true;
        loop {
            let now = Instant::now();
            if self.on_time(now) == Run::End {
                break;
            }
            self.flush();
            let due = self.due();
            // Whoever waits for an answer is not kept waiting by events that nobody takes.
            let reads = self.events.has_room() || self.conversation.has_calls(None);
            tokio::select! {
                command = self.commands.recv(), if has_clients => match command {
                    Some(Command::Close(done)) => {
                        closing = Some(done);
                        break;
                    }
                    Some(command) => self.command(command, Instant::now()),
                    None => has_clients = false,
                },
                Some(received) = self.from_links.recv(), if reads => {
                    if self.received(received, Instant::now()) == Run::End {
                        break;
                    }
                }
                () = self.events.taken(), if !reads => {}
                () = self.events.closed() => break,
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            }
        }
        self.end().await;
        // Whoever waits no more needs no answer.
        closing.map(|done| done.send(()));
    }

    /// Hands on what the conversation has come to.
    fn flush(&mut self) {
        for (number, frame) in self.conversation.frames() {
            let link = self.links().find(|link| link.number == number);
            link.into_iter().for_each(|link| link.send(frame.clone()));
        }
        self.conversation.items().into_iter().for_each(|item| self.events.send(item));
    }

    /// Those that are open, the primary first.
    fn links(&self) -> impl Iterator<Item = &Link> {
        let next = self.next.as_ref().filter(|(_, opened)| *opened).map(|(link, _)| link);
        self.primary.iter().chain(next).chain(self.replaced.iter().map(|(link, _)| link))
    }

    fn primary(&self) -> Option<u64> {
        self.primary.as_ref().map(|link| link.number)
    }

    fn command(&mut self, command: Command, now: Instant) {
        // Those that were replaced are left as they are.
        let links: Vec<_> = self.links().take(self.open()).map(|link| link.number).collect();
        match (command, self.primary()) {
            (Command::Call(body, answer), Some(primary)) => self.conversation.call(primary, body, answer, now),
            (Command::Call(body, answer), None) => self.waiting.push_back((body, answer)),
            (Command::Subscribe(log, since, done), _) => self.conversation.add(log, since, &links, Some(done), now),
            (Command::Unsubscribe(log, answer), _) => self.conversation.remove(&log, &links, answer, now),
            // Dealt with before.
            (Command::Close(_), _) => {}
        }
    }

    /// How many are open and not replaced.
    fn open(&self) -> usize {
        self.links().count() - self.replaced.len()
    }

    fn received(&mut self, received: Received, now: Instant) -> Run {
        match received.what {
            What::Opened => {
                if let Some((link, opened)) = self.next.as_mut().filter(|(link, _)| link.number == received.link) {
                    *opened = true;
                    self.conversation.opened(link.number, now);
                }
            }
            What::Frame(text) => {
                // One that was given up has nothing to say any more: its successor says it again.
                if self.links().any(|link| link.number == received.link) {
                    self.conversation.frame(text, now);
                }
            }
            What::Ended(failure) => return self.ended(received.link, failure, now),
        }
        Run::On
    }

    fn ended(&mut self, number: u64, failure: Failure, now: Instant) -> Run {
        self.conversation.gone(number, now);
        self.replaced.retain(|(link, _)| link.number != number);
        if let Some(link) = self.primary.take_if(|link| link.number == number) {
            self.lost(&link, failure.reason, now);
        } else if self.next.take_if(|(link, _)| link.number == number).is_some() {
            return self.failed(failure, now);
        }
        Run::On
    }

    /// The connection is lost. If the next one is being made already, it is left to that.
    fn lost(&mut self, link: &Link, reason: Reason, now: Instant) {
        let pause = self.attempts.lost(now - link.since, self.options.backoff, fastrand::f64());
        let retry_in = if self.next.is_some() { Duration::ZERO } else { pause };
        self.start_at = Some(now + retry_in);
        self.tell(Event::Disconnected { reason, retry_in });
    }

    /// A connection could not be made. While there is another one, that is nobody's concern.
    fn failed(&mut self, failure: Failure, now: Instant) -> Run {
        let Failure { reason, shown } = failure;
        let (backoff, fixed) = (self.options.backoff, self.options.token.is_fixed());
        let pause = self.attempts.failed(&reason, shown, fixed, backoff, fastrand::f64());
        match (pause, &self.primary) {
            (pause, Some(_)) => self.start_at = Some(now + pause.unwrap_or(backoff.longest)),
            (Some(retry_in), None) => {
                self.start_at = Some(now + retry_in);
                self.tell(Event::Disconnected { reason, retry_in });
            }
            (None, None) => {
                self.tell(Event::Failed(reason));
                return Run::End;
            }
        }
        Run::On
    }

    fn tell(&mut self, event: Event) {
        // After all that came before.
        self.flush();
        self.events.send(Item::Event(event));
    }

    fn due(&self) -> Option<Instant> {
        let start = self.start_at.filter(|_| self.next.is_none());
        let given_up = self.next.as_ref().map(|(link, _)| self.give_up_at(link));
        let replaced = self.replaced.iter().map(|(link, since)| self.end_at(link, *since)).min();
        [start, given_up, replaced, self.conversation.due(self.primary())].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Instant) -> Run {
        self.conversation.on_time(self.primary(), now);
        self.promote(now);
        let given_up = |link: &Link| self.give_up_at(link) <= now;
        if let Some((link, _)) = self.next.as_ref().filter(|(link, _)| given_up(link)) {
            let number = link.number;
            return self.ended(number, Failure { reason: Reason::Unacknowledged, shown: None }, now);
        }
        let over: Vec<_> = self.replaced.iter().filter(|(link, since)| self.end_at(link, *since) <= now).collect();
        for number in over.into_iter().map(|(link, _)| link.number).collect::<Vec<_>>() {
            self.conversation.gone(number, now);
            self.replaced.retain(|(link, _)| link.number != number);
        }
        if self.next.is_none() && self.start_at.is_some_and(|start| start <= now) {
            self.start_at = None;
            self.count += 1;
            self.next = Some((Link::start(self.count, &self.options, &self.to_us), false));
        }
        Run::On
    }

    /// When a link that is being made has taken too long.
    fn give_up_at(&self, link: &Link) -> Instant {
        link.since + self.options.connect_within + SUBSCRIBE_WITHIN
    }

    /// When a link that was replaced at some time is to be ended.
    fn end_at(&self, link: &Link, since: Instant) -> Instant {
        since + if self.conversation.has_calls(Some(link.number)) { LONGEST_OVERLAP } else { OVERLAP }
    }

    /// The next link takes the place of the primary one, once all is acknowledged on it.
    fn promote(&mut self, now: Instant) {
        let ready = self.next.take_if(|(link, opened)| *opened && self.conversation.is_ready(link.number));
        let Some((link, _)) = ready else { return };
        self.start_at = Some(link.since + random(&self.options.renew_at));
        let number = link.number;
        match self.primary.replace(link) {
            Some(old) => self.replaced.push((old, now)),
            None => self.tell(Event::Connected),
        }
        for (body, answer) in std::mem::take(&mut self.waiting) {
            self.conversation.call(number, body, answer, now);
        }
    }

    /// Ends all links and waits until they have said goodbye.
    async fn end(mut self) {
        self.flush();
        let Self { mut from_links, to_us, events, primary, next, replaced, .. } = self;
        drop((to_us, events, primary, next, replaced));
        // Each link that ends closes its side; one that does not is left behind.
        let _ = timeout(GOODBYES, async { while from_links.recv().await.is_some() {} }).await;
    }
}

/// A random moment, so that clients that came together do not come together again.
fn random(range: &Range<Duration>) -> Duration {
    range.start + range.end.saturating_sub(range.start).mul_f64(fastrand::f64())
}
