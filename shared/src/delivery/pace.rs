//! How many posts may start in a second.
//!
//! All workers share one pace. A worker takes turns of it: so many posts, one after the other, from a moment on that a row
//! of the table gives it. A worker that is alone gets one turn after the other, and so the whole pace; if all are at work,
//! each gets its share. What is left of a turn is kept, so that few small audiences need a turn of their own.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// How long a turn lasts where all workers are at work. Together their turns are a little less than API Gateway's bucket
/// holds, which is half a second of its rate (10,000 requests a second, 5,000 at once): turns that were kept may all be
/// used at once.
const TURN: Duration = Duration::from_millis(490);

/// Posts that may start one after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Turn {
    /// When the next one may; `None` for all of them at once.
    due: Option<Instant>,
    interval: Duration,
    left: u32,
}

/// The turns that a worker has.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two posts of a turn that all workers know of.
    interval: Duration,
    /// Between two posts where each worker keeps to its share.
    share: Duration,
    /// Posts of a turn.
    size: u32,
    turns: VecDeque<Turn>,
}

impl Pace {
    /// A worker begins with a turn that it need not ask for, so that the first small audience does not wait.
    pub(super) fn new(limits: &Limits) -> Self {
        let interval = Duration::from_secs_f64(1.0 / limits.pushes_per_second);
        let share = interval * limits.workers;
        let size = u32::try_from(TURN.as_nanos() / share.as_nanos().max(1)).unwrap_or(u32::MAX).max(1);
        Self { interval, share, size, turns: VecDeque::from([Turn { due: None, interval, left: size }]) }
    }

    /// Of what was left before, no more than one turn is kept.
    pub(super) fn trim(&mut self) {
        while self.turns.len() > 1 && self.left() > self.size as usize {
            self.turns.pop_front();
        }
    }

    fn left(&self) -> usize {
        self.turns.iter().map(|turn| turn.left as usize).sum()
    }

    /// Takes the right to start a post now; else says when it is worth asking again: `None` for after the next turn.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), Option<Instant>> {
        while self.turns.front().is_some_and(|turn| turn.left == 0) && self.turns.len() > 1 {
            self.turns.pop_front();
        }
        let Some(turn) = self.turns.front_mut().filter(|turn| turn.left > 0) else { return Err(None) };
        let due = turn.due.or_else(|| now.checked_sub(TURN)).unwrap_or(now);
        if due > now {
            return Err(Some(due));
        }
        turn.due = Some(due + turn.interval);
        turn.left -= 1;
        Ok(())
    }

    /// Whether so many posts need another turn, and one more is not in stock already.
    pub(super) fn wants(&self, posts: usize) -> bool {
        self.left() < posts.min(self.size as usize)
    }

    /// How much of the pace a turn takes.
    pub(super) fn turn(&self) -> Duration {
        self.interval * self.size
    }

    /// How long to wait for a turn: as long as the last one lasts where all workers are at work.
    pub(super) fn patience(&self) -> Duration {
        self.share * self.size
    }

    /// A turn that all workers know of.
    pub(super) fn add(&mut self, begin: Instant) {
        self.turns.push_back(Turn { due: Some(begin), interval: self.interval, left: self.size });
    }

    /// A turn that nobody else knows of: where there is none for a while, or nobody to ask, the worker keeps to its share.
    pub(super) fn add_share(&mut self, now: Instant) {
        let end = self.turns.back().and_then(|turn| Some(turn.due? + turn.interval * turn.left));
        let begin = end.map_or(now, |end| end.max(now));
        self.turns.push_back(Turn { due: Some(begin), interval: self.share, left: self.size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(pushes_per_second: f64, workers: u32) -> Pace {
        Pace::new(&Limits { pushes_per_second, workers, max_in_flight: 256 })
    }

    /// Starts as many posts as it can between two moments, looking every tenth of a millisecond.
    fn starts(pace: &mut Pace, from: Instant, seconds: f64) -> usize {
        let steps = (seconds * 10_000.0) as u32;
        (0..steps)
            .map(|step| (0..).take_while(|_| pace.start(from + step * Duration::from_micros(100)).is_ok()).count())
            .sum()
    }

    #[test]
    fn the_first_turn_is_free_and_may_be_used_at_once() {
        let (mut pace, now) = (pace(8_000.0, 20), Instant::now());
        assert_eq!((0..1_000).take_while(|_| pace.start(now).is_ok()).count(), 196);
        assert_eq!(pace.start(now), Err(None));
    }

    #[test]
    fn a_turn_begins_when_it_is_due_and_goes_on_at_the_whole_pace() {
        let (mut pace, now) = (pace(8_000.0, 20), Instant::now());
        starts(&mut pace, now, 0.001);
        let begin = now + Duration::from_millis(10);
        pace.add(begin);
        assert_eq!(pace.start(now), Err(Some(begin)));
        assert!((80..=82).contains(&starts(&mut pace, begin, 0.01)));
        // What is left is kept.
        assert!((114..=116).contains(&starts(&mut pace, begin + Duration::from_secs(60), 0.001)));
    }

    #[test]
    fn a_share_follows_what_is_left_and_is_no_faster_than_all_workers_allow() {
        let (mut pace, now) = (pace(8_000.0, 20), Instant::now());
        starts(&mut pace, now, 0.001);
        let begin = now + Duration::from_millis(25);
        let mut count = 0;
        for second in 0..10 {
            while pace.wants(1_000) {
                pace.add_share(begin + second * Duration::from_secs(1));
            }
            count += starts(&mut pace, begin + second * Duration::from_secs(1), 1.0);
        }
        assert!(count <= 4_000, "{count}");
    }

    #[test]
    fn a_turn_is_wanted_where_posts_need_it_and_none_is_in_stock() {
        let (mut pace, now) = (pace(8_000.0, 20), Instant::now());
        assert!(!pace.wants(196) && !pace.wants(5));
        pace.start(now).unwrap();
        assert!(pace.wants(196) && !pace.wants(195));
        pace.add(now);
        assert!(!pace.wants(1_000));
    }

    #[test]
    fn of_what_is_left_one_turn_is_kept() {
        let (mut pace, now) = (pace(8_000.0, 20), Instant::now());
        pace.start(now).unwrap();
        pace.add(now);
        pace.trim();
        assert_eq!(starts(&mut pace, now + Duration::from_secs(60), 0.001), 196);
    }

    #[test]
    fn a_pace_below_one_post_in_a_turn_still_has_turns() {
        let mut pace = pace(1.0, 20);
        assert_eq!(pace.start(Instant::now()), Ok(()));
        assert_eq!(pace.turn(), Duration::from_secs(1));
    }
}
