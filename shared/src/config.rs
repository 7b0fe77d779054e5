//! What the environment says. A function reads all of it before it takes its first event, so that a missing variable
//! stops it at once and names itself.

use std::str::FromStr;

use serde::de::DeserializeOwned;

/// Why the environment cannot be used: names the variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
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
    /// TLS has nobody to trust.
    #[error("the system's certificates cannot be read ({0}); SSL_CERT_FILE can name a file with them")]
    Certificates(String),
    /// The rules of what is kept cannot be used.
    #[error("the environment variable HISTORY is not valid: {0}")]
    History(String),
    /// The patterns of topics in which it is kept who is there cannot be used.
    #[error("the environment variable PRESENCE is not valid: {0}")]
    Presence(String),
    /// The application's own configuration is not what it should be.
    #[error(
        "the environment variable {APPLICATION} is {problem}; give JSON in the template's parameter `Application`, such as {{\"table\":\"items\"}}"
    )]
    Application {
        /// What is wrong with it, and where.
        problem: String,
    },
}

/// What an application's own code is to know; the template's parameter `Application`.
const APPLICATION: &str = "APPLICATION";

/// The application's own configuration: the JSON of the template's parameter `Application`, which every function has in
/// `APPLICATION`.
///
/// ```no_run
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Config {
///     table: String,
/// }
///
/// # fn main() -> Result<(), tidings::config::ConfigError> {
/// let Config { table } = tidings::config::application()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When it is not set, no JSON, or JSON of another shape; the error says what is wrong and where.
pub fn application<T: DeserializeOwned>() -> Result<T, ConfigError> {
    let text = required(APPLICATION, "it is the template's parameter `Application`, which the application reads")?;
    read_application(&text)
}

/// Refuses an `APPLICATION` that is no JSON, whether or not somebody reads it.
#[cfg(feature = "lambda")]
pub(crate) fn check_application() -> Result<(), ConfigError> {
    optional(APPLICATION).map_or(Ok(()), |text| read_application::<serde::de::IgnoredAny>(&text).map(drop))
}

fn read_application<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    serde_json::from_str(text).map_err(|error| {
        let kind = if error.is_data() { "of another shape" } else { "no JSON" };
        ConfigError::Application { problem: format!("{kind} ({error})") }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Shop {
        table: String,
    }

    #[test]
    fn an_application_that_is_no_json_or_of_another_shape_is_told_with_place_and_fix() {
        let shop: Shop = read_application(r#"{"table":"items","more":1}"#).unwrap();
        assert_eq!(shop.table, "items");
        let fix = "; give JSON in the template's parameter `Application`, such as {\"table\":\"items\"}";
        for (text, problem) in [
            ("table=items", "no JSON (expected ident at line 1 column 2)"),
            (r#"{"table":"items""#, "no JSON (EOF while parsing an object at line 1 column 16)"),
            ("{}", "of another shape (missing field `table` at line 1 column 2)"),
        ] {
            let error = read_application::<Shop>(text).unwrap_err().to_string();
            assert_eq!(error, format!("the environment variable APPLICATION is {problem}{fix}"));
        }
    }
}
