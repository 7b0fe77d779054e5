//! How functions log.

use std::env;
use std::fmt;
use std::time::SystemTime;

use aws_smithy_types::date_time::{DateTime, Format};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Logs to standard output from here on: as `AWS_LAMBDA_LOG_FORMAT` says, from the level of `AWS_LAMBDA_LOG_LEVEL` on, which
/// is `INFO` where it is not set; `RUST_LOG` can say more for single modules.
///
/// The runtime's own subscriber writes no time. A JSON line without a `timestamp` counts as `INFO` in Lambda, so that a
/// function set to `WARN` would log nothing at all, not even its errors (Lambda Developer Guide, "Log-level filtering").
///
/// # Panics
/// When it is called twice.
pub fn init() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let level: LevelFilter = level.unwrap_or(LevelFilter::INFO);
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let subscriber = tracing_subscriber::fmt().with_target(false).with_env_filter(filter);
    match env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json")) {
        true => subscriber.with_timer(Now).json().init(),
        // Lambda puts the time before each line itself.
        false => subscriber.without_time().init(),
    }
}

/// The time of a line, in RFC 3339.
struct Now;

impl FormatTime for Now {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let now = DateTime::from(SystemTime::now());
        writer.write_str(&now.fmt(Format::DateTime).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_rfc_3339() {
        let mut text = String::new();
        Now.format_time(&mut Writer::new(&mut text)).unwrap();
        let read = DateTime::from_str(&text, Format::DateTime).unwrap();
        let age = DateTime::from(SystemTime::now()).secs() - read.secs();
        assert!((0..60).contains(&age), "{text}");
    }
}
