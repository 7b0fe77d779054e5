//! One log, as a client sees it: whatever comes, in whatever order and however often, is given out by offset, each once.
//!
//! Pure: it is told what came and when, and says what to give out, and what it needs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::message::Message;
use crate::position::Position;
use crate::wire::Extract;

/// How long a gap may be open before history is asked for: what was merely overtaken comes soon.
const GAP_WAIT: Duration = Duration::from_secs(1);

/// How many messages are kept that came before others. What is above is left to history.
const MOST_HELD: usize = 1_000;

/// After so many vain attempts to fill a gap the application is told of it instead.
const MOST_FAILURES: u32 = 5;

/// What is given out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Message(Message),
    /// What lies between may be lost. Without `to` there is no log any more.
    Missed {
        from: Position,
        to: Option<Position>,
    },
}

/// What is to be asked of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// The messages after this position.
    History(Position),
    /// To subscribe again, since this position: messages of another epoch have come.
    Subscribe(Position),
}

/// With what a subscription was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// From now on.
    Now,
    /// Since a position.
    Since(Position),
    /// Since a position, because of messages of another epoch.
    Check(Position),
    /// From now on, because the server did not accept our position.
    Anew,
}

#[derive(Debug, Default)]
pub(crate) struct Sequencer {
    /// All up to here is given out, or not for this client. Unknown before the first acknowledgement, and without a log.
    position: Option<Position>,
    /// Whether the server said that there is no log.
    logless: bool,
    /// What came with an offset above that; `None` is for somebody else.
    held: BTreeMap<u64, Option<Message>>,
    /// What came under another epoch than that, by epoch and offset.
    other: BTreeMap<(String, u64), Option<Message>>,
    /// The epoch because of which the log is subscribed to again.
    checking: Option<String>,
    /// An epoch that is over.
    retired: Option<String>,
    /// The highest offset that is known of.
    known: u64,
    /// When to ask for what is missing.
    due: Option<Instant>,
    /// Whether it has been asked for.
    in_flight: bool,
    failures: u32,
}

impl Sequencer {
    /// A log that is read after this position.
    pub(crate) fn since(position: Option<Position>) -> Self {
        Self { known: position.as_ref().map_or(0, |position| position.offset), position, ..Self::default() }
    }

    pub(crate) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// When [`Self::need`] is to be called.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.in_flight)
    }

    /// What to ask the server now. The answer is waited for before there is another need.
    pub(crate) fn need(&mut self, now: Instant) -> Option<Need> {
        let position = self.position.clone()?;
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        self.due = None;
        self.in_flight = true;
        self.checking = self.other.keys().next().map(|(epoch, _)| epoch.clone());
        Some(if self.checking.is_some() { Need::Subscribe(position) } else { Need::History(position) })
    }

    /// A message was pushed, or, without one, an offset that is not for this client.
    pub(crate) fn pushed(&mut self, at: &Position, message: Option<Message>, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        let before = self.offset();
        match &self.position {
            _ if self.retired.as_ref() == Some(&at.epoch) => return out,
            None if self.logless => return message.map(Output::Message).into_iter().collect(),
            Some(position) if position.epoch == at.epoch => self.hold(at.offset, message),
            _ => drop(self.other.entry((at.epoch.clone(), at.offset)).or_insert(message)),
        }
        if self.other.len() > MOST_HELD {
            self.other.pop_last();
        }
        self.release(&mut out);
        self.settle(before, now);
        out
    }

    /// A subscription was acknowledged; without an extract there is no log.
    pub(crate) fn subscribed(&mut self, asked: &Asked, extract: Option<Extract>, now: Instant) -> Vec<Output> {
        self.in_flight = false;
        let mut out = Vec::new();
        let Some(extract) = extract else { return self.without_log() };
        let (before, more) = (self.offset(), extract.more);
        match self.position.clone() {
            Some(position) if is_outdated(&position, asked, &extract) => {}
            None => self.start(extract.position, &mut out),
            Some(position) if keeps(&position, asked, &extract) => self.go_on(asked, extract, &mut out),
            Some(position) => self.lose(position, extract, &mut out),
        }
        if let (Asked::Check(_), Some(epoch)) = (asked, self.checking.take()) {
            self.retire(epoch);
        }
        self.settle(before, now);
        self.hurry(more, now);
        out
    }

    /// A page of history came, for what lies after this position.
    pub(crate) fn page(&mut self, since: &Position, page: Option<Extract>, now: Instant) -> Vec<Output> {
        let Some(page) = page else { return self.failed(false, now) };
        let Some(position) = self.position.clone().filter(|position| position.epoch == since.epoch) else {
            return Vec::new();
        };
        let (before, more) = (self.offset(), page.more);
        let mut out = Vec::new();
        if page.position.epoch != position.epoch || page.recovered == Some(false) {
            self.in_flight = false;
            self.lose(position, page, &mut out);
        } else {
            self.cover(since.offset, page, &mut out);
            if self.offset() == before {
                // Nothing new: the gap was filled meanwhile, or cannot be.
                out.extend(self.failed(true, now));
                return out;
            }
            self.in_flight = false;
        }
        self.failures = 0;
        self.settle(before, now);
        self.hurry(more, now);
        out
    }

    /// What was asked for did not come. It is asked for again, if that can help, and then given up.
    pub(crate) fn failed(&mut self, again: bool, now: Instant) -> Vec<Output> {
        self.in_flight = false;
        if !self.is_behind() {
            self.settle(None, now);
            return Vec::new();
        }
        self.failures += 1;
        if again && self.failures < MOST_FAILURES {
            self.due = Some(now + GAP_WAIT * 2_u32.pow(self.failures));
            return Vec::new();
        }
        let mut out = Vec::new();
        self.give_up(&mut out);
        self.settle(None, now);
        out
    }

    /// The connection that was asked is gone, and with it the answer.
    pub(crate) fn disconnected(&mut self, now: Instant) {
        self.in_flight = false;
        self.settle(None, now);
    }

    fn offset(&self) -> Option<u64> {
        self.position.as_ref().map(|position| position.offset)
    }

    /// Whether something is missing that is known of.
    fn is_behind(&self) -> bool {
        !self.other.is_empty() || self.offset().is_some_and(|offset| offset < self.known)
    }

    fn hold(&mut self, offset: u64, message: Option<Message>) {
        if self.offset().is_some_and(|done| offset <= done) {
            return;
        }
        self.known = self.known.max(offset);
        self.held.entry(offset).or_insert(message);
        if self.held.len() > MOST_HELD {
            self.held.pop_last();
        }
    }

    /// Gives out what follows without a gap.
    fn release(&mut self, out: &mut Vec<Output>) {
        let Some(position) = &mut self.position else { return };
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() == position.offset + 1) {
            position.offset += 1;
            out.extend(entry.remove().map(Output::Message));
        }
    }

    /// Gives out all that is held, gaps or not.
    fn release_all(&mut self, out: &mut Vec<Output>) {
        out.extend(std::mem::take(&mut self.held).into_values().flatten().map(Output::Message));
    }

    /// Gives out what is there up to an offset, gaps or not, and goes on behind it.
    fn release_to(&mut self, offset: u64, out: &mut Vec<Output>) {
        while let Some(entry) = self.held.first_entry().filter(|entry| *entry.key() <= offset) {
            out.extend(entry.remove().map(Output::Message));
        }
        if let Some(position) = &mut self.position {
            position.offset = position.offset.max(offset);
        }
    }

    /// Begins where the log stood. What came earlier is given out: it was pushed because of this subscription.
    fn start(&mut self, position: Position, out: &mut Vec<Output>) {
        self.adopt(&position.epoch);
        self.known = self.known.max(position.offset);
        let offset = position.offset;
        self.logless = false;
        self.position = Some(position);
        self.release_to(offset, out);
        self.release(out);
    }

    fn go_on(&mut self, asked: &Asked, extract: Extract, out: &mut Vec<Output>) {
        match asked {
            Asked::Since(since) | Asked::Check(since) if extract.recovered == Some(true) => {
                self.cover(since.offset, extract, out);
            }
            _ => self.known = self.known.max(extract.position.offset),
        }
    }

    /// All after `from` up to the end of the extract is known: what is in it, and otherwise not for this client.
    fn cover(&mut self, from: u64, extract: Extract, out: &mut Vec<Output>) {
        self.known = self.known.max(extract.position.offset);
        let Some(done) = self.offset().filter(|done| from <= *done) else { return };
        let mut last = from;
        for message in extract.messages {
            let Some(offset) = message.position.as_ref().map(|position| position.offset) else { continue };
            last = last.max(offset);
            if offset > done {
                self.held.entry(offset).or_insert(Some(message));
            }
        }
        self.release_to(if extract.more { last } else { extract.position.offset }, out);
        self.release(out);
    }

    /// Says that something may be lost, and goes on where the extract does.
    fn lose(&mut self, position: Position, mut extract: Extract, out: &mut Vec<Output>) {
        let to = extract.position.clone();
        out.push(Output::Missed { from: position.clone(), to: Some(to.clone()) });
        let mut from = position.offset.min(to.offset);
        if position.epoch != to.epoch {
            self.release_all(out);
            self.adopt(&to.epoch);
            self.retired = Some(position.epoch);
            from = 0;
        } else if from == to.offset {
            // The log is shorter than it was: what is held is none of it.
            self.held.clear();
        }
        self.known = to.offset.max(self.held.last_key_value().map_or(0, |(offset, _)| *offset));
        self.position = Some(Position { offset: from, epoch: to.epoch });
        // Nothing is given out twice that was given out under a higher position.
        extract.messages.retain(|message| message.position.as_ref().is_some_and(|at| at.offset > from));
        self.cover(from, extract, out);
    }

    /// There is no log, or none any more: what came is passed on.
    fn without_log(&mut self) -> Vec<Output> {
        let mut out: Vec<_> = self.position.take().map(|from| Output::Missed { from, to: None }).into_iter().collect();
        self.release_all(&mut out);
        out.extend(std::mem::take(&mut self.other).into_values().flatten().map(Output::Message));
        *self = Self { logless: true, ..Self::default() };
        out
    }

    /// Leaves the gap to the application, and goes on behind it.
    fn give_up(&mut self, out: &mut Vec<Output>) {
        let Some(position) = self.position.clone() else { return };
        self.failures = 0;
        let to = match self.other.keys().next().cloned() {
            Some((epoch, offset)) => {
                self.release_all(out);
                self.adopt(&epoch);
                Position { offset: offset.saturating_sub(1), epoch }
            }
            None => {
                let first = self.held.keys().next().map_or(self.known, |first| first.saturating_sub(1));
                Position { offset: first, epoch: position.epoch.clone() }
            }
        };
        out.push(Output::Missed { from: position, to: Some(to.clone()) });
        self.position = Some(to);
        self.release(out);
    }

    /// What came under this epoch is now what is held.
    fn adopt(&mut self, epoch: &str) {
        let (ours, other) = std::mem::take(&mut self.other).into_iter().partition(|((of, _), _)| of == epoch);
        self.other = other;
        let ours: BTreeMap<(String, u64), Option<Message>> = ours;
        self.held = ours.into_iter().map(|((_, offset), message)| (offset, message)).collect();
        self.known = self.held.last_key_value().map_or(0, |(offset, _)| *offset);
    }

    /// The log was read after messages of this epoch came: if it has another one, this one is over.
    fn retire(&mut self, epoch: String) {
        if self.position.as_ref().is_some_and(|position| position.epoch != epoch) {
            self.other.retain(|(of, _), _| *of != epoch);
            self.retired = Some(epoch);
        }
    }

    /// When to ask for what is missing; each advance gives the next gap its own time.
    fn settle(&mut self, before: Option<u64>, now: Instant) {
        let offset = self.offset();
        if offset.is_none() || !self.is_behind() {
            self.due = None;
            self.failures = 0;
        } else if !self.other.is_empty() {
            self.due = self.due.or(Some(now));
        } else if self.due.is_none() || before != offset {
            self.due = Some(now + GAP_WAIT);
        }
    }

    /// The server said that there is more: it is asked for at once.
    fn hurry(&mut self, more: bool, now: Instant) {
        if more && self.due.is_some() {
            self.due = Some(now);
        }
    }
}

/// Whether an acknowledgement tells of an epoch that may be older than that of the position: it was not asked for from there.
fn is_outdated(position: &Position, asked: &Asked, extract: &Extract) -> bool {
    position.epoch != extract.position.epoch
        && match asked {
            Asked::Now => true,
            Asked::Since(since) | Asked::Check(since) => since.epoch != position.epoch,
            Asked::Anew => false,
        }
}

/// Whether the position still holds after an acknowledgement.
fn keeps(position: &Position, asked: &Asked, extract: &Extract) -> bool {
    let at = &extract.position;
    position.epoch == at.epoch
        && match asked {
            Asked::Now => true,
            Asked::Since(since) | Asked::Check(since) => {
                position.offset >= at.offset || (extract.recovered == Some(true) && since.epoch == at.epoch)
            }
            Asked::Anew => position.offset == at.offset,
        }
}

#[cfg(test)]
mod tests;
