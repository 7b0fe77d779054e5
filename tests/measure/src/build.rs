//! Building programs with Cargo.

use std::collections::BTreeSet;
use std::env::{var_os, vars_os};
use std::io::{Error, IsTerminal, Result, stderr};
use std::path::Path;
use std::process::Command;

use crate::Row;

/// Builds what the rows need and `more` at once, in the profile of the caller, with the features that the bench itself is built
/// with, so that nothing is built twice: those of `cargo measure`, whose gateway needs nothing of what calls AWS, or those of
/// `cargo test`.
///
/// # Errors
///
/// Where Cargo cannot be started, or fails; it has then said why.
pub fn build(rows: &[Row], more: &[&str]) -> Result<()> {
    let names: BTreeSet<&str> = rows.iter().flat_map(|row| row.programs()).chain(more).copied().collect();
    programs(Path::new(env!("CARGO_MANIFEST_DIR")), names, None)
}

/// Builds programs of the workspace that `folder` lies in, into its own target folder or another.
pub(crate) fn programs<'a>(
    folder: &Path,
    names: impl IntoIterator<Item = &'a str>,
    target: Option<&Path>,
) -> Result<()> {
    let mut command = Command::new(var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).args(["build", "--workspace"]);
    if !stderr().is_terminal() {
        command.arg("--quiet");
    }
    if !cfg!(debug_assertions) {
        command.args(["--release", "--no-default-features"]);
    }
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    command.args(names.into_iter().flat_map(|name| ["--bin", name]));
    for (name, _) in vars_os() {
        // What an outer `cargo run` has set would make build scripts run again.
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name.to_string_lossy().starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let status = command.status().map_err(|error| Error::other(format!("cargo cannot be run: {error}")))?;
    if status.success() { Ok(()) } else { Err(Error::other("the programs do not build")) }
}
