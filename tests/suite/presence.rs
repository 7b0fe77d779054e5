//! Who is there: with the functions' own binaries, real sockets, and the schedule of the template.

mod price;
mod racing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tests::stack::Stack;
use tests::{eventually, now};
use tidings::registry::Connection;
use tidings::{ConnectionId, Topic, UserId};
use tidings_test::Client;

const ROOM: &str = "room/1";
const ROOMS: &str = r#"["room/**"]"#;
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest life that a row of a connection has.
const LONGEST_LIFE_MS: i64 = (2 * 3_600 + 900) * 1_000;

#[expect(clippy::print_stdout, reason = "figures of a run, and the seed of one that fails")]
fn say(line: &str) {
    println!("{line}");
}

async fn start(parameters: &[(&str, &str)]) -> Stack {
    let parameters: Vec<_> = [("Presence", ROOMS)].into_iter().chain(parameters.iter().copied()).collect();
    Stack::start(&parameters).await
}

async fn tab(stack: &Stack, user: &str) -> Client {
    Client::connect(&format!("{}?user={user}&topic=room%2F1", stack.url())).await
}

/// A client that is told who comes and goes, once it was told of itself.
async fn watcher(stack: &Stack) -> Client {
    let mut watcher = Client::connect(&format!("{}?user=watcher", stack.url())).await;
    let ack = watcher.ask(json!({"action": "subscribe", "topic": ROOM, "presence": true, "id": 1})).await;
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!(next(&mut watcher).await.joined, ["watcher"]);
    watcher
}

/// Who came and who left.
#[derive(Debug, Default, PartialEq)]
struct Told {
    change: i64,
    joined: Vec<String>,
    left: Vec<String>,
}

async fn next(watcher: &mut Client) -> Told {
    let frame = watcher.json().await;
    assert_eq!((&frame["type"], &frame["topic"]), (&json!("presence"), &json!(ROOM)), "{frame}");
    let names = |field: &str| {
        let list = frame[field].as_array().cloned().unwrap_or_default();
        list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    Told { change: frame["change"].as_i64().unwrap(), joined: names("joined"), left: names("left") }
}

/// Whether nobody is to look any more, not in a few seconds either. Of a thousand who come at once it takes a busy machine minutes.
async fn all_is_looked_at(stack: &Stack) {
    eventually("an end of all looks", 5 * PATIENCE, async || {
        let waiting = stack.waiting("NotificationQueue").await + stack.waiting("FanOutQueue").await;
        (waiting == 0).then_some(())
    })
    .await;
}

async fn here(client: &mut Client) -> Value {
    client.ask(json!({"action": "presence", "topic": ROOM, "id": 3})).await
}

/// Connections whose clients are gone, and nobody has noticed, made so long ago.
async fn ghosts(stack: &Stack, user: &str, age: i64) {
    let registry = stack.registry_with_presence(ROOMS);
    for number in 0..3 {
        let mut ghost = Connection::new(ConnectionId::parse(format!("ghost-{user}-{number}")).unwrap());
        ghost.user = Some(UserId::parse(user).unwrap());
        ghost.topics = vec![Topic::parse(ROOM).unwrap()];
        ghost.connected_at = now() - age;
        registry.connect(&ghost).await.unwrap();
    }
}

fn fire_the_schedule(stack: &Stack) {
    let events = stack.running().events();
    let rule = events.rules().iter().find(|rule| rule.name.contains("EndsRule")).unwrap().clone();
    assert!(events.fire(&rule.name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_three_tabs_reloads_one_and_nobody_is_told() {
    let stack = start(&[]).await;
    let mut watcher = watcher(&stack).await;
    let (one, two, three) = (tab(&stack, "u1").await, tab(&stack, "u1").await, tab(&stack, "u1").await);
    assert_eq!(next(&mut watcher).await.joined, ["u1"]);
    let shown = here(&mut watcher).await;
    assert_eq!((&shown["count"], &shown["connections"]), (&json!(2), &json!(4)), "{shown}");
    assert_eq!((&shown["users"][0]["user"], &shown["users"][0]["connections"]), (&json!("u1"), &json!(3)), "{shown}");
    one.close().await;
    let reloaded = tab(&stack, "u1").await;
    all_is_looked_at(&stack).await;
    // What comes next is of somebody else: nothing was told in between.
    let other = tab(&stack, "u2").await;
    let told = next(&mut watcher).await;
    assert_eq!((told.joined, told.left), (vec!["u2".to_owned()], vec![]));
    for tab in [two, three, reloaded, other] {
        tab.close().await;
    }
    let mut left = Vec::new();
    while left.len() < 2 {
        let told = next(&mut watcher).await;
        assert_eq!(told.joined, [] as [&str; 0]);
        left.extend(told.left);
    }
    left.sort();
    assert_eq!(left, ["u1", "u2"]);
    all_is_looked_at(&stack).await;
    let rows = stack.rows().await;
    let of = |kind: &str| rows.iter().filter(|row| row["pk"].as_s().unwrap().starts_with(kind)).count();
    assert_eq!((of("here#"), of("pres#"), of("ends#")), (1, 1, 1), "of the watcher alone");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_without_a_word_has_left_when_the_longest_life_is_over_and_the_schedule_comes() {
    let stack = start(&[]).await;
    let mut watcher = watcher(&stack).await;
    ghosts(&stack, "u1", LONGEST_LIFE_MS - 8_000).await;
    assert_eq!(next(&mut watcher).await.joined, ["u1"]);
    all_is_looked_at(&stack).await;
    assert_eq!(here(&mut watcher).await["connections"], 4);
    // Too early: their time is not over.
    fire_the_schedule(&stack);
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(here(&mut watcher).await["connections"], 1, "nobody counts whose time is over");
    watcher.silence().await;
    fire_the_schedule(&stack);
    assert_eq!(next(&mut watcher).await.left, ["u1"]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_without_a_word_has_left_when_a_push_finds_nobody() {
    let stack = start(&[]).await;
    let mut watcher = watcher(&stack).await;
    ghosts(&stack, "u1", 3_600_000).await;
    assert_eq!(next(&mut watcher).await.joined, ["u1"]);
    let answer = stack.invoke("notifier", &json!({"to": {"topic": ROOM}, "data": 1}).to_string()).await;
    assert_eq!(answer.payload["gone"], 3, "{answer:?}");
    assert_eq!(watcher.json().await["type"], "message");
    assert_eq!(next(&mut watcher).await.left, ["u1"]);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_400_users_come_at_once_there_is_a_list_a_second_with_each_of_them_once() {
    let stack = start(&[]).await;
    let mut watcher = watcher(&stack).await;
    let connecting = (0..400).map(|number| {
        let url = format!("{}?user=u{number}", stack.url());
        async move { Client::connect(&url).await }
    });
    let clients: Vec<_> = stream::iter(connecting).buffer_unordered(40).collect().await;
    let begin = Instant::now();
    // Nobody waits for the replies: all are there within a second, as far as the machine gets through.
    let joining = clients.into_iter().map(async |mut client| {
        client.send(json!({"action": "subscribe", "topic": ROOM, "id": 1}).to_string()).await;
        client
    });
    let clients = stream::iter(joining).buffer_unordered(400).collect::<Vec<_>>().await;
    let asked = begin.elapsed();
    let mut lists: Vec<(i64, usize)> = Vec::new();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    while times.len() < 400 {
        let told = next(&mut watcher).await;
        assert_eq!(told.left, [] as [&str; 0]);
        lists.push((told.change, told.joined.len()));
        told.joined.into_iter().for_each(|user| *times.entry(user).or_default() += 1);
    }
    say(&format!("400 asked within {asked:?}, all told of after {:?}, by lists {lists:?}", begin.elapsed()));
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert!(lists.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1_000), "{lists:?}");
    all_is_looked_at(&stack).await;
    watcher.silence().await;
    drop(clients);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_topic_of_a_thousand_nobody_is_told_and_all_are_counted() {
    let stack = start(&[]).await;
    let registry = stack.registry_with_presence(ROOMS);
    let join = |number: usize| {
        let registry = registry.clone();
        async move {
            let mut member = Connection::new(ConnectionId::parse(format!("member{number}")).unwrap());
            member.user = Some(UserId::parse(format!("u{number:04}")).unwrap());
            member.topics = vec![Topic::parse(ROOM).unwrap()];
            member.connected_at = now();
            registry.connect(&member).await.unwrap();
        }
    };
    stream::iter((0..501).map(join)).buffer_unordered(16).collect::<Vec<_>>().await;
    // Of the first 500 a list may still be on its way.
    all_is_looked_at(&stack).await;
    let mut watcher = Client::connect(&format!("{}?user=u0000", stack.url())).await;
    let watch = json!({"action": "subscribe", "topic": ROOM, "presence": true, "id": 1});
    assert_eq!(watcher.ask(watch).await["type"], "ack");
    stream::iter((501..999).map(join)).buffer_unordered(16).collect::<Vec<_>>().await;
    let last = Instant::now();
    let shown = eventually("a count of 1,000", Duration::from_secs(5), async || {
        let shown = here(&mut watcher).await;
        (shown["connections"] == 1_000).then_some(shown)
    })
    .await;
    say(&format!("counted {:?} after the last join", last.elapsed()));
    assert_eq!((&shown["count"], &shown["more"]), (&json!(999), &json!(true)), "u0000 has two connections");
    assert_eq!(shown["users"].as_array().unwrap().len(), 500);
    all_is_looked_at(&stack).await;
    watcher.silence().await;
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_permission_or_of_which_nothing_is_kept_is_one_clear_error() {
    let stack = start(&[("AnonymousPermissions", "subscribe:** presence:room/* presence:news")]).await;
    let mut client = Client::connect(&format!("{}?user=u1", stack.url())).await;
    for (topic, code, message) in [
        ("room/1/secret", "Forbidden", "you may not know who is in the topic \"room/1/secret\""),
        (
            "news",
            "BadRequest",
            "`topic`: it is not kept who is in \"news\"; the stack's parameter `Presence` says of which topics it is",
        ),
    ] {
        for command in [
            json!({"action": "presence", "topic": topic, "id": 1}),
            json!({"action": "subscribe", "topics": [ROOM, topic], "presence": true, "id": 2}),
        ] {
            let refused = client.ask(command.clone()).await;
            assert_eq!((&refused["code"], &refused["message"]), (&json!(code), &json!(message)), "{command}");
        }
    }
    let who = client.ask(json!({"action": "whoami", "id": 3})).await;
    assert_eq!(who["topics"], json!([]), "nothing is subscribed to half");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unsubscribes_or_loses_a_durable_topic_has_left_and_is_told_no_more() {
    let stack = start(&[]).await;
    let mut watcher = watcher(&stack).await;
    let mut client = Client::connect(&format!("{}?user=u1", stack.url())).await;
    let registry = stack.registry_with_presence(ROOMS);
    let (user, room) = (UserId::parse("u1").unwrap(), Topic::parse(ROOM).unwrap());
    registry.add_durable_topic(&user, &room).await.unwrap();
    assert_eq!(next(&mut watcher).await.joined, ["u1"]);
    let watch = json!({"action": "subscribe", "topic": ROOM, "presence": true, "id": 1});
    client.ask(watch).await;
    let who = client.ask(json!({"action": "whoami", "id": 2})).await;
    assert_eq!(who["topics"], json!([ROOM]), "what it is told of is no topic of its own");
    registry.remove_durable_topic(&user, &room).await.unwrap();
    assert_eq!(next(&mut watcher).await.left, ["u1"]);
    assert_eq!(
        stack
            .registry()
            .connection(&ConnectionId::parse(who["connection"].as_str().unwrap()).unwrap())
            .await
            .unwrap()
            .unwrap()
            .topics,
        []
    );
    client.silence().await;
    watcher.ask(json!({"action": "unsubscribe", "topic": ROOM, "id": 4})).await;
    assert_eq!(here(&mut client).await["connections"], 0);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_the_library_is_told_who_comes_and_goes() {
    let stack = start(&[]).await;
    let builder = tidings_client::Client::builder(stack.url()).query("user", "watcher").topic(ROOM).presence();
    let (_client, mut events) = builder.connect().unwrap();
    let joined = async |events: &mut tidings_client::Events| loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
        if let Some(tidings_client::Event::Other(text)) = event {
            return serde_json::from_str::<Value>(&text).unwrap()["joined"].clone();
        }
    };
    assert_eq!(joined(&mut events).await, json!(["watcher"]));
    let _tab = tab(&stack, "u1").await;
    assert_eq!(joined(&mut events).await, json!(["u1"]));
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_without_the_parameter_keeps_nothing_and_writes_nothing_more() {
    let stack = Stack::start(&[]).await;
    let mut client = tab(&stack, "u1").await;
    assert_eq!(here(&mut client).await["code"], "BadRequest");
    let rows = stack.rows().await;
    let kinds = ["here#", "pres#", "told#", "ends"];
    assert!(!rows.iter().any(|row| kinds.iter().any(|kind| row["pk"].as_s().unwrap().starts_with(kind))));
    assert!(!stack.running().events().rules().iter().any(|rule| rule.name.contains("EndsRule")));
    stack.stop().await;
}
