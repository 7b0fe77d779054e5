//! Limits on new connections and on routes: token buckets, as API Gateway's are.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lets `rate` through each second, and `burst` at once after a rest.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: f64,
    burst: f64,
    bucket: Mutex<(f64, Instant)>,
}

impl Throttle {
    pub(super) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { rate, burst, bucket: Mutex::new((burst, now)) }
    }

    /// Takes one token; `false` if there is none.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = (bucket.0 + now.saturating_duration_since(bucket.1).as_secs_f64() * self.rate).min(self.burst);
        let admitted = tokens >= 1.0;
        *bucket = (if admitted { tokens - 1.0 } else { tokens }, now);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let throttle = Throttle::new(10.0, 20, start);
        let admitted = |now| (0..50).filter(|_| throttle.admit(now)).count();
        assert_eq!(admitted(start), 20);
        assert_eq!(admitted(start + Duration::from_millis(301)), 3);
        assert_eq!(admitted(start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        let start = Instant::now();
        assert!(!Throttle::new(10.0, 0, start).admit(start + Duration::from_secs(60)));
        let no_rate = Throttle::new(0.0, 1, start);
        assert!(no_rate.admit(start));
        assert!(!no_rate.admit(start + Duration::from_secs(60)));
    }
}
