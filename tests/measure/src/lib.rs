//! Builds and installs what the bench measures. Without a dependency, so that it is there at once.

use std::env::{var_os, vars_os};
use std::fs::{create_dir_all, read_to_string, write};
use std::io::{Error, IsTerminal, Result, stderr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured and what it needs. No more, for each takes a minute to link.
const PROGRAMS: [&str; 5] = ["authorizer", "connect", "notifier", "tidings", "bare-function"];

/// The peers' sources, copied to where their packages are installed.
const PEERS: [(&str, &str); 6] = [
    ("package.json", include_str!("../../bench/peers/package.json")),
    ("runtime.mjs", include_str!("../../bench/peers/runtime.mjs")),
    ("connect.mjs", include_str!("../../bench/peers/connect.mjs")),
    ("notify.mjs", include_str!("../../bench/peers/notify.mjs")),
    ("echo.mjs", include_str!("../../bench/peers/echo.mjs")),
    ("serverless.yml", include_str!("../../bench/peers/serverless.yml")),
];

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
    let status = command.status().map_err(|error| Error::other(format!("cargo cannot be run: {error}")))?;
    if status.success() { Ok(()) } else { Err(Error::other("the programs do not build")) }
}

/// Copies the peers to `folder`, installs their packages unless they are there already, and bundles what is measured bundled
/// too. Gives the path of Node.js.
///
/// # Errors
///
/// Where Node.js or npm is missing, or npm or the bundler fails.
pub fn install_peers(folder: &Path) -> Result<PathBuf> {
    let node = output("node", &["-p", "process.execPath"], Path::new("."));
    let node = node.map_err(|_| Error::other("Node.js is not installed"))?;
    create_dir_all(folder)?;
    for (name, text) in PEERS {
        write(folder.join(name), text)?;
    }
    let wanted = read_to_string(folder.join("package.json"))?;
    let mark = folder.join("installed.json");
    if read_to_string(&mark).unwrap_or_default() != wanted {
        output("npm", &["install", "--no-audit", "--no-fund", "--silent"], folder)?;
        write(mark, wanted)?;
    }
    let esbuild = folder.join("node_modules/.bin/esbuild");
    let bundled = "--outfile=connect.bundled.cjs";
    let arguments = ["connect.mjs", "--bundle", "--platform=node", "--minify", "--log-level=error", bundled];
    output(&esbuild.to_string_lossy(), &arguments, folder)?;
    Ok(node.into())
}

/// What a program says on its standard output.
fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| Error::other(format!("{program} cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::other(format!("{program} failed: {}", said.trim())));
    }
    String::from_utf8(output.stdout).map(|said| said.trim().to_owned()).map_err(Error::other)
}
