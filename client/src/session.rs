//! All that a client is subscribed to. It outlives connections, and takes what comes on several of them.
//!
//! Pure: no I/O, and no clock of its own.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::event::{Event, Item};
use crate::message::Message;
use crate::position::{Log, Position};
use crate::recent::Recent;
use crate::sequencer::{Asked, Need, Output, Sequencer};
use crate::wire::Extract;

#[derive(Debug, Default)]
pub(crate) struct Session {
    logs: BTreeMap<Log, Sequencer>,
    recent: Recent,
}

impl Session {
    /// Wants a log from now on, or since a position. One that is wanted already stays as it is.
    pub(crate) fn add(&mut self, log: Log, since: Option<Position>) -> Vec<Item> {
        if self.logs.contains_key(&log) {
            return Vec::new();
        }
        self.logs.insert(log.clone(), Sequencer::since(since.clone()));
        since.map(|since| Item::Position(log, Some(since))).into_iter().collect()
    }

    /// Wants a log no more.
    pub(crate) fn remove(&mut self, log: &Log) -> Vec<Item> {
        self.logs.remove(log).map(|_| Item::Position(log.clone(), None)).into_iter().collect()
    }

    /// What is wanted, and since where.
    pub(crate) fn wanted(&self) -> Vec<(Log, Option<Position>)> {
        self.logs.iter().map(|(log, sequencer)| (log.clone(), sequencer.position().cloned())).collect()
    }

    /// Since where a log is wanted, if it still is.
    pub(crate) fn position(&self, log: &Log) -> Option<Option<Position>> {
        self.logs.get(log).map(|sequencer| sequencer.position().cloned())
    }

    /// A message came.
    pub(crate) fn message(&mut self, message: Message, now: Instant) -> Vec<Item> {
        if let (Some(log), Some(position)) = (&message.log, &message.position)
            && self.logs.contains_key(log)
        {
            let (log, position) = (log.clone(), position.clone());
            return self.with(&log, |sequencer| sequencer.pushed(&position, Some(message), now));
        }
        // Several targets without a log are one message, under the first of them.
        let log = message.log.clone().filter(|_| message.position.is_some());
        let is_new = self.recent.insert(&message.id, log);
        is_new.then(|| Item::Event(Event::Message(message))).into_iter().collect()
    }

    /// An offset is not for this client.
    pub(crate) fn skip(&mut self, log: &Log, position: &Position, now: Instant) -> Vec<Item> {
        self.with(log, |sequencer| sequencer.pushed(position, None, now))
    }

    /// A subscription is acknowledged.
    pub(crate) fn subscribed(&mut self, log: &Log, asked: &Asked, extract: Option<Extract>, now: Instant) -> Vec<Item> {
        self.with(log, |sequencer| sequencer.subscribed(asked, extract, now))
    }

    /// History came.
    pub(crate) fn page(&mut self, log: &Log, since: &Position, page: Option<Extract>, now: Instant) -> Vec<Item> {
        self.with(log, |sequencer| sequencer.page(since, page, now))
    }

    /// History did not come.
    pub(crate) fn failed(&mut self, log: &Log, again: bool, now: Instant) -> Vec<Item> {
        self.with(log, |sequencer| sequencer.failed(again, now))
    }

    /// A connection is gone, with all that was asked on it.
    pub(crate) fn disconnected(&mut self, log: &Log, now: Instant) {
        if let Some(sequencer) = self.logs.get_mut(log) {
            sequencer.disconnected(now);
        }
    }

    /// What to ask the server now.
    pub(crate) fn needs(&mut self, now: Instant) -> Vec<(Log, Need)> {
        let needs = self.logs.iter_mut().filter_map(|(log, sequencer)| Some((log.clone(), sequencer.need(now)?)));
        needs.collect()
    }

    /// When there will be something to ask.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.logs.values().filter_map(Sequencer::due).min()
    }

    fn with(&mut self, log: &Log, change: impl FnOnce(&mut Sequencer) -> Vec<Output>) -> Vec<Item> {
        let Some(sequencer) = self.logs.get_mut(log) else { return Vec::new() };
        let before = sequencer.position().cloned();
        let outputs = change(sequencer);
        let after = sequencer.position().cloned();
        let mut items: Vec<_> = outputs.into_iter().map(|output| Item::Event(event(log, output))).collect();
        if before != after {
            items.push(Item::Position(log.clone(), after));
        }
        items
    }
}

fn event(log: &Log, output: Output) -> Event {
    match output {
        Output::Message(message) => Event::Message(message),
        Output::Missed { from, to } => Event::Missed { log: log.clone(), from, to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Incoming, read};

    fn message(text: &str) -> Message {
        let Incoming::Message(message) = read(text) else { panic!("{text}") };
        message
    }

    fn told(items: &[Item]) -> usize {
        items.iter().filter(|item| matches!(item, Item::Event(Event::Message(_)))).count()
    }

    #[tokio::test]
    async fn what_has_no_offset_or_belongs_to_no_log_of_ours_is_passed_on_once() {
        let (mut session, now) = (Session::default(), Instant::now());
        session.add(Log::topic("a"), None);
        let plain = message(r#"{"type":"message","id":"n","topic":"a","data":1}"#);
        assert_eq!(told(&session.message(plain.clone(), now)), 1);
        assert_eq!(told(&session.message(plain, now)), 0, "the second connection brings it too");
        let foreign = message(r#"{"type":"message","id":"n","user":true,"offset":9,"epoch":"p","data":1}"#);
        assert_eq!(told(&session.message(foreign.clone(), now)), 1, "one notification, for a log of its own");
        assert_eq!(told(&session.message(foreign, now)), 0);
    }

    #[tokio::test]
    async fn a_position_is_told_after_what_leads_to_it() {
        let (mut session, now) = (Session::default(), Instant::now());
        let at = |offset| Position { offset, epoch: "e".to_owned() };
        let log = Log::topic("a");
        assert!(
            matches!(&session.add(log.clone(), Some(at(4)))[..], [Item::Position(_, Some(position))] if *position == at(4))
        );
        let next = message(r#"{"type":"message","id":"n","topic":"a","offset":5,"epoch":"e","data":1}"#);
        let items = session.message(next, now);
        assert!(
            matches!(&items[..], [Item::Event(_), Item::Position(_, Some(position))] if *position == at(5)),
            "{items:?}"
        );
        assert!(
            matches!(&session.skip(&log, &at(6), now)[..], [Item::Position(_, Some(position))] if *position == at(6))
        );
        assert_eq!(session.wanted(), [(log.clone(), Some(at(6)))]);
        assert!(matches!(session.remove(&log)[..], [Item::Position(_, None)]));
        assert_eq!(session.position(&log), None);
    }
}
