//! A log, its server and the network, played by chance: whatever happens, each message is given out once and in order, or what was
//! missed is told.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;

use super::*;

/// How many messages a page has at most.
const PAGE: usize = 3;

/// Something on its way to the client.
enum Frame {
    Push(Position, Option<Message>),
    Ack(Asked, Extract),
    Page(Position, Extract),
    Failure,
}

/// The log as the server has it.
#[derive(Default)]
struct Log {
    /// How often it was made anew.
    generation: u64,
    /// Whether each entry is for the client.
    entries: Vec<bool>,
    /// What is below is trimmed.
    floor: u64,
}

impl Log {
    fn epoch(&self) -> String {
        format!("e{}", self.generation)
    }

    fn end(&self) -> Position {
        Position { offset: self.entries.len() as u64, epoch: self.epoch() }
    }

    /// What an answer holds: the messages after an offset.
    fn extract(&self, since: u64) -> Extract {
        let offsets = since.max(self.floor) + 1..=self.end().offset;
        let mut messages: Vec<_> =
            offsets.filter(|offset| self.entries[usize::try_from(offset - 1).unwrap()]).collect();
        let more = messages.len() > PAGE;
        messages.truncate(PAGE);
        let messages = messages.into_iter().map(|offset| message_of(&self.epoch(), offset)).collect();
        Extract { position: self.end(), recovered: None, messages, more }
    }

    /// The acknowledgement of a subscription.
    fn subscribed(&self, asked: &Asked, rng: &mut Rng) -> Extract {
        let since = match asked {
            Asked::Now | Asked::Anew => return Extract { messages: Vec::new(), more: false, ..self.extract(0) },
            Asked::Since(since) | Asked::Check(since) => since,
        };
        if since.epoch == self.epoch() && (*since == self.end() || since.offset >= self.floor) {
            return Extract { recovered: Some(true), ..self.extract(since.offset) };
        }
        // What is left may come along, or not.
        let from = if rng.bool() { self.end().offset } else { since.offset.min(self.end().offset) };
        Extract { recovered: Some(false), ..self.extract(from) }
    }
}

struct World {
    rng: Rng,
    now: Instant,
    log: Log,
    client: Sequencer,
    connected: bool,
    /// Whether a subscription was acknowledged since: before, nothing is asked for.
    ready: bool,
    /// Whether questions may fail.
    fails: bool,
    /// In any order.
    air: Vec<Frame>,
    /// All that was given out.
    given: Vec<Position>,
    missed: Vec<(Position, Position)>,
    /// What the client has to get.
    owed: BTreeSet<(String, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            now: Instant::now(),
            log: Log::default(),
            client: Sequencer::default(),
            connected: false,
            ready: false,
            fails: true,
            air: Vec::new(),
            given: Vec::new(),
            missed: Vec::new(),
            owed: BTreeSet::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.u32(..100) {
            0..35 => self.append(),
            35..70 => self.arrive(),
            70..76 if self.connected => self.cut(),
            70..80 => self.subscribe(),
            80..95 => self.wait(),
            95..97 if !self.connected => self.trim(),
            97 if self.rng.u32(..3) == 0 => self.make_anew(),
            _ => {}
        }
    }

    fn append(&mut self) {
        let ours = self.rng.u32(..5) > 0;
        self.log.entries.push(ours);
        let at = self.log.end();
        if ours && self.client.position().is_some() {
            self.owed.insert((at.epoch.clone(), at.offset));
        }
        if self.connected {
            let copies = if self.rng.u32(..4) == 0 { 2 } else { 1 };
            let message = ours.then(|| message_of(&at.epoch, at.offset));
            self.air.extend((0..copies).map(|_| Frame::Push(at.clone(), message.clone())));
        }
    }

    /// Something arrives, not always what was sent first.
    fn arrive(&mut self) {
        if self.air.is_empty() {
            return;
        }
        let frame = self.air.swap_remove(self.rng.usize(..self.air.len()));
        let out = match frame {
            Frame::Push(at, message) => self.client.pushed(&at, message, self.now),
            Frame::Ack(asked, extract) => {
                self.ready = true;
                self.client.subscribed(&asked, Some(extract), self.now)
            }
            Frame::Page(since, page) => self.client.page(&since, Some(page), self.now),
            Frame::Failure => self.client.failed(true, self.now),
        };
        for output in out {
            match output {
                Output::Message(message) => self.given.push(message.position.unwrap()),
                Output::Missed { from, to } => self.missed.push((from, to.unwrap())),
            }
        }
    }

    fn cut(&mut self) {
        (self.connected, self.ready) = (false, false);
        self.air.clear();
        self.client.disconnected(self.now);
    }

    /// After a cut, or on a second connection beside the first.
    fn subscribe(&mut self) {
        self.connected = true;
        let asked = self.client.position().cloned().map_or(Asked::Now, Asked::Since);
        self.acknowledge(asked);
    }

    fn acknowledge(&mut self, asked: Asked) {
        let extract = self.log.subscribed(&asked, &mut self.rng);
        self.air.push(Frame::Ack(asked, extract));
    }

    /// Time passes, and the client asks for what it lacks.
    fn wait(&mut self) {
        self.now += Duration::from_millis(self.rng.u64(..1_500));
        if !self.ready {
            return;
        }
        match self.client.need(self.now) {
            Some(Need::Subscribe(since)) => self.acknowledge(Asked::Check(since)),
            Some(Need::History(since)) if !self.fails || self.rng.u32(..5) > 0 => {
                let from = if since.epoch == self.log.epoch() { since.offset } else { 0 };
                self.air.push(Frame::Page(since, self.log.extract(from)));
            }
            Some(Need::History(_)) => self.air.push(Frame::Failure),
            None => {}
        }
    }

    fn trim(&mut self) {
        self.log.floor = self.rng.u64(self.log.floor..=self.log.end().offset);
    }

    fn make_anew(&mut self) {
        self.log = Log { generation: self.log.generation + 1, ..Log::default() };
    }

    /// Lets everything arrive, on a connection that holds.
    fn come_to_rest(&mut self) {
        self.cut();
        self.subscribe();
        for _ in 0..2_000 {
            self.arrive();
            self.wait();
        }
        assert!(self.air.is_empty());
        assert_eq!(self.client.position(), Some(&self.log.end()), "{:?}", self.client);
        assert_eq!(self.client.due(), None);
    }

    fn check(&self, seed: u64) {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        let mut epochs: Vec<&str> = Vec::new();
        for at in &self.given {
            let before = last.insert(&at.epoch, at.offset);
            assert!(before.is_none_or(|before| before < at.offset), "seed {seed}: {at} after {before:?}");
            if epochs.last() != Some(&at.epoch.as_str()) {
                assert!(!epochs.contains(&at.epoch.as_str()), "seed {seed}: {at} came back");
                epochs.push(&at.epoch);
            }
        }
        let given: BTreeSet<_> = self.given.iter().map(|at| (at.epoch.clone(), at.offset)).collect();
        for (epoch, offset) in self.owed.difference(&given) {
            let told = |(from, to): &(Position, Position)| {
                let after = from.epoch < *epoch || (from.epoch == *epoch && from.offset < *offset);
                let before = to.epoch > *epoch || (to.epoch == *epoch && to.offset >= *offset);
                after && before
            };
            assert!(self.missed.iter().any(told), "seed {seed}: {offset}/{epoch} is lost without a word");
        }
    }
}

#[test]
fn whatever_happens_each_message_is_given_out_once_and_in_order_or_told_to_be_missed() {
    let (mut given, mut missed) = (0, 0);
    for seed in 0..1_500 {
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.come_to_rest();
        world.check(seed);
        given += world.given.len();
        missed += world.missed.len();
    }
    assert!(given > 30_000 && missed > 500, "{given} given, {missed} missed: the worlds are too quiet");
}

#[test]
fn without_trimming_nothing_is_ever_missed() {
    for seed in 0..1_000 {
        let mut world = World { fails: false, ..World::new(seed) };
        for _ in 0..200 {
            match world.rng.u32(..20) {
                0..8 => world.append(),
                8..16 => world.arrive(),
                16 if world.connected => world.cut(),
                16 => world.subscribe(),
                _ => world.now += Duration::from_millis(200),
            }
        }
        world.come_to_rest();
        world.check(seed);
        assert!(world.missed.is_empty(), "seed {seed}: {:?}", world.missed);
    }
}
