//! How many posts may be under way at once: learnt from the answers.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: f64 = 32.0;
/// How much the newest answer counts in the share of throttled ones.
const NEWEST: f64 = 1.0 / 32.0;
/// Up to this share, throttled answers are clients that do not read; above it, they are us.
const OVERLOAD: f64 = 0.1;

/// Doubles in each round trip until the first overload, then grows by one in each.
///
/// API Gateway answers 429 for two reasons and does not say which: we post too much, or this client's buffer is full. So
/// the window heeds the share of throttled answers, not single ones. In an overload it shrinks by half of that share, to
/// half its size where all are throttled, at most once in a round trip, because one overload answers many posts at once.
#[derive(Debug)]
pub(super) struct Window {
    size: f64,
    max: f64,
    throttled: f64,
    round_trip: Duration,
    last_cut: Option<Instant>,
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { size: FIRST.min(max), max, throttled: 0.0, round_trip: Duration::ZERO, last_cut: None }
    }

    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        (in_flight as f64) < self.size.floor()
    }

    pub(super) fn succeeded(&mut self, took: Duration) {
        self.throttled *= 1.0 - NEWEST;
        self.round_trip = match self.round_trip {
            Duration::ZERO => took,
            known => known.mul_f64(0.875) + took.mul_f64(0.125),
        };
        let growth = if self.last_cut.is_some() { 1.0 / self.size } else { 1.0 };
        self.size = (self.size + growth).min(self.max);
    }

    pub(super) fn throttled(&mut self, now: Instant) {
        self.throttled += (1.0 - self.throttled) * NEWEST;
        let is_due = self.last_cut.is_none_or(|cut| now.duration_since(cut) > self.round_trip);
        if self.throttled > OVERLOAD && is_due {
            self.size = (self.size * (1.0 - self.throttled / 2.0)).max(1.0);
            self.last_cut = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(20);

    fn size(window: &Window) -> usize {
        (0..).find(|in_flight| !window.has_room(*in_flight)).unwrap()
    }

    fn grown() -> Window {
        let mut window = Window::new(256);
        for _ in 0..500 {
            window.succeeded(ROUND_TRIP);
        }
        assert_eq!(size(&window), 256);
        window
    }

    #[test]
    fn where_everything_is_throttled_it_halves_once_in_a_round_trip() {
        let (begin, mut window) = (Instant::now(), grown());
        for round in 0..6 {
            for _ in 0..100 {
                window.throttled(begin + ROUND_TRIP.mul_f64(1.1) * round);
            }
        }
        // The first round only notices; from the second on nearly all of the last answers were throttled.
        assert!((7..=24).contains(&size(&window)), "{}", size(&window));
    }

    #[test]
    fn a_few_clients_that_do_not_read_do_not_slow_down_the_others() {
        let (begin, mut window) = (Instant::now(), grown());
        for answer in 0..10_000_u32 {
            match answer % 20 {
                0 => window.throttled(begin + Duration::from_millis(answer.into())),
                _ => window.succeeded(ROUND_TRIP),
            }
        }
        assert_eq!(size(&window), 256);
    }

    #[test]
    fn it_grows_by_one_in_a_round_trip_after_an_overload() {
        let (begin, mut window) = (Instant::now(), Window::new(256));
        for round in 0..20 {
            window.throttled(begin + Duration::from_secs(round));
        }
        let before = size(&window);
        for _ in 0..=before {
            window.succeeded(ROUND_TRIP);
        }
        assert_eq!(size(&window), before + 1);
    }

    #[test]
    fn it_never_closes() {
        let mut window = Window::new(1);
        for minute in 0..100 {
            window.throttled(Instant::now() + Duration::from_secs(60 * minute));
        }
        assert_eq!(size(&window), 1);
    }
}
