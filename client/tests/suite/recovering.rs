//! What is missed comes after all, once and in order.

use serde_json::json;
use tidings_client::{Event, Log, Position, Positions};

use crate::server::{Server, connected, disconnected, message, messages, next};

fn at(offset: u64) -> Position {
    serde_json::from_value(json!({"offset": offset, "epoch": "e"})).unwrap()
}

#[tokio::test]
async fn a_lost_connection_costs_no_message() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().topic("a").connect().unwrap();
    let mut peer = server.accept().await;
    let command = peer.subscribed(json!({"a": {"offset": 4, "epoch": "e"}})).await;
    assert_eq!(command, json!({"action": "subscribe", "topics": ["a"], "id": 1}));
    connected(&mut events).await;
    for offset in [6, 5, 5] {
        peer.send(message(offset)).await;
    }
    assert_eq!(messages(&mut events).await, [5, 6]);
    peer.close().await;
    disconnected(&mut events).await;

    let mut peer = server.accept().await;
    let command = peer.next().await;
    assert_eq!(command["since"], json!({"a": {"offset": 6, "epoch": "e"}}));
    // A push that overtakes the answer that has it too.
    peer.send(message(8)).await;
    let missed =
        json!({"offset": 8, "epoch": "e", "recovered": true, "messages": [message(7), message(8)], "more": false});
    peer.send(json!({"type": "ack", "id": command["id"], "topics": {"a": missed}})).await;
    peer.send(message(9)).await;
    assert_eq!(messages(&mut events).await, [7, 8]);
    connected(&mut events).await;
    assert_eq!(messages(&mut events).await, [9]);
}

#[tokio::test]
async fn a_saved_position_is_where_the_next_client_goes_on() {
    let server = Server::start().await;
    let (client, mut events) = server.client().topic("a").connect().unwrap();
    let mut peer = server.accept().await;
    peer.subscribed(json!({"a": {"offset": 4, "epoch": "e"}})).await;
    connected(&mut events).await;
    peer.send(message(5)).await;
    peer.send(message(6)).await;
    assert_eq!(messages(&mut events).await, [5]);
    // The other one was not taken.
    let saved = serde_json::to_string(events.positions()).unwrap();
    drop((client, events, peer));

    let positions: Positions = serde_json::from_str(&saved).unwrap();
    assert_eq!(positions.get(&Log::topic("a")), Some(&at(5)));
    let (_client, mut events) = server.client().topic("a").positions(positions).connect().unwrap();
    let mut peer = server.accept().await;
    let missed = json!({"offset": 6, "epoch": "e", "recovered": true, "messages": [message(6)], "more": false});
    assert_eq!(peer.subscribed(json!({"a": missed})).await["since"], json!({"a": {"offset": 5, "epoch": "e"}}));
    assert_eq!(messages(&mut events).await, [6]);
    connected(&mut events).await;
}

#[tokio::test]
async fn a_gap_is_filled_from_history_and_more_is_asked_for() {
    let server = Server::start().await;
    let (_client, mut events) = server.client().topic("a").connect().unwrap();
    let mut peer = server.accept().await;
    peer.subscribed(json!({"a": {"offset": 0, "epoch": "e"}})).await;
    connected(&mut events).await;
    peer.send(message(4)).await;
    let command = peer.next().await;
    let since = json!({"offset": 0, "epoch": "e"});
    assert_eq!(command, json!({"action": "history", "topic": "a", "since": since, "limit": 100, "id": 2}));
    let page = json!({"type": "history", "id": 2, "topic": "a", "offset": 4, "epoch": "e", "messages": [message(1)], "more": true});
    peer.send(page).await;
    let command = peer.next().await;
    assert_eq!((&command["since"]["offset"], &command["id"]), (&json!(1), &json!(3)));
    // The second one is for somebody else, and a push has it too.
    peer.send(json!({"type": "skip", "topic": "a", "offset": 2, "epoch": "e"})).await;
    let rest = [message(3), message(4)];
    peer.send(
        json!({"type": "history", "id": 3, "topic": "a", "offset": 4, "epoch": "e", "messages": rest, "more": false}),
    )
    .await;
    assert_eq!(messages(&mut events).await, [1, 3, 4]);
}

#[tokio::test]
async fn what_is_lost_for_good_is_told() {
    let server = Server::start().await;
    let positions: Positions = serde_json::from_value(json!({"topics": {"a": {"offset": 5, "epoch": "e"}}})).unwrap();
    let (_client, mut events) = server.client().topic("a").positions(positions).connect().unwrap();
    let mut peer = server.accept().await;
    peer.subscribed(json!({"a": {"offset": 2, "epoch": "f", "recovered": false, "messages": [], "more": false}})).await;
    match next(&mut events).await {
        Event::Missed { log, from, to, .. } => {
            assert_eq!((log, from), (Log::topic("a"), at(5)));
            assert_eq!(to.unwrap().to_string(), "2/f");
        }
        event => panic!("{event:?}"),
    }
    connected(&mut events).await;
    assert_eq!(events.positions().get(&Log::topic("a")).unwrap().to_string(), "2/f");
}

#[tokio::test]
async fn the_log_of_the_user_is_one_like_any_other() {
    let server = Server::start().await;
    let positions: Positions = serde_json::from_value(json!({"user": {"offset": 3, "epoch": "p"}})).unwrap();
    let (_client, mut events) = server.client().user_log().positions(positions).connect().unwrap();
    let mut peer = server.accept().await;
    let command = peer.next().await;
    let since = json!({"offset": 3, "epoch": "p"});
    assert_eq!(command, json!({"action": "subscribe", "user": true, "since": since, "id": 1}));
    let message = |offset: u64| json!({"type": "message", "id": "n", "user": true, "offset": offset, "epoch": "p", "data": offset});
    let user = json!({"offset": 4, "epoch": "p", "recovered": true, "messages": [message(4)], "more": false});
    peer.send(json!({"type": "ack", "id": 1, "user": user})).await;
    peer.send(message(5)).await;
    assert_eq!(messages(&mut events).await, [4]);
    connected(&mut events).await;
    assert_eq!(messages(&mut events).await, [5]);
}
