//! Showing errors to people.

use std::error::Error;

/// The causes of an error, outermost first, joined by colons.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An error with its causes in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = causes(error);
    if causes.is_empty() { error.to_string() } else { format!("{error}: {causes}") }
}
