//! Trying again what failed for a passing reason.
//!
//! The SDK repeats calls, and nothing else does, so that attempts do not multiply; see [`crate::aws::dynamodb_retries`].
//! What is left is what the SDK takes for a success: a batch that DynamoDB did in part, and rows that others changed
//! meanwhile. Each pause is random up to a bound that doubles, so that those who met once do not meet again.

use std::time::Duration;

use aws_sdk_dynamodb::Error;

use super::RegistryError;

/// Their pauses take a second together, and never more than two and a half.
const ROUNDS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Makes a call, which the SDK repeats as long as it fails for a passing reason, and names it if it fails for good.
pub(super) async fn retrying<T, F>(operation: &'static str, call: impl FnOnce() -> F) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, Error>> + Send,
{
    // Boxed for the compiler: the SDK's futures are deep, ours stand around them, and it bounds how deep a type may be.
    Box::pin(call()).await.map_err(|source| RegistryError::DynamoDb { operation, source: Box::new(source) })
}

/// Whether another round of a batch, or of a read followed by a write, may be tried after `failures` failures; waits
/// before it says yes.
pub(super) async fn again(failures: &mut u32) -> bool {
    if *failures + 1 >= ROUNDS {
        return false;
    }
    let bound = FIRST_PAUSE.saturating_mul(1 << *failures).min(LONGEST_PAUSE);
    tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
    *failures += 1;
    true
}
