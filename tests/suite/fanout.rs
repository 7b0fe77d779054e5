//! Audiences that are more than one invocation can serve, and workers that die on them.

use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::SharedHttpClient;
use futures_util::future::try_join_all;
use futures_util::poll;
use serde_json::{Value, json};
use tests::calls::Calls;
use tests::crowd::{Crowd, Faults, TOPIC};
use tests::engine::{Engine, http};
use tests::faults::Faulty;
#[cfg(target_os = "linux")]
use tests::kill::kill_one;
use tests::queues;
use tests::races::stop_before;
use tests::stack::Stack;
use tests::standin::{Behaviour, Outage, Standin};
use tests::{eventually, now};
use tidings::clock::Clock;
use tidings::delivery::{Delivery, Limits};
use tidings::fanout::{FanOut, FanOutError, Invocation, Queues, Segment};
use tidings::history::History;
use tidings::log::{LogName, MOST_OFFSET};
use tidings::metrics::Metrics;
use tidings::notification::{Defaults, Notification, Target, scope};
use tidings::registry::{Attempt, Claim, Position, Registry};
use tidings::trigger::Trigger;
use tidings::{NotificationId, Topic, UserId};

use crate::registry::{connection, made_at, registry};

const PATIENCE: Duration = Duration::from_secs(150);

/// An attempt to take a segment for so many milliseconds.
fn attempt<'a>(hash: &'a str, owner: &'a str, lease_ms: i64) -> Attempt<'a> {
    Attempt { hash, owner, now: now(), until: now() + lease_ms, log_end: None }
}

fn to_crowd() -> String {
    json!({"to": {"topic": TOPIC}, "data": "now"}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_invoke_with_a_large_audience_grows_a_tree_and_reaches_everyone_alive() {
    // More than 5 % throttled would be an overload.
    let faults = Faults { gone: 50, throttled: 20, failing: 10, hanging: 5 };
    // 8 workers with 250 pushes a second each: a budget of about 4,800 for one that has the whole 30 s.
    let crowd = Crowd::gather(12_000, faults, &[]).await;
    let begin = Instant::now();
    let answer = crowd.stack.invoke("NotifierFunction", &to_crowd()).await;
    assert_eq!(answer.payload["segments"], 1, "{answer:?}");
    let outcome = crowd.settle(begin, PATIENCE).await;
    assert!(outcome.duplicates * 1_000 < outcome.live, "{outcome:?}");
    let segments = crowd.segments().await;
    assert!(segments.len() > 2, "{segments:?}");
    let rows = crowd.stack.rows().await;
    let members = rows.iter().filter(|row| row["pk"].as_s().is_ok_and(|pk| pk.starts_with("topic#"))).count();
    assert_eq!(members, outcome.live, "those that are gone are removed");
    assert!(crowd.stack.receive("DeadLetterQueue").await.is_empty());
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_audience_writes_no_row() {
    let crowd = Crowd::gather(300, Faults::default(), &[]).await;
    let answer = crowd.stack.invoke("NotifierFunction", &to_crowd()).await;
    assert_eq!((&answer.payload["delivered"], &answer.payload["segments"]), (&json!(300), &json!(0)), "{answer:?}");
    assert!(crowd.segments().await.is_empty());
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_still_in_its_handshake_is_handed_once_and_later_to_the_fan_out_queue() {
    let crowd = Crowd::gather(20, Faults::default(), &[]).await;
    let registry = crowd.stack.registry();
    let young = |id: &str| made_at(now(), connection(id, None, &[TOPIC]));
    let (slow, stuck) = (young("slow"), young("stuck"));
    for (member, behaviour) in [(&slow, Behaviour::GoneFor(Duration::from_secs(6))), (&stuck, Behaviour::Gone)] {
        registry.connect(member).await.unwrap();
        crowd.standin.add(member.id.as_str(), behaviour);
    }
    let begin = Instant::now();
    let answer = crowd.stack.invoke("NotifierFunction", &to_crowd()).await;
    let counts = ["audience", "delivered", "delayed", "pending"].map(|name| answer.payload[name].as_u64().unwrap());
    assert_eq!(counts, [22, 20, 2, 0], "{answer:?}");
    assert_eq!(crowd.stack.waiting("FanOutQueue").await, 1);
    let outcome = crowd.settle(begin, PATIENCE).await;
    assert_eq!((outcome.live, outcome.reached, outcome.duplicates), (21, 21, 0), "{outcome:?}");
    assert!(outcome.took > Duration::from_secs(15), "the message waits in the queue: {outcome:?}");
    assert!(registry.connection(&stuck.id).await.unwrap().is_some(), "a young connection stays");
    assert!(crowd.stack.receive("DeadLetterQueue").await.is_empty());
    crowd.stack.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_leave_nobody_out_and_few_twice() {
    let parameters =
        [("PushesPerSecond", "1200"), ("FanOutWorkers", "3"), ("TimeoutSeconds", "6"), ("VisibilitySeconds", "7")];
    let crowd = Crowd::gather(12_000, Faults { hanging: 2, ..Faults::default() }, &parameters).await;
    let begin = Instant::now();
    crowd.stack.send("NotificationQueue", &to_crowd()).await;
    let mut kills = 0;
    while kills < 10 {
        let before = crowd.outcome(begin).reached;
        eventually("progress", PATIENCE, async || (crowd.outcome(begin).reached > before + 200).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        kills += kill_one(&[&format!("WEBSOCKET_ENDPOINT={}", crowd.standin.endpoint())], &mut fastrand::Rng::new());
    }
    let outcome = crowd.settle(begin, PATIENCE).await;
    assert!(outcome.duplicates < 1_000 * kills, "{outcome:?} after {kills} kills");
    crowd.stack.stop().await;
}

pub(crate) struct Workshop {
    standin: Standin,
    pub(crate) fan_out: FanOut,
}

/// A fan-out in this process, with a queue that takes nothing.
pub(crate) async fn workshop(members: usize) -> Workshop {
    workshop_through(members, http()).await
}

/// The same, which calls DynamoDB through this client.
async fn workshop_through(members: usize, http: SharedHttpClient) -> Workshop {
    let table = Engine::Embedded.table().await.unwrap();
    let registry = Registry::new(table.client_through(http), &table.name).with_page_rows(100);
    let standin = Standin::start().await;
    for number in 0..members {
        let member = made_at(now() - 3_600_000, connection(&format!("c{number}"), None, &["t"]));
        registry.connect(&member).await.unwrap();
        standin.add(member.id.as_str(), Behaviour::Takes);
    }
    // As in the template.
    let limits = Limits { pushes_per_second: 8_000.0, workers: 8 };
    let delivery = Delivery::new(standin.sockets(Duration::from_secs(1)), registry, limits, Clock::System);
    let nowhere = queues::nowhere;
    let queues = Queues { notifications: nowhere(), fan_out: nowhere(), dead_letters: nowhere() };
    Workshop { standin, fan_out: FanOut::new(delivery, queues) }
}

pub(crate) fn segment(id: &str) -> Segment {
    let defaults = Defaults { id: NotificationId::parse(id).unwrap(), at: now() };
    Segment::whole(Notification::parse(r#"{"to":{"topic":"t"},"data":1}"#, &defaults).unwrap(), "sqs-1")
}

pub(crate) fn invocation(owner: &str, time: Duration) -> Invocation {
    let lease_until = now() + i64::try_from(time.as_millis()).unwrap();
    let (owner, deadline) = (owner.to_owned(), tokio::time::Instant::now() + time);
    Invocation { owner, now: now(), deadline, lease_until, recorder: Metrics::default().recorder() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_with_the_same_message_serve_each_member_once() {
    let Workshop { standin, fan_out } = workshop(400).await;
    let segment = segment("n");
    let time = Duration::from_secs(20);
    let (one, other) = (invocation("one", time), invocation("other", time));
    let (one, other) = tokio::join!(fan_out.work(&segment, &one), fan_out.work(&segment, &other));
    let held = [one, other].iter().filter(|outcome| matches!(outcome, Err(FanOutError::Held { .. }))).count();
    assert_eq!(held, 1);
    assert!(standin.counts().values().all(|count| *count == 1));
    let again = fan_out.work(&segment, &invocation("later", time)).await.unwrap();
    assert_eq!(again.audience, 0, "it is done");
    assert!(standin.counts().values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_its_plan_and_its_parts_is_followed_by_one_that_sends_the_same_parts() {
    let Workshop { standin, fan_out } = workshop(400).await;
    // A tenth of a second at a thousand a second is a budget of about 70: the audience must be split.
    let error = fan_out.work(&segment("n"), &invocation("dies", Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(error, FanOutError::Queue(_)), "{error:?}");
    let (segment, registry) = (segment("n"), fan_out.delivery().registry());
    let claim = registry.claim(&segment.key(), &attempt(&segment.hash, "next", 1_000)).await.unwrap();
    let Claim::Ours { lease, plan, .. } = claim else { panic!("the lease should be free") };
    assert!(plan.len() > 1 && plan.windows(2).all(|pair| pair[0].to == pair[1].after), "{plan:?}");
    lease.release().await.unwrap();
    // Plenty of time now, and still the plan that was written down counts.
    let error = fan_out.work(&segment, &invocation("next", Duration::from_secs(60))).await.unwrap_err();
    assert!(matches!(error, FanOutError::Queue(_)), "{error:?}");
    assert!(standin.counts().values().all(|count| *count == 0));
}

/// Notifications for this many users, and two for one topic, each with a log.
fn logged_segments(users: usize) -> Vec<Segment> {
    let to_users = (0..users).map(|user| json!({"user": format!("u{user}")}));
    let to = to_users.chain([json!({"topic": "t"}), json!({"topic": "t"})]).enumerate();
    to.map(|(number, to)| {
        let defaults = Defaults { id: NotificationId::parse(format!("n{number}")).unwrap(), at: now() };
        let text = json!({"to": to, "data": number}).to_string();
        Segment::whole(Notification::parse(&text, &defaults).unwrap(), "sqs-1")
    })
    .collect()
}

async fn take_up_at_once(fan_out: &FanOut, segments: &[Segment]) {
    let taken = segments.iter().enumerate().map(async |(number, segment)| {
        fan_out.take_up(segment, &invocation(&format!("r/{number}"), Duration::from_secs(20))).await
    });
    try_join_all(taken).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_logs_that_a_batch_of_notifications_wants_are_read_in_one_call_and_singly_where_that_fails() {
    // The lane of an ordered topic looks at its head, too.
    let history = r#"[{"to":{"topic":"**"},"seconds":300},{"to":{"user":"*"},"seconds":300}]"#;
    let history = History::parse(history).unwrap();
    let topic = LogName::Topic(Topic::parse("t").unwrap());
    for (calls, together, singly) in [(Calls::default(), 1, 0), (Calls::refusing("BatchGetItem"), 1, 12)] {
        let Workshop { fan_out, .. } = workshop_through(0, calls.client(http())).await;
        let fan_out = fan_out.with_history(history.clone());
        let registry = fan_out.delivery().registry();
        registry
            .begin_log(&topic, history.of(&Target::Topic(Topic::parse("t").unwrap())).unwrap(), now())
            .await
            .unwrap();
        take_up_at_once(&fan_out, &logged_segments(10)).await;
        assert_eq!((calls.take("BatchGetItem"), calls.take("GetItem head")), (together, singly));
        let head = registry.head(&topic).await.unwrap();
        assert_eq!(head.map(|head| head.offset), Some(2), "both are in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_worker_dies_behind_its_append_to_a_users_log_stands_there_once() {
    let Workshop { fan_out, .. } = workshop_through(0, Faulty::client(http(), 0.0, 0.0)).await;
    let fan_out = fan_out.with_history(History::parse(tidings::history::DEFAULT).unwrap());
    let to_user = |id: &str| {
        let defaults = Defaults { id: NotificationId::parse(id).unwrap(), at: now() };
        Segment::whole(Notification::parse(r#"{"to":{"user":"u"},"data":1}"#, &defaults).unwrap(), "sqs-1")
    };
    let time = Duration::from_secs(20);
    let take_up = async |id| fan_out.take_up(&to_user(id), &invocation(id, time)).await.unwrap();
    take_up("n0").await;
    let (dying, short) = (to_user("n1"), invocation("dies", Duration::from_millis(500)));
    let dying = stop_before(&["PutItem log", "UpdateItem head"], fan_out.take_up(&dying, &short)).await;
    drop(dying);
    take_up("n2").await;
    eventually("the end of a lease", time, async || {
        fan_out.take_up(&to_user("n1"), &invocation("next", time)).await.ok()
    })
    .await;
    let (registry, log) = (fan_out.delivery().registry(), LogName::User(UserId::parse("u").unwrap()));
    let head = registry.head(&log).await.unwrap().unwrap();
    let read = registry.entries(&log, &head.epoch, (0, MOST_OFFSET), false, 9).await.unwrap();
    let ids: Vec<Value> = read.entries.iter().map(|entry| serde_json::from_str(&entry.notification).unwrap()).collect();
    assert_eq!(ids.iter().map(|entry| entry["id"].as_str().unwrap()).collect::<Vec<_>>(), ["n0", "n1", "n2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_that_waits_for_another_to_read_the_head_of_its_log_too_goes_on_where_that_one_ends() {
    let Workshop { fan_out, .. } = workshop(0).await;
    let fan_out = fan_out.with_history(History::parse(tidings::history::DEFAULT).unwrap());
    let segments = logged_segments(2);
    let time = Duration::from_secs(20);
    let (one, other) = (invocation("one", time), invocation("other", time));
    let mut first = Box::pin(fan_out.take_up(&segments[0], &one));
    let mut second = Box::pin(fan_out.take_up(&segments[1], &other));
    assert!(poll!(&mut first).is_pending() && poll!(&mut second).is_pending());
    drop(first);
    tokio::time::timeout(time, second).await.expect("it waits for nobody").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_meet_a_passing_fault_come_back_and_no_others() {
    let stack = Stack::start(&[]).await;
    let mut client = tidings_test::Client::connect(&format!("{}?topic=t", stack.url())).await;
    let queue = format!("arn:aws:sqs:us-east-1:123456789012:{}", stack.queue_name("NotificationQueue"));
    let (queue, fifo) = (queue.as_str(), "arn:aws:sqs:us-east-1:123456789012:orders.fifo");
    for (id, data, arn) in [("m1", 1, queue), ("m4", 4, queue), ("m8", 8, queue), ("m4", 0, fifo)] {
        let defaults = Defaults { id: NotificationId::parse(id).unwrap(), at: now() };
        let text = json!({"to": {"topic": "t"}, "data": data}).to_string();
        let taken = Segment::whole(Notification::parse(&text, &defaults).unwrap(), scope(Trigger::Sqs, &[arn]));
        let claim = stack.registry().claim(&taken.key(), &attempt(&taken.hash, "another", 60_000)).await;
        assert!(matches!(claim, Ok(Claim::Ours { .. })), "{claim:?}");
    }
    let record = |number: u32| {
        json!({"messageId": format!("m{number}"), "receiptHandle": "r", "attributes": {"SentTimestamp": now().to_string()},
            "body": json!({"to": {"topic": "t"}, "data": number}).to_string(), "eventSource": "aws:sqs",
            "eventSourceARN": queue})
    };
    let event = json!({"Records": (0..10).map(record).collect::<Vec<_>>()});
    let answer = stack.invoke("notifier", &event.to_string()).await;
    let mut items: Vec<_> =
        answer.payload["batchItemFailures"].as_array().unwrap().iter().map(|item| &item["itemIdentifier"]).collect();
    items.sort_by_key(|item| item.to_string());
    assert_eq!(items, ["m1", "m4", "m8"]);
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(client.json().await["data"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 2, 3, 5, 6, 7, 9]);
    let ordered = |number: u32| {
        let mut record = record(number);
        record["eventSourceARN"] = json!(fifo);
        record["messageId"] = json!(format!("m{}", number + 4));
        record["attributes"]["MessageGroupId"] = json!("a");
        record
    };
    let event = json!({"Records": (0..4).map(ordered).collect::<Vec<_>>()});
    let answer = stack.invoke("notifier", &event.to_string()).await;
    let items: Vec<Value> = ["m4", "m5", "m6", "m7"].map(|id| json!({"itemIdentifier": id})).to_vec();
    assert_eq!(answer.payload["batchItemFailures"], json!(items), "everything from the first failure on");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_message_reaches_an_audience_that_is_split_twice_and_again_when_it_is_redriven() {
    let parameters = [("PushesPerSecond", "400"), ("TimeoutSeconds", "6"), ("VisibilitySeconds", "7")];
    let crowd = Crowd::gather(3_000, Faults::default(), &parameters).await;
    let note = |id: &str| json!({"id": id, "at": now(), "to": {"topic": TOPIC}, "data": "x".repeat(128_000)});
    crowd.stack.send("NotificationQueue", &note("first").to_string()).await;
    let outcome = crowd.settle(Instant::now(), PATIENCE).await;
    assert_eq!((outcome.reached, outcome.duplicates), (3_000, 0), "{outcome:?}");
    let segments = crowd.segments().await;
    assert!(segments.keys().any(|id| id.matches('.').count() == 2), "{:?}", segments.keys());
    // As the notifier keeps a segment that failed.
    let body = json!({"notification": note("second"), "scope": "sqs-1", "segment": {"id": "0", "hops": 200}});
    let letter = json!({
        "messageId": "m", "receiptHandle": "r", "body": body.to_string(), "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:123456789012:{}", crowd.stack.queue_name("FanOutQueue")),
    });
    crowd.stack.send("DeadLetterQueue", &letter.to_string()).await;
    let (done, said) = crate::redrive::redrive(&crowd.stack, &[]).await;
    assert!(done, "{said}");
    eventually("the message once more", PATIENCE, async || {
        let outcome = crowd.outcome(Instant::now());
        (outcome.duplicates >= 3_000).then_some(())
    })
    .await;
    assert_eq!(crowd.stack.waiting("DeadLetterQueue").await, 0);
    crowd.stack.stop().await;
}

#[tokio::test]
async fn saving_a_cursor_costs_one_write_unit_whatever_the_payload_and_one_more_for_each_kb_of_names() {
    let table = Engine::Embedded.table().await.unwrap();
    let (registry, segment) = (registry(&table), segment("n"));
    let (key, hash) = (segment.key(), segment.hash.clone());
    let stored = registry.store(&key, &hash, &"x".repeat(128 * 1_024), now()).await;
    assert!(stored.unwrap());
    let claim = registry.claim(&key, &attempt(&hash, "worker", 60_000)).await.unwrap();
    let Claim::Ours { lease, .. } = claim else { panic!("{claim:?}") };
    let cost = async |names: usize| {
        let before = registry.consumed();
        let stragglers = (0..names).map(|name| format!("7f#straggler{name:04}=="));
        let position = Position { stragglers: stragglers.collect(), ..position() };
        lease.save(&position).await.unwrap();
        (registry.consumed() - before).write
    };
    assert_eq!(cost(0).await, 1.0);
    // 200 names of 18 bytes.
    assert_eq!(cost(200).await, 4.0);
}

fn position() -> Position {
    Position { cursor: Some("80#BFHPhfCWIAMCKlQ=".to_owned()), ..Position::default() }
}

/// Thirty members, and an account that is refused with `status` for so many seconds from the first post on.
async fn few_in_an_outage(status: u16, seconds: u64) {
    let crowds = [Crowd::gather(30, Faults::default(), &[]).await, Crowd::gather(30, Faults::default(), &[]).await];
    for crowd in &crowds {
        crowd.standin.fail(Outage { after: 0, lasts: Duration::from_secs(seconds), status, share: 1.0 });
    }
    let begin = Instant::now();
    crowds[0].stack.send("NotificationQueue", &to_crowd()).await;
    let answer = crowds[1].stack.invoke("NotifierFunction", &to_crowd()).await.payload;
    let count = |name: &str| answer[name].as_u64().unwrap();
    let parts = ["delivered", "delayed", "gone", "pending", "slow", "failed"].map(count);
    assert_eq!((parts.iter().sum::<u64>(), count("audience")), (30, 30), "{answer}");
    for crowd in &crowds {
        let outcome = crowd.settle(begin, PATIENCE).await;
        assert_eq!((outcome.reached, outcome.duplicates), (30, 0), "{outcome:?}");
        assert!(outcome.took < Duration::from_secs(20), "{outcome:?}");
        assert!(crowd.stack.receive("DeadLetterQueue").await.is_empty());
    }
    for crowd in crowds {
        crowd.stack.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_seconds_of_429_cost_nobody_the_message() {
    few_in_an_outage(429, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_seconds_of_403_cost_nobody_the_message() {
    few_in_an_outage(403, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_forbids_everything_for_two_minutes_ends_in_the_dead_letter_queue() {
    let crowd = Crowd::gather(20, Faults::default(), &[]).await;
    for number in 0..20 {
        crowd.standin.add(&format!("member{number:09}="), Behaviour::Answers(403, u32::MAX));
    }
    // As a segment that has been refused for two minutes: the simulation waits for them.
    let refused = json!({
        "notification": {"id": "n", "at": now(), "to": {"topic": TOPIC}, "data": "now"}, "scope": "sqs-1",
        "segment": {"id": "0", "retry": {"refused": {"since": now() - 121_000}}},
    });
    crowd.stack.send("FanOutQueue", &refused.to_string()).await;
    let letter = eventually("a dead letter", Duration::from_secs(60), async || {
        crowd.stack.receive("DeadLetterQueue").await.into_iter().next()
    })
    .await;
    let attributes = letter.message_attributes.unwrap();
    assert!(attributes["reason"].string_value().unwrap().contains("forbids pushing"), "{attributes:?}");
    assert_eq!(crowd.stack.waiting("FanOutQueue").await, 0);
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_comes_again_is_recognised_and_with_other_data_is_kept_with_the_reason() {
    let crowd = Crowd::gather(5, Faults::default(), &[]).await;
    let note = |data: u32| json!({"id": "n", "to": {"topic": TOPIC}, "data": data}).to_string();
    crowd.stack.send("NotificationQueue", &note(1)).await;
    crowd.settle(Instant::now(), PATIENCE).await;
    crowd.stack.send("NotificationQueue", &note(1)).await;
    crowd.stack.send("NotificationQueue", &note(2)).await;
    let letter = eventually("a dead letter", Duration::from_secs(60), async || {
        crowd.stack.receive("DeadLetterQueue").await.into_iter().next()
    })
    .await;
    let attributes = letter.message_attributes.unwrap();
    let reason = attributes["reason"].string_value().unwrap();
    assert!(reason.starts_with("the id n is that of another notification"), "{reason}");
    eventually("empty queues", PATIENCE, async || (crowd.stack.waiting("NotificationQueue").await == 0).then_some(()))
        .await;
    let outcome = crowd.outcome(Instant::now());
    assert_eq!((outcome.reached, outcome.duplicates), (5, 0), "{outcome:?}");
    crowd.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_never_takes_its_message_is_in_the_dead_letter_queue_by_name() {
    let crowd = Crowd::gather(20, Faults::default(), &[]).await;
    crowd.standin.add("member000000007=", Behaviour::Answers(500, u32::MAX));
    let answer = crowd.stack.invoke("NotifierFunction", &to_crowd()).await;
    assert_eq!((&answer.payload["delivered"], &answer.payload["failed"]), (&json!(19), &json!(1)), "{answer:?}");
    let letters = crowd.stack.receive("DeadLetterQueue").await;
    let body: Value = serde_json::from_str(letters[0].body.as_deref().unwrap()).unwrap();
    assert_eq!((&body["to"], &body["data"]), (&json!({"connection": "member000000007="}), &json!("now")), "{body}");
    crowd.stack.stop().await;
}
