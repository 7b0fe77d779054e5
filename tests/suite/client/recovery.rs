//! What the log is for: whatever happens to connections, each message comes once and in order.
//!

use serde_json::{Value, json};
use tests::proxy::Proxy;
use tests::stack::Stack;
use tidings_client::{Event, History, Log, Positions};

use super::{client, connected, message, next, notify};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_there_is_no_connection_comes_after_it_is_made_again() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    let builder = client(&proxy.url(stack.url())).query("user", "ada").user_log().topic("a");
    let (_client, mut events) = builder.connect().unwrap();
    connected(&mut events).await;
    let mut sent = 0;
    for _ in 0..3 {
        proxy.refuse(true);
        proxy.cut();
        for _ in 0..5 {
            notify(&stack, "a", json!(sent)).await;
            sent += 1;
        }
        stack.notify(json!({"to": {"user": "ada"}, "data": "for ada"})).await;
        proxy.refuse(false);
        let (mut of_topic, mut of_user) = (Vec::new(), 0);
        while of_topic.len() < 5 || of_user < 1 {
            match next(&mut events).await {
                Event::Message(message) if message.log == Some(Log::User) => of_user += 1,
                Event::Message(message) => of_topic.push(message.data),
                Event::Connected | Event::Disconnected { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        assert_eq!(of_topic, (sent - 5..sent).map(|number| json!(number)).collect::<Vec<Value>>());
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_starts_again_goes_on_where_it_was() {
    let stack = Stack::start(&[]).await;
    let (first, mut events) = client(stack.url()).topic("a").connect().unwrap();
    connected(&mut events).await;
    notify(&stack, "a", json!(0)).await;
    assert_eq!(message(&mut events).await, 0);
    let saved: Positions = serde_json::from_str(&serde_json::to_string(events.positions()).unwrap()).unwrap();
    first.close().await;
    // More than one page.
    for number in 1..=150 {
        notify(&stack, "a", json!(number)).await;
    }
    let (_second, mut events) = client(stack.url()).topic("a").positions(saved).connect().unwrap();
    let mut data = Vec::new();
    while data.len() < 150 {
        match next(&mut events).await {
            Event::Message(message) => data.push(message.data),
            Event::Connected => {}
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(data, (1..=150).map(|number| json!(number)).collect::<Vec<Value>>());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_again_and_again_lose_and_double_nothing() {
    let stack = Stack::start(&[]).await;
    let proxy = Proxy::start(stack.url()).await;
    let (_client, mut events) = client(&proxy.url(stack.url())).topic("a").connect().unwrap();
    connected(&mut events).await;
    let taking = tokio::spawn(async move {
        let mut data = Vec::new();
        while data.len() < 60 {
            match next(&mut events).await {
                Event::Message(message) => data.push(message.data),
                Event::Connected | Event::Disconnected { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        data
    });
    for number in 0..60 {
        if number % 7 == 3 {
            proxy.cut();
        }
        notify(&stack, "a", json!(number)).await;
    }
    assert_eq!(taking.await.unwrap(), (0..60).map(|number| json!(number)).collect::<Vec<Value>>());
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_for_this_client_holds_nothing_up() {
    let stack = Stack::start(&[]).await;
    let (ada, mut events) = client(stack.url()).query("user", "ada").topic("a").connect().unwrap();
    connected(&mut events).await;
    let who = ada.call("whoami", json!({})).await.unwrap();
    stack.notify(json!({"to": {"topic": "a"}, "except": [who["connection"]], "data": "for others"})).await;
    notify(&stack, "a", json!("for all")).await;
    assert_eq!(message(&mut events).await, "for all");
    assert_eq!(events.positions().get(&Log::topic("a")).unwrap().offset, 2);
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_log_is_told_to_be_lost() {
    let stack = Stack::start(&[]).await;
    notify(&stack, "a", json!(1)).await;
    let lost: Positions = serde_json::from_value(json!({"topics": {"a": {"offset": 7, "epoch": "gone"}}})).unwrap();
    let (_client, mut events) = client(stack.url()).topic("a").positions(lost).connect().unwrap();
    match next(&mut events).await {
        Event::Missed { log, from, to, .. } => {
            assert_eq!((log, from.offset, to.unwrap().offset), (Log::topic("a"), 7, 1));
        }
        event => panic!("{event:?}"),
    }
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_read_from_either_end() {
    let stack = Stack::start(&[]).await;
    for number in 1..=5 {
        notify(&stack, "a", json!(number)).await;
    }
    let (reader, _events) = client(stack.url()).connect().unwrap();
    let log = Log::topic("a");
    let data = |page: tidings_client::Page| page.messages.into_iter().map(|one| one.data).collect::<Vec<_>>();
    let newest = reader.history(&log, History::newest(2)).await.unwrap();
    let mut beginning = newest.position.clone().unwrap();
    assert_eq!((beginning.offset, newest.more, data(newest)), (5, true, vec![json!(4), json!(5)]));
    beginning.offset = 0;
    let oldest = reader.history(&log, History::after(beginning).limit(3)).await.unwrap();
    assert_eq!((oldest.more, data(oldest)), (true, vec![json!(1), json!(2), json!(3)]));
    stack.stop().await;
}
