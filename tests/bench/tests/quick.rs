//! The bench itself, on its smallest scale: that it measures and says what it did not. What it measures is not judged here.

#![expect(clippy::unwrap_used, reason = "this is test code: what cannot be is to end the test")]

use std::process::Command;

use serde_json::Value;

fn bench(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().unwrap();
    let status = output.status.code().unwrap();
    let said = String::from_utf8(if status == 0 { output.stdout } else { output.stderr }).unwrap();
    (status, said)
}

#[test]
#[cfg(target_os = "linux")]
fn a_quick_run_measures_starts_and_pushes_and_says_what_is_missing() {
    let (status, said) = bench(&["--quick", "--json", "--row", "start", "--row", "size", "--row", "pushes"]);
    assert_eq!(status, 0, "{said}");
    let lines: Vec<Value> = serde_json::from_str(&said).unwrap();
    let line = |figure: &str| {
        let found = lines.iter().find(|line| line["figure"] == figure);
        found.unwrap_or_else(|| panic!("there is no line {figure:?}: {said}"))
    };
    for figure in
        ["start to first response of `connect`, TLS", "binary of `connect`", "pushes per second of processor time"]
    {
        assert!(line(figure)["value"].as_f64().unwrap() > 0.0, "{figure}: {said}");
        assert!(line(figure)["peerValue"].as_f64().unwrap() > 0.0, "{figure}: {said}");
    }
    let missing = line("pushes per second of processor time, Node.js");
    assert_eq!((&missing["value"], &missing["note"]), (&Value::Null, &"Node.js was left out (--quick)".into()));
}

#[test]
#[cfg(target_os = "linux")]
fn notifications_for_one_user_each_are_served_with_at_most_one_write_of_the_rate_limit_for_a_batch() {
    let (status, said) = bench(&["--quick", "--json", "--row", "notifications"]);
    assert_eq!(status, 0, "{said}");
    let lines: Vec<Value> = serde_json::from_str(&said).unwrap();
    let line = |part: &str| lines.iter().find(|line| line["figure"].as_str().unwrap().contains(part)).unwrap();
    assert!(line("a second")["value"].as_f64().unwrap() > 0.0, "{said}");
    assert_eq!(line("writes of the rate limit")["met"], true, "{said}");
    assert!(line("with the default `History`, a second")["ratio"].as_f64().unwrap() > 0.0, "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn logs_are_measured_with_real_functions_and_lose_nothing() {
    let (status, said) = bench(&["--quick", "--json", "--row", "logs"]);
    assert_eq!(status, 0, "{said}");
    let lines: Vec<Value> = serde_json::from_str(&said).unwrap();
    for part in ["with a log, p99", "of an ordered topic, p50", "recovery of 100", "write units of an append", "heads"]
    {
        let line = lines.iter().find(|line| line["figure"].as_str().unwrap().contains(part));
        assert!(line.unwrap()["value"].as_f64().unwrap() > 0.0, "{part}: {said}");
    }
}

#[test]
fn a_baseline_that_is_no_commit_is_refused_before_anything_is_built() {
    let (status, said) = bench(&["--quick", "--row", "notifications", "--baseline", "no-such-commit"]);
    assert_eq!(status, 1);
    assert!(said.contains("no-such-commit"), "{said}");
}

#[test]
#[cfg(debug_assertions)]
fn a_debug_build_refuses_to_tell_figures() {
    let (status, said) = bench(&["--row", "size"]);
    assert_eq!(status, 1);
    assert!(said.contains("cargo measure"), "{said}");
}

#[test]
fn the_list_names_every_row() {
    let (status, said) = bench(&["--list"]);
    assert_eq!(status, 0);
    let rows =
        ["start", "size", "pushes", "growth", "broadcast", "notifications", "registry", "gateway", "instructions"];
    for row in rows.into_iter().chain(["logs", "polling"]) {
        assert!(said.lines().any(|line| line.starts_with(row)), "{row} is missing: {said}");
    }
}
