//! Whom a fan-out tells of, and what becomes of it where nobody can be told.

use std::time::Duration;

use serde_json::{Value, json};
use tests::engine::Engine;
use tests::now;
use tests::queues::{Served, nowhere};
use tests::standin::{Behaviour, Standin};
use tidings::aws::Aws;
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::events::EventBus;
use tidings::fanout::{FanOut, FanOutError, HandedOn, Queues, Segment};
use tidings::history::History;
use tidings::log::LogName;
use tidings::notification::{Defaults, Notification};
use tidings::registry::Registry;
use tidings::{NotificationId, UserId};
use tidings_local_services::events::{Events, Matched};
use tidings_local_services::json_api;
use tidings_local_services::secrets::Secrets;
use tidings_local_services::sns::Sns;
use tidings_local_services::sqs::{Place, Sqs};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::fanout::invocation;
use crate::registry::{connection, made_at, registry};

const TIME: Duration = Duration::from_secs(20);

/// A bus that is served, and what is put on it.
async fn bus() -> (EventBus, UnboundedReceiver<Matched>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (region, account) = ("us-east-1".to_owned(), "123456789012".to_owned());
    let (events, put) = Events::new(&region, &account, [], []);
    let sqs = Sqs::new(Place { endpoint: endpoint.clone(), region, account }, []);
    let router = json_api::router(&sqs, &Secrets::default(), &events, &Sns::default());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Aws::local(&endpoint).bus("default"), put)
}

/// A bus at whose address there is nothing.
fn no_bus() -> EventBus {
    Aws::local("http://127.0.0.1:9").bus("default")
}

/// The users that were told of until now, each with the reason.
fn told(put: &mut UnboundedReceiver<Matched>) -> Vec<(String, String)> {
    let mut told = Vec::new();
    while let Ok(put) = put.try_recv() {
        let text = |name: &str| put.event["detail"][name].as_str().unwrap().to_owned();
        told.push((text("user"), text("reason")));
    }
    told
}

/// Users with their connections, which a stand-in for API Gateway serves.
struct Scene {
    standin: Standin,
    registry: Registry,
}

impl Scene {
    async fn new() -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        Self { standin: Standin::start().await, registry: registry(&table) }
    }

    async fn connect(&self, id: &str, user: &str, topics: &[&str], behaviour: Behaviour) {
        let member = made_at(now() - 3_600_000, connection(id, Some(user), topics));
        self.registry.connect(&member).await.unwrap();
        self.standin.add(id, behaviour);
    }

    fn fan_out(&self, bus: EventBus, dead_letters: tidings::queue::Queue) -> FanOut {
        let limits = Limits { pushes_per_second: 8_000.0, workers: 8 };
        let sockets = self.standin.sockets(Duration::from_secs(1));
        let delivery = Delivery::new(sockets, self.registry.clone(), limits, Clock::System);
        FanOut::new(delivery, Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters }).with_bus(bus)
    }
}

fn notification(to: &Value) -> Notification {
    let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: now() };
    Notification::parse(&json!({"to": to, "data": 1}).to_string(), &defaults).unwrap()
}

fn pair(user: &str, reason: &str) -> (String, String) {
    (user.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_whose_connections_are_all_gone_are_told_of_and_those_with_one_that_is_there_are_not() {
    let scene = Scene::new().await;
    for (id, user, behaviour) in [
        ("a1", "gone", Behaviour::Gone),
        ("a2", "gone", Behaviour::Gone),
        ("b1", "half", Behaviour::Gone),
        ("b2", "half", Behaviour::Takes),
    ] {
        scene.connect(id, user, &[], behaviour).await;
    }
    let (bus, mut put) = bus().await;
    let fan_out = scene.fan_out(bus, nowhere());
    let to = json!([{"user": "gone"}, {"user": "half"}, {"user": "absent"}]);
    let report = fan_out.direct(notification(&to), &invocation("one", TIME)).await.unwrap();
    assert_eq!((report.audience, report.delivered, report.gone), (4, 1, 3), "{report:?}");
    assert_eq!(told(&mut put), [pair("gone", "failed"), pair("absent", "absent")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_only_connection_is_left_out_is_there() {
    let scene = Scene::new().await;
    scene.connect("a", "ada", &[], Behaviour::Takes).await;
    let (bus, mut put) = bus().await;
    let fan_out = scene.fan_out(bus, nowhere());
    let defaults = Defaults { id: NotificationId::parse("n").unwrap(), at: now() };
    let text = r#"{"to":{"user":"ada"},"except":["a"],"data":1}"#;
    let report = fan_out.direct(Notification::parse(text, &defaults).unwrap(), &invocation("one", TIME)).await.unwrap();
    assert_eq!(report.audience, 0, "{report:?}");
    assert_eq!(told(&mut put), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_behind_a_topic_is_told_of_only_where_nobody_is_reached() {
    let scene = Scene::new().await;
    let (bus, mut put) = bus().await;
    let fan_out = scene.fan_out(bus, nowhere());
    let to = json!([{"topic": "t"}, {"user": "ada"}]);
    fan_out.direct(notification(&to), &invocation("one", TIME)).await.unwrap();
    assert_eq!(told(&mut put), [pair("ada", "absent")]);
    scene.connect("b", "bob", &["t"], Behaviour::Takes).await;
    fan_out.direct(notification(&to), &invocation("two", TIME)).await.unwrap();
    assert_eq!(told(&mut put), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_got_comes_again_until_somebody_is_told() {
    let scene = Scene::new().await;
    let segment = Segment::whole(notification(&json!({"user": "ada"})), "sqs-1");
    let error = scene.fan_out(no_bus(), nowhere()).take_up(&segment, &invocation("one", TIME)).await.unwrap_err();
    assert!(matches!(error, FanOutError::Events(_)) && !error.is_permanent(), "{error:?}");
    let (bus, mut put) = bus().await;
    let fan_out = scene.fan_out(bus, nowhere());
    fan_out.take_up(&segment, &invocation("two", TIME)).await.unwrap();
    assert_eq!(told(&mut put), [pair("ada", "absent")]);
    fan_out.take_up(&segment, &invocation("three", TIME)).await.unwrap();
    assert_eq!(told(&mut put), [], "it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_got_is_kept_for_who_was_missed_and_nobody_gets_it_twice() {
    let scene = Scene::new().await;
    scene.connect("a", "ada", &[], Behaviour::Takes).await;
    let letters = Served::start().await;
    let fan_out = scene.fan_out(no_bus(), letters.queue());
    let segment = Segment::whole(notification(&json!([{"user": "ada"}, {"user": "bob"}])), "sqs-1");
    let report = fan_out.take_up(&segment, &invocation("one", TIME)).await.unwrap();
    assert_eq!(report.delivered, 1, "{report:?}");
    let kept: Vec<Value> = letters.bodies().await.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!((&kept[0]["to"], &kept[0]["id"]), (&json!({"user": "bob"}), &json!("n")));
    fan_out.take_up(&segment, &invocation("two", TIME)).await.unwrap();
    assert_eq!(scene.standin.counts()["a"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_answer_gets_it_although_nobody_can_be_told() {
    let scene = Scene::new().await;
    let letters = Served::start().await;
    let fan_out = scene.fan_out(no_bus(), letters.queue());
    let report = fan_out.direct(notification(&json!({"user": "ada"})), &invocation("one", TIME)).await.unwrap();
    assert_eq!((report.audience, report.segments), (0, 0), "{report:?}");
    assert_eq!(letters.bodies().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_a_user_with_a_log_keeps_its_place_and_is_appended_once() {
    let scene = Scene::new().await;
    let letters = Served::start().await;
    let history = History::parse(r#"[{"to":{"user":"*"},"seconds":300}]"#).unwrap();
    let fan_out = scene.fan_out(no_bus(), letters.queue()).with_history(history.clone());
    // Without an id of the producer's own it does not come again.
    let mut notification = notification(&json!({"user": "ada"}));
    notification.id = NotificationId::parse("one-0").unwrap();
    fan_out.direct(notification, &invocation("one", TIME)).await.unwrap();
    let kept: Value = serde_json::from_str(&letters.bodies().await[0]).unwrap();
    assert_eq!(kept["eventSource"], "aws:sqs", "it goes back as a message of a queue");
    let (bus, mut put) = bus().await;
    let fan_out = scene.fan_out(bus, nowhere()).with_history(history);
    let HandedOn::Segment(segment) = fan_out.read(kept["body"].as_str().unwrap()).await.unwrap() else {
        panic!("it is a segment")
    };
    assert_eq!(segment.notification.log.as_ref().unwrap().position.offset, 1);
    scene.connect("a", "ada", &[], Behaviour::Takes).await;
    let report = fan_out.work(&segment, &invocation("two", TIME)).await.unwrap();
    assert_eq!((report.delivered, told(&mut put)), (1, vec![]), "{report:?}");
    let message: Value = serde_json::from_slice(&scene.standin.used("a").messages[0]).unwrap();
    assert_eq!((&message["user"], &message["offset"]), (&json!(true), &json!(1)), "{message}");
    let head = scene.registry.head(&LogName::User(UserId::parse("ada").unwrap())).await.unwrap().unwrap();
    assert_eq!(head.offset, 1);
}
