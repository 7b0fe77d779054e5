//! Messages, one in each line of standard output.

use std::io::{self, Write as _};

use serde_json::Value;

/// Standard output, as long as somebody reads it and there are not enough messages.
#[derive(Debug)]
pub(super) struct Output {
    /// How many are still to be printed.
    left: Option<u64>,
    /// Whether nobody reads any more.
    closed: bool,
}

impl Output {
    pub(super) fn new(count: Option<u64>) -> Self {
        Self { left: count, closed: false }
    }

    /// Prints what came, unless it is done.
    pub(super) fn print(&mut self, text: &str) {
        if self.is_done() {
            return;
        }
        let mut stdout = io::stdout();
        self.closed = writeln!(stdout, "{}", line(text)).and_then(|()| stdout.flush()).is_err();
        self.left = self.left.map(|left| left - 1);
    }

    /// Whether all that was asked for has been printed, or nobody reads any more.
    pub(super) fn is_done(&self) -> bool {
        self.closed || self.left == Some(0)
    }
}

/// What came as JSON in one line: what is none is a string.
fn line(text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Err(_) => Value::from(text).to_string(),
        Ok(value) if text.contains(['\n', '\r']) => value.to_string(),
        Ok(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_json_in_one_line() {
        let message = r#"{"type":"message", "data":1}"#;
        assert_eq!(line(message), message);
        assert_eq!(line("{\n\"data\": 1}"), r#"{"data":1}"#);
        assert_eq!(line("two\nlines"), r#""two\nlines""#);
    }
}
