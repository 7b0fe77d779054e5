//! How many posts may start in a second.

use std::time::Duration;

use tokio::time::Instant;

/// What may start at once after a pause, in time at the steady pace: a little less than API Gateway's bucket holds, which is
/// half a second of its rate (10,000 requests a second, 5,000 at once). So a small audience need not wait for a pace that
/// is meant for large ones.
const BURST: Duration = Duration::from_millis(490);

/// A steady pace: a start is due one interval after the last one, and at most [`BURST`] may be made up for, also by the
/// first ones.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    due: Option<Instant>,
}

impl Pace {
    pub(super) fn new(per_second: f64) -> Self {
        Self { interval: Duration::from_secs_f64(1.0 / per_second), due: None }
    }

    /// Takes the right to start now; else says when it is worth asking again.
    pub(super) fn start(&mut self, now: Instant) -> Result<(), Instant> {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let due = self.due.map_or(earliest, |due| due.max(earliest));
        if due > now {
            return Err(due);
        }
        self.due = Some(due + self.interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_starts_in_a_second_than_were_agreed_and_a_short_burst() {
        let begin = Instant::now();
        let mut pace = Pace::new(1_000.0);
        let mut starts = 0;
        for tenth in 0..10_000 {
            let now = begin + Duration::from_micros(100) * tenth;
            while pace.start(now).is_ok() {
                starts += 1;
            }
        }
        assert!((1_490..=1_491).contains(&starts), "{starts}");
    }

    #[test]
    fn of_a_long_pause_no_more_than_half_a_second_is_made_up_for() {
        let begin = Instant::now();
        let mut pace = Pace::new(100.0);
        assert_eq!(pace.start(begin), Ok(()));
        let later = begin + Duration::from_secs(60);
        let burst = (0..100).take_while(|_| pace.start(later).is_ok()).count();
        assert_eq!(burst, 50);
        assert_eq!(pace.start(later), Err(later + Duration::from_millis(10)));
    }
}
