//! The commands that are not in a build without the feature `account`: each says how to get it.

use std::ffi::OsString;

use super::Failure;
use super::identity::needs_account;

/// A command that calls AWS, which this build leaves out.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// What the command would be given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  cargo aws doctor
  cargo install --path local/cli";

/// Says how to get the command.
pub(super) fn run(name: &str, _: &Arguments) -> Result<(), Failure> {
    Err(needs_account(&format!("`tidings {name}`")))
}
