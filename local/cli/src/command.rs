//! The command line `tidings`.
//!
//! Exit codes: 0 when it did what was asked, 1 when it could not, 2 when it was called wrongly.

#[cfg(not(feature = "account"))]
mod absent;
#[cfg(feature = "account")]
mod account;
mod connections;
#[cfg(feature = "account")]
mod dead_letters;
#[cfg(feature = "account")]
mod deployment;
mod dev;
#[cfg(feature = "account")]
mod doctor;
mod http;
mod identity;
mod listen;
mod new;
mod notify;
mod rest;
mod token;
mod topics;
mod trigger;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Real-time notifications on AWS: run the stack on this machine, listen to it, send to it.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, propagate_version = true, after_help = EXAMPLES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tidings dev                                                  run the stack of ./template.yaml
  tidings listen --topic orders/42                             print what is sent to a topic
  tidings notify --topic orders/42 '{\"status\":\"shipped\"}'      send something to it
  tidings new shop --path ../tidings                           write an application of your own
  tidings trigger s3 photos beach.jpg                          send an event of S3 to the notifier
  tidings doctor                                               say what this machine lacks
  tidings connections list                                     see who is connected
  tidings topics add alice news                                subscribe a user for good

`tidings COMMAND --help` explains a command and shows more examples.";

#[derive(Debug, Subcommand)]
enum Command {
    New(new::NewArguments),
    Dev(dev::Arguments),
    Listen(listen::Arguments),
    Upgrade(new::UpgradeArguments),
    Template(new::TemplateArguments),
    Trigger(trigger::Arguments),
    Notify(notify::Arguments),
    Connections(connections::Arguments),
    Topics(topics::Arguments),
    #[cfg(feature = "account")]
    DeadLetters(dead_letters::Arguments),
    #[cfg(feature = "account")]
    Doctor(doctor::Arguments),
    Token(token::Arguments),
    /// Look at what was not delivered, and send it again (not in this build)
    #[cfg(not(feature = "account"))]
    DeadLetters(absent::Arguments),
    /// Say what this machine or a deployed stack lacks (not in this build)
    #[cfg(not(feature = "account"))]
    Doctor(absent::Arguments),
}

/// A failed command: what went wrong, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl Failure {
    fn new(error: &dyn std::error::Error) -> Self {
        Self(tidings::describe(error))
    }
}

/// Runs the command line with these arguments, the program's name first.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(without_separator(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output; a closed stream is nobody's loss.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            status(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    // On one thread a message that goes from task to task is not handed from processor to processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(&error))?;
    runtime.block_on(async {
        match command {
            Command::New(arguments) => new::new(arguments),
            Command::Upgrade(arguments) => new::upgrade(&arguments),
            Command::Template(arguments) => new::template(&arguments),
            Command::Dev(arguments) => dev::run(arguments).await,
            Command::Listen(arguments) => listen::run(arguments).await,
            Command::Trigger(arguments) => trigger::run(arguments).await,
            Command::Notify(arguments) => notify::run(arguments).await,
            Command::Connections(arguments) => connections::run(arguments).await,
            Command::Topics(arguments) => topics::run(arguments).await,
            #[cfg(feature = "account")]
            Command::DeadLetters(arguments) => dead_letters::run(arguments).await,
            #[cfg(feature = "account")]
            Command::Doctor(arguments) => doctor::run(arguments).await,
            Command::Token(arguments) => token::run(arguments).await,
            #[cfg(not(feature = "account"))]
            Command::DeadLetters(arguments) => absent::run("dead-letters", &arguments),
            #[cfg(not(feature = "account"))]
            Command::Doctor(arguments) => absent::run("doctor", &arguments),
        }
    })
}

/// `cargo dev -- --port 0` arrives as `tidings dev -- --port 0`: the separator was meant for Cargo.
fn without_separator(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|command| command == "dev") && arguments.get(2).is_some_and(|next| next == "--") {
        arguments.remove(2);
    }
    arguments
}

/// One line for people, on standard error.
fn status(line: &str) {
    // Standard error is where a failure would be reported: nothing is left to tell.
    let _ = writeln!(anstream::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_examples() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Examples:"), "{help}");
        }
    }

    #[test]
    fn cargos_separator_is_dropped_after_dev_only() {
        let check = |given: &[&str], expected: &[&str]| {
            let given = given.iter().map(Into::into).collect();
            let expected: Vec<OsString> = expected.iter().map(Into::into).collect();
            assert_eq!(without_separator(given), expected);
        };
        check(&["tidings", "dev", "--", "--port", "0"], &["tidings", "dev", "--port", "0"]);
        check(&["tidings", "dev", "--port", "0"], &["tidings", "dev", "--port", "0"]);
        check(&["tidings", "notify", "--", "-1"], &["tidings", "notify", "--", "-1"]);
        check(&["tidings"], &["tidings"]);
    }
}
