//! Builds what the bench measures. Without a dependency, so that it is there at once.

use std::env::{var_os, vars_os};
use std::io::{Error, IsTerminal, Result, stderr};
use std::process::Command;

/// What is measured and what it needs. No more, for each takes a minute to link.
const PROGRAMS: [&str; 5] = ["authorizer", "connect", "notifier", "tidings", "bare-function"];

/// Builds all programs and `more` at once, in the profile of the caller, with the features that the bench itself is built with,
/// so that nothing is built twice: those of `cargo measure`, whose gateway needs nothing of what looks at deployed stacks, or
/// those of `cargo test`.
///
/// # Errors
///
/// Where Cargo cannot be started, or fails; it has then said why.
pub fn build(more: &[&str]) -> Result<()> {
    let mut command = Command::new(var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--workspace"]);
    if !stderr().is_terminal() {
        command.arg("--quiet");
    }
    if !cfg!(debug_assertions) {
        command.args(["--release", "--no-default-features"]);
    }
    command.args(PROGRAMS.iter().chain(more).flat_map(|name| ["--bin", name]));
    for (name, _) in vars_os() {
        // What an outer `cargo run` has set would make build scripts run again.
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name.to_string_lossy().starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    if command.status()?.success() { Ok(()) } else { Err(Error::other("the programs do not build")) }
}
