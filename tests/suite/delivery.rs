//! Delivery against sockets that misbehave on demand, with the real registry behind it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tests::engine::{Engine, Table};
use tests::standin::{Behaviour, Standin};
use tidings::NotificationId;
use tidings::clock::Clock;
use tidings::delivery::{Delivery, DeliveryError, Finish, Job, Limits, Progress, Report, Retry, SaveError, Why};
use tidings::metrics::Metrics;
use tidings::notification::{Defaults, Notification, Target};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, Interval, Members, Position, Registry};
use tokio::time::Instant;

use crate::registry::{connection, made_at, registry};

const HOUR_MS: i64 = 3_600_000;
const LIMITS: Limits = Limits { pushes_per_second: 20_000.0, workers: 1 };

/// Milliseconds since the epoch, the same for every test of a run.
fn now() -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    *NOW.get_or_init(tests::now)
}

struct Setup {
    table: Table,
    standin: Standin,
    registry: Registry,
    /// How long a post may take: what is not answered at once on a busy machine must not count as a failure.
    post_deadline: Duration,
}

impl Setup {
    async fn new() -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        let registry = registry(&table);
        Self { table, standin: Standin::start().await, registry, post_deadline: Duration::from_secs(10) }
    }

    /// Connects a client that has been there for an hour.
    async fn old(&self, id: &str, behaviour: Behaviour) -> Connection {
        self.connect(id, now() - HOUR_MS, behaviour).await
    }

    /// Connects so many clients `c0`, `c1` and so on that have been there for an hour.
    async fn crowd(&self, count: usize, behaviour: Behaviour) {
        for index in 0..count {
            self.old(&format!("c{index}"), behaviour).await;
        }
    }

    /// Connects a client a second ago.
    async fn young(&self, id: &str, behaviour: Behaviour) -> Connection {
        self.connect(id, now() - 1_000, behaviour).await
    }

    async fn connect(&self, id: &str, connected_at: i64, behaviour: Behaviour) -> Connection {
        let connected = made_at(connected_at, connection(id, Some("u"), &["t"]));
        self.registry.connect(&connected).await.unwrap();
        self.standin.add(id, behaviour);
        connected
    }

    fn delivery(&self, limits: Limits) -> Delivery {
        Delivery::new(self.standin.sockets(self.post_deadline), self.registry.clone(), limits, Clock::System)
    }

    async fn deliver(&self, text: &str) -> Result<Report, DeliveryError> {
        let finish = self.run(LIMITS, &notification(text), now(), Duration::from_secs(60)).await?;
        assert_eq!(finish.rest, None);
        Ok(finish.report)
    }

    /// Delivers to the whole audience, and saves nothing.
    async fn run(
        &self,
        limits: Limits,
        text: &Notification,
        now: i64,
        time: Duration,
    ) -> Result<Finish, DeliveryError> {
        let members = self.registry.members(&text.to, &Interval::whole(), now);
        let (finish, _) = deliver_to(members, &self.delivery(limits), text, Retry::No, time).await;
        finish
    }

    /// Tries the whole topic again for a reason. What is told, too.
    async fn again(&self, retry: Retry) -> (Result<Finish, DeliveryError>, Told) {
        let text = notification(TOPIC);
        let members = self.registry.members(&text.to, &Interval::whole(), now());
        deliver_to(members, &self.delivery(LIMITS), &text, retry, Duration::from_secs(30)).await
    }

    async fn is_registered(&self, connected: &Connection) -> bool {
        self.registry.connection(&connected.id).await.unwrap().is_some()
    }

    fn messages(&self, id: &str) -> usize {
        self.standin.used(id).messages.len()
    }
}

fn notification(text: &str) -> Notification {
    Notification::parse(text, &Defaults { id: NotificationId::parse("n").unwrap(), at: now() }).unwrap()
}

/// What a delivery said of single members.
#[derive(Debug, Default)]
struct Told {
    failed: Vec<String>,
    delayed: usize,
}

/// Delivers to these members, and notes what it says of them.
async fn deliver_to(
    members: Members,
    delivery: &Delivery,
    text: &Notification,
    retry: Retry,
    time: Duration,
) -> (Result<Finish, DeliveryError>, Told) {
    let told = Arc::new(Mutex::new(Told::default()));
    let notes = Arc::clone(&told);
    let save = move |progress: Progress| -> Saved {
        let mut told = notes.lock().unwrap();
        told.failed.extend(progress.failed.iter().map(|failed| format!("{}: {}", failed.connection, failed.reason)));
        told.delayed += progress.delayed.len();
        Box::pin(std::future::ready(Ok(())))
    };
    let job = Job {
        notifications: std::slice::from_ref(text),
        lagging: tidings::delivery::Lagging::GoesOnByName,
        members,
        first: Vec::new(),
        position: Position::default(),
        doorkeeper: None,
        begun: std::collections::BTreeMap::new(),
        resumable: false,
        retry,
        deadline: Instant::now() + time,
        save: &save,
        recorder: &Metrics::default().recorder(),
    };
    let finish = delivery.deliver(job).await;
    let told = std::mem::take(&mut *told.lock().unwrap());
    (finish, told)
}

type Saved = Pin<Box<dyn Future<Output = Result<(), SaveError>> + Send>>;

const TOPIC: &str = r#"{"to":{"topic":"t"},"data":{"n":1}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn stale_connections_are_removed_and_everyone_else_is_reached() {
    let setup = Setup::new().await;
    for index in 0..300 {
        let behaviour = match index % 10 {
            0 => Behaviour::Gone,
            1 => Behaviour::Invalid,
            2 => Behaviour::Answers(429, 1),
            3 => Behaviour::Answers(500, 2),
            _ => Behaviour::Takes,
        };
        setup.old(&format!("c{index}"), behaviour).await;
    }
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.audience, report.delivered, report.gone, report.throttled), (300, 240, 60, 30), "{report:?}");
    assert_eq!((report.slow, report.failed, report.pending), (0, 0, 0), "{report:?}");
    for (id, messages) in setup.standin.counts() {
        let index: usize = id[1..].parse().unwrap();
        assert_eq!(messages, usize::from(index % 10 > 1), "{id}");
    }
    for row in setup.table.rows().await {
        // All rows of a connection end in its id; that of the rate limit is no connection's.
        let index = row["sk"].as_s().unwrap().rsplit('#').next().and_then(|id| id.strip_prefix('c')?.parse().ok());
        assert!(index.is_none_or(|index: usize| index % 10 > 1), "something is left of one that is gone: {row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_membership_is_removed_by_the_push_that_finds_nobody() {
    let setup = Setup::new().await;
    crate::registry::fill(&setup.table, "t", 5).await;
    // Orphans of an hour ago: the pattern of `fill` connected at the suite's fixed time.
    let late = crate::registry::NOW + HOUR_MS;
    let notification =
        Notification::parse(TOPIC, &Defaults { id: NotificationId::parse("n").unwrap(), at: late }).unwrap();
    let report = setup.run(LIMITS, &notification, late, Duration::from_secs(60)).await.unwrap().report;
    assert_eq!((report.audience, report.gone), (5, 5), "{report:?}");
    assert_eq!(setup.table.rows().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_in_its_handshake_is_kept_and_gets_the_message_once_it_is_through() {
    let setup = Setup::new().await;
    let connected = setup.young("c", Behaviour::GoneFor(Duration::from_secs(1))).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.delivered, report.gone, report.pending), (1, 0, 0), "{report:?}");
    assert!(setup.is_registered(&connected).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_takes_too_long_is_delayed_once_then_pending_and_its_row_stays() {
    let setup = Setup::new().await;
    let connected = setup.young("c", Behaviour::Gone).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.audience, report.delayed, report.pending, report.gone), (1, 1, 0, 0), "{report:?}");
    let report = setup.again(Retry::Handshake).await.0.unwrap().report;
    assert_eq!((report.delayed, report.pending, report.gone), (0, 1, 0), "{report:?}");
    assert!(setup.is_registered(&connected).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_throttled_alone_is_tried_four_times_and_goes_on_by_name() {
    let setup = Setup::new().await;
    let slow = setup.old("slow", Behaviour::Answers(429, u32::MAX)).await;
    setup.old("quick", Behaviour::Takes).await;
    let (finish, told) = setup.again(Retry::No).await;
    let report = finish.unwrap().report;
    assert_eq!((report.audience, report.delayed, report.delivered, report.throttled), (2, 1, 1, 4), "{report:?}");
    assert_eq!((told.delayed, told.failed.len()), (1, 0), "{told:?}");
    assert!(setup.is_registered(&slow).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_throttled_for_a_minute_while_others_are_reached_is_closed_and_kept_by_name() {
    let setup = Setup::new().await;
    setup.old("slow", Behaviour::Answers(429, u32::MAX)).await;
    let text = notification(TOPIC);
    let delivery = setup.delivery(LIMITS);
    let members = || setup.registry.members(&text.to, &Interval::whole(), now());
    let minute_ago = Retry::Throttled { since: tests::now() - 61_000 };
    // As long as nobody was reached, nobody knows whether it is the client.
    let (finish, told) = deliver_to(members(), &delivery, &text, minute_ago, Duration::from_secs(30)).await;
    assert_eq!((finish.unwrap().report.throttled, told.delayed), (1, 1), "{told:?}");
    assert!(!setup.standin.used("slow").is_closed);
    setup.old("quick", Behaviour::Takes).await;
    let (finish, _) = deliver_to(members(), &delivery, &text, Retry::No, Duration::from_secs(30)).await;
    assert_eq!(finish.unwrap().report.delivered, 1);
    let (finish, told) = deliver_to(members(), &delivery, &text, minute_ago, Duration::from_secs(30)).await;
    let report = finish.unwrap().report;
    assert_eq!((report.slow, report.delivered, report.delayed), (1, 1, 0), "{report:?}");
    assert!(told.failed.len() == 1 && told.failed[0].starts_with("slow: the client did not read"), "{told:?}");
    assert!(setup.standin.used("slow").is_closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_hangs_is_given_up_and_tried_again() {
    let setup = Setup { post_deadline: Duration::from_millis(300), ..Setup::new().await };
    setup.old("once", Behaviour::HangsOnce).await;
    setup.old("always", Behaviour::Hangs).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.delivered, report.failed), (1, 1), "{report:?}");
    assert_eq!(setup.messages("once"), 1);
    assert_eq!(setup.standin.used("always").posts, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_passes_costs_nobody_the_message() {
    let setup = Setup::new().await;
    setup.crowd(30, Behaviour::Answers(403, 4)).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.audience, report.delivered, report.failed, report.delayed), (30, 30, 0, 0), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_two_minutes_fails_the_notification_with_its_reason() {
    let setup = Setup::new().await;
    setup.crowd(500, Behaviour::Answers(403, u32::MAX)).await;
    let (finish, _) = setup.again(Retry::Refused { since: tests::now() - 121_000 }).await;
    let error = finish.unwrap_err();
    assert!(matches!(&error, DeliveryError::Forbidden { reason } if reason == "status 403: injected"), "{error:?}");
    let posts: u32 = (0..500).map(|index| setup.standin.used(&format!("c{index}")).posts).sum();
    assert!(posts <= 200, "{posts} posts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_ten_seconds_is_waited_for_in_the_queue() {
    let setup = Setup::new().await;
    setup.crowd(30, Behaviour::Answers(403, u32::MAX)).await;
    let since = tests::now() - 11_000;
    let (finish, _) = setup.again(Retry::Refused { since }).await;
    let Finish { report, rest, .. } = finish.unwrap();
    assert_eq!((report.audience, report.delayed, report.delivered), (30, 30, 0), "{report:?}");
    assert_eq!(rest.unwrap().why, Why::Refused { since });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_members_that_are_throttled_do_not_stop_the_others() {
    let setup = Setup::new().await;
    setup.crowd(150, Behaviour::Answers(429, 2)).await;
    for index in 0..450 {
        setup.old(&format!("d{index}"), Behaviour::Takes).await;
    }
    let (finish, told) = setup.again(Retry::No).await;
    let report = finish.unwrap().report;
    assert_eq!((report.audience, report.delivered, report.delayed), (600, 600, 0), "{report:?} {told:?}");
    assert_eq!(report.throttled, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_reaches_nobody_and_says_how_large_it_is() {
    let setup = Setup::new().await;
    setup.old("c", Behaviour::Takes).await;
    let text = format!(r#"{{"to":{{"topic":"t"}},"data":"{}"}}"#, "x".repeat(128 * 1024));
    let error = setup.deliver(&text).await.unwrap_err().to_string();
    assert!(error.starts_with("the message would be 1311"), "{error}");
    assert_eq!(setup.messages("c"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_connection_gets_it_once_in_its_own_protocol_under_the_first_target_that_names_it() {
    let setup = Setup::new().await;
    setup.old("json", Behaviour::Takes).await;
    let mut raw = setup.old("raw", Behaviour::Takes).await;
    raw.protocol = Protocol::Raw;
    setup.registry.connect(&raw).await.unwrap();
    let text =
        r#"{"to":[{"topic":"none"},{"user":"u"},{"topic":"t"},"everyone",{"connection":"raw"}],"data":{"n": 1}}"#;
    let report = setup.deliver(text).await.unwrap();
    assert_eq!((report.audience, report.delivered), (2, 2), "{report:?}");
    assert_eq!(setup.standin.used("raw").messages, [r#"{"n": 1}"#]);
    let message = format!(r#"{{"type":"message","id":"n","at":{},"ttl":3600,"data":{{"n": 1}}}}"#, now());
    assert_eq!(setup.standin.used("json").messages, [message]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_left_out_get_nothing_and_do_not_count() {
    let setup = Setup::new().await;
    setup.old("a", Behaviour::Takes).await;
    setup.old("b", Behaviour::Takes).await;
    let report = setup.deliver(r#"{"to":"everyone","except":["a"],"data":1}"#).await.unwrap();
    assert_eq!((report.audience, setup.messages("a"), setup.messages("b")), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_time_is_up_it_stops_and_says_where_to_go_on() {
    let setup = Setup::new().await;
    setup.crowd(200, Behaviour::Takes).await;
    let slow = Limits { pushes_per_second: 50.0, workers: 1 };
    let finish = setup.run(slow, &notification(TOPIC), now(), Duration::from_secs(1)).await.unwrap();
    let (report, rest) = (finish.report, finish.rest.unwrap());
    // The allowance, a second's posts, and those of 0.6 s that may be made up for.
    assert!((20..=82).contains(&report.delivered), "{report:?}");
    assert_eq!((rest.why, report.delivered + report.delayed), (Why::TimeUp, report.audience), "{report:?}");
    let target = [Target::Topic(tidings::Topic::parse("t").unwrap())];
    let members = crate::registry::read(&setup.registry, &target, &Interval::whole()).await;
    for member in members {
        let served = setup.messages(member.connection.as_str()) == 1;
        assert_ne!(served, rest.position.is_open(&member.sort_key), "{member:?} {rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_alone_has_the_whole_rate() {
    let setup = Setup::new().await;
    setup.crowd(400, Behaviour::Takes).await;
    // Its part of it would take it most of a minute.
    let one_of_many = Limits { pushes_per_second: 1_000.0, workers: 100 };
    let begin = Instant::now();
    let finish = setup.run(one_of_many, &notification(TOPIC), now(), Duration::from_secs(30)).await.unwrap();
    assert_eq!((finish.report.delivered, finish.rest), (400, None));
    // The allowance, a fifth of a second that nobody took, and the rest at the rate.
    assert!(begin.elapsed() >= Duration::from_millis(190), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_keep_to_the_bound() {
    let setup = Setup::new().await;
    setup.crowd(150, Behaviour::Takes).await;
    let (rate, workers) = (200.0, 4);
    let limits = Limits { pushes_per_second: rate, workers };
    let (text, begin) = (notification(TOPIC), Instant::now());
    let runs = (0..workers).map(|_| setup.run(limits, &text, now(), Duration::from_secs(60)));
    for finish in futures_util::future::try_join_all(runs).await.unwrap() {
        assert_eq!((finish.report.delivered, finish.rest), (150, None));
    }
    let took = begin.elapsed().as_secs_f64();
    let allowances = f64::from(workers) * (2.0 + took * rate / 10_000.0);
    let bound = rate * (took + 0.6) + allowances;
    assert!(600.0 <= bound, "600 posts in {took} s, and {bound} are allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_reserved_only_the_allowance_is_posted() {
    let setup = Setup::new().await;
    setup.crowd(30, Behaviour::Takes).await;
    let members = setup.registry.members(&notification(TOPIC).to, &Interval::whole(), now());
    let elsewhere = Registry::new(setup.table.client(), "no-such-table");
    let limits = Limits { pushes_per_second: 2_400.0, workers: 10 };
    let sockets = setup.standin.sockets(setup.post_deadline);
    let delivery = Delivery::new(sockets, elsewhere, limits, Clock::System);
    let (finish, _) = deliver_to(members, &delivery, &notification(TOPIC), Retry::No, Duration::from_secs(1)).await;
    let Finish { report, rest, .. } = finish.unwrap();
    // Three, and a quarter of one in a second.
    assert_eq!((report.audience, report.delivered, report.delayed), (30, 3, 27), "{report:?}");
    assert_eq!(rest.unwrap().why, Why::TimeUp);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_nothing_fails_the_delivery_instead_of_counting_to_the_end() {
    let setup = Setup::new().await;
    setup.crowd(300, Behaviour::Answers(500, u32::MAX)).await;
    let error = setup.deliver(TOPIC).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Unreachable { .. }), "{error:?}");
}
