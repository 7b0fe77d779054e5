//! Trying again what failed for a passing reason.
//!
//! API Gateway may run two frames of one client in parallel, and a transaction that meets another one on the same row
//! is cancelled, not queued. The SDK does not repeat that; this does. Each pause is random up to a bound that doubles,
//! so that those who met once do not meet again.

use std::time::Duration;

use aws_sdk_dynamodb::Error;

use super::RegistryError;

const ATTEMPTS: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Runs `attempt` until it succeeds, fails for good, or has failed ten times.
pub(super) async fn retrying<T, F>(operation: &'static str, attempt: impl Fn() -> F) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    let mut failures = 0;
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) if failures + 1 < ATTEMPTS && is_passing(&error) => {
                pause(failures).await;
                failures += 1;
            }
            Err(error) => return Err(RegistryError::DynamoDb { operation, source: Box::new(error) }),
        }
    }
}

/// Whether another round of a batch, or of a read followed by a write, may be tried after `failures` failures; waits
/// before it says yes.
pub(super) async fn again(failures: &mut u32) -> bool {
    if *failures + 1 >= ATTEMPTS {
        return false;
    }
    pause(*failures).await;
    *failures += 1;
    true
}

async fn pause(failures: u32) {
    let bound = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE);
    tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
}

fn is_passing(error: &Error) -> bool {
    match error {
        Error::InternalServerError(_)
        | Error::ProvisionedThroughputExceededException(_)
        | Error::RequestLimitExceeded(_)
        | Error::ThrottlingException(_)
        | Error::TransactionConflictException(_)
        | Error::TransactionInProgressException(_) => true,
        Error::TransactionCanceledException(cancelled) => {
            let codes = || cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
            codes().all(|code| {
                matches!(code, "None" | "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
            }) && codes().any(|code| code != "None")
        }
        _ => false,
    }
}
