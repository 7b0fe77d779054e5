//! Outboxes of clients that recover: what they cost, and that numbers rise whatever happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tests::engine::{Engine, Table, http};
use tests::faults::Faulty;
use tests::standin::{Behaviour, Standin};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Job, Lagging, Limits, Report, Retry};
use tidings::metrics::Metrics;
use tidings::notification::{Defaults, Notification, Target};
use tidings::protocol::Protocol;
use tidings::registry::{
    Connection, Consumed, Interval, Kept, LONGEST_MOVING_MS, Position, Registry, Taken, WebPubSub,
};
use tidings::{ConnectionId, NotificationId, Socket};
use tokio::time::{Instant, sleep, timeout};

use crate::registry::{connection, made_at, on_both_engines, registry};

on_both_engines!(a_delivery_costs_three_writes_and_a_confirmation_one, entries_have_no_holes_and_one_name_each);

const LIMITS: Limits = Limits { pushes_per_second: 20_000.0, workers: 1 };

struct Setup {
    standin: Standin,
    registry: Registry,
    delivery: Arc<Delivery>,
}

impl Setup {
    async fn of(table: &Table, registry: Registry) -> Self {
        assert!(!table.name.is_empty());
        let standin = Standin::start().await;
        let sockets = standin.sockets(Duration::from_millis(400));
        let delivery = Arc::new(Delivery::new(sockets, registry.clone(), LIMITS, Clock::System));
        Self { standin, registry, delivery }
    }

    /// Connects a client that is in the topic of its name, and tells it so.
    async fn connect(&self, id: &str) -> Connection {
        let mut connected = made_at(tests::now() - 120_000, connection(id, None, &[id]));
        connected.protocol = Protocol::WebPubSubOutbox;
        connected.web_pubsub = Some(WebPubSub::new(serde_json::from_str(r#"{"hub":"h"}"#).unwrap()));
        self.registry.connect(&connected).await.unwrap();
        self.standin.add(id, Behaviour::Takes);
        self.delivery.greet((&connected.id, &connected.socket), None, "token", in_a_minute()).await.unwrap();
        connected
    }

    async fn say(&self, topic: &str, number: u64) -> Report {
        self.say_until(topic, number, in_a_minute()).await
    }

    /// Says something in an invocation that has time until then.
    async fn say_until(&self, topic: &str, number: u64, deadline: Instant) -> Report {
        let delivery = &self.delivery;
        // The same where it comes again.
        static BEGIN: OnceLock<i64> = OnceLock::new();
        let at = *BEGIN.get_or_init(tests::now);
        let text = format!(r#"{{"id":"{topic}-{number}","to":{{"topic":"{topic}"}},"data":{number}}}"#);
        let said = Notification::parse(&text, &Defaults { id: NotificationId::parse("n").unwrap(), at }).unwrap();
        let save = |_| -> std::pin::Pin<Box<dyn Future<Output = _> + Send>> { Box::pin(std::future::ready(Ok(()))) };
        let job = Job {
            notifications: std::slice::from_ref(&said),
            lagging: Lagging::GoesOnByName,
            members: self.registry.members(&said.to, &Interval::whole(), tests::now()),
            first: Vec::new(),
            position: Position::default(),
            doorkeeper: None,
            begun: BTreeMap::new(),
            resumable: false,
            retry: Retry::No,
            deadline,
            save: &save,
            recorder: &Metrics::default().recorder(),
        };
        delivery.deliver(job).await.unwrap().report
    }

    /// The numbers that a socket got, and what they carry.
    fn numbers(&self, socket: &str) -> Vec<(u64, u64)> {
        let frames = self.standin.used(socket).messages;
        let frames = frames.iter().map(|frame| serde_json::from_slice::<Value>(frame).unwrap());
        let numbered = frames.filter_map(|frame| frame["sequenceId"].as_u64().zip(frame["data"].as_u64()));
        numbered.collect()
    }
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn socket(name: &str) -> Socket {
    Socket::parse(name).unwrap()
}

async fn a_delivery_costs_three_writes_and_a_confirmation_one(table: Table) {
    let setup = Setup::of(&table, registry(&table)).await;
    let before = setup.registry.consumed();
    let one = setup.connect("one").await;
    let connected = setup.registry.consumed();
    assert_eq!((setup.say("one", 1).await.delivered, setup.numbers("one")), (1, vec![(1, 1)]));
    let delivered = setup.registry.consumed();
    setup.registry.confirm(&one.id, 1).await.unwrap();
    let confirmed = setup.registry.consumed();
    // What connects costs three; the outbox, that its socket is there, and a look into it, which is a lease taken and left.
    assert_eq!((connected - before).write, 7.0);
    // The entry, the lease, and that it is posted.
    assert_eq!((delivered - connected).write, 3.0);
    let Consumed { read, .. } = delivered - connected;
    assert!((3.0..=5.0).contains(&read), "the audience, the outbox, its entries, and that there is no other: {read}");
    assert_eq!((confirmed - delivered).write, 1.0);
    // It is known by its name, and nothing is written.
    assert_eq!((setup.say("one", 1).await.delivered, setup.numbers("one").len()), (1, 1));
    assert_eq!((setup.registry.consumed() - confirmed).write, 0.0);
}

async fn entries_have_no_holes_and_one_name_each(table: Table) {
    let setup = Setup::of(&table, registry(&table)).await;
    setup.connect("one").await;
    let again = (1..=20).flat_map(|number| [number, number]);
    join_all(again.map(|number| setup.say("one", number))).await;
    let id = ConnectionId::parse("one").unwrap();
    let kept = setup.registry.kept_above(&id, 0, 100).await.unwrap();
    let numbers: Vec<_> = kept.iter().map(|kept| kept.number).collect();
    assert_eq!(numbers, Vec::from_iter(1..=20));
    let came = setup.numbers("one");
    assert_eq!(came.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers);
    assert_eq!(came.iter().map(|(_, data)| *data).collect::<BTreeSet<_>>(), (1..=20).collect());
}

async fn embedded() -> Setup {
    let table = Engine::Embedded.table().await.unwrap();
    Setup::of(&table, registry(&table)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_socket_gets_what_is_not_confirmed_under_the_old_numbers_and_then_what_is_new() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    for number in 1..=3 {
        setup.say("one", number).await;
    }
    setup.registry.confirm(&one.id, 1).await.unwrap();
    setup.registry.confirm(&one.id, 99).await.unwrap();
    setup.standin.add("one", Behaviour::Gone);
    assert_eq!((setup.say("one", 4).await.delivered, setup.say("one", 5).await.delivered), (1, 1), "it is kept");
    let next = socket("next");
    setup.standin.add("next", Behaviour::GoneFor(Duration::from_millis(300)));
    let now = tests::now();
    let was = setup.registry.move_to(&one.id, &next, now, now - LONGEST_MOVING_MS).await.unwrap().unwrap();
    assert_eq!(was.socket, one.socket);
    assert_eq!(setup.say("one", 6).await.delivered, 1, "it waits for the handshake");
    setup.delivery.resume(&one.id, &next, &was.socket, in_a_minute()).await.unwrap();
    setup.say("one", 7).await;
    assert_eq!(setup.numbers("next"), [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)]);
    assert_eq!(setup.registry.connection(&one.id).await.unwrap().unwrap().socket, next);
    // An older socket, and one that comes too late, carry nothing.
    for (other, at, oldest) in [("old", now - 1, 0), ("late", now + 1, now)] {
        assert_eq!(setup.registry.move_to(&one.id, &socket(other), at, oldest).await.unwrap(), None, "{other}");
    }
    assert_eq!(
        setup.registry.disconnect(&one.id, &one.socket).await.unwrap(),
        None,
        "the old socket's end ends nothing"
    );
    assert!(setup.registry.disconnect(&one.id, &next).await.unwrap().is_some());
    assert_eq!(setup.registry.outbox(&one.id, 1).await.unwrap(), None);
    assert_eq!(setup.say("one", 8).await.audience, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_posting_is_followed_once_its_lease_is_over_and_its_late_end_changes_nothing() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    let now = tests::now();
    let taken = setup.registry.take_outbox(&one.id, "dead", (now, now + 1_500)).await.unwrap();
    assert!(matches!(taken, Taken::Taken(_)), "{taken:?}");
    let begin = std::time::Instant::now();
    assert_eq!(setup.say("one", 1).await.delivered, 1);
    assert!(begin.elapsed() >= Duration::from_millis(1_400), "it waited for the lease");
    assert!(!setup.registry.release_outbox(&one.id, "dead", 7, None).await.unwrap());
    assert_eq!((setup.say("one", 2).await.delivered, setup.numbers("one")), (1, vec![(1, 1), (2, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_whoever_dies_may_have_posted_several_the_socket_is_closed_and_the_next_one_gets_them() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    assert_eq!(setup.say("one", 1).await.delivered, 1);
    setup.registry.confirm(&one.id, 1).await.unwrap();
    let now = tests::now();
    let expires_at = one.connected_at / 1_000 + 86_400;
    for (number, name) in [(2, "x"), (3, "y")] {
        let frame = format!(r#"{{"data":{number}}}"#);
        let kept = Kept { number, name: name.to_owned(), at: now, until: i64::MAX, frame };
        setup.registry.keep(&one.id, &kept, expires_at).await.unwrap().unwrap();
    }
    setup.registry.take_outbox(&one.id, "dead", (now - 2_000, now - 1_000)).await.unwrap();
    assert_eq!(setup.say("one", 4).await.delivered, 1, "it is kept");
    assert_eq!((setup.numbers("one"), setup.standin.used("one").is_closed), (vec![(1, 1)], true));
    setup.standin.add("next", Behaviour::Takes);
    let was = setup.registry.move_to(&one.id, &socket("next"), now, 0).await.unwrap().unwrap();
    setup.delivery.resume(&one.id, &socket("next"), &was.socket, in_a_minute()).await.unwrap();
    assert_eq!(setup.numbers("next"), [(2, 2), (3, 3), (4, 4)]);
    // One alone may come twice under its number, which is no lower one.
    assert!(matches!(setup.registry.take_outbox(&one.id, "dead", (now, now - 1_000)).await.unwrap(), Taken::Taken(_)));
    assert_eq!(setup.say("one", 5).await.delivered, 1);
    assert_eq!(setup.numbers("next").last(), Some(&(5, 5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_another_that_posts_gives_up_when_its_time_is_up_and_takes_that_for_no_overload() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    let now = tests::now();
    setup.registry.take_outbox(&one.id, "other", (now, now + 9_000)).await.unwrap();
    let begin = Instant::now();
    let report = setup.say_until("one", 1, begin + Duration::from_millis(300)).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!((report.delivered, report.delayed, report.throttled, report.failed), (0, 1, 0, 0), "{report:?}");
    assert!(setup.registry.release_outbox(&one.id, "other", 0, None).await.unwrap());
    // It comes again, by name.
    assert_eq!((setup.say("one", 1).await.delivered, setup.numbers("one")), (1, vec![(1, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_posts_when_its_time_is_up_leaves_the_rest_to_others_and_no_socket_is_closed_for_it() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    let expires_at = one.connected_at / 1_000 + 86_400;
    for number in 1..=20 {
        let frame = format!(r#"{{"data":{number}}}"#);
        let kept = Kept { number, name: number.to_string(), at: tests::now(), until: i64::MAX, frame };
        setup.registry.keep(&one.id, &kept, expires_at).await.unwrap().unwrap();
    }
    setup.standin.slow_down(Duration::from_millis(100));
    let report = setup.say_until("one", 21, Instant::now() + Duration::from_millis(700)).await;
    let posted = setup.numbers("one").len();
    assert!((1..20).contains(&posted), "{posted}");
    assert_eq!((report.delivered, report.delayed, report.throttled), (0, 1, 0), "{report:?}");
    setup.standin.slow_down(Duration::ZERO);
    assert_eq!(setup.say("one", 21).await.delivered, 1);
    assert_eq!(setup.numbers("one"), Vec::from_iter((1..=21).map(|number| (number, number))));
    assert!(!setup.standin.used("one").is_closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_confirms_nothing_or_does_not_come_back_is_forgotten() {
    let setup = embedded().await;
    let (full, away) = (setup.connect("full").await, setup.connect("away").await);
    let last = Kept { number: 1_000, name: "x".to_owned(), at: 0, until: i64::MAX, frame: "{}".to_owned() };
    setup.registry.keep(&full.id, &last, full.connected_at / 1_000 + 86_400).await.unwrap().unwrap();
    setup.registry.note_gone(&away.id, &away.socket, tests::now() - 61_000).await.unwrap();
    for (one, is_told) in [(&full, true), (&away, false)] {
        let report = setup.say(one.id.as_str(), 1).await;
        assert_eq!((report.delivered, report.gone), (0, 1), "{report:?}");
        assert_eq!(setup.registry.connection(&one.id).await.unwrap(), None);
        assert_eq!(setup.standin.used(one.id.as_str()).is_closed, is_told);
        let rows = setup.registry.members(&[Target::Everyone], &Interval::whole(), tests::now()).next().await.unwrap();
        assert!(rows.iter().all(|member| member.connection != one.id), "{rows:?}");
    }
    let farewell = setup.standin.used("full").messages.pop().unwrap();
    assert!(String::from_utf8_lossy(&farewell).contains(r#""event":"disconnected""#));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_worth_posting_any_more_is_a_gap() {
    let setup = embedded().await;
    let one = setup.connect("one").await;
    let old =
        Kept { number: 1, name: "x".to_owned(), at: 0, until: tests::now() - 1, frame: r#"{"data":1}"#.to_owned() };
    setup.registry.keep(&one.id, &old, one.connected_at / 1_000 + 86_400).await.unwrap().unwrap();
    setup.say("one", 2).await;
    assert_eq!(setup.numbers("one"), [(2, 2)]);
}

/// Several workers push the same messages, some die in the middle, DynamoDB fails, answers are lost, and sockets change: on
/// each socket numbers rise, and whoever drops what it has gets each message once.
#[tokio::test(flavor = "multi_thread")]
async fn in_random_interleavings_numbers_rise_on_every_socket_and_nothing_is_missed_or_comes_twice() {
    let table = Engine::Embedded.table().await.unwrap();
    let setup =
        Setup::of(&table, Registry::new(table.client_through(Faulty::client(http(), 0.03, 0.02)), &table.name)).await;
    setup.standin.slow_down(Duration::from_millis(4));
    setup.standin.lose_answers(0.01);
    join_all((0..8).map(|number| one_race(&setup, format!("c{number}")))).await;
}

const MESSAGES: u64 = 25;

async fn one_race(setup: &Setup, id: String) {
    let one = setup.connect(&id).await;
    let dies = fastrand::u64(1..=MESSAGES);
    let worker = async |begins: u64| {
        for number in (0..MESSAGES).map(|number| (number + begins) % MESSAGES + 1) {
            let deadline = if number == dies && begins == 0 {
                Duration::from_millis(fastrand::u64(1..15))
            } else {
                Duration::from_secs(50)
            };
            // One that dies comes again, as its message does.
            if timeout(deadline, setup.say(&id, number)).await.is_err() {
                setup.say(&id, number).await;
            }
            sleep(Duration::from_millis(fastrand::u64(..8))).await;
        }
    };
    let moves = async {
        let mut sockets = vec![one.socket.clone()];
        for number in 0..3 {
            sleep(Duration::from_millis(fastrand::u64(20..120))).await;
            let last = sockets.last().unwrap().clone();
            let largest = setup.numbers(last.as_str()).iter().map(|(number, _)| *number).max().unwrap_or_default();
            setup.registry.confirm(&one.id, largest.saturating_sub(fastrand::u64(..4))).await.unwrap();
            let next = socket(&format!("{id}-{number}"));
            setup.standin.add(next.as_str(), Behaviour::Takes);
            setup.standin.add(&format!("{id}-{number}-never"), Behaviour::Gone);
            let was = setup.registry.move_to(&one.id, &next, tests::now(), 0).await.unwrap().unwrap();
            setup.delivery.resume(&one.id, &next, &was.socket, in_a_minute()).await.unwrap();
            sockets.push(next);
        }
        sockets
    };
    let (mut sockets, (), ()) = tokio::join!(moves, worker(0), worker(7));
    let last = sockets.last().unwrap().clone();
    if setup.standin.used(last.as_str()).is_closed {
        let next = socket(&format!("{id}-back"));
        setup.standin.add(next.as_str(), Behaviour::Takes);
        setup.registry.move_to(&one.id, &next, tests::now(), 0).await.unwrap().unwrap();
        setup.delivery.resume(&one.id, &next, &last, in_a_minute()).await.unwrap();
        sockets.push(next);
    }
    check(setup, &sockets);
}

fn check(setup: &Setup, sockets: &[Socket]) {
    let (mut largest, mut given) = (0, BTreeMap::<u64, u32>::new());
    for socket in sockets {
        let came = setup.numbers(socket.as_str());
        assert!(came.is_sorted_by_key(|(number, _)| *number), "{socket}: {came:?}");
        for (number, data) in came {
            if number > largest {
                largest = number;
                *given.entry(data).or_default() += 1;
            }
        }
    }
    assert_eq!(given, (1..=MESSAGES).map(|number| (number, 1)).collect(), "{sockets:?}");
}
