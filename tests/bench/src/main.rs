//! Measures Tidings against what people would use instead, and prints the table of `docs/performance.md`.
//!
//! Each program under measurement is a process of its own; the stand-ins for AWS run in this one. Contenders take turns,
//! and medians are told. Processor time is preferred to the clock: it means the same on a busy machine.

mod audience;
mod certificates;
mod counted;
mod gateway;
mod host;
mod notifier;
mod peers;
mod picture;
mod process;
mod rows;
mod server;
mod setup;
mod sockets;
mod stats;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};

use rows::Row;
use setup::Setup;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const EXAMPLES: &str = "\
Examples:
  cargo measure                            everything, in about eight minutes
  cargo measure --row pushes --row start   only these
  cargo measure --row size --json          for a script

Needs Linux. Peers in Node.js are installed into the target folder if node and npm are there; what is missing is said in
the table. Exit code 0: measured, whatever came out; 1: something could not be measured; 2: bad arguments.";

/// Measure Tidings against what people would use instead, and print a table in Markdown
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = EXAMPLES)]
struct Arguments {
    /// Measure only this; repeatable
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<Row>,
    /// Few and small measurements without Node.js, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Measure each thing so often, instead of 1 to 101 times
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Measure the programs as they are in the target folder
    #[arg(long)]
    no_build: bool,
    /// Print JSON instead of Markdown
    #[arg(long)]
    json: bool,
    /// Draw what `--row polling` compares into this file, as SVG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// List the rows and end
    #[arg(long)]
    list: bool,
    #[command(subcommand)]
    peer: Option<Peer>,
}

/// What the bench runs itself as.
#[derive(Debug, clap::Subcommand)]
enum Peer {
    /// Post messages as standard input says
    #[command(hide = true)]
    BareClient { endpoint: String },
}

fn main() -> ExitCode {
    // Started by a gateway, it is the function that the row `polling` polls.
    let is_function = std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some();
    let outcome = if is_function { on_one_thread(peers::polled::run()) } else { start(Arguments::parse()) };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn start(arguments: Arguments) -> Result<ExitCode> {
    match &arguments.peer {
        Some(Peer::BareClient { endpoint }) => on_one_thread(peers::bare_client::run(endpoint)),
        None => tokio::runtime::Runtime::new()?.block_on(run(arguments)),
    }
}

/// As functions run, and what they are compared with.
fn on_one_thread(peer: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(peer).map(|()| ExitCode::SUCCESS)
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    if arguments.list {
        return print(&list()).map(|()| ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) && !arguments.quick {
        return Err("this is a debug build, whose figures mean nothing: use `cargo measure`, or --quick".into());
    }
    let rows = if arguments.rows.is_empty() { Row::value_variants().to_vec() } else { arguments.rows };
    let with_node = !arguments.quick && rows.iter().any(|row| row.needs_node());
    say("preparing the programs and the peers");
    let mut setup =
        Setup::new(arguments.quick, arguments.rounds.map(usize::from), !arguments.no_build, with_node).await?;
    setup.picture = arguments.picture;
    let (mut lines, mut failed) = (Vec::new(), false);
    for row in rows {
        let begin = Instant::now();
        let name = name(row);
        say(&format!("measuring {name}"));
        match row.measure(&setup).await {
            Ok(measured) => lines.extend(measured),
            Err(error) => {
                failed = true;
                lines.push(table::Line::missing(name.clone(), error.to_string()));
            }
        }
        say(&format!("measured {name} in {:.0} s", begin.elapsed().as_secs_f64()));
    }
    match arguments.json {
        true => {
            let lines: Vec<_> = lines.iter().map(table::Line::json).collect();
            print(&format!("{}\n", serde_json::to_string_pretty(&lines)?))?;
        }
        false => print(&table::markdown(&lines))?,
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn list() -> String {
    let rows = Row::value_variants().iter().filter_map(|row| row.to_possible_value());
    rows.map(|row| format!("{:<12}{}\n", row.get_name(), row.get_help().unwrap_or_default())).collect()
}

fn name(row: Row) -> String {
    row.to_possible_value().map(|row| row.get_name().to_owned()).unwrap_or_default()
}

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Tells how far it is. Nobody needs to hear it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
