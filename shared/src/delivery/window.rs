//! How many posts may be under way at once: learnt from the answers.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: f64 = 32.0;

/// Doubles in each round trip until it is first throttled, then grows by one in each; halves when it is throttled, at
/// most once in a round trip, because one overload answers many posts at once.
#[derive(Debug)]
pub(super) struct Window {
    size: f64,
    max: f64,
    round_trip: Duration,
    last_cut: Option<Instant>,
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1) as f64;
        Self { size: FIRST.min(max), max, round_trip: Duration::ZERO, last_cut: None }
    }

    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        (in_flight as f64) < self.size.floor()
    }

    pub(super) fn succeeded(&mut self, took: Duration) {
        self.round_trip = match self.round_trip {
            Duration::ZERO => took,
            known => known.mul_f64(0.875) + took.mul_f64(0.125),
        };
        let growth = if self.last_cut.is_some() { 1.0 / self.size } else { 1.0 };
        self.size = (self.size + growth).min(self.max);
    }

    pub(super) fn throttled(&mut self, now: Instant) {
        if self.last_cut.is_none_or(|cut| now.duration_since(cut) > self.round_trip) {
            self.size = (self.size / 2.0).max(1.0);
            self.last_cut = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(window: &Window) -> usize {
        (0..).find(|in_flight| !window.has_room(*in_flight)).unwrap()
    }

    #[test]
    fn one_overload_halves_it_once_however_many_answers_tell_of_it() {
        let now = Instant::now();
        let mut window = Window::new(256);
        for _ in 0..500 {
            window.succeeded(Duration::from_millis(20));
        }
        assert_eq!(size(&window), 256);
        for _ in 0..50 {
            window.throttled(now);
        }
        assert_eq!(size(&window), 128);
        window.throttled(now + Duration::from_millis(30));
        assert_eq!(size(&window), 64);
    }

    #[test]
    fn it_grows_by_one_in_a_round_trip_after_it_was_throttled() {
        let mut window = Window::new(256);
        window.throttled(Instant::now());
        assert_eq!(size(&window), 16);
        for _ in 0..17 {
            window.succeeded(Duration::from_millis(20));
        }
        assert_eq!(size(&window), 17);
    }

    #[test]
    fn it_never_closes() {
        let mut window = Window::new(1);
        for minute in 0..10 {
            window.throttled(Instant::now() + Duration::from_secs(60 * minute));
        }
        assert_eq!(size(&window), 1);
    }
}
