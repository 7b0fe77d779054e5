//! One notification to a large crowd, a part of which misbehaves, through the notifier's own binaries.
//!
//! `cargo run --package tests --example fanout -- --members 100000 [--release]`

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::crowd::{Crowd, Faults, TOPIC};

const USAGE: &str = "usage: fanout [--members N] [--rate PUSHES_PER_SECOND] [--workers N] [--release]

Sends one notification to N members (100000), 5 % of which are gone, 5 % throttled once, 1 % fail once and 0.5 % hang once,
and says what became of it. --release runs the functions as they are deployed; their first build takes minutes.";

struct Options {
    members: usize,
    rate: String,
    workers: String,
    flags: Vec<&'static str>,
}

fn options() -> Option<Options> {
    let mut options = Options { members: 100_000, rate: "4000".to_owned(), workers: "4".to_owned(), flags: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--members" => options.members = arguments.next()?.parse().ok()?,
            "--rate" => options.rate = arguments.next()?,
            "--workers" => options.workers = arguments.next()?,
            "--release" => options.flags.push("release"),
            _ => return None,
        }
    }
    Some(options)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = options() else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let faults = Faults { gone: 50, throttled: 50, failing: 10, hanging: 5 };
    let parameters = [("PushesPerSecond", options.rate.as_str()), ("FanOutWorkers", options.workers.as_str())];
    let crowd = Crowd::gather_with(options.members, faults, &parameters, &options.flags).await;
    let begin = Instant::now();
    let answer =
        crowd.stack.invoke("NotifierFunction", &json!({"to": {"topic": TOPIC}, "data": "now"}).to_string()).await;
    let outcome = crowd.settle(begin, Duration::from_secs(580)).await;
    let segments = crowd.segments().await.len();
    let rows = crowd.stack.rows().await;
    let members = rows.iter().filter(|row| row["pk"].as_s().is_ok_and(|pk| pk.starts_with("topic#"))).count();
    let letters = crowd.stack.waiting("DeadLetterQueue").await;
    let timeouts = crowd.timeouts();
    crowd.stack.stop().await;
    let share = outcome.duplicates as f64 * 100.0 / outcome.live as f64;
    let table = [
        ("members", json!(options.members)),
        ("handed to the queue", answer.payload.get("segments").cloned().unwrap_or(Value::Null)),
        ("live members", json!(outcome.live)),
        ("reached", json!(outcome.reached)),
        ("messages twice", json!(outcome.duplicates)),
        ("stale members left in the table", json!(members - outcome.live)),
        ("segments", json!(segments)),
        ("invocations that timed out", json!(timeouts)),
        ("dead letters", json!(letters)),
        ("seconds until the last had it", json!(outcome.took.as_secs_f64())),
    ];
    let mut stdout = std::io::stdout();
    for (name, value) in table {
        let _ = writeln!(stdout, "{name:<34} {value}");
    }
    let _ = writeln!(stdout, "{:<34} {share:.3} %", "share of messages twice");
    let good =
        outcome.reached == outcome.live && share < 0.1 && members == outcome.live && timeouts == 0 && letters == 0;
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
