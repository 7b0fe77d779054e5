//! `cargo measure`: builds the bench and what it measures in one go, so that no processor waits for one of them to be linked,
//! installs the peers meanwhile, and starts it.

use std::io::{Error, Result, Write, stderr};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    start().unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn start() -> Result<ExitCode> {
    say("building the bench and what it measures: some ten minutes from nothing");
    let own = std::env::current_exe()?;
    let peers = own.with_file_name("../bench/peers");
    std::thread::scope(|scope| {
        // Where this fails the bench tries again, and its table says why.
        scope.spawn(|| measure::install_peers(&peers));
        measure::build(&["bench"])
    })?;
    let bench = own.with_file_name("bench");
    let status = Command::new(&bench).arg("--no-build").args(std::env::args_os().skip(1)).status();
    let status = status.map_err(|error| Error::other(format!("{} cannot be run: {error}", bench.display())))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn say(text: &str) {
    // Who closes standard error does not want to know.
    let _ = writeln!(stderr(), "{text}");
}
