//! Which stack in AWS a command is about, and as whom it calls AWS. What needs an account and does not have it here is told how to
//! get it.

use super::Failure;

/// Which deployed stack a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// The deployed stack: the toolkit's own or one that nests it; where it nests several, STACK/ID says which
    #[arg(long, value_name = "STACK")]
    pub(super) stack: Option<String>,
}

/// As whom a command calls AWS, as its options say.
#[derive(Debug, clap::Args)]
pub(super) struct Identity {
    /// The AWS region
    #[arg(long)]
    pub(super) region: Option<String>,
    /// The profile of the AWS configuration
    #[arg(long)]
    pub(super) profile: Option<String>,
}

/// What a program says that was built without the feature `account`, as `cargo dev` and `cargo tidings` build it.
#[cfg_attr(feature = "account", expect(dead_code, reason = "all is here"))]
pub(super) fn needs_account(what: &str) -> Failure {
    Failure(format!(
        "{what} calls AWS, which this build leaves out so that it is ready soon: use `cargo aws` instead of `cargo tidings`, or \
         install the whole command line with `cargo install --path local/cli`"
    ))
}
