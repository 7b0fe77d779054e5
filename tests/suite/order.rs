//! Ordered topics: everybody gets what is said in its order, whoever says it and whoever pushes it.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::crowd::{Crowd, Faults, TOPIC, member};
use tests::eventually;
use tests::kill::kill_one;
use tests::ordered::{Plan, run};
use tests::standin::{Behaviour, Outage};
use tidings::history::History;
use tidings::metrics::Metric;
use tidings::registry::Consumed;

use crate::fanout::{Workshop, invocation, segment, workshop};
use crate::metrics::until;

const ORDERED: (&str, &str) = ("History", r#"[{"to":{"topic":"**"},"seconds":300,"ordered":true}]"#);
const PATIENCE: Duration = Duration::from_secs(90);
/// A worker waits for the end of an overload that is younger than ten seconds, from when it knows of it.
const OUTAGE: Duration = Duration::from_secs(30);

/// Says `count` messages, half of them by direct invokes and half through the queue, at the same time.
async fn say(crowd: &Crowd, count: usize, pause: Duration) {
    let body = |number: usize, way: &str| json!({"to": {"topic": TOPIC}, "data": format!("{way}{number}")}).to_string();
    let direct = async {
        for number in 0..count / 2 {
            // One that is killed has said nothing, or everything; the caller cannot know.
            let _ = crowd.stack.invoke("notifier", &body(number, "direct")).await;
            tokio::time::sleep(pause).await;
        }
    };
    let queued = async {
        for number in 0..count / 2 {
            crowd.stack.send("NotificationQueue", &body(number, "queued")).await;
            tokio::time::sleep(pause).await;
        }
    };
    tokio::join!(direct, queued);
}

/// Whether somebody who drops what it has seen gets 1, 2, 3 and so on up to `end`, or beyond: a message whose worker died before
/// it was appended comes again later.
fn is_whole(offsets: &[u64], end: u64) -> bool {
    let mut last = 0;
    for offset in offsets {
        assert!(*offset <= last + 1, "{offset} came after {last}: {offsets:?}");
        last = last.max(*offset);
    }
    last >= end
}

async fn end_of_log(crowd: &Crowd) -> u64 {
    let rows = crowd.stack.rows().await;
    let offsets = rows.iter().filter(|row| row["pk"].as_s().unwrap().starts_with("log#"));
    offsets.map(|row| row["sk"].as_s().unwrap().parse().unwrap()).max().unwrap_or_default()
}

async fn everybody_has_everything(crowd: &Crowd, but: &[usize]) -> u64 {
    let end = end_of_log(crowd).await;
    eventually("everything for everybody", PATIENCE, async || {
        let all = crowd.offsets();
        let others = all.iter().enumerate().filter(|(number, _)| !but.contains(number));
        others.map(|(_, offsets)| is_whole(offsets, end)).min().filter(|done| *done).map(drop)
    })
    .await;
    end
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_gets_each_message_once_and_in_order_whoever_says_it() {
    let crowd = Crowd::gather(60, Faults::default(), &[ORDERED]).await;
    say(&crowd, 100, Duration::from_millis(5)).await;
    assert_eq!(everybody_has_everything(&crowd, &[]).await, 100);
    for offsets in crowd.offsets() {
        assert_eq!(offsets, (1..=100).collect::<Vec<_>>());
    }
    crowd.stack.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_leaves_no_gap_and_no_disorder_behind() {
    let parameters = [ORDERED, ("TimeoutSeconds", "6"), ("VisibilitySeconds", "7")];
    // Few enough that a worker gets somewhere within its six seconds on a busy machine too.
    let crowd = Crowd::gather(15, Faults::default(), &parameters).await;
    let kills = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(200..900))).await;
            kill_one(&[&format!("WEBSOCKET_ENDPOINT={}", crowd.standin.endpoint())], &mut fastrand::Rng::new());
        }
    };
    tokio::join!(say(&crowd, 120, Duration::from_millis(20)), kills);
    // Whoever died may have left its message to the next one.
    say(&crowd, 2, Duration::ZERO).await;
    assert!(everybody_has_everything(&crowd, &[]).await >= 60);
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_that_does_not_read_is_closed_and_holds_the_others_up_for_some_seconds_once() {
    let crowd = Crowd::gather(30, Faults::default(), &[ORDERED]).await;
    crowd.standin.add(&member(7), Behaviour::Answers(429, u32::MAX));
    let begin = Instant::now();
    say(&crowd, 20, Duration::from_millis(20)).await;
    everybody_has_everything(&crowd, &[7]).await;
    assert!(begin.elapsed() < Duration::from_secs(12), "{:?}", begin.elapsed());
    let closed = crowd.standin.used(&member(7));
    assert!(closed.is_closed && closed.messages.is_empty(), "{closed:?}");
    let others = (0..30).filter(|number| *number != 7);
    assert!(others.into_iter().all(|number| !crowd.standin.used(&member(number)).is_closed));
    assert!(crowd.stack.receive("DeadLetterQueue").await.is_empty(), "what it has not got is in the log");
    let sums = until(&crowd.stack, &[(Metric::ClosedForOrder, 1)]).await;
    assert_eq!((sums["ClosedForOrder"], sums["Slow"]), (1, 1), "{sums:?}");
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_whole_account_is_refused_nobody_is_closed_and_everything_comes_afterwards() {
    let crowd = Crowd::gather(30, Faults::default(), &[ORDERED]).await;
    crowd.standin.fail(Outage { after: 40, lasts: OUTAGE, status: 429, share: 1.0 });
    say(&crowd, 20, Duration::from_millis(50)).await;
    everybody_has_everything(&crowd, &[]).await;
    assert!((0..30).all(|number| !crowd.standin.used(&member(number)).is_closed));
    let sums = until(&crowd.stack, &[(Metric::LanesBehind, 1)]).await;
    assert_eq!(sums.get("ClosedForOrder"), None, "{sums:?}");
    crowd.stack.stop().await;
}

/// What one message consumes, direct and through the queue, with these rules.
pub(crate) async fn consumed(rules: &str) -> [Consumed; 2] {
    let Workshop { fan_out, .. } = workshop(3).await;
    let fan_out = fan_out.with_history(History::parse(rules).unwrap());
    let time = Duration::from_secs(20);
    let consumed = || fan_out.delivery().registry().consumed();
    // The first message begins the log, and its push begins the rate limit.
    fan_out.take_up(&segment("first"), &invocation("first", time)).await.unwrap();
    let before = consumed();
    let one = segment("second-0");
    fan_out.direct(one.notification, &invocation("second", time)).await.unwrap();
    let between = consumed();
    fan_out.take_up(&segment("third"), &invocation("third", time)).await.unwrap();
    [between - before, consumed() - between]
}

async fn write_units(rules: &str) -> [f64; 2] {
    consumed(rules).await.map(|consumed| consumed.write)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_costs_the_write_units_that_the_page_of_logs_says() {
    let ordered = ORDERED.1;
    let unordered = r#"[{"to":{"topic":"**"},"seconds":300}]"#;
    assert_eq!(write_units("[]").await, [0.0, 2.0], "as before there were logs");
    assert_eq!(write_units(unordered).await, [2.0, 4.0]);
    assert_eq!(write_units(ordered).await, [4.0, 6.0]);
}

/// The short form of `cargo run --release -p tests --example ordered`.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_neither_sort_nor_drop_get_offsets_that_rise_by_one_though_a_worker_is_killed() {
    let time = Duration::from_secs(3);
    let plan = Plan { clients: 10, rate: 20, time, kill_every: Some(Duration::from_secs(2)), release: false };
    let report = run(&plan).await;
    assert!(report.failures.is_empty() && report.messages >= 30, "{report}");
}
