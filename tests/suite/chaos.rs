//! The short form of `cargo run --release -p tests --example chaos`.

use std::time::Duration;

use tests::chaos::{Plan, run};

async fn nobody_misses_anything(unordered: bool) {
    let plan = Plan {
        clients: 30,
        time: Duration::from_secs(6),
        connection_life: Duration::from_secs(2),
        kill_every: Some(Duration::from_millis(1_400)),
        unordered,
        ..Plan::new(fastrand::u64(1..1_000_000))
    };
    let report = run(&plan, |_| ()).await;
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.messages > 100 && report.cuts > 20 && report.freezes > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_and_frozen_miss_nothing_while_workers_die_and_frames_overtake_one_another() {
    nobody_misses_anything(false).await;
}
