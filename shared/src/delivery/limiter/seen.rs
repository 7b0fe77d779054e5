//! What one environment sees of the quota in the answers to its posts.
//!
//! A client that does not read is answered 429 as well, and again and again. So only first attempts tell of an overload,
//! unless of the last of them none got through, nor anything since.

use std::collections::VecDeque;

use crate::registry::LearntRate;

/// More than this share of first attempts throttled is an overload, beyond doubt: by three standard deviations of what so
/// many attempts with this share would show. So it takes 15 % of twenty, and 3.3 % of a thousand.
const OVERLOAD: f64 = 0.02;
const DEVIATIONS: f64 = 3.0;
/// Of so many attempts at least.
const ENOUGH: u32 = 20;
/// After so many it begins to count anew.
const WINDOW: u32 = 1_000;
/// The first attempts, and successes, that say whether anything gets through.
const RECENT: usize = 20;

/// What a post was answered.
#[derive(Debug, Clone, Copy)]
pub(in crate::delivery) struct Answered {
    /// The epoch of the rate that it was reserved in; without one, the present one.
    pub(in crate::delivery) epoch: Option<i64>,
    /// Whether the quota let it through.
    pub(in crate::delivery) passed: bool,
    /// Whether it reached its client.
    pub(in crate::delivery) reached: bool,
    /// Whether it was its member's first.
    pub(in crate::delivery) is_first: bool,
    /// Whether it tells of the quota: not where its member was throttled before, for that may be the client.
    pub(in crate::delivery) counts: bool,
}

/// What is worth telling the row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Lesson {
    /// This share was throttled.
    Throttled(f64),
    /// In an overload, so many went through one after the other that the rate may rise.
    Clean,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The epoch that is counted.
    epoch: i64,
    attempts: u32,
    throttled: u32,
    /// The last epoch that the row was told of.
    told: Option<i64>,
    recent: VecDeque<bool>,
    streak: u32,
    ok_at: i64,
}

impl Seen {
    /// When a post was last taken, in microseconds since the epoch; 0 for never.
    pub(super) fn ok_at(&self) -> i64 {
        self.ok_at
    }

    /// The row was not told after all.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }

    /// Takes in an answer. `now` is in microseconds since the epoch.
    pub(super) fn answer(
        &mut self,
        answer: Answered,
        learnt: &LearntRate,
        configured: f64,
        now: i64,
    ) -> Option<Lesson> {
        let Answered { epoch, passed, reached, is_first, counts } = answer;
        if is_first || passed {
            self.recent.push_back(passed);
        }
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        self.streak = if passed { self.streak + 1 } else { 0 };
        if reached {
            self.ok_at = now;
        }
        let epoch = epoch.unwrap_or(learnt.epoch);
        if !counts || epoch < learnt.epoch || self.told.is_some_and(|told| epoch <= told) {
            return None;
        }
        if epoch != self.epoch {
            (self.epoch, self.attempts, self.throttled) = (epoch, 0, 0);
        }
        if is_first || passed || self.nothing_passes() {
            if !passed && self.throttled == 0 {
                // What went through before says nothing of how much does now.
                self.attempts = 0;
            }
            self.attempts += 1;
            self.throttled += u32::from(!passed);
        }
        let lesson = self.lesson(learnt, configured);
        if lesson.is_some() {
            (self.told, self.streak) = (Some(epoch), 0);
        }
        lesson
    }

    fn nothing_passes(&self) -> bool {
        self.recent.len() >= RECENT && !self.recent.contains(&true)
    }

    fn lesson(&mut self, learnt: &LearntRate, configured: f64) -> Option<Lesson> {
        // Counting began with a throttled one, which says nothing of how often that happens.
        let (attempts, throttled) = (f64::from(self.attempts) - 1.0, f64::from(self.throttled) - 1.0);
        let expected = OVERLOAD * attempts;
        let is_overload = self.attempts >= ENOUGH && throttled > expected + DEVIATIONS * expected.sqrt();
        if is_overload && !learnt.is_at_floor(configured) {
            return Some(Lesson::Throttled(throttled / attempts));
        }
        if learnt.blocked_since.is_some() && self.streak >= learnt.clean_streak(configured) {
            return Some(Lesson::Clean);
        }
        if self.attempts >= WINDOW {
            (self.attempts, self.throttled) = (0, 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: f64 = 8_000.0;

    fn answered(epoch: i64, passed: bool, is_first: bool) -> Answered {
        Answered { epoch: Some(epoch), passed, reached: passed, is_first, counts: true }
    }

    fn answers(seen: &mut Seen, learnt: &LearntRate, answers: &[(bool, bool)]) -> Vec<Lesson> {
        let taught = answers
            .iter()
            .map(|(passed, first)| answered(learnt.epoch, *passed, *first))
            .filter_map(|answer| seen.answer(answer, learnt, CONFIGURED, 7));
        taught.collect()
    }

    #[test]
    fn an_overload_is_told_once_for_each_epoch() {
        let (mut seen, mut learnt) = (Seen::default(), LearntRate::new(CONFIGURED));
        let half: Vec<_> = (0..100).map(|number| (number % 2 == 0, true)).collect();
        assert_eq!(answers(&mut seen, &learnt, &half), [Lesson::Throttled(9.0 / 19.0)]);
        learnt.epoch += 1;
        assert_eq!(answers(&mut seen, &learnt, &half).len(), 1);
    }

    #[test]
    fn a_few_clients_that_do_not_read_are_no_overload() {
        let (mut seen, learnt) = (Seen::default(), LearntRate::new(CONFIGURED));
        // One in fifty, and now and then two in a row.
        let some: Vec<_> = (0..10_000).map(|number| (number % 50 != 0 && number % 777 != 1, true)).collect();
        assert_eq!(answers(&mut seen, &learnt, &some), []);
    }

    #[test]
    fn an_overload_is_told_by_what_is_throttled_since_it_began_and_not_by_what_went_through_before() {
        let (mut seen, learnt) = (Seen::default(), LearntRate::new(CONFIGURED));
        assert_eq!(answers(&mut seen, &learnt, &[(true, true); 300]), []);
        let half: Vec<_> = (0..100).map(|number| (number % 2 == 1, true)).collect();
        assert_eq!(answers(&mut seen, &learnt, &half), [Lesson::Throttled(9.0 / 19.0)]);
    }

    #[test]
    fn a_client_that_does_not_read_is_no_overload_however_often_it_is_tried() {
        let (mut seen, learnt) = (Seen::default(), LearntRate::new(CONFIGURED));
        let mix: Vec<_> = (0..1_000).map(|number| (number % 4 == 0, number % 4 == 0)).collect();
        assert_eq!(answers(&mut seen, &learnt, &mix), []);
    }

    #[test]
    fn after_first_attempts_that_all_failed_others_tell_as_well_and_by_themselves_they_do_not() {
        let (mut seen, mut learnt) = (Seen::default(), LearntRate::new(CONFIGURED));
        assert_eq!(answers(&mut seen, &learnt, &[(false, false); 100]), []);
        assert_eq!(answers(&mut seen, &learnt, &[(false, true); 20]), [Lesson::Throttled(1.0)]);
        learnt.epoch += 1;
        assert_eq!(answers(&mut seen, &learnt, &[(false, false); 20]), [Lesson::Throttled(1.0)]);
        // Where one gets through it is the clients again.
        learnt.epoch += 1;
        assert_eq!(answers(&mut seen, &learnt, &[(true, false)]), []);
        assert_eq!(answers(&mut seen, &learnt, &[(false, false); 100]), []);
    }

    #[test]
    fn in_an_overload_a_clean_streak_is_told_and_at_the_floor_the_first_success() {
        let mut learnt = LearntRate::new(CONFIGURED);
        for _ in 0..4 {
            learnt = learnt.cut(CONFIGURED, 1.0, 1);
        }
        let mut seen = Seen::default();
        assert_eq!(answers(&mut seen, &learnt, &[(false, true), (true, true)]), [Lesson::Clean]);
        assert_eq!(seen.ok_at(), 7);
        learnt = learnt.recover(2);
        assert_eq!(answers(&mut seen, &learnt, &[(true, true); 15]), []);
        assert_eq!(answers(&mut seen, &learnt, &[(true, true)]), [Lesson::Clean]);
    }

    #[test]
    fn answers_to_posts_of_an_earlier_epoch_say_nothing_any_more() {
        let (mut seen, learnt) = (Seen::default(), LearntRate::new(CONFIGURED).recover(1));
        let late = answered(0, false, true);
        let lessons = (0..50).filter_map(|_| seen.answer(late, &learnt, CONFIGURED, 7));
        assert_eq!(lessons.count(), 0);
    }
}
