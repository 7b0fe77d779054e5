//! What is said on connections: subscriptions and their acknowledgements, messages, history, calls.
//!
//! Pure: it is told what came on which link and when, and collects the frames to send and the items to give out.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{CallError, Refusal};
use crate::event::{Event, Item};
use crate::position::{Log, Position};
use crate::requests::{Answer, Purpose, Requests};
use crate::sequencer::{Asked, Need};
use crate::session::Session;
use crate::wire::{self, Incoming};

/// How long to wait after a command was refused because there were too many.
const BREATH: Duration = Duration::from_secs(1);

/// Who waits to be subscribed.
pub(crate) type Subscribed = oneshot::Sender<Result<(), CallError>>;

#[derive(Debug, Default)]
pub(crate) struct Conversation {
    session: Session,
    requests: Requests,
    /// Subscriptions to be asked for again on a link, and when.
    later: Vec<(Instant, u64, Vec<Log>)>,
    waiting: HashMap<Log, Vec<Subscribed>>,
    /// Frames to send, each with its link.
    frames: Vec<(u64, String)>,
    items: Vec<Item>,
    /// Whether the server is to tell who comes and goes, too.
    presence: bool,
}

impl Conversation {
    pub(crate) fn with_presence(presence: bool) -> Self {
        Self { presence, ..Self::default() }
    }

    /// What is to be sent since this was asked last.
    pub(crate) fn frames(&mut self) -> Vec<(u64, String)> {
        std::mem::take(&mut self.frames)
    }

    /// What is to be given out since this was asked last.
    pub(crate) fn items(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    /// A link is open: all that is wanted is subscribed to.
    pub(crate) fn opened(&mut self, link: u64, now: Instant) {
        let wanted = self.session.wanted();
        self.subscribe(link, wanted, now);
    }

    /// Whether all that is wanted is acknowledged on a link.
    pub(crate) fn is_ready(&self, link: u64) -> bool {
        !self.requests.is_subscribing(link) && !self.later.iter().any(|(_, of, _)| *of == link)
    }

    /// Whether somebody waits for an answer, on any link, or on this one.
    pub(crate) fn has_calls(&self, link: Option<u64>) -> bool {
        self.requests.has_calls(link) || (link.is_none() && !self.waiting.is_empty())
    }

    /// Wants a log, on these links and on those to come.
    pub(crate) fn add(
        &mut self,
        log: Log,
        since: Option<Position>,
        links: &[u64],
        done: Option<Subscribed>,
        now: Instant,
    ) {
        self.items.extend(self.session.add(log.clone(), since));
        if let Some(done) = done {
            self.waiting.entry(log.clone()).or_default().push(done);
        }
        for link in links {
            let since = self.session.position(&log).flatten();
            self.subscribe(*link, vec![(log.clone(), since)], now);
        }
    }

    /// Wants a log no more. The first of the links answers.
    pub(crate) fn remove(&mut self, log: &Log, links: &[u64], answer: Answer, now: Instant) {
        self.items.extend(self.session.remove(log));
        self.waiting.remove(log);
        let Some((first, rest)) = links.split_first() else {
            // There is nothing to end.
            let _ = answer.send(Ok("{}".to_owned()));
            return;
        };
        let id = self.requests.insert(*first, Purpose::Call(answer), now);
        self.frames.push((*first, wire::unsubscribe(id, log)));
        // An answer with this id is waited for no more when it comes a second time.
        self.frames.extend(rest.iter().map(|link| (*link, wire::unsubscribe(id, log))));
    }

    /// Sends a command of the application's.
    pub(crate) fn call(&mut self, link: u64, mut body: Map<String, Value>, answer: Answer, now: Instant) {
        if answer.is_closed() {
            return;
        }
        let id = self.requests.insert(link, Purpose::Call(answer), now);
        body.insert("id".to_owned(), id.into());
        self.frames.push((link, Value::Object(body).to_string()));
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, text: String, now: Instant) {
        let items = match wire::read(&text) {
            Incoming::Message(message) => self.session.message(message, now),
            Incoming::Skip(log, position) => self.session.skip(&log, &position, now),
            Incoming::Reply(id) => return self.reply(id, text, now),
            Incoming::Error(refusal) => vec![Item::Event(Event::Complaint(refusal))],
            Incoming::Pong => Vec::new(),
            Incoming::Other => vec![Item::Event(Event::Other(text))],
        };
        self.items.extend(items);
    }

    /// A link is gone, with all that was asked on it.
    pub(crate) fn gone(&mut self, link: u64, now: Instant) {
        self.later.retain(|(_, of, _)| *of != link);
        for purpose in self.requests.of_link(link) {
            match purpose {
                Purpose::Subscribe(asked) => asked.iter().for_each(|(log, _)| self.session.disconnected(log, now)),
                Purpose::History(log, _) => self.session.disconnected(&log, now),
                // Whoever waits no more needs no answer.
                Purpose::Call(answer) => drop(answer.send(Err(CallError::Disconnected))),
            }
        }
    }

    /// When [`Self::on_time`] has something to do.
    pub(crate) fn due(&self, primary: Option<u64>) -> Option<Instant> {
        let later = self.later.iter().map(|(at, ..)| *at).min();
        let needs = primary.and_then(|_| self.session.due());
        [later, needs, self.requests.due()].into_iter().flatten().min()
    }

    /// Does what is due; history is asked for on the primary link.
    pub(crate) fn on_time(&mut self, primary: Option<u64>, now: Instant) {
        for (link, purpose) in self.requests.expired(now) {
            match purpose {
                Purpose::Subscribe(asked) => {
                    self.later.push((now, link, asked.into_iter().map(|(log, _)| log).collect()))
                }
                Purpose::History(log, _) => self.items.extend(self.session.failed(&log, true, now)),
                Purpose::Call(_) => {}
            }
        }
        for (_, link, logs) in self.later.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
            let wanted = logs.into_iter().filter_map(|log| Some((log.clone(), self.session.position(&log)?)));
            let wanted = wanted.collect();
            self.subscribe(link, wanted, now);
        }
        let Some(link) = primary else { return };
        for (log, need) in self.session.needs(now) {
            match need {
                Need::Subscribe(position) => self.subscribe_one(link, log, Asked::Check(position), now),
                Need::History(since) => {
                    let id = self.requests.insert(link, Purpose::History(log.clone(), since.clone()), now);
                    self.frames.push((link, wire::history(id, &log, &since)));
                }
            }
        }
    }

    fn subscribe(&mut self, link: u64, wanted: Vec<(Log, Option<Position>)>, now: Instant) {
        for batch in wire::batches(wanted) {
            let asked = batch.iter().cloned().map(|(log, since)| (log, since.map_or(Asked::Now, Asked::Since)));
            let id = self.requests.insert(link, Purpose::Subscribe(asked.collect()), now);
            self.frames.push((link, wire::subscribe(id, &batch, self.presence)));
        }
    }

    fn subscribe_one(&mut self, link: u64, log: Log, asked: Asked, now: Instant) {
        let since = match &asked {
            Asked::Since(since) | Asked::Check(since) => Some(since.clone()),
            Asked::Now | Asked::Anew => None,
        };
        let id = self.requests.insert(link, Purpose::Subscribe(vec![(log.clone(), asked)]), now);
        self.frames.push((link, wire::subscribe(id, &[(log, since)], self.presence)));
    }

    fn reply(&mut self, id: u64, text: String, now: Instant) {
        let Some((link, purpose)) = self.requests.answered(id) else { return };
        match (purpose, wire::refusal(&text)) {
            // Whoever waits no more needs no answer.
            (Purpose::Call(answer), _) => drop(answer.send(Ok(text))),
            (Purpose::Subscribe(asked), Some(refusal)) => self.refused(link, asked, &refusal, now),
            (Purpose::Subscribe(asked), None) => self.acknowledged(asked, &text, now),
            (Purpose::History(log, _), Some(refusal)) => {
                self.items.extend(self.session.failed(&log, refusal.is_temporary(), now));
            }
            (Purpose::History(log, since), None) => {
                let items = match wire::page(&log, &text) {
                    Ok(page) => self.session.page(&log, &since, page, now),
                    Err(_) => self.session.failed(&log, false, now),
                };
                self.items.extend(items);
            }
        }
    }

    fn acknowledged(&mut self, asked: Vec<(Log, Asked)>, text: &str, now: Instant) {
        // An acknowledgement that says nothing of a log is that of a stack without one.
        let mut extracts: BTreeMap<_, _> = wire::acknowledged(text).unwrap_or_default().into_iter().collect();
        for (log, asked) in asked {
            let extract = extracts.remove(&log).flatten();
            self.items.extend(self.session.subscribed(&log, &asked, extract, now));
            for waiting in self.waiting.remove(&log).unwrap_or_default() {
                // Whoever waits no more needs no answer.
                let _ = waiting.send(Ok(()));
            }
        }
    }

    /// A list of topics is subscribed to as a whole or not at all: each is tried alone.
    fn refused(&mut self, link: u64, mut asked: Vec<(Log, Asked)>, refusal: &Refusal, now: Instant) {
        asked.retain(|(log, _)| self.session.position(log).is_some());
        if refusal.is_temporary() {
            self.later.push((now + BREATH, link, asked.into_iter().map(|(log, _)| log).collect()));
            return;
        }
        let alone = asked.len() == 1;
        for (log, asked) in asked {
            match asked {
                asked if !alone => self.subscribe_one(link, log, asked, now),
                // The position may be of another log than there is now.
                Asked::Since(_) | Asked::Check(_) if refusal.code == "BadRequest" => {
                    self.subscribe_one(link, log, Asked::Anew, now);
                }
                _ => self.end(&log, refusal),
            }
        }
    }

    fn end(&mut self, log: &Log, refusal: &Refusal) {
        self.items.extend(self.session.remove(log));
        self.items.push(Item::Event(Event::Refused { log: log.clone(), refusal: refusal.clone() }));
        for waiting in self.waiting.remove(log).unwrap_or_default() {
            // Whoever waits no more needs no answer.
            let _ = waiting.send(Err(refusal.clone().into()));
        }
    }
}

#[cfg(test)]
mod tests;
