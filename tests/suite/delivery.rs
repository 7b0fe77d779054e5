//! Delivery against sockets that misbehave on demand, with the real registry behind it.

use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use tests::engine::{Engine, Table};
use tests::standin::{Behaviour, Standin};
use tidings::NotificationId;
use tidings::delivery::{Delivery, DeliveryError, Finish, Job, Limits, Progress, Report, SaveError};
use tidings::metrics::Metrics;
use tidings::notification::{Carrier, Notification, Target};
use tidings::protocol::Protocol;
use tidings::registry::{Connection, Interval, Members, Position, Registry};
use tokio::time::Instant;

use crate::registry::{connection, registry};

const HOUR_MS: i64 = 3_600_000;
const LIMITS: Limits = Limits { pushes_per_second: 20_000.0, workers: 1, max_in_flight: 64 };

/// Milliseconds since the epoch, the same for every test of a run.
fn now() -> i64 {
    static NOW: OnceLock<i64> = OnceLock::new();
    *NOW.get_or_init(tests::now)
}

struct Setup {
    table: Table,
    standin: Standin,
    registry: Registry,
}

impl Setup {
    async fn new() -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        let registry = registry(&table);
        Self { table, standin: Standin::start().await, registry }
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
        let connected = Connection { connected_at, ..connection(id, Some("u"), &["t"]) };
        self.registry.connect(&connected).await.unwrap();
        self.standin.add(id, behaviour);
        connected
    }

    fn delivery(&self, limits: Limits) -> Delivery {
        Delivery::new(self.standin.sockets(Duration::from_millis(300)), self.registry.clone(), limits)
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
        deliver_to(members, &self.delivery(limits), text, now, time).await
    }

    async fn is_registered(&self, connected: &Connection) -> bool {
        self.registry.connection(&connected.id).await.unwrap().is_some()
    }

    fn messages(&self, id: &str) -> usize {
        self.standin.used(id).messages.len()
    }
}

fn notification(text: &str) -> Notification {
    Notification::parse(text, &Carrier { id: NotificationId::parse("n").unwrap(), at: now() }).unwrap()
}

/// Delivers to these members, and saves nothing.
async fn deliver_to(
    members: Members,
    delivery: &Delivery,
    text: &Notification,
    now: i64,
    time: Duration,
) -> Result<Finish, DeliveryError> {
    let save = |_: Progress| -> Saved { Box::pin(std::future::ready(Ok(()))) };
    let job = Job {
        notification: text,
        members,
        first: Vec::new(),
        position: Position::default(),
        resumable: false,
        now,
        deadline: Instant::now() + time,
        save: &save,
        tally: &Metrics::default().tally(),
    };
    delivery.deliver(job).await
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
    assert_eq!(setup.table.rows().await.len(), 4 * 240, "nothing of those that are gone is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_membership_is_removed_by_the_push_that_finds_nobody() {
    let setup = Setup::new().await;
    crate::registry::fill(&setup.table, "t", 5).await;
    // Orphans of an hour ago: the pattern of `fill` connected at the suite's fixed time.
    let late = crate::registry::NOW + HOUR_MS;
    let notification =
        Notification::parse(TOPIC, &Carrier { id: NotificationId::parse("n").unwrap(), at: late }).unwrap();
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
async fn a_handshake_that_takes_too_long_is_pending_and_its_row_stays() {
    let setup = Setup::new().await;
    let connected = setup.young("c", Behaviour::Gone).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.audience, report.pending, report.gone), (1, 1, 0), "{report:?}");
    assert!(setup.is_registered(&connected).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_throttled_again_and_again_is_slow_and_holds_nobody_up() {
    let setup = Setup::new().await;
    let slow = setup.old("slow", Behaviour::Answers(429, u32::MAX)).await;
    setup.old("quick", Behaviour::Takes).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.slow, report.delivered, report.throttled), (1, 1, 6), "{report:?}");
    assert!(setup.is_registered(&slow).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_hangs_is_given_up_and_tried_again() {
    let setup = Setup::new().await;
    setup.old("once", Behaviour::HangsOnce).await;
    setup.old("always", Behaviour::Hangs).await;
    let report = setup.deliver(TOPIC).await.unwrap();
    assert_eq!((report.delivered, report.failed), (1, 1), "{report:?}");
    assert_eq!(setup.messages("once"), 1);
    assert_eq!(setup.standin.used("always").posts, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misconfiguration_fails_the_notification_at_once() {
    let setup = Setup::new().await;
    setup.crowd(500, Behaviour::Answers(403, u32::MAX)).await;
    let error = setup.deliver(TOPIC).await.unwrap_err();
    assert!(matches!(&error, DeliveryError::Forbidden { reason } if reason == "status 403: injected"), "{error:?}");
    let posts: u32 = (0..500).map(|index| setup.standin.used(&format!("c{index}")).posts).sum();
    assert!(posts <= 64, "{posts} posts");
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
    let raw = Connection { protocol: Protocol::Raw, ..setup.old("raw", Behaviour::Takes).await };
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
    let slow = Limits { pushes_per_second: 50.0, workers: 1, max_in_flight: 64 };
    let finish = setup.run(slow, &notification(TOPIC), now(), Duration::from_secs(1)).await.unwrap();
    let (report, rest) = (finish.report, finish.rest.unwrap());
    // Half a second's posts at once, and then a second's.
    assert!((20..=76).contains(&report.delivered), "{report:?}");
    let target = [Target::Topic(tidings::Topic::parse("t").unwrap())];
    let members = crate::registry::read(&setup.registry, &target, &Interval::whole()).await;
    for member in members {
        let served = setup.messages(member.connection.as_str()) == 1;
        assert_ne!(served, rest.is_open(&member.sort_key), "{member:?} {rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_alone_has_the_whole_pace() {
    let setup = Setup::new().await;
    setup.crowd(400, Behaviour::Takes).await;
    // Its share would take it most of a minute.
    let one_of_many = Limits { pushes_per_second: 1_000.0, workers: 100, max_in_flight: 64 };
    let begin = Instant::now();
    let finish = setup.run(one_of_many, &notification(TOPIC), now(), Duration::from_secs(30)).await.unwrap();
    assert_eq!((finish.report.delivered, finish.rest), (400, None));
    // Four at once, a tenth of a second that nobody took, and the rest at the pace.
    assert!(begin.elapsed() >= Duration::from_millis(296), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_together_share_the_pace() {
    let setup = Setup::new().await;
    setup.crowd(150, Behaviour::Takes).await;
    let one_of_four = Limits { pushes_per_second: 200.0, workers: 4, max_in_flight: 64 };
    let (text, begin) = (notification(TOPIC), Instant::now());
    let runs = (0..4).map(|_| setup.run(one_of_four, &text, now(), Duration::from_secs(60)));
    for finish in futures_util::future::try_join_all(runs).await.unwrap() {
        assert_eq!((finish.report.delivered, finish.rest), (150, None));
    }
    // Of 600 posts four times 24 may start at once; half a second's posts before it is their turn; and a tenth of a second
    // may be made up for. Whoever would wait too long for a turn makes one at its share, beside the turns of the others: on a
    // busy machine all of them may, and then the rest comes at twice the pace at most. Each at the whole pace, they would be
    // done after 0.63 s.
    assert!(begin.elapsed() >= Duration::from_millis(950), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_pace_cannot_be_asked_for_a_worker_keeps_to_its_share() {
    let setup = Setup::new().await;
    setup.crowd(30, Behaviour::Takes).await;
    let one_of_ten = Limits { pushes_per_second: 200.0, workers: 10, max_in_flight: 64 };
    let members = setup.registry.members(&notification(TOPIC).to, &Interval::whole(), now());
    let elsewhere = Registry::new(setup.table.client(), "no-such-table");
    let delivery = Delivery::new(setup.standin.sockets(Duration::from_millis(300)), elsewhere, one_of_ten);
    let begin = Instant::now();
    let finish = deliver_to(members, &delivery, &notification(TOPIC), now(), Duration::from_secs(60)).await.unwrap();
    assert_eq!((finish.report.delivered, finish.rest), (30, None));
    // Nine at once, the others 50 ms after each other.
    assert!(begin.elapsed() >= Duration::from_millis(1_000), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_takes_nothing_fails_the_delivery_instead_of_counting_to_the_end() {
    let setup = Setup::new().await;
    setup.crowd(300, Behaviour::Answers(500, u32::MAX)).await;
    let error = setup.deliver(TOPIC).await.unwrap_err();
    assert!(matches!(error, DeliveryError::Unreachable { .. }), "{error:?}");
}
