//! What the tests of the whole are made of: real engines, real sockets, and faults where none can be had otherwise.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

pub mod browser;
pub mod calls;
pub mod chaos;
pub mod clients;
pub mod conflicts;
pub mod crowd;
pub mod engine;
pub mod faults;
pub mod issuer;
pub mod kill;
pub mod mixed;
pub mod ordered;
pub mod proxy;
pub mod queues;
pub mod races;
pub mod reliable;
pub mod simulation;
pub mod stack;
pub mod standin;
pub mod wire;

use std::time::{Duration, Instant};

/// Milliseconds since the epoch.
///
/// # Panics
/// When the clock is before 1970.
#[must_use]
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A time that is this long on average, of what has no memory: sockets that are cut, processes that die.
#[must_use]
pub fn about(mean: Duration, chance: &mut fastrand::Rng) -> Duration {
    mean.mul_f64(-(1.0 - chance.f64()).ln())
}

/// Waits until `condition` gives a value, looking again every few milliseconds.
///
/// # Panics
/// When that takes longer than `patience`.
pub async fn eventually<T>(what: &str, patience: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(start.elapsed() < patience, "{what} did not come about in {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
