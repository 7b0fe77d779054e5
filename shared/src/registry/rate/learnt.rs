//! What all workers have learnt of the quota together: how many posts a second go through.
//!
//! The rate falls by the share of posts that were throttled and grows back as the square of time, so that it is careful
//! just after an overload and whole again after half a minute. At a hundredth of the configured rate nothing seems to go
//! through: the stack is *blocked*, and a few posts at a time probe until one succeeds. Pure: `super` writes it down.

/// The rate grows from nothing to the whole in this time, in microseconds.
const GROWTH_US: f64 = 30_000_000.0;
/// Of the configured rate: at this, nothing seems to go through.
const FLOOR: f64 = 0.01;
/// The rate falls to this much at once at most.
const DEEPEST_CUT: f64 = 0.25;
/// A cut goes a little below what went through, so that the account's bucket fills again.
const BELOW: f64 = 0.94;
/// What others may have of a quota that is too short is taken away from us up to this part of the rate.
const DEEPEST_BELIEVED: f64 = 0.5;
/// While less than this share is throttled, cuts that follow each other end at the deepest of one: then they do not help,
/// as with many clients that do not read.
const MILD: f64 = 0.25;
/// The account's quota is so many times the configured rate, as it is by default.
const QUOTA: f64 = 1.25;
/// An overload that begins so long after the last cut is another one, in microseconds.
const ANOTHER_US: i64 = 5_000_000;
/// The first probe comes this long after everything was blocked, in microseconds.
const FIRST_PROBE_US: i64 = 250_000;
/// Probes come after an eighth of the overload's age, but not later than this, in microseconds.
const RAREST_PROBE_US: i64 = 10_000_000;

/// The rate, as the workers have left it. Times are in microseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearntRate {
    /// Changes with each cut and each step back: what was seen of posts of an earlier epoch says nothing any more.
    pub epoch: i64,
    /// Posts a second just after the last change.
    pub(super) base: f64,
    /// When that was.
    pub(super) changed_at: i64,
    /// The rate before the overload.
    pub(super) good: f64,
    /// Since when nothing goes through, until the rate before the overload is reached again.
    pub blocked_since: Option<i64>,
    /// When the next probe may be made.
    pub(super) probe_at: i64,
    /// When anybody's post was last taken, as far as anybody said.
    pub ok_at: i64,
}

impl LearntRate {
    /// What is taken for granted before anybody has learnt anything.
    #[must_use]
    pub fn new(configured: f64) -> Self {
        Self { epoch: 0, base: configured, changed_at: 0, good: configured, blocked_since: None, probe_at: 0, ok_at: 0 }
    }

    /// Posts a second at `now`.
    #[must_use]
    pub fn rate(&self, configured: f64, now: i64) -> f64 {
        let grown = match self.blocked_since {
            Some(_) => 0.0,
            None => configured * ((now - self.changed_at) as f64 / GROWTH_US).powi(2),
        };
        (self.base + grown).clamp(configured * FLOOR, configured)
    }

    /// Whether nothing goes through, so that only probes may be posted.
    #[must_use]
    pub fn is_at_floor(&self, configured: f64) -> bool {
        self.blocked_since.is_some() && self.base <= configured * FLOOR
    }

    /// Posts that must all have succeeded before the rate takes a step back up.
    #[must_use]
    pub fn clean_streak(&self, configured: f64) -> u32 {
        if self.is_at_floor(configured) { 1 } else { (self.base * 0.05).clamp(3.0, 20.0) as u32 }
    }

    /// When the next probe is due after one at `now`.
    #[must_use]
    pub(super) fn next_probe(&self, now: i64) -> i64 {
        let age = now - self.blocked_since.unwrap_or(now);
        now + (age / 8).clamp(FIRST_PROBE_US, RAREST_PROBE_US)
    }

    /// The rate after somebody saw this share of posts throttled.
    #[must_use]
    pub fn cut(&self, configured: f64, share: f64, now: i64) -> Self {
        let (rate, floor) = (self.rate(configured, now), configured * FLOOR);
        let is_another = self.blocked_since.is_none() && now - self.changed_at > ANOTHER_US;
        let good = if is_another { rate } else { self.good };
        let least = if share < MILD { (good * DEEPEST_CUT).max(floor) } else { floor };
        let base = (what_goes_through(rate, configured, share, is_another) * BELOW).max(least).min(rate);
        let blocked_since = (base <= floor).then(|| self.blocked_since.unwrap_or(now));
        let probe_at = if self.blocked_since.is_some() { self.probe_at } else { now + FIRST_PROBE_US };
        Self { epoch: self.epoch + 1, base, changed_at: now, good, blocked_since, probe_at, ..*self }
    }

    /// The rate after a clean streak: where everything was blocked, a step back up.
    #[must_use]
    pub fn recover(&self, now: i64) -> Self {
        let step = if self.base * 8.0 <= self.good { 4.0 } else { 1.5 };
        let base = (self.base * step).min(self.good);
        let blocked_since = self.blocked_since.filter(|_| base < self.good);
        Self { epoch: self.epoch + 1, base, changed_at: now, blocked_since, ..*self }
    }
}

/// Posts a second that are left to us where `share` of `rate` is throttled.
///
/// If only we posted, all that was not throttled would be. But others are throttled as well, and the whole of what is too
/// much has to be ours: `quota / (1 - share)` requests come in, and `quota` are taken. Clients that do not read would
/// look the same, so that this is believed once for each overload, and for half the rate.
fn what_goes_through(rate: f64, configured: f64, share: f64, is_first_cut: bool) -> f64 {
    let deepest = (rate * (1.0 - share)).max(rate * DEEPEST_CUT);
    let too_much = QUOTA * configured * share / (1.0 - share);
    if is_first_cut { deepest.min((rate - too_much).max(rate * DEEPEST_BELIEVED)) } else { deepest }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: f64 = 8_000.0;
    const SECOND: i64 = 1_000_000;

    #[test]
    fn it_falls_by_what_was_throttled_and_grows_back_as_the_square_of_time() {
        let cut = LearntRate::new(CONFIGURED).cut(CONFIGURED, 0.5, 100 * SECOND);
        assert_eq!(cut.rate(CONFIGURED, 100 * SECOND), 8_000.0 * 0.5 * 0.94);
        assert_eq!(cut.rate(CONFIGURED, 115 * SECOND), 3_760.0 + 2_000.0);
        assert_eq!(cut.rate(CONFIGURED, 130 * SECOND), CONFIGURED);
    }

    #[test]
    fn beside_others_the_whole_of_what_is_too_much_is_taken_away_from_us() {
        // Others send 9,000 a second of 10,000, and we 2,000.
        let before = LearntRate { base: 2_000.0, changed_at: 100 * SECOND, ..LearntRate::new(CONFIGURED) };
        let cut = before.cut(CONFIGURED, 1_000.0 / 11_000.0, 106 * SECOND);
        let grown = before.rate(CONFIGURED, 106 * SECOND);
        assert_eq!(cut.base.round(), ((grown - 1_000.0) * 0.94).round());
        // It is not believed twice.
        let again = cut.cut(CONFIGURED, 0.1, 106 * SECOND);
        assert_eq!(again.base.round(), (cut.base * 0.9 * 0.94).round());
    }

    #[test]
    fn many_clients_that_do_not_read_do_not_take_it_down_to_nothing() {
        let mut learnt = LearntRate::new(CONFIGURED);
        for step in 0..100 {
            learnt = learnt.cut(CONFIGURED, 0.1, 100 * SECOND + step);
        }
        assert_eq!((learnt.base, learnt.blocked_since), (2_000.0, None));
    }

    #[test]
    fn a_cut_never_raises_the_rate() {
        let deep = LearntRate::new(CONFIGURED).cut(CONFIGURED, 1.0, 100 * SECOND).cut(CONFIGURED, 1.0, 100 * SECOND);
        assert!(deep.base < CONFIGURED / 4.0);
        assert_eq!(deep.cut(CONFIGURED, 0.1, 100 * SECOND).base, deep.base);
    }

    #[test]
    fn where_everything_is_throttled_it_is_blocked_after_a_few_cuts_and_probes_ever_less_often() {
        let mut learnt = LearntRate::new(CONFIGURED);
        for step in 0..4 {
            learnt = learnt.cut(CONFIGURED, 1.0, 100 * SECOND + step);
        }
        assert!(learnt.is_at_floor(CONFIGURED) && learnt.rate(CONFIGURED, 900 * SECOND) == 80.0, "{learnt:?}");
        assert_eq!(learnt.next_probe(101 * SECOND) - 101 * SECOND, SECOND / 4);
        assert!((learnt.next_probe(140 * SECOND) - 145 * SECOND).abs() < SECOND / 100);
        assert_eq!(learnt.next_probe(900 * SECOND) - 900 * SECOND, 10 * SECOND);
    }

    #[test]
    fn the_first_success_takes_it_up_fourfold_and_clean_streaks_to_where_it_was() {
        let mut learnt = LearntRate::new(CONFIGURED);
        for step in 0..4 {
            learnt = learnt.cut(CONFIGURED, 1.0, 100 * SECOND + step);
        }
        let mut bases = Vec::new();
        while learnt.blocked_since.is_some() {
            learnt = learnt.recover(110 * SECOND);
            bases.push(learnt.base.round());
        }
        assert_eq!(bases, [320.0, 1_280.0, 1_920.0, 2_880.0, 4_320.0, 6_480.0, 8_000.0]);
        assert_eq!(learnt.good, CONFIGURED);
    }

    #[test]
    fn a_lower_configured_rate_holds_at_once_and_a_higher_one_within_half_a_minute() {
        let learnt = LearntRate { changed_at: 100 * SECOND, ..LearntRate::new(2_000.0) };
        assert_eq!(learnt.rate(500.0, 100 * SECOND), 500.0);
        assert_eq!(learnt.rate(8_000.0, 130 * SECOND), 8_000.0);
    }
}
