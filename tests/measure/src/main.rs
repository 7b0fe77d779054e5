//! `cargo measure`: builds the bench and what it measures in one go, so that no processor waits for one of them to be linked,
//! installs the peers meanwhile, and starts it.

use std::io::{Error, Result, Write, stderr, stdout};
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use measure::{Arguments, BASELINE_PROGRAMS, Baseline, Row};

fn main() -> ExitCode {
    start(&Arguments::parse()).unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn start(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        return stdout().write_all(Row::list().as_bytes()).map(|()| ExitCode::SUCCESS);
    }
    let own = std::env::current_exe()?;
    let bench = own.with_file_name("bench");
    let mut command = Command::new(&bench);
    if !arguments.no_build {
        prepare(arguments, &own.with_file_name("../bench"))?;
        command.arg("--no-build");
    }
    let status = command.args(std::env::args_os().skip(1)).status();
    let status = status.map_err(|error| Error::other(format!("{} cannot be run: {error}", bench.display())))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn prepare(arguments: &Arguments, scratch: &Path) -> Result<()> {
    // Where there is no such commit, nobody wants to know it ten minutes later.
    let baseline = arguments.baseline.as_ref().map(|commit| Baseline::new(commit, &scratch.join("baseline")));
    let baseline = baseline.transpose()?;
    say("building the bench and what it measures: some ten minutes from nothing");
    std::thread::scope(|scope| {
        if arguments.needs_node() {
            // Where this fails the bench tries again, and its table says why.
            scope.spawn(|| measure::install_peers(&scratch.join("peers")));
        }
        if arguments.needs_ministack() {
            scope.spawn(|| measure::install_ministack(&scratch.join("ministack")));
        }
        measure::build(arguments.rows(), &["bench"])?;
        baseline.map_or(Ok(()), |baseline| baseline.build(&BASELINE_PROGRAMS))
    })
}

fn say(text: &str) {
    // Who closes standard error does not want to know.
    let _ = writeln!(stderr(), "{text}");
}
