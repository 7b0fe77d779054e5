//! Where the functions' log lines and the gateway's own remarks go: one stream, usually standard error.
//!
//! Every line is written with one call, so that lines of many processes never mix.

mod render;

use std::io::Write;
use std::sync::{Mutex, PoisonError};

pub(crate) use render::Level;

/// A sink for log lines. It never fails: a closed stream loses the lines, not the session.
pub struct Logs {
    json: bool,
    out: Mutex<Box<dyn Write + Send>>,
}

impl std::fmt::Debug for Logs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logs").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Logs {
    /// Writes to standard error: for people, with colours on a terminal (`NO_COLOR` is respected), or as JSON lines.
    #[must_use]
    pub fn stderr(json: bool) -> Self {
        if json { Self::to(std::io::stderr(), true) } else { Self::to(anstream::stderr(), false) }
    }

    /// Writes to `out`; in the readable form lines carry colours, which a wrapper such as `anstream` removes.
    #[must_use]
    pub fn to(out: impl Write + Send + 'static, json: bool) -> Self {
        Self { json, out: Mutex::new(Box::new(out)) }
    }

    /// Whether lines are JSON objects.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A line that a function wrote to its standard output or standard error.
    pub fn function_line(&self, function: &str, line: &str) {
        self.write(if self.json {
            render::function_json(function, line)
        } else {
            render::function_text(function, line)
        });
    }

    /// A remark of the gateway.
    pub fn say(&self, text: &str) {
        self.own(Level::Info, text);
    }

    /// Something that the user probably has to act on.
    pub fn warn(&self, text: &str) {
        self.own(Level::Warn, text);
    }

    /// Something that does not work until the user acts on it.
    pub fn error(&self, text: &str) {
        self.own(Level::Error, text);
    }

    fn own(&self, level: Level, text: &str) {
        self.write(if self.json { render::own_json(level, text) } else { render::own_text(level, text) });
    }

    fn write(&self, mut line: String) {
        line.push('\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Standard error is where a failure would be reported: nothing is left to tell.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}
