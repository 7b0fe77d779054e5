//! Meetings that chance hardly ever makes: somebody is stopped before one of its calls, and others come by. Each of these
//! tests has one rule of lanes and of going live that it fails without; `docs/races.md` says which.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tests::engine::{Engine, Table};
use tests::standin::Behaviour;
use tests::{now, races};
use tidings::Topic;
use tidings::clock::Clock;
use tidings::delivery::SocketError;
use tidings::fanout::{Invocation, Segment};
use tidings::going_live::{self, Begun, Ended, GoingLive};
use tidings::history::{History, Retention};
use tidings::log::LogPosition;
use tidings::notification::Notification;
use tidings::protocol::Protocol;
use tidings::registry::{Connection, LaneTaker, Place, Registry};
use tokio::time::timeout;

use crate::fanout;
use crate::going_live::{ORDERED, World, notification};
use crate::lanes::{Listener, listen, new_topic, offsets, patient};
use crate::registry::{connection, made_at};

/// Somebody who waits does so for longer, and nobody else takes so long.
const A_WHILE: Duration = Duration::from_millis(1_500);
/// A member's number, by which it sorts nothing.
const STRICT: usize = 2;

/// A topic, with a member that sorts nothing and one that sorts.
struct Scene {
    table: Table,
    world: World,
    registry: Registry,
    topic: Topic,
    strict: Listener,
    sorting: Listener,
}

impl Scene {
    async fn new() -> Self {
        let table = Engine::Embedded.table().await.unwrap();
        let (world, registry, topic, [strict, sorting]) = new_topic(&table).await;
        Self { table, world, registry, topic, strict, sorting }
    }

    fn retention(&self) -> Retention {
        History::parse(ORDERED).unwrap().of_topic(&self.topic).unwrap()
    }

    fn segment(&self, id: &str) -> Segment {
        Segment::whole(notification(&self.topic, id), "sqs-1")
    }

    /// Says something, and stops before the last of these calls.
    async fn say_and_stop<'a>(
        &'a self,
        segment: &'a Segment,
        invocation: &'a Invocation,
        calls: &[&str],
    ) -> LocalBoxFuture<'a, ()> {
        let said = async { drop(self.world.fan_out.take_up(segment, invocation).await.unwrap()) };
        races::stop_before(calls, said).await
    }

    async fn say(&self, id: &str) {
        self.world.deliver(&self.topic, id, patient).await;
    }

    /// Another member that sorts nothing, which is live at once.
    async fn come(&self) -> Listener {
        let listener = listen(&self.world, &self.table, &self.topic, STRICT).await;
        self.world.standin.add(listener.connection.id.as_str(), Behaviour::Takes);
        listener
    }

    async fn begin<'a>(&'a self, listener: &'a Listener, place: u64) -> Begun<GoingLive<'a>> {
        let (registry, place) = (&self.world.registry, Place::new(0, place));
        let (connection, retention) = (&listener.connection, self.retention());
        going_live::begin(registry, connection, &self.topic, retention, place, Clock::System).await.unwrap()
    }

    async fn leave(&self, listener: &Listener, place: u64) -> Begun<()> {
        let (registry, place) = (&self.world.registry, Place::new(0, place));
        going_live::leave(registry, &listener.connection, &self.topic, place, Clock::System).await.unwrap()
    }

    fn offsets(&self) -> [Vec<u64>; 2] {
        [&self.strict, &self.sorting].map(|listener| offsets(&self.world, listener))
    }
}

/// Of a client that sorts nothing.
fn strict_connection(name: &str) -> Connection {
    let mut connection = made_at(now() - 3_600_000, connection(name, None, &[]));
    connection.protocol = Protocol::Centrifuge;
    connection
}

fn worker(owner: &str) -> Invocation {
    fanout::invocation(owner, Duration::from_secs(30))
}

fn ours(begun: Begun<GoingLive<'_>>) -> GoingLive<'_> {
    let Begun::Ours(going) = begun else { panic!("{begun:?}") };
    going
}

/// Goes live with a reply that has nothing but where the log ends; what is posted then.
async fn go(going: &GoingLive<'_>) -> Vec<u64> {
    let told = going.missed(None, &mut 0).await.unwrap();
    finish(going, told.position).await
}

async fn finish(going: &GoingLive<'_>, at: LogPosition) -> Vec<u64> {
    let posted = Mutex::new(Vec::new());
    let post = async |messages: &[Notification]| {
        posted.lock().unwrap().extend(messages.iter().map(|said| said.log.as_ref().unwrap().position.offset));
        Ok::<_, SocketError>(())
    };
    let ended = going.finish(at, false, post).await;
    assert!(matches!(ended, Ok(Ended::Live)), "{ended:?}");
    posted.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_between_the_last_look_of_a_lanes_holder_and_its_release_is_pushed() {
    let scene = Scene::new().await;
    let (first, by) = (scene.segment("first"), worker("first"));
    let first =
        scene.say_and_stop(&first, &by, &["UpdateItem lane", "Query log", "Query log", "UpdateItem lane"]).await;
    scene.say("second").await;
    assert_eq!(scene.offsets(), [[1], [1]], "it is for who holds the lane");
    first.await;
    assert_eq!(scene.offsets(), [[1, 2], [1, 2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_when_the_lane_was_just_given_back_is_pushed_by_who_appended_it() {
    let scene = Scene::new().await;
    let taker = LaneTaker { owner: "holder", cause: Some("another"), ends_at: now() + 60_000 };
    let (lease, at) = scene.registry.take_lane(&scene.topic, &taker, now()).await.unwrap().expect("nobody holds it");
    let (first, by) = (scene.segment("first"), worker("first"));
    let first = scene.say_and_stop(&first, &by, &["PutItem log"]).await;
    lease.release(&at).await.unwrap();
    first.await;
    assert_eq!(scene.offsets(), [[1], [1]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_live_before_a_worker_takes_the_lane_gets_what_it_pushes() {
    let scene = Scene::new().await;
    let (first, second) = (scene.segment("first"), scene.segment("second"));
    let (by_first, by_second) = (worker("first"), worker("second"));
    let first = scene.say_and_stop(&first, &by_first, &["GetItem lane", "UpdateItem lane"]).await;
    let late = scene.come().await;
    let second = scene.say_and_stop(&second, &by_second, &["PutItem log", "GetItem lane"]).await;
    first.await;
    second.await;
    assert_eq!(scene.offsets(), [[1, 2], [1, 2]]);
    assert_eq!(offsets(&scene.world, &late), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_live_before_the_holder_of_a_lane_reads_the_log_gets_what_it_finds() {
    let scene = Scene::new().await;
    let (first, by) = (scene.segment("first"), worker("first"));
    let first = scene.say_and_stop(&first, &by, &["UpdateItem lane", "Query log"]).await;
    let late = scene.come().await;
    scene.say("second").await;
    first.await;
    assert_eq!(scene.offsets(), [[1, 2], [1, 2]]);
    assert_eq!(offsets(&scene.world, &late), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lane_has_passed_a_pending_member_with_its_subscribe_posts() {
    let scene = Scene::new().await;
    assert!(matches!(scene.leave(&scene.strict, 2).await, Begun::Ours(())));
    let going = ours(scene.begin(&scene.strict, 3).await);
    let told = going.missed(None, &mut 0).await.unwrap();
    scene.say("first").await;
    assert_eq!(finish(&going, told.position).await, [1]);
    scene.say("second").await;
    assert_eq!(scene.offsets(), [vec![2], vec![1, 2]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_a_lane_has_passed_and_whose_subscribe_has_died_is_closed() {
    let scene = Scene::new().await;
    let id = scene.strict.connection.id.as_str();
    assert!(matches!(scene.leave(&scene.strict, 2).await, Begun::Ours(())));
    drop(ours(scene.begin(&scene.strict, 3).await).missed(None, &mut 0).await.unwrap());
    scene.say("first").await;
    assert!(!scene.world.standin.used(id).is_closed, "it has time to go live");
    let world = Arc::new(scene.world);
    let server = tokio::spawn(Arc::clone(&world).serve_queue(patient));
    world.settle().await;
    server.abort();
    assert!(world.standin.used(id).is_closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_writes_over_a_subscribe_of_its_connection_that_is_at_work() {
    let scene = Scene::new().await;
    let first = ours(scene.begin(&scene.strict, 2).await);
    let (leaving, second) = (scene.leave(&scene.strict, 3), scene.begin(&scene.strict, 4));
    tokio::pin!(leaving, second);
    assert!(timeout(A_WHILE, &mut leaving).await.is_err(), "leaving does not wait");
    assert!(timeout(A_WHILE, &mut second).await.is_err(), "the other subscribe does not wait");
    assert_eq!(go(&first).await, [] as [u64; 0]);
    let second = ours(second.await);
    assert!(matches!(leaving.await, Begun::Overtaken), "a later command was faster");
    assert_eq!(go(&second).await, [] as [u64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_subscribes_again_waits_for_a_lane_that_was_taken_just_before_its_row_was_written() {
    let scene = Scene::new().await;
    let listener = Listener { connection: strict_connection("late"), topic: scene.topic.clone(), is_strict: true };
    scene.registry.connect(&listener.connection).await.unwrap();
    // Its frame is handled first, and slowly.
    let mut again = races::stop_before(&["UpdateItem topic"], scene.begin(&listener, 3)).await;
    assert_eq!(go(&ours(scene.begin(&listener, 1).await)).await, [] as [u64; 0]);
    let taker = LaneTaker { owner: "holder", cause: None, ends_at: now() + 60_000 };
    let (lease, at) = scene.registry.take_lane(&scene.topic, &taker, now()).await.unwrap().expect("nobody holds it");
    assert!(matches!(scene.leave(&listener, 2).await, Begun::Ours(())));
    assert!(timeout(A_WHILE, &mut again).await.is_err(), "it does not wait for what the lane may have read");
    lease.release(&at).await.unwrap();
    ours(again.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggler_that_has_subscribed_again_gets_what_is_beyond_its_reply() {
    let scene = Scene::new().await;
    let id = scene.strict.connection.id.as_str();
    scene.world.standin.add(id, Behaviour::TakesAndAnswers(1, 429));
    let (first, by) = (scene.segment("first"), fanout::invocation("first", Duration::from_secs(2)));
    let first = scene.say_and_stop(&first, &by, &["UpdateItem lane", "Query log"]).await;
    scene.say("second").await;
    first.await;
    assert_eq!(scene.offsets(), [vec![1], vec![1, 2]], "the second is refused until the time is up");
    scene.world.standin.add(id, Behaviour::Takes);
    assert!(matches!(scene.leave(&scene.strict, 2).await, Begun::Ours(())));
    assert_eq!(go(&ours(scene.begin(&scene.strict, 3).await)).await, [] as [u64; 0]);
    scene.say("third").await;
    assert_eq!(scene.offsets(), [vec![3], vec![1, 2, 3]]);
}
