//! Twenty clients of Web PubSub's reliable subprotocol whose sockets are cut, while several notifiers push to all of them and
//! are killed: no number comes below an earlier one on any socket, nothing is missed, nothing comes twice.
//!
//! ```sh
//! cargo run --release -p tests --example reliable -- --seeds 3
//! ```
//!
//! Exits with 1 where a seed failed, and names it.

#![expect(clippy::print_stdout, reason = "it is a test that is run by hand and prints its findings")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::reliable::{Plan, run};

/// Cuts sockets of clients that recover, kills notifiers, and looks whether anybody missed anything.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run the seeds from 1 to this one
    #[arg(long, value_name = "COUNT", default_value_t = 3, conflicts_with = "seed")]
    seeds: u64,
    /// Run this seed alone, as to see a failure again
    #[arg(long)]
    seed: Option<u64>,
    /// For how long messages are said, for each seed
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many clients there are
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Messages a second
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rate: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { seeds, seed, seconds, clients, rate } = Arguments::parse();
    let mut failed = Vec::new();
    for seed in seed.map_or(1..=seeds, |seed| seed..=seed) {
        println!("seed {seed}");
        let plan = Plan { clients, rate, time: Duration::from_secs(seconds), ..Plan::new(seed) };
        let report = run(&plan, |line| println!("  {line}")).await;
        println!("{report}");
        if !report.failures.is_empty() {
            failed.push(seed);
        }
    }
    match failed.as_slice() {
        [] => ExitCode::SUCCESS,
        failed => {
            println!("failed: {failed:?}");
            ExitCode::FAILURE
        }
    }
}
