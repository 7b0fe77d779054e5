//! What the table charges: counted from DynamoDB's own answers.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::ConsumedCapacity;

/// Capacity units consumed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Consumed {
    /// Read units: one reads 4 KB consistently.
    pub read: f64,
    /// Write units: one writes 1 KB; in a transaction it takes two.
    pub write: f64,
}

impl std::ops::Sub for Consumed {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { read: self.read - earlier.read, write: self.write - earlier.write }
    }
}

/// Adds up units in halves, the smallest part that DynamoDB charges.
#[derive(Debug, Default)]
pub(super) struct Counter {
    read_halves: AtomicU64,
    write_halves: AtomicU64,
}

impl Counter {
    pub(super) fn add_read<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.read_halves.fetch_add(halves(consumed), Ordering::Relaxed);
    }

    /// Whether a write with a condition was done, and counts it; `false` where the condition did not hold.
    #[expect(clippy::result_large_err, reason = "it is the SDK's own, which whoever retries looks into")]
    pub(super) fn was_written(&self, answer: Result<Option<ConsumedCapacity>, Error>) -> Result<bool, Error> {
        match answer {
            Ok(capacity) => {
                self.add_write(capacity.as_ref());
                Ok(true)
            }
            Err(Error::ConditionalCheckFailedException(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn add_write<'a>(&self, consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) {
        self.write_halves.fetch_add(halves(consumed), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Consumed {
        let units = |halves: &AtomicU64| halves.load(Ordering::Relaxed) as f64 / 2.0;
        Consumed { read: units(&self.read_halves), write: units(&self.write_halves) }
    }
}

fn halves<'a>(consumed: impl IntoIterator<Item = &'a ConsumedCapacity>) -> u64 {
    let units: f64 = consumed.into_iter().filter_map(|part| part.capacity_units).sum();
    (units * 2.0).round() as u64
}
