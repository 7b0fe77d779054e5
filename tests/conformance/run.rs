//! The run: every case once, several at a time; then a line for each that failed and how many facts were covered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;

use tokio::task::LocalSet;

use super::bench::{Bench, URL};
use super::facts::{Check, Fact, Grade, all};

/// Cases at once. A deployed function starts cold for each.
const SIDE_BY_SIDE: usize = 8;

/// Runs only the facts whose ids begin with one of these, separated by commas, for example `4.,5.3`.
const ONLY: &str = "TIDINGS_CONFORMANCE_ONLY";

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
    let results = LocalSet::new().run_until(cases.buffered(SIDE_BY_SIDE).collect::<Vec<_>>()).await;
    let (report, failures) = report(&results, bench.local.is_some());
    // Past the test harness, which keeps to itself what a test that passes prints.
    write!(std::io::stderr(), "{report}").unwrap();
    Arc::into_inner(bench).expect("no case is left").stop().await;
    assert!(failures.is_empty(), "these facts do not hold: {}\n{report}", failures.join(", "));
}

/// What became of a fact: `Err` with the panic's message, `None` if it was not checked.
async fn outcome(fact: &'static Fact, bench: Arc<Bench>) -> Option<Result<(), String>> {
    let case = match fact.check {
        Check::Anywhere(case) => case,
        Check::Here(case, _) if bench.local.is_some() => case,
        Check::Here(..) | Check::None(_) => return None,
    };
    let result = tokio::task::spawn_local(case(bench)).await;
    Some(result.map_err(|error| {
        let panic = error.into_panic();
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    }))
}

type Results = [(&'static Fact, Option<Result<(), String>>)];

fn report(results: &Results, is_local: bool) -> (String, Vec<&'static str>) {
    let mut counts: BTreeMap<Grade, Count> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut text = String::new();
    for (fact, result) in results {
        let count = counts.entry(fact.grade).or_default();
        count.facts += 1;
        match result {
            Some(Ok(())) => count.passed += 1,
            Some(Err(why)) => {
                count.failed += 1;
                failures.push(fact.id);
                writeln!(text, "FAILED {} [{}: {}] {}\n    {why}", fact.id, fact.grade, fact.source, fact.text)
                    .unwrap();
            }
            None => count.left += 1,
        }
    }
    let place = if is_local { "the local gateway" } else { "the API that the environment names" };
    writeln!(text, "\nconformance of {place} ({URL} names a deployed one):").unwrap();
    writeln!(text, "  grade    facts  hold  fail  not checked").unwrap();
    for (grade, Count { facts, passed, failed, left }) in counts {
        writeln!(text, "  {grade:7}  {facts:>5}  {passed:>4}  {failed:>4}  {left:>11}").unwrap();
    }
    for (fact, _) in results.iter().filter(|(_, result)| result.is_none()) {
        if let Check::Here(_, reason) | Check::None(reason) = fact.check {
            writeln!(text, "  not checked: {} {} ({reason})", fact.id, fact.text).unwrap();
        }
    }
    (text, failures)
}
