//! The notifier at API Gateway's quota: plays the simulation's scenarios, and prints the table of `docs/scale.md`.
//!
//! `cargo run --release --package tests --example overload`

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use tests::simulation::figures::Figures;
use tests::simulation::{Scenario, Verdict, judge, play, scenarios, table};

/// Plays the notifier at API Gateway's quota in virtual time, and says what became of everybody.
///
/// Exits with 1 if a criterion does not hold; what is instead, and the seed to play it again, stand below the table.
#[derive(Parser)]
struct Options {
    /// Play only these scenarios [default: all]
    scenario: Vec<String>,
    /// Play with this seed; can be given several times [default: 1, 2 and 3]
    #[arg(long)]
    seed: Vec<u64>,
    /// Print posts, and those answered 429, by the second
    #[arg(long)]
    seconds: bool,
    /// List the scenarios
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let all = scenarios::all();
    if options.list {
        for scenario in &all {
            say(&format!("{:<20} {}", scenario.name, scenario.what));
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = options.scenario.iter().find(|name| all.iter().all(|scenario| scenario.name != **name)) {
        let _ = writeln!(std::io::stderr(), "there is no scenario {unknown}; --list names them");
        return ExitCode::from(2);
    }
    let chosen =
        |scenario: &&Scenario| options.scenario.is_empty() || options.scenario.iter().any(|name| name == scenario.name);
    let seeds = if options.seed.is_empty() { &[1, 2, 3] } else { options.seed.as_slice() };
    say(&table::head());
    let mut failed = Vec::new();
    for scenario in all.iter().filter(chosen) {
        for seed in seeds {
            let begin = Instant::now();
            let Verdict { figures, broken } = judge(scenario, *seed, simulate);
            say(&table::line(&figures));
            if options.seconds {
                for (second, (posts, refused)) in figures.by_second().into_iter().enumerate() {
                    say(&format!("{second:>6} s {posts:>6} posts {refused:>6} of them 429"));
                }
            }
            let _ = writeln!(std::io::stderr(), "{:.1} s for {:.0} s", begin.elapsed().as_secs_f64(), figures.over);
            let sentence = |what: String| format!("{} --seed {seed}: {what}", scenario.name);
            failed.extend(broken.into_iter().map(sentence));
        }
    }
    for sentence in &failed {
        say(sentence);
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Plays on a clock of its own, which stands still until everything waits.
fn simulate(scenario: &Scenario, seed: u64) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a thread can be used").block_on(play(scenario, seed))
}
