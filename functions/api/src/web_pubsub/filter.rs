//! Filters of connections: the part of OData's grammar that Azure Web PubSub has
//! (<https://learn.microsoft.com/azure/azure-web-pubsub/reference-odata-filter>).
//!
//! `syntax` reads the text, `check` says what the names in it are and whether it makes sense, and `evaluate` asks it of a
//! connection. A filter that was parsed has an answer for every connection.

mod check;
mod evaluate;
#[cfg(test)]
mod fuzzing;
mod syntax;
#[cfg(test)]
mod tests;

use check::{Condition, Meaningless};
use syntax::BadSyntax;

/// Longest filter, in bytes.
const LONGEST: usize = 16 * 1_024;

/// Which connections are meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    condition: Condition,
    reads_groups: bool,
}

/// What a filter can ask of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) connection: &'a str,
    /// `None` where it is anonymous.
    pub(super) user: Option<&'a str>,
    pub(super) protocol: &'a str,
    /// Names of groups.
    pub(super) groups: &'a [&'a str],
}

/// Why a text is no filter. Its text is what Azure's SDKs expect of one with a fault in its syntax.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid syntax for '{filter}': {fault}. (Parameter 'filter')")]
pub(super) struct InvalidFilter {
    filter: String,
    fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    #[error(transparent)]
    Syntax(#[from] BadSyntax),
    #[error(transparent)]
    Meaning(#[from] Meaningless),
}

impl Filter {
    /// Reads a filter.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidFilter> {
        let read = || {
            if text.len() > LONGEST {
                return Err(Fault::TooLong);
            }
            let condition = Condition::of(syntax::parse(text)?)?;
            let reads_groups = condition.reads_groups();
            Ok(Self { condition, reads_groups })
        };
        read().map_err(|fault| InvalidFilter { filter: text.chars().take(200).collect(), fault })
    }

    /// Whether the connection is meant.
    pub(super) fn admits(&self, subject: &Subject<'_>) -> bool {
        evaluate::holds(&self.condition, subject)
    }

    /// Whether it has to be known which groups a connection is in.
    pub(super) fn reads_groups(&self) -> bool {
        self.reads_groups
    }
}
