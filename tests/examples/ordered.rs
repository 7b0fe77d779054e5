//! An ordered topic at length: what becomes of clients that neither sort nor drop what they get.
//!
//! ```sh
//! cargo run --release -p tests --example ordered
//! cargo run --release -p tests --example ordered -- kills --seconds 30
//! ```
//!
//! Exits with 1 where something did not hold, and says what.

#![expect(clippy::print_stdout, reason = "it is a test that is run by hand and prints its findings")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tests::ordered::{Plan, one_that_does_not_read, refused, run};

/// The least share of messages that come as pushes where nothing goes wrong.
const LEAST_PUSHED: f64 = 0.95;
/// The longest time until a topic goes on after a worker's death.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// The longest time in which others wait for one that does not read, and after which nobody waits again.
const LONGEST_WAIT: Duration = Duration::from_secs(6);
const SHORT_WAIT: Duration = Duration::from_secs(2);

/// One of the things to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Two producers, and nothing goes wrong
    Calm,
    /// The same, and a worker is killed every 20 seconds
    Kills,
    /// One of 200 clients does not read
    Hung,
    /// The whole account is refused for 30 seconds
    Refused,
}

/// Looks at an ordered topic for minutes: clients that neither sort nor drop, workers that are killed, one client that does not
/// read, and an account that is refused.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run --release -p tests --example ordered
  cargo run --release -p tests --example ordered -- calm kills --clients 50
  cargo run --release -p tests --example ordered -- kills --seconds 120")]
struct Arguments {
    /// What to look at [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How many clients there are that neither sort nor drop
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// Messages a second
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// For how long messages are said
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

impl Arguments {
    fn plan(&self, kill_every: Option<Duration>) -> Plan {
        let time = Duration::from_secs(self.seconds);
        Plan { clients: self.clients, rate: self.rate, time, kill_every, release: true }
    }

    /// What did not hold.
    async fn look_at(&self, part: Part) -> Vec<String> {
        match part {
            Part::Calm => {
                let mut report = run(&self.plan(None)).await;
                println!("calm: {report}");
                if report.pushes() < LEAST_PUSHED {
                    report.failures.push(format!("{:.2} % came as pushes", report.pushes() * 100.0));
                }
                report.failures
            }
            Part::Kills => {
                let mut report = run(&self.plan(Some(Duration::from_secs(20)))).await;
                println!("kills: {report}");
                if report.longest_silence > LONGEST_SILENCE {
                    report.failures.push(format!("nothing came for {:?}", report.longest_silence));
                }
                report.failures
            }
            Part::Hung => {
                let mut held = one_that_does_not_read(200, Duration::from_secs(30), &["release"]).await;
                let (first, second) = (held.pauses[0], held.pauses[1]);
                println!("hung: the others waited {:.1} s once, and then at most {second:.1?}", first.as_secs_f64());
                if first > LONGEST_WAIT || second > SHORT_WAIT {
                    held.failures.push(format!("they waited {first:?} and {second:?}"));
                }
                held.failures
            }
            Part::Refused => {
                let failures = refused(100, Duration::from_secs(30), &["release"]).await;
                println!("refused: {} failures", failures.len());
                failures
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let parts = if arguments.parts.is_empty() { Part::value_variants() } else { arguments.parts.as_slice() };
    let mut failures = Vec::new();
    for part in parts {
        failures.extend(arguments.look_at(*part).await.into_iter().map(|failure| format!("{part:?}: {failure}")));
    }
    for failure in &failures {
        println!("{failure}");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
