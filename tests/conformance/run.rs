//! The run: every case once, several at a time; then a line for each that failed and how many facts were covered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use tests::eventually;
use tests::wire::Url;
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::bench::{Bench, PATIENCE, Place, URL};
use super::facts::{Fact, Grade, all};

/// Cases at once. A deployed function starts cold for each.
const SIDE_BY_SIDE: usize = 8;

/// How long a case may take on an emulator: what it does not do usually does not come at all.
const PATIENCE_WITH_PEERS: Duration = Duration::from_secs(6);

/// Runs only the facts whose ids begin with one of these, separated by commas, for example `4.,5.3`.
const ONLY: &str = "TIDINGS_CONFORMANCE_ONLY";

/// A file for what became of each fact, as JSON.
const RESULTS: &str = "TIDINGS_CONFORMANCE_RESULTS";

#[derive(Default)]
struct Count {
    facts: usize,
    passed: usize,
    failed: usize,
    left: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fact_about_api_gateway_holds() {
    let bench = Arc::new(Bench::start().await);
    let only = std::env::var(ONLY).unwrap_or_default();
    let wanted = |fact: &&Fact| only.split(',').any(|start| fact.id.starts_with(start));
    let cases = stream::iter(all().filter(wanted)).map(|fact| {
        let bench = Arc::clone(&bench);
        async move { (fact, outcome(fact, bench).await) }
    });
    // One at a time where one may be in another's way: an emulator may know handshakes apart by their keys, which are all alike.
    let at_once = if matches!(bench.place, Place::Peer(_)) { 1 } else { SIDE_BY_SIDE };
    let results = LocalSet::new().run_until(cases.buffered(at_once).collect::<Vec<_>>()).await;
    let (report, failures) = report(&results, &bench.place);
    // Past the test harness, which keeps to itself what a test that passes prints.
    write!(std::io::stderr(), "{report}").unwrap();
    if let Ok(file) = std::env::var(RESULTS) {
        let results: Value = results.iter().map(|(fact, outcome)| in_json(fact, outcome)).collect();
        std::fs::write(file, results.to_string()).unwrap();
    }
    // What is not as it should be elsewhere is for `beside.py` to judge.
    let counts = !matches!(bench.place, Place::Peer(_));
    Arc::into_inner(bench).expect("no case is left").stop().await;
    assert!(!counts || failures.is_empty(), "these facts do not hold: {}\n{report}", failures.join(", "));
}

/// What became of a fact: `Ok` with the panic's message if it does not hold, `Err` with the reason if it was not checked.
type Outcome = Result<Option<String>, &'static str>;

async fn outcome(fact: &'static Fact, bench: Arc<Bench>) -> Outcome {
    let case = fact.check.case(&bench)?;
    let patience = matches!(bench.place, Place::Peer(_)).then_some(PATIENCE_WITH_PEERS);
    if patience.is_some() {
        // A case before may have been its end, and it is started again.
        let listens = async || TcpStream::connect(Url::parse(&bench.main).authority).await.ok();
        eventually("a gateway that listens", PATIENCE, listens).await;
    }
    let mut running = tokio::task::spawn_local(case(bench));
    let result = match patience {
        None => running.await,
        Some(patience) => match timeout(patience, &mut running).await {
            Ok(result) => result,
            Err(_) => {
                running.abort();
                // Once it is gone, nobody has the bench any more.
                let _ = running.await;
                return Ok(Some(format!("nothing came in {patience:?}")));
            }
        },
    };
    Ok(result.err().map(|error| {
        let panic = error.into_panic();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    }))
}

fn in_json(fact: &Fact, outcome: &Outcome) -> Value {
    let (outcome, why) = match outcome {
        Ok(None) => ("holds", ""),
        Ok(Some(why)) => ("fails", why.as_str()),
        Err(reason) => ("unchecked", *reason),
    };
    json!({"id": fact.id, "grade": fact.grade.to_string(), "text": fact.text, "outcome": outcome, "why": why})
}

fn report(results: &[(&'static Fact, Outcome)], place: &Place) -> (String, Vec<&'static str>) {
    let mut counts: BTreeMap<Grade, Count> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut text = String::new();
    for (fact, result) in results {
        let count = counts.entry(fact.grade).or_default();
        count.facts += 1;
        match result {
            Ok(None) => count.passed += 1,
            Ok(Some(why)) => {
                count.failed += 1;
                failures.push(fact.id);
                writeln!(text, "FAILED {} [{}: {}] {}\n    {why}", fact.id, fact.grade, fact.source, fact.text)
                    .unwrap();
            }
            Err(_) => count.left += 1,
        }
    }
    let place = match place {
        Place::Ours => "the local gateway",
        Place::Peer(name) => name,
        Place::Aws => "the API that the environment names",
    };
    writeln!(text, "\nconformance of {place} ({URL} names a deployed one):").unwrap();
    writeln!(text, "  grade    facts  hold  fail  not checked").unwrap();
    for (grade, Count { facts, passed, failed, left }) in counts {
        writeln!(text, "  {grade:7}  {facts:>5}  {passed:>4}  {failed:>4}  {left:>11}").unwrap();
    }
    for (fact, result) in results {
        if let Err(reason) = result {
            writeln!(text, "  not checked: {} {} ({reason})", fact.id, fact.text).unwrap();
        }
    }
    (text, failures)
}
