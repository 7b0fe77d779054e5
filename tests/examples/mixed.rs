//! A hundred clients of Centrifugo's libraries for JavaScript, Python and Go, whose sockets are cut again and again: each gets every
//! message of its channels once, rising by one, by the library's own recovery.
//!
//! ```sh
//! cargo run --release -p tests --example mixed
//! cargo run --release -p tests --example mixed -- --seed 7 --seconds 30
//! ```
//!
//! Needs Node.js, Python and Go. Exits with 1 where something did not hold, and says what.

#![expect(clippy::print_stdout, reason = "it is a test that is run by hand and prints its findings")]

use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use tests::mixed::{Plan, run};

/// The least share of messages that come as pushes.
const LEAST_PUSHED: f64 = 0.90;

/// Cuts the sockets of many clients of three libraries, and looks whether anybody missed anything.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run --release -p tests --example mixed
  cargo run --release -p tests --example mixed -- --seed 7 --shuffled
  cargo run --release -p tests --example mixed -- --clients 6,3,1 --seconds 20 --life 5")]
struct Arguments {
    /// Where the times of cuts come from [default: any]
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients in JavaScript, Python and Go
    #[arg(long, value_delimiter = ',', default_value = "60,30,10")]
    clients: Vec<usize>,
    /// How many channels there are; each client is subscribed to two
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(4..=100))]
    channels: u32,
    /// Messages a second, to all channels together
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// For how long messages are said
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many seconds a socket lives on average
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    life: u64,
    /// Frames of a connection overtake one another
    #[arg(long)]
    shuffled: bool,
    /// Build the functions as they are deployed
    #[arg(long)]
    functions_in_release: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let [js, python, go] = arguments.clients[..] else {
        let message = "--clients takes three numbers, such as 60,30,10: of JavaScript, Python and Go";
        Arguments::command().error(ErrorKind::ValueValidation, message).exit();
    };
    let plan = Plan {
        clients: [js, python, go],
        channels: arguments.channels as usize,
        rate: arguments.rate,
        time: Duration::from_secs(arguments.seconds),
        socket_life: Duration::from_secs(arguments.life),
        shuffled: arguments.shuffled,
        release: arguments.functions_in_release,
        ..Plan::new(arguments.seed.unwrap_or_else(|| fastrand::u64(1..1_000_000)))
    };
    let report = run(&plan).await;
    println!("{report}");
    let is_pushed = report.pushes() >= LEAST_PUSHED;
    if !is_pushed {
        println!("fewer than {:.0} % came as pushes", LEAST_PUSHED * 100.0);
    }
    if report.failures.is_empty() && is_pushed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
