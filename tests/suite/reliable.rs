//! The short form of `cargo run --release -p tests --example reliable`.

use std::time::Duration;

use tests::reliable::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_cut_while_notifiers_die_get_numbers_that_rise_and_everything_once() {
    let plan = Plan {
        clients: 8,
        time: Duration::from_secs(6),
        socket_life: Duration::from_secs(2),
        kill_every: Duration::from_secs(3),
        ..Plan::new(fastrand::u64(1..1_000_000))
    };
    let report = run(&plan, |_| ()).await;
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.messages == 30 && report.cuts > 5 && report.recoveries > 5, "{report}");
}
