//! How many posts may start in a second.
//!
//! All workers share one pace. A worker takes turns of it: so many posts, one after the other, from a moment on that a row
//! of the table gives it. A worker that is alone gets one turn after the other, and so the whole pace. If all are at work,
//! they wait for each other, and make the posts of their turns at their share meanwhile, so that nobody stands still. What
//! is left of a turn is kept, so that few small audiences need a turn of their own.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// How long a turn lasts at a worker's share. All workers' turns together are a little less than API Gateway's bucket
/// holds, which is half a second of its rate (10,000 requests a second, 5,000 at once): turns that were kept may all be
/// used at once.
const TURN: Duration = Duration::from_millis(490);

/// Of late posts at the share, this much is made up for: clocks of tasks tick in milliseconds.
const LATE: Duration = Duration::from_millis(10);

/// Posts that may start.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Turn {
    /// When the next one may; `None` where other workers do not know of the turn, and it is at the share only.
    due: Option<Instant>,
    has_begun: bool,
    left: u32,
}

/// The turns that a worker has.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two posts at the whole pace.
    interval: Duration,
    /// Between two posts at the worker's share.
    share: Duration,
    /// When the next post may start at the share.
    due_at_share: Instant,
    /// Posts of a turn.
    size: u32,
    /// Never empty: the last one may be used up.
    turns: VecDeque<Turn>,
}

impl Pace {
    /// A worker begins with a turn that it need not ask for, so that the first small audience does not wait.
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        let interval = Duration::from_secs_f64(1.0 / limits.pushes_per_second);
        let share = interval * limits.workers;
        let size = u32::try_from(TURN.as_nanos() / share.as_nanos().max(1)).unwrap_or(u32::MAX).max(1);
        let first = Turn { due: now.checked_sub(TURN), has_begun: false, left: size };
        Self { interval, share, due_at_share: now, size, turns: VecDeque::from([first]) }
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
        while self.turns.len() > 1 && self.turns[0].left == 0 {
            self.turns.pop_front();
        }
        let turn = &mut self.turns[0];
        if turn.left == 0 {
            return Err(None);
        }
        match turn.due {
            Some(due) if due <= now => {
                *turn = Turn { due: Some(due + self.interval), has_begun: true, left: turn.left };
                self.due_at_share = now + self.share;
            }
            Some(due) if turn.has_begun => return Err(Some(due)),
            _ if self.due_at_share <= now => {
                let late = now.checked_sub(LATE).unwrap_or(now);
                self.due_at_share = self.due_at_share.max(late) + self.share;
            }
            due => return Err(Some(due.map_or(self.due_at_share, |due| due.min(self.due_at_share)))),
        }
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

    /// How long to wait for a turn: as long as one lasts at the share.
    pub(super) fn patience(&self) -> Duration {
        self.share * self.size
    }

    /// Adds the next turn: it begins at a moment, or other workers do not know of it and it is at the share only.
    pub(super) fn add(&mut self, begin: Option<Instant>) {
        self.turns.push_back(Turn { due: begin, has_begun: false, left: self.size });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(pushes_per_second: f64, workers: u32) -> (Pace, Instant) {
        // A moment that has enough before it, also on a machine that has just started.
        let now = Instant::now() + Duration::from_secs(3_600);
        (Pace::new(&Limits { pushes_per_second, workers, max_in_flight: 256 }, now), now)
    }

    /// Starts as many posts as it can in so many seconds, looking every tenth of a millisecond.
    fn starts(pace: &mut Pace, from: Instant, seconds: f64) -> usize {
        let steps = (seconds * 10_000.0) as u32;
        let at_once = |now| (0..).take_while(|_| pace.start(now).is_ok()).count();
        (0..steps).map(|step| from + step * Duration::from_micros(100)).map(at_once).sum()
    }

    #[test]
    fn the_first_turn_is_free_and_may_be_used_at_once() {
        let (mut pace, now) = pace(8_000.0, 20);
        assert_eq!((0..1_000).take_while(|_| pace.start(now).is_ok()).count(), 196);
        assert_eq!(pace.start(now), Err(None));
    }

    #[test]
    fn from_its_beginning_a_turn_is_at_the_whole_pace_and_before_at_the_share() {
        let (mut pace, now) = pace(8_000.0, 20);
        starts(&mut pace, now, 0.001);
        let begin = now + Duration::from_millis(10);
        pace.add(Some(begin));
        assert_eq!(pace.start(now), Err(Some(now + Duration::from_micros(2_500))));
        assert_eq!(starts(&mut pace, now, 0.01), 3);
        assert!((80..=82).contains(&starts(&mut pace, begin, 0.01)));
        // What is left is kept, and may be used at once.
        assert!((111..=113).contains(&starts(&mut pace, begin + Duration::from_secs(60), 0.001)));
    }

    #[test]
    fn turns_that_others_do_not_know_of_are_at_the_share_one_after_the_other() {
        let (mut pace, now) = pace(8_000.0, 20);
        starts(&mut pace, now, 0.001);
        let mut count = 0;
        for second in 0..10 {
            let begin = now + Duration::from_secs(second);
            for tenth in 0..10 {
                let begin = begin + Duration::from_millis(100) * tenth;
                while pace.wants(1_000) {
                    pace.add(None);
                }
                count += starts(&mut pace, begin, 0.1);
            }
        }
        assert!((3_990..=4_010).contains(&count), "{count}");
    }

    #[test]
    fn a_turn_is_wanted_where_posts_need_it_and_none_is_in_stock() {
        let (mut pace, now) = pace(8_000.0, 20);
        assert!(!pace.wants(196) && !pace.wants(5));
        pace.start(now).unwrap();
        assert!(pace.wants(196) && !pace.wants(195));
        pace.add(Some(now));
        assert!(!pace.wants(1_000));
    }

    #[test]
    fn of_what_is_left_one_turn_is_kept() {
        let (mut pace, now) = pace(8_000.0, 20);
        pace.start(now).unwrap();
        pace.add(Some(now));
        pace.trim();
        assert_eq!(starts(&mut pace, now + Duration::from_secs(60), 0.001), 196);
    }

    #[test]
    fn a_pace_below_one_post_in_a_turn_still_has_turns() {
        let (mut pace, now) = pace(1.0, 20);
        assert_eq!(pace.start(now), Ok(()));
        assert_eq!((pace.turn(), pace.patience()), (Duration::from_secs(1), Duration::from_secs(20)));
    }
}
