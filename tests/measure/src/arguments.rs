//! What the bench can be asked for.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  cargo measure                            everything, in about ten minutes once it is built
  cargo measure --row pushes --row start   only these
  cargo measure --row size --json          for a script
  cargo measure --row notifications --baseline HEAD~20

Needs Linux. Peers in Node.js and Python are installed into the target folder if node, npm and python3 are there; what is
missing is said in the table. Exit code 0: measured, whatever came out; 1: something could not be measured; 2: bad arguments.";

/// Measure Tidings against what people would use instead, and print a table in Markdown
#[derive(Debug, Parser)]
#[command(name = "cargo measure", bin_name = "cargo measure", after_help = EXAMPLES)]
pub struct Arguments {
    /// Measure only this; repeatable
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<Row>,
    /// Few and small measurements without Node.js and Python, to see that everything works
    #[arg(long)]
    pub quick: bool,
    /// Measure each thing so often, instead of 1 to 101 times
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: Option<u16>,
    /// Measure the programs as they are in the target folder
    #[arg(long)]
    pub no_build: bool,
    /// Print JSON instead of Markdown
    #[arg(long)]
    pub json: bool,
    /// Draw what `--row polling` compares into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// Compare `--row notifications`, `pushes` and `instructions` with this commit, which is built in a work tree in the target
    /// folder
    #[arg(long, value_name = "COMMIT")]
    pub baseline: Option<String>,
    /// List the rows and end
    #[arg(long)]
    pub list: bool,
}

impl Arguments {
    /// What is to be measured: the rows that were named, or all.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        if self.rows.is_empty() { Row::value_variants() } else { &self.rows }
    }

    /// Whether a peer in Node.js is to be measured.
    #[must_use]
    pub fn needs_node(&self) -> bool {
        !self.quick && self.rows().iter().any(|row| row.needs_node())
    }

    /// Whether ministack is to be measured.
    #[must_use]
    pub fn needs_ministack(&self) -> bool {
        !self.quick && self.rows().contains(&Row::Gateway)
    }
}

/// The programs of a baseline that are measured.
pub const BASELINE_PROGRAMS: [&str; 2] = ["connect", "notifier"];

/// A group of figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// Start of a new execution environment of `connect`, with TLS and without
    Start,
    /// Sizes of the functions' programs
    Size,
    /// Pushes per second of processor time
    Pushes,
    /// What a delivery costs as its audience grows
    Growth,
    /// Broadcasts against AWS's quota
    Broadcast,
    /// Notifications for one user each, from the queue
    Notifications,
    /// Connect, subscribe and disconnect at a million rows
    Registry,
    /// The local gateway against serverless-offline and ministack
    Gateway,
    /// Instructions per push, per frame and per start
    Instructions,
    /// Messages, recoveries and appends with logs against those without
    Logs,
    /// The same updates polled, long polled and pushed
    Polling,
}

impl Row {
    /// Its name in arguments.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// All rows, a line each with what it measures.
    #[must_use]
    pub fn list() -> String {
        let values = Self::value_variants().iter().filter_map(Self::to_possible_value);
        values.map(|value| format!("{:<14} {}\n", value.get_name(), value.get_help().unwrap_or_default())).collect()
    }

    /// Whether a peer in Node.js belongs to it.
    fn needs_node(self) -> bool {
        matches!(self, Self::Start | Self::Pushes | Self::Gateway)
    }

    /// The programs that it starts, beside the bench itself. No more, for each takes a minute to link.
    pub(crate) fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Start => &["bare-function", "connect"],
            Self::Size => &["bare-function", "connect", "notifier"],
            Self::Pushes | Self::Growth | Self::Broadcast | Self::Notifications => &["notifier"],
            Self::Registry | Self::Polling => &["connect", "notifier", "tidings"],
            Self::Logs => &["connect", "default", "notifier", "tidings"],
            Self::Gateway => &["bare-function", "tidings"],
            Self::Instructions => &["bare-function", "connect", "notifier", "tidings"],
        }
    }
}
