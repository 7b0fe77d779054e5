//! How a tree grows over a million members: the decisions are the notifier's own, the table, the sockets and the clock are
//! not. `docs/scale.md` has the model; what happens at the quota is played in `simulation`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write;

use tidings::fanout::plan;
use tidings::registry::Interval;

const PAGE: usize = 1_000;
/// Of a membership, in bytes, with a topic of 20 characters.
const ROW_BYTES: f64 = 110.0;
/// From one invocation to the next through the queue, in seconds.
const HOP: f64 = 0.1;
/// One page of the table.
const READ: f64 = 0.01;
/// The workers of the fan-out queue, and those of both queues, who share the rate.
const WORKERS: usize = 4;
const CONCURRENCY: usize = 8;
const PUSHES_PER_SECOND: f64 = 8_000.0;
/// What one worker can push in a second, if it has the whole rate.
const ALONE: f64 = 5_000.0;
/// What an invocation plans with: 27.5 s, 70 % of them.
const PLANNED_SECONDS: f64 = 27.5 * 0.7;

#[derive(Debug, Default)]
struct Figures {
    invocations: usize,
    splits: usize,
    posts: usize,
    read_units: f64,
    seconds: f64,
}

/// What happens to a segment at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// It is in the queue.
    Arrives(usize),
    /// Its first page is read.
    IsRead(usize),
}

/// A fan-out in virtual time.
struct Simulation {
    keys: Vec<String>,
    intervals: Vec<Interval>,
    /// In seconds.
    now: f64,
    /// With their moments in nanoseconds, so that they sort.
    events: BinaryHeap<Reverse<(u64, Event)>>,
    queue: VecDeque<usize>,
    idle: usize,
    /// Posts that each worker which pushes has left.
    pushing: Vec<f64>,
    figures: Figures,
}

/// Sort keys of so many members, as a hash spreads them.
fn audience(members: u64) -> Vec<String> {
    let mut keys: Vec<String> = (0..members)
        .map(|number| format!("{:02x}#{number:08}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56))
        .collect();
    keys.sort_unstable();
    keys
}

fn simulate(members: u64) -> Figures {
    let mut simulation = Simulation {
        keys: audience(members),
        intervals: vec![Interval::whole()],
        now: 0.0,
        events: BinaryHeap::from([Reverse((0, Event::Arrives(0)))]),
        queue: VecDeque::new(),
        idle: WORKERS,
        pushing: Vec::new(),
        figures: Figures::default(),
    };
    while simulation.step() {}
    simulation.figures.seconds = simulation.now;
    simulation.figures
}

impl Simulation {
    /// Goes on to what happens next: a worker is through, or an event. Workers that push share the rate.
    fn step(&mut self) -> bool {
        let rate = (PUSHES_PER_SECOND / self.pushing.len().max(1) as f64).min(ALONE);
        let least = self.pushing.iter().copied().reduce(f64::min);
        let through = least.map(|posts| self.now + posts / rate);
        let event = self.events.peek().map(|Reverse((at, _))| *at as f64 / 1e9);
        let Some(next) = [through, event].into_iter().flatten().reduce(f64::min) else { return false };
        let pushed = (next - self.now) * rate;
        self.now = next;
        for posts in &mut self.pushing {
            *posts -= pushed;
        }
        let before = self.pushing.len();
        self.pushing.retain(|posts| *posts > 1e-6);
        self.idle += before - self.pushing.len();
        if event.is_some_and(|event| event <= next)
            && let Some(Reverse((_, event))) = self.events.pop()
        {
            self.happens(event);
        }
        while self.idle > 0
            && let Some(index) = self.queue.pop_front()
        {
            self.idle -= 1;
            self.figures.invocations += 1;
            self.schedule(READ, Event::IsRead(index));
        }
        true
    }

    fn schedule(&mut self, seconds: f64, event: Event) {
        self.events.push(Reverse((((self.now + seconds) * 1e9) as u64, event)));
    }

    fn happens(&mut self, event: Event) {
        let index = match event {
            Event::Arrives(index) => return self.queue.push_back(index),
            Event::IsRead(index) => index,
        };
        let budget = (PUSHES_PER_SECOND / CONCURRENCY as f64 * PLANNED_SECONDS) as usize;
        let part = part(&self.keys, &self.intervals[index]);
        let (members, first) = (part.len(), &part[..part.len().min(PAGE)]);
        let parts = match first.last() {
            Some(last) if members > PAGE => plan(&self.intervals[index], first.len(), last, budget),
            _ => None,
        };
        let Some(parts) = parts else {
            self.figures.posts += members;
            self.figures.read_units += units(members, members.div_ceil(PAGE));
            return self.pushing.push(members as f64);
        };
        self.figures.splits += 1;
        self.figures.read_units += units(first.len(), 1);
        self.idle += 1;
        for interval in parts {
            self.schedule(HOP, Event::Arrives(self.intervals.len()));
            self.intervals.push(interval);
        }
    }
}

fn part<'a>(keys: &'a [String], interval: &Interval) -> &'a [String] {
    let from = keys.partition_point(|key| interval.after.as_ref().is_some_and(|after| key <= after));
    let to = keys.partition_point(|key| interval.to.as_ref().is_none_or(|to| key <= to));
    &keys[from..to.max(from)]
}

/// Every page is read consistently, at one unit for 4 KB.
fn units(rows: usize, pages: usize) -> f64 {
    rows as f64 * ROW_BYTES / 4_096.0 + pages as f64 * 0.5
}

#[test]
fn a_million_members_cost_what_the_model_says() {
    for members in [1_000, 10_000, 100_000, 1_000_000_u64] {
        let figures = simulate(members);
        let line = format!(
            "{members} members: {} invocations, {} splits, {} posts, {:.0} read units, {:.1} s",
            figures.invocations, figures.splits, figures.posts, figures.read_units, figures.seconds
        );
        let _ = writeln!(std::io::stderr(), "{line}");
        assert_eq!(figures.posts as u64, members, "everybody once");
        let budget = PUSHES_PER_SECOND / CONCURRENCY as f64 * PLANNED_SECONDS;
        let leaves = members as f64 / budget;
        // Parts are even and at most ten at a time, so that between one and four times the fewest possible are needed.
        assert!((figures.invocations as f64) < leaves * 4.0 + 12.0, "{line}");
        let read = members as f64 * ROW_BYTES / 4_096.0;
        assert!(figures.read_units < read * 1.6 + 40.0, "{line}");
        // Nothing is lost but the first hops, and the last parts, which may be fewer than need the whole rate.
        let fastest = members as f64 / PUSHES_PER_SECOND;
        assert!(figures.seconds >= fastest && figures.seconds < fastest * 1.05 + 1.0, "{line}");
    }
}
