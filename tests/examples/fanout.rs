//! One notification to a large crowd, a part of which misbehaves, through the notifier's own binaries.
//!
//! `cargo run --package tests --example fanout -- --members 100000 [--release]`

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::crowd::{Crowd, Faults, TOPIC};
use tests::standin::Outage;

const USAGE: &str = "usage: fanout [--members N] [--rate PUSHES_PER_SECOND] [--workers N] [--release] [--healthy] [--queue]
              [--outage STATUS [--after POSTS] [--seconds N] [--share SHARE]]

Sends one notification to N members (100000), 5 % of which are gone, 2 % throttled once, 1 % fail once and 0.5 % hang once,
and says what became of it. --release runs the functions as they are deployed; their first build takes minutes.

  --healthy   nobody is gone, throttled, fails or hangs
  --queue     sends it to the notification queue instead of invoking the notifier
  --outage    answers STATUS to the whole account, from the post after POSTS (3000) on, for N seconds (8), to SHARE of
              all posts (1.0)

Examples:
  fanout --members 10000 --healthy --outage 429
  fanout --members 20000 --healthy --outage 429 --after 0 --seconds 60 --share 0.5
  fanout --members 30 --healthy --queue --outage 403 --after 0 --seconds 3";

struct Options {
    members: usize,
    rate: String,
    workers: String,
    flags: Vec<&'static str>,
    faults: Faults,
    is_queued: bool,
    outage: Outage,
    is_out: bool,
}

fn options() -> Option<Options> {
    let mut options = Options {
        members: 100_000,
        rate: "4000".to_owned(),
        workers: "4".to_owned(),
        flags: Vec::new(),
        faults: Faults { gone: 50, throttled: 20, failing: 10, hanging: 5 },
        is_queued: false,
        outage: Outage { after: 3_000, lasts: Duration::from_secs(8), status: 429, share: 1.0 },
        is_out: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--members" => options.members = arguments.next()?.parse().ok()?,
            "--rate" => options.rate = arguments.next()?,
            "--workers" => options.workers = arguments.next()?,
            "--release" => options.flags.push("release"),
            "--healthy" => options.faults = Faults::default(),
            "--queue" => options.is_queued = true,
            "--outage" => (options.is_out, options.outage.status) = (true, arguments.next()?.parse().ok()?),
            "--after" => options.outage.after = arguments.next()?.parse().ok()?,
            "--seconds" => options.outage.lasts = Duration::from_secs(arguments.next()?.parse().ok()?),
            "--share" => options.outage.share = arguments.next()?.parse().ok()?,
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
    let parameters = [("PushesPerSecond", options.rate.as_str()), ("FanOutWorkers", options.workers.as_str())];
    let crowd = Crowd::gather_with(options.members, options.faults, &parameters, &options.flags).await;
    if options.is_out {
        crowd.standin.fail(options.outage);
    }
    let (begin, note) = (Instant::now(), json!({"to": {"topic": TOPIC}, "data": "now"}).to_string());
    let answer = match options.is_queued {
        true => {
            crowd.stack.send("NotificationQueue", &note).await;
            Value::Null
        }
        false => crowd.stack.invoke("NotifierFunction", &note).await.payload,
    };
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
        ("handed to the queue", answer.get("segments").cloned().unwrap_or(Value::Null)),
        ("live members", json!(outcome.live)),
        ("reached", json!(outcome.reached)),
        ("messages twice", json!(outcome.duplicates)),
        ("stale members left in the table", json!(members - outcome.live)),
        ("segments", json!(segments)),
        ("invocations that timed out", json!(timeouts)),
        ("dead letters", json!(letters)),
        ("seconds until the last had it", json!(outcome.took.as_secs_f64())),
        ("longest time without a post", json!(crowd.standin.longest_pause().as_secs_f64())),
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
