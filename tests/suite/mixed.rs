//! The short form of `cargo run --release -p tests --example mixed`.

use std::time::Duration;

use tests::clients::has;
use tests::mixed::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_three_libraries_whose_sockets_are_cut_get_each_message_once_and_in_order() {
    for program in ["node", "python3", "go"] {
        if !has(program).await {
            return;
        }
    }
    let plan = Plan {
        clients: [6, 3, 2],
        time: Duration::from_secs(6),
        socket_life: Duration::from_secs(4),
        shuffled: true,
        ..Plan::new(fastrand::u64(1..1_000_000))
    };
    let report = run(&plan).await;
    assert!(report.failures.is_empty(), "{report}");
    assert!(report.messages > 100 && report.received >= report.messages, "{report}");
}
