//! What the caller of a function gets to see, in Lambda's own words.

use std::process::ExitStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use super::runtime_api::{Answer, RESPONSE_LIMIT};

/// What became of an event.
#[derive(Debug)]
pub(super) enum Outcome {
    Answered(Answer),
    Exited(ExitStatus),
    TimedOut,
}

/// The only kind of function error that a custom runtime has.
pub(super) const UNHANDLED: &str = "Unhandled";

/// The response of a function, or its error object.
pub(super) fn payload(outcome: Outcome, request_id: &str, timeout: Duration) -> Bytes {
    let error = match outcome {
        Outcome::Answered(Answer::Response(body) | Answer::Error(body) | Answer::Last(body)) => return body,
        Outcome::Answered(Answer::TooLarge) => json!({
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": format!(
                "Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
            ),
        }),
        Outcome::Exited(status) => json!({
            "errorType": "Runtime.ExitError",
            "errorMessage": format!("RequestId: {request_id} Error: Runtime exited with error: {}", exit(status)),
        }),
        Outcome::TimedOut => json!({
            "errorType": "Sandbox.Timedout",
            "errorMessage": format!("{} {request_id} Task timed out after {:.2} seconds", now(), timeout.as_secs_f64()),
        }),
    };
    error.to_string().into()
}

/// What the developer should hear beyond the caller's error: one clause.
pub(super) fn trouble(outcome: &Outcome, timeout: Duration) -> Option<String> {
    match outcome {
        Outcome::Answered(Answer::Response(_) | Answer::Error(_) | Answer::Last(_)) => None,
        Outcome::Answered(Answer::TooLarge) => Some("returned more than 6 MB, which Lambda refuses".to_owned()),
        Outcome::Exited(status) => Some(format!("ended in the middle of an event ({})", exit(*status))),
        Outcome::TimedOut => Some(format!("was stopped at its timeout of {} s", timeout.as_secs())),
    }
}

/// The log of one invocation, framed as in CloudWatch.
pub(super) fn log(request_id: &str, lines: &str, duration: Duration, memory_mb: u64) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    format!(
        "START RequestId: {request_id} Version: $LATEST\n{lines}END RequestId: {request_id}\nREPORT RequestId: \
         {request_id}\tDuration: {milliseconds:.2} ms\tMemory Size: {memory_mb} MB\n"
    )
}

/// `exit status 1`, or the signal that ended the process.
pub(super) fn exit(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

/// Milliseconds since 1970.
pub(super) fn epoch_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// An X-Ray trace header that says "not sampled".
pub(super) fn trace_id() -> String {
    let seconds = epoch_ms() / 1000;
    let (random, parent) = (fastrand::u128(..) >> 32, fastrand::u64(..));
    format!("Root=1-{seconds:08x}-{random:024x};Parent={parent:016x};Sampled=0")
}

fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // It fails only for years that have more than four digits.
    OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}
