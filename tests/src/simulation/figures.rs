//! What came of a scenario, in numbers.

use std::collections::HashMap;

use serde_json::Value;

use super::gateway::{Post, Seen};
use super::letters::Letter;
use super::{Scenario, World, queues, rows};

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct Figures {
    /// The scenario.
    pub name: &'static str,
    /// The seed, with which it can be played again.
    pub seed: u64,
    /// Members of all audiences.
    pub members: usize,
    /// Members that neither got their message, nor stand in a dead letter, nor were closed.
    pub lost: usize,
    /// Dead letters.
    pub letters: usize,
    /// Members that did not get their message and stand in a dead letter.
    pub dead: usize,
    /// When each client was closed as slow, in seconds.
    pub closed: Vec<f64>,
    /// Messages beyond the first for each member.
    pub twice: usize,
    /// Members that got their message.
    pub reached: usize,
    /// Each post, in order.
    pub posts: Vec<Post>,
    /// The share of other traffic's requests that was refused.
    pub others_refused: f64,
    /// Per delivery, the time since the notification was sent, in seconds, sorted.
    pub waits: Vec<f64>,
    /// Of each notification.
    pub ends: Vec<End>,
    /// When the last delivery was, in seconds; 0 where there was none.
    pub done: f64,
    /// When nothing was left to do, in seconds.
    pub over: f64,
    /// When the last spell of refusal ended, in seconds.
    pub spell_end: f64,
    /// Receives of messages that came again afterwards.
    pub burnt: u64,
    /// Invocations that ended by their timeout.
    pub timeouts: u64,
    /// When each invocation began, in seconds.
    pub invocations: Vec<f64>,
    /// When each environment was started, in seconds.
    pub starts: Vec<f64>,
    /// Most writes of the rate row in a second.
    pub rate_writes: u64,
    /// Answers to direct invokes.
    pub answers: Vec<Result<Value, String>>,
    /// The rate limit, in posts a second.
    pub rate: f64,
}

/// One notification, from its sending to its last delivery.
#[derive(Debug, Clone)]
pub struct End {
    /// Its label.
    pub label: String,
    /// When it was sent, in seconds.
    pub at: f64,
    /// The time until its last delivery, in seconds.
    pub took: f64,
}

/// Of one notification.
#[derive(Default)]
struct Totals {
    lost: usize,
    dead: usize,
    reached: usize,
    twice: usize,
    last: f64,
}

impl Figures {
    pub(super) fn new(scenario: &Scenario, seed: u64, world: &World) -> Self {
        let counts = world.lambda.counts();
        let letters: Vec<_> =
            world.queues.all(queues::DEAD_LETTERS).iter().map(|message| Letter::read(&message.body)).collect();
        let seen = world.gateway.seen();
        let mut figures = Self {
            name: scenario.name,
            seed,
            members: scenario.sends.iter().map(|send| send.to.audience().1).sum(),
            lost: 0,
            letters: letters.len(),
            dead: 0,
            closed: seen.closed.values().copied().collect(),
            twice: 0,
            reached: 0,
            posts: seen.posts.clone(),
            others_refused: seen.account.refused_to_others / seen.account.wanted_by_others.max(1.0),
            waits: Vec::new(),
            ends: Vec::new(),
            done: 0.0,
            over: world.time.seconds(),
            spell_end: seen.account.last_end(),
            burnt: counts.burnt,
            timeouts: counts.timeouts,
            invocations: counts.invocations,
            starts: counts.starts,
            rate_writes: world.rows.most_rate_writes(),
            answers: counts.answers,
            rate: f64::from(scenario.rate),
        };
        figures.take_stock(scenario, &seen, &letters);
        figures
    }

    /// Looks for each member of each audience.
    fn take_stock(&mut self, scenario: &Scenario, seen: &Seen, letters: &[Letter]) {
        let nothing = HashMap::new();
        for send in &scenario.sends {
            let (audience, members) = send.to.audience();
            let got = seen.deliveries.get(&send.label).unwrap_or(&nothing);
            let letters: Vec<_> = letters.iter().filter(|letter| letter.label == send.label).collect();
            let mut totals = Totals::default();
            for number in 0..members {
                let socket = rows::socket(audience, number);
                match got.get(&socket) {
                    Some(times) => {
                        totals.reached += 1;
                        totals.twice += times.len() - 1;
                        totals.last = times.iter().copied().fold(totals.last, f64::max);
                        self.waits.extend(times.first().map(|first| first - send.at));
                    }
                    None if letters.iter().any(|letter| letter.names(&socket)) => totals.dead += 1,
                    None if seen.closed.contains_key(&socket) => {}
                    None => totals.lost += 1,
                }
            }
            self.lost += totals.lost;
            self.dead += totals.dead;
            self.reached += totals.reached;
            self.twice += totals.twice;
            self.done = self.done.max(totals.last);
            self.ends.push(End { label: send.label.clone(), at: send.at, took: totals.last - send.at });
        }
        self.waits.sort_by(f64::total_cmp);
    }

    /// The share of messages that came twice.
    #[must_use]
    pub fn duplicates(&self) -> f64 {
        self.twice as f64 / self.reached.max(1) as f64
    }

    /// The wait that so great a share of all deliveries did not exceed, in seconds.
    #[must_use]
    pub fn wait(&self, share: f64) -> f64 {
        let last = self.waits.len().saturating_sub(1);
        self.waits.get((last as f64 * share).ceil() as usize).copied().unwrap_or(0.0)
    }

    /// The share of our posts that was answered 429, of those from one moment to another, in seconds.
    #[must_use]
    pub fn refused(&self, from: f64, to: f64) -> f64 {
        let posts = || self.posts.iter().filter(|post| (from..to).contains(&post.at));
        let refused = posts().filter(|post| post.status == 429).count();
        refused as f64 / posts().count().max(1) as f64
    }

    /// Posts, and those answered 429, by the second.
    #[must_use]
    pub fn by_second(&self) -> Vec<(usize, usize)> {
        let mut seconds = Vec::new();
        for post in &self.posts {
            let second = post.at as usize;
            if seconds.len() <= second {
                seconds.resize(second + 1, (0, 0));
            }
            seconds[second].0 += 1;
            seconds[second].1 += usize::from(post.status == 429);
        }
        seconds
    }

    /// The largest share of 429 in a second, of those from one moment to another.
    #[must_use]
    pub fn worst_second(&self, from: f64, to: f64) -> f64 {
        let seconds = self.by_second().into_iter().enumerate();
        let within = seconds.filter(|(second, _)| (from..to).contains(&(*second as f64)));
        within.map(|(_, (posts, refused))| refused as f64 / posts.max(1) as f64).fold(0.0, f64::max)
    }

    /// Of the seconds from one moment to another, the share of those of whose posts a greater share was answered 429.
    #[must_use]
    pub fn seconds_above(&self, from: f64, to: f64, share: f64) -> f64 {
        let seconds = self.by_second().into_iter().enumerate();
        let within = seconds.filter(|(second, _)| (from..to).contains(&(*second as f64)));
        let (above, all) = within.fold((0, 0), |(above, all), (_, (posts, refused))| {
            (above + usize::from(refused as f64 > share * posts as f64), all + 1)
        });
        above as f64 / f64::from(all.max(1))
    }

    /// Most posts in any second, wherever it begins.
    #[must_use]
    pub fn peak(&self) -> usize {
        most_within(&self.posts, 1.0, |_, count| count as f64) as usize
    }

    /// The most that posts were of their bound, in any time of 1, 2, 5, 10 or 30 s: `rate × (T + 0.6)`, and for each
    /// environment `rate / 800`, at least 2, and `T × rate / 10,000`.
    #[must_use]
    pub fn of_bound(&self) -> f64 {
        let shares = [1.0, 2.0, 5.0, 10.0, 30.0].map(|seconds: f64| {
            let allowance = (self.rate / 800.0).round().max(2.0) + seconds * self.rate / 10_000.0;
            most_within(&self.posts, seconds, |end, count| {
                let environments = self.starts.partition_point(|start| *start <= end);
                count as f64 / (self.rate * (seconds + 0.6) + environments as f64 * allowance)
            })
        });
        shares.into_iter().fold(0.0, f64::max)
    }

    /// The longest time without a post from one moment to another, in seconds.
    #[must_use]
    pub fn silence(&self, from: f64, to: f64) -> f64 {
        let within = self.posts.iter().map(|post| post.at).filter(|at| (from..to).contains(at));
        let mut moments: Vec<_> = within.collect();
        moments.push(to.max(from));
        let mut last = from;
        moments.into_iter().map(|at| at - std::mem::replace(&mut last, at)).fold(0.0, f64::max)
    }

    /// Events of a list, a second, from one moment to another.
    #[must_use]
    pub fn rate(moments: impl IntoIterator<Item = f64>, from: f64, to: f64) -> f64 {
        moments.into_iter().filter(|at| (from..to).contains(at)).count() as f64 / (to - from).max(1.0)
    }

    /// Seconds from the first notification until nothing was left to do, at least one.
    #[must_use]
    pub fn length(&self) -> f64 {
        let first = self.ends.iter().map(|end| end.at).fold(f64::MAX, f64::min);
        (self.over - first).max(1.0)
    }
}

/// The most that `value` says of the posts within `seconds`, of the end of that time and their number.
fn most_within(posts: &[Post], seconds: f64, value: impl Fn(f64, usize) -> f64) -> f64 {
    let mut first = 0;
    let values = posts.iter().enumerate().map(|(last, post)| {
        while posts[first].at <= post.at - seconds {
            first += 1;
        }
        value(post.at, last + 1 - first)
    });
    values.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_posts_in_a_second_are_found_wherever_it_begins() {
        let posts: Vec<_> = [0.0, 0.9, 1.0, 1.5, 1.8, 1.95].map(|at| Post { at, status: 200 }).into();
        assert_eq!(most_within(&posts, 1.0, |_, count| count as f64), 4.0);
    }
}
