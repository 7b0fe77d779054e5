//! The notifier at API Gateway's quota, in virtual time: the short ones of the scenarios that `--example overload` plays.

use std::fmt::Write;

use tests::simulation::figures::Figures;
use tests::simulation::{Scenario, judge, play, scenarios, table};

/// Plays on a clock of its own, which stands still until everything waits.
fn simulate(scenario: &Scenario, seed: u64) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(play(scenario, seed))
}

#[test]
fn at_the_quota_nobody_is_lost_and_what_is_promised_holds() {
    let mut broken = String::new();
    for scenario in scenarios::short() {
        let verdict = judge(&scenario, 1, simulate);
        for sentence in &verdict.broken {
            let line = table::line(&verdict.figures);
            let _ = writeln!(broken, "{sentence}; `--example overload -- {} --seed 1`\n{line}", scenario.name);
        }
    }
    assert!(broken.is_empty(), "{}\n{broken}", table::head());
}

#[test]
fn what_is_lost_is_seen_without_a_queue_to_go_on_through() {
    // The notifier hands on what it cannot deliver in time: without the fan-out queue's mapping that is never taken up.
    let mut scenario = scenarios::short().into_iter().find(|scenario| scenario.name == "few-direct").unwrap();
    for spell in &mut scenario.spells {
        spell.length = 60.0;
    }
    scenario.most_seconds = 40.0;
    let verdict = judge(&scenario, 1, simulate);
    assert_eq!(verdict.figures.lost, 30);
    assert!(verdict.broken.iter().any(|sentence| sentence.contains("NobodyLost")), "{:?}", verdict.broken);
}

#[test]
fn a_seed_is_played_again_to_the_same_end() {
    let posts = |scenario: &Scenario, seed| {
        simulate(scenario, seed).posts.iter().map(|post| (post.at, post.status)).collect::<Vec<_>>()
    };
    for scenario in
        scenarios::short().iter().filter(|scenario| ["few-queue", "rate-row-ahead"].contains(&scenario.name))
    {
        assert!(posts(scenario, 1) == posts(scenario, 1), "{} goes another way the second time", scenario.name);
        assert!(posts(scenario, 1) != posts(scenario, 2), "{} does not depend on its seed", scenario.name);
    }
}
