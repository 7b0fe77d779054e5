//! A million members in virtual time: the decisions are the notifier's own, the table, the sockets and the clock are not.
//!
//! `docs/scale.md` has the model and these figures.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
/// The workers of the fan-out queue, and how many the account's share is divided by.
const WORKERS: usize = 16;
const CONCURRENCY: usize = 20;
const PUSHES_PER_SECOND: f64 = 8_000.0;
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

/// Sort keys of so many members, as a hash spreads them.
fn audience(members: u64) -> Vec<String> {
    let mut keys: Vec<String> = (0..members)
        .map(|number| format!("{:02x}#{number:08}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56))
        .collect();
    keys.sort_unstable();
    keys
}

fn simulate(members: u64) -> Figures {
    let keys = audience(members);
    let rate = PUSHES_PER_SECOND / CONCURRENCY as f64;
    let budget = (rate * PLANNED_SECONDS) as usize;
    let mut figures = Figures::default();
    // When each worker is free, and when each segment is in the queue, both in nanoseconds so that they sort.
    let mut free: BinaryHeap<Reverse<u64>> = (0..WORKERS).map(|_| Reverse(0)).collect();
    let mut queue = BinaryHeap::from([Reverse((0, 0_usize))]);
    let mut intervals = vec![Interval::whole()];
    while let Some(Reverse((arrives, index))) = queue.pop() {
        let Reverse(idle) = free.pop().unwrap();
        let begins = seconds(arrives.max(idle));
        let part = part(&keys, &intervals[index]);
        let first = &part[..part.len().min(PAGE)];
        figures.invocations += 1;
        let parts = match first.last() {
            Some(last) if part.len() > PAGE => plan(&intervals[index], first.len(), last, budget),
            _ => None,
        };
        let ends = match parts {
            Some(parts) => {
                figures.splits += 1;
                figures.read_units += units(first.len(), 1);
                for interval in parts {
                    queue.push(Reverse((nanoseconds(begins + READ + HOP), intervals.len())));
                    intervals.push(interval);
                }
                begins + READ
            }
            None => {
                figures.posts += part.len();
                figures.read_units += units(part.len(), part.len().div_ceil(PAGE));
                begins + READ + part.len() as f64 / rate
            }
        };
        figures.seconds = figures.seconds.max(ends);
        free.push(Reverse(nanoseconds(ends)));
    }
    figures
}

fn part<'a>(keys: &'a [String], interval: &Interval) -> &'a [String] {
    let from = keys.partition_point(|key| interval.after.as_ref().is_some_and(|after| key <= after));
    let to = keys.partition_point(|key| interval.to.as_ref().is_none_or(|to| key <= to));
    &keys[from..to.max(from)]
}

/// The first page is read consistently, at one unit for 4 KB; the others at half of it.
fn units(rows: usize, pages: usize) -> f64 {
    let first = rows.min(PAGE) as f64 * ROW_BYTES / 4_096.0;
    let rest = rows.saturating_sub(PAGE) as f64 * ROW_BYTES / 8_192.0;
    first + rest + pages as f64 * 0.5
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[test]
fn a_million_members_cost_what_the_model_says() {
    for members in [10_000, 100_000, 1_000_000_u64] {
        let figures = simulate(members);
        let line = format!(
            "{members} members: {} invocations, {} splits, {} posts, {:.0} read units, {:.0} s",
            figures.invocations, figures.splits, figures.posts, figures.read_units, figures.seconds
        );
        let _ = writeln!(std::io::stderr(), "{line}");
        assert_eq!(figures.posts as u64, members, "everybody once");
        let rate = PUSHES_PER_SECOND / CONCURRENCY as f64;
        let budget = rate * PLANNED_SECONDS;
        let leaves = members as f64 / budget;
        // Parts are even and at most ten at a time, so that between one and four times the fewest possible are needed.
        assert!((figures.invocations as f64) < leaves * 4.0 + 12.0, "{line}");
        let read = members as f64 * ROW_BYTES / 8_192.0;
        assert!(figures.read_units < read * 1.6 + 40.0, "{line}");
        let fastest = members as f64 / (rate * WORKERS as f64);
        assert!(figures.seconds >= fastest * 0.99 && figures.seconds < fastest * 1.3 + 25.0, "{line}");
    }
}
