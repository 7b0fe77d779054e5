//! A stand-in for `@connections` that takes every message, as fast as it comes or as AWS's quota allows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio_rustls::TlsAcceptor;

use crate::Result;
use crate::server::{Reply, Server};

/// Requests a second and in a burst that AWS grants an account in a region (API Gateway Developer Guide, quotas).
pub(crate) const QUOTA: (f64, f64) = (10_000.0, 5_000.0);

/// The stand-in.
#[derive(Debug)]
pub(crate) struct Sockets {
    server: Server,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    quota: Option<Bucket>,
    seen: Seen,
}

/// What came so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) taken: u64,
    pub(crate) throttled: u64,
    last: Option<Instant>,
}

impl Seen {
    /// From `begin` to the last message that was taken.
    pub(crate) fn since(&self, begin: Instant) -> Duration {
        self.last.map(|last| last.saturating_duration_since(begin)).unwrap_or_default()
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new((rate, burst): (f64, f64)) -> Self {
        Self { rate, burst, tokens: burst, filled: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let fresh = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + fresh).min(self.burst);
        self.filled = now;
        let granted = self.tokens >= 1.0;
        if granted {
            self.tokens -= 1.0;
        }
        granted
    }
}

impl Sockets {
    /// Starts it, with AWS's quota or without.
    pub(crate) async fn start(quota: Option<(f64, f64)>, tls: Option<TlsAcceptor>) -> Result<Self> {
        Self::far_away(quota, tls, Duration::ZERO).await
    }

    /// Starts it so far away that each answer takes a round trip.
    pub(crate) async fn far_away(
        quota: Option<(f64, f64)>,
        tls: Option<TlsAcceptor>,
        round_trip: Duration,
    ) -> Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(Mutex::new(State { quota: quota.map(Bucket::new), seen: Seen::default() }));
        let shared = Arc::clone(&state);
        let server = Server::start(tls, round_trip, move |_| std::future::ready(take(&shared))).await?;
        Ok(Self { server, scheme, state })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://localhost:{}/dev", self.scheme, self.server.port)
    }

    /// What came since the last call. The bucket is full again.
    pub(crate) fn reset(&self) -> Seen {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = &mut state.quota {
            *bucket = Bucket::new((bucket.rate, bucket.burst));
        }
        std::mem::take(&mut state.seen)
    }
}

fn take(state: &Mutex<State>) -> Reply {
    let now = Instant::now();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if !state.quota.as_mut().is_none_or(|bucket| bucket.take(now)) {
        state.seen.throttled += 1;
        return Reply {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: vec![("x-amzn-errortype", "LimitExceededException".to_owned())],
            body: r#"{"message":"Too Many Requests"}"#.into(),
        };
    }
    state.seen.taken += 1;
    state.seen.last = Some(now);
    Reply::status(StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_grants_its_burst_at_once_and_its_rate_from_then_on() {
        let begin = Instant::now();
        let mut bucket = Bucket::new(QUOTA);
        bucket.filled = begin;
        let granted = (0..20_000).filter(|_| bucket.take(begin)).count();
        assert_eq!(granted, 5_000);
        let granted = (1..=20_000).filter(|step| bucket.take(begin + Duration::from_micros(50) * *step)).count();
        assert!((9_998..=10_000).contains(&granted), "{granted}");
    }
}
