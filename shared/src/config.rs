//! What the environment says. A function reads all of it before it takes its first event, so that a missing variable
//! stops it at once and names itself.

use std::str::FromStr;

/// Why the environment cannot be used: names the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A variable is not set, or is empty.
    #[error("the environment variable {name} is not set; {purpose}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it is for.
        purpose: &'static str,
    },
    /// A variable holds something else than it should.
    #[error("the environment variable {name} is {value:?}; {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The value of a variable; an empty one counts as not set.
#[must_use]
pub fn optional(name: &'static str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The value of a variable that must be set.
///
/// # Errors
/// When it is not; the error says what it is for.
pub fn required(name: &'static str, purpose: &'static str) -> Result<String, ConfigError> {
    optional(name).ok_or(ConfigError::Missing { name, purpose })
}

/// The value of a variable, read as a `T`; `default` where it is not set.
///
/// # Errors
/// When it is set to something that is not a `T`, or that `accept` refuses.
pub fn parsed<T: FromStr>(
    name: &'static str,
    default: T,
    expected: &'static str,
    accept: fn(&T) -> bool,
) -> Result<T, ConfigError> {
    let Some(value) = optional(name) else { return Ok(default) };
    match value.parse() {
        Ok(parsed) if accept(&parsed) => Ok(parsed),
        _ => Err(ConfigError::Invalid { name, value, expected }),
    }
}
