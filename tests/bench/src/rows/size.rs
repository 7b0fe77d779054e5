//! How large programs of functions are, as they are deployed: stripped, for this machine's processor.

use crate::Result;
use crate::setup::Setup;
use crate::table::{Aim, Line};

pub(super) fn measure(setup: &Setup) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let bare = size(setup, "bare-function")?;
    for name in ["connect", "notifier"] {
        let line = Line::new(format!("binary of `{name}`"), size(setup, name)?, "MB");
        let line = line.against("bare `lambda_runtime` function", bare);
        lines.push(if name == "connect" { line.aim(Aim::AtMost(6.0)) } else { line });
    }
    Ok(lines)
}

fn size(setup: &Setup, name: &str) -> Result<f64> {
    Ok(std::fs::metadata(setup.program(name)?)?.len() as f64 / 1e6)
}
