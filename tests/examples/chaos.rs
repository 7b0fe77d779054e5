//! A hundred clients whose connections are cut and frozen, workers that are killed, frames in disorder: every client ends with
//! every message of its topics, in order and none twice.
//!
//! ```sh
//! cargo run --release -p tests --example chaos -- --seeds 10
//! cargo run --release -p tests --example chaos -- --seeds 10 --unordered
//! cargo run --release -p tests --example chaos -- --seed 7
//! ```
//!
//! Exits with 1 where a seed failed, and names it. The same seed brings the same faults at the same times; what the machine
//! makes of them may differ.

#![expect(clippy::print_stdout, reason = "it is a test that is run by hand and prints its findings")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tests::chaos::{Plan, run};

/// Cuts and freezes connections of many clients, kills workers, shuffles frames, and looks whether anybody missed anything.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run --release -p tests --example chaos -- --seeds 10
  cargo run --release -p tests --example chaos -- --seeds 10 --unordered
  cargo run --release -p tests --example chaos -- --seed 7 --seconds 30")]
struct Arguments {
    /// Run the seeds from 1 to this one
    #[arg(long, value_name = "COUNT", default_value_t = 10, conflicts_with = "seed")]
    seeds: u64,
    /// Run this seed alone, as to see a failure again
    #[arg(long)]
    seed: Option<u64>,
    /// For how long messages are said, for each seed
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many clients there are; each is subscribed to two topics
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
    /// How many topics there are
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    topics: u32,
    /// Messages a second, to all topics together
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// How many seconds a connection lives on average
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    life: u64,
    /// After how many seconds, on average, a process of the notifier is killed; 0 kills none
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    kill_every: u64,
    /// Topics without an order, audiences that are split over workers, and queues that deliver each message twice
    #[arg(long)]
    unordered: bool,
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        Plan {
            clients: self.clients as usize,
            topics: self.topics as usize,
            rate: self.rate,
            time: Duration::from_secs(self.seconds),
            connection_life: Duration::from_secs(self.life),
            kill_every: (self.kill_every > 0).then(|| Duration::from_secs(self.kill_every)),
            unordered: self.unordered,
            ..Plan::new(seed)
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = arguments.seed.map_or(1..=arguments.seeds, |seed| seed..=seed);
    let mut failed = Vec::new();
    for seed in seeds {
        println!("seed {seed}");
        let report = run(&arguments.plan(seed), |line| println!("  {line}")).await;
        println!("{report}");
        if !report.failures.is_empty() {
            failed.push(seed);
        }
    }
    match failed.as_slice() {
        [] => ExitCode::SUCCESS,
        failed => {
            println!("failed: {failed:?}; run one again with the same options and `--seed {}`", failed[0]);
            ExitCode::FAILURE
        }
    }
}
