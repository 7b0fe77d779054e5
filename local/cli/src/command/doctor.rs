//! `tidings doctor`: what a machine or a deployed stack lacks, and how to get it, in one line each.

mod deployed;
mod machine;

use std::io::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use serde_json::json;

use super::Failure;
use super::identity::{Identity, Named};

/// Look at this machine, or at a deployed stack, and say what is missing and how to get it.
///
/// Without --stack it looks for the tools that building, testing and deploying need. With it, it reads the stack with the
/// credentials that the AWS command line would use, and connects to its URL once; it changes nothing. It fails
/// when something is wrong; what is only worth knowing is a note.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    identity: Identity,
    /// The template, which says for which processor functions are built
    #[arg(long, value_name = "FILE", default_value = "template.yaml", conflicts_with = "stack")]
    template: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tidings doctor
  tidings doctor --json | jq -r '.checks[] | select(.state == \"wrong\") | .fix'
  tidings doctor --stack tidings
  tidings doctor --stack tidings-prod --region eu-west-1 --profile production
  tidings doctor --stack shop/Tidings               the stack Tidings that the stack shop nests, where it nests several";

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: String,
    state: State,
    /// What is there, or what is wrong.
    says: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Worth knowing; nothing that is needed is missing.
    Note,
    Wrong,
}

impl Finding {
    fn ok(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Ok, says: says.into(), fix: None }
    }

    fn note(check: impl Into<String>, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Note, says: says.into(), fix: Some(fix.into()) }
    }

    fn wrong(check: impl Into<String>, says: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), state: State::Wrong, says: says.into(), fix: Some(fix.into()) }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let account = arguments.identity.at(None);
    let findings = match &arguments.named.stack {
        Some(stack) => deployed::look(account, stack).await,
        None => machine::look(account, &arguments.template).await,
    };
    let written = if arguments.json { write_json(&findings) } else { write_lines(&findings) };
    written.map_err(|error| Failure(format!("cannot write what was found: {error}")))?;
    match findings.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(()),
        wrong => Err(Failure(format!("{wrong} of {} checks found something wrong", findings.len()))),
    }
}

fn write_json(findings: &[Finding]) -> std::io::Result<()> {
    let is_ok = findings.iter().all(|finding| finding.state != State::Wrong);
    writeln!(std::io::stdout(), "{}", json!({"ok": is_ok, "checks": findings}))
}

fn write_lines(findings: &[Finding]) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    for Finding { check, state, says, fix } in findings {
        let (word, colour) = match state {
            State::Ok => ("ok   ", AnsiColor::Green),
            State::Note => ("note ", AnsiColor::Yellow),
            State::Wrong => ("WRONG", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let fix = fix.as_ref().map(|fix| format!("; {fix}")).unwrap_or_default();
        writeln!(out, "{style}{word}{style:#} {check}: {says}{fix}")?;
    }
    Ok(())
}
