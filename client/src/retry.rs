//! When to try again, and when not.

use std::time::Duration;

use crate::error::Reason;

/// A connection that lived this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(10);

/// With a new token each time, so many refusals in a row are the last word.
const MOST_REFUSALS: u32 = 5;

/// A token as it was shown, if one was.
pub(crate) type Shown = Option<String>;

/// The bounds of pauses between attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    /// The upper bound of the first pause. It doubles with each attempt.
    pub(crate) first: Duration,
    /// The upper bound of all.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// The pause after so many attempts in a row, with full jitter: anything from nothing to the bound, for a `random` in 0..1.
    /// So clients that were cut off together do not come back together.
    fn pause(self, attempts: u32, random: f64) -> Duration {
        let bound = self.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1)));
        bound.min(self.longest).mul_f64(random)
    }
}

/// The attempts since the last good connection.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    vain: u32,
    refused: u32,
    refused_token: Option<Shown>,
}

impl Attempts {
    /// A connection that was made is over, after this time.
    pub(crate) fn lost(&mut self, lived: Duration, backoff: Backoff, random: f64) -> Duration {
        if lived >= GOOD {
            *self = Self::default();
        }
        self.vain += 1;
        (self.refused, self.refused_token) = (0, None);
        backoff.pause(self.vain, random)
    }

    /// A connection could not be made: how long to wait, or `None` where trying again cannot help. A token that is `fixed`
    /// will be the same the next time.
    pub(crate) fn failed(
        &mut self,
        reason: &Reason,
        shown: Shown,
        fixed: bool,
        backoff: Backoff,
        random: f64,
    ) -> Option<Duration> {
        if reason.is_forbidden() {
            let same = self.refused_token.as_ref() == Some(&shown);
            self.refused += 1;
            self.refused_token = Some(shown);
            if fixed || same || self.refused >= MOST_REFUSALS {
                return None;
            }
        }
        if reason.is_final() {
            return None;
        }
        self.vain += 1;
        Some(backoff.pause(self.vain, random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(30) };

    #[test]
    fn pauses_grow_to_a_bound_and_are_spread_over_all_of_it() {
        assert_eq!(BACKOFF.pause(1, 1.0), Duration::from_millis(500));
        assert_eq!(BACKOFF.pause(3, 1.0), Duration::from_secs(2));
        assert_eq!(BACKOFF.pause(3, 0.25), Duration::from_millis(500));
        assert_eq!(BACKOFF.pause(3, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.pause(u32::MAX, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn after_a_good_connection_the_pauses_are_short_again() {
        let mut attempts = Attempts::default();
        let mut failed = || attempts.failed(&Reason::Status(502), None, true, BACKOFF, 1.0).unwrap();
        assert_eq!([failed(), failed(), failed()].map(|pause| pause.as_millis()), [500, 1_000, 2_000]);
        assert_eq!(attempts.lost(Duration::from_secs(1), BACKOFF, 1.0).as_millis(), 4_000, "it was cut at once");
        assert_eq!(attempts.lost(Duration::from_secs(60), BACKOFF, 1.0).as_millis(), 500);
    }

    #[test]
    fn a_refused_token_is_shown_again_only_if_it_is_another_one() {
        let refused = |attempts: &mut Attempts, token: &str, fixed| {
            attempts.failed(&Reason::Status(403), Some(token.to_owned()), fixed, BACKOFF, 1.0).is_none()
        };
        assert!(refused(&mut Attempts::default(), "a", true), "it stays the same");
        let mut attempts = Attempts::default();
        assert!(!refused(&mut attempts, "a", false), "the next one may be good");
        assert!(refused(&mut attempts, "a", false), "it is not");
        let mut attempts = Attempts::default();
        let last = ["a", "b", "c", "d", "e"].map(|token| refused(&mut attempts, token, false));
        assert_eq!(last, [false, false, false, false, true], "nor is any");
        let mut attempts = Attempts::default();
        assert_eq!(attempts.failed(&Reason::Status(400), None, false, BACKOFF, 1.0), None);
    }
}
