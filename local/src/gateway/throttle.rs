//! The limit on new connections: a token bucket, as API Gateway's is.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lets `rate` through each second, and as many at once after a rest.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: f64,
    bucket: Mutex<(f64, Instant)>,
}

impl Throttle {
    pub(super) fn new(rate: u32, now: Instant) -> Self {
        Self { rate: f64::from(rate), bucket: Mutex::new((f64::from(rate), now)) }
    }

    /// Takes one token; `false` if there is none.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = (bucket.0 + now.saturating_duration_since(bucket.1).as_secs_f64() * self.rate).min(self.rate);
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
        let throttle = Throttle::new(10, start);
        let admitted = |now| (0..50).filter(|_| throttle.admit(now)).count();
        assert_eq!(admitted(start), 10);
        assert_eq!(admitted(start + Duration::from_millis(301)), 3);
        assert_eq!(admitted(start + Duration::from_secs(60)), 10);
    }
}
