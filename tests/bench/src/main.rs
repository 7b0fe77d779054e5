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
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use measure::{Arguments, Row};

use setup::Setup;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
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
    // Started by a gateway, it is one of the functions of the row `polling`.
    let outcome = match std::env::var("_HANDLER") {
        Ok(handler) => on_one_thread(peers::function(&handler)),
        Err(_) => start(&Cli::parse()),
    };
    outcome.unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        ExitCode::FAILURE
    })
}

fn start(cli: &Cli) -> Result<ExitCode> {
    match &cli.peer {
        Some(Peer::BareClient { endpoint }) => on_one_thread(peers::bare_client::run(endpoint)),
        None => tokio::runtime::Runtime::new()?.block_on(run(&cli.arguments)),
    }
}

/// As functions run, and what they are compared with.
fn on_one_thread(peer: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(peer).map(|()| ExitCode::SUCCESS)
}

async fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        return print(&Row::list()).map(|()| ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) && !arguments.quick {
        return Err("this is a debug build, whose figures mean nothing: use `cargo measure`, or --quick".into());
    }
    say("preparing the programs and the peers");
    let setup = Setup::new(arguments).await?;
    let (mut lines, mut failed) = (Vec::new(), false);
    for &row in arguments.rows() {
        let begin = Instant::now();
        let name = row.name();
        say(&format!("measuring {name}"));
        match rows::measure(row, &setup).await {
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

fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Tells how far it is. Nobody needs to hear it.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
