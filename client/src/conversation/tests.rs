//! What is said on connections, frame by frame.

use serde_json::json;

use super::*;

const LINK: u64 = 1;

/// The frames to send, without their links.
fn sent(conversation: &mut Conversation) -> Vec<Value> {
    conversation.frames().into_iter().map(|(_, frame)| serde_json::from_str(&frame).unwrap()).collect()
}

fn receive(conversation: &mut Conversation, frame: Value, now: Instant) {
    conversation.frame(frame.to_string(), now);
}

fn events(conversation: &mut Conversation) -> Vec<String> {
    let events = conversation.items().into_iter().filter_map(|item| match item {
        Item::Event(Event::Message(message)) => Some(message.data.to_string()),
        Item::Event(Event::Refused { log, refusal }) => Some(format!("{log} is refused: {refusal}")),
        Item::Event(event) => Some(format!("{event:?}")),
        Item::Position(..) => None,
    });
    events.collect()
}

fn subscribed_to(topics: &[&str], now: Instant) -> Conversation {
    let mut conversation = Conversation::default();
    for topic in topics {
        conversation.add(Log::topic(*topic), None, &[], None, now);
    }
    conversation.opened(LINK, now);
    conversation
}

#[tokio::test]
async fn after_each_connect_all_is_subscribed_to_from_where_it_stands() {
    let now = Instant::now();
    let mut conversation = subscribed_to(&["a", "b"], now);
    conversation.add(Log::User, None, &[], None, now);
    assert_eq!(sent(&mut conversation), [json!({"action": "subscribe", "topics": ["a", "b"], "id": 1})]);
    assert!(!conversation.is_ready(LINK));
    let topics = json!({"a": {"offset": 4, "epoch": "e"}, "b": {}});
    receive(&mut conversation, json!({"type": "ack", "id": 1, "topics": topics}), now);
    assert!(conversation.is_ready(LINK));
    conversation.gone(LINK, now);
    conversation.opened(2, now);
    let since = json!({"a": {"offset": 4, "epoch": "e"}});
    let user = json!({"action": "subscribe", "user": true, "id": 3});
    assert_eq!(
        sent(&mut conversation),
        [json!({"action": "subscribe", "topics": ["a", "b"], "since": since, "id": 2}), user]
    );
    assert!(!conversation.is_ready(2));
}

#[tokio::test]
async fn a_refused_list_is_tried_one_by_one_and_only_what_is_refused_alone_is_over() {
    let now = Instant::now();
    let mut conversation = subscribed_to(&["a", "b"], now);
    sent(&mut conversation);
    let error = |id: u64| json!({"type": "error", "id": id, "code": "Forbidden", "message": "not b"});
    receive(&mut conversation, error(1), now);
    let alone = |topic: &str, id: u64| json!({"action": "subscribe", "topics": [topic], "id": id});
    assert_eq!(sent(&mut conversation), [alone("a", 2), alone("b", 3)]);
    receive(&mut conversation, json!({"type": "ack", "id": 2}), now);
    receive(&mut conversation, error(3), now);
    assert_eq!(events(&mut conversation), ["the topic b is refused: Forbidden: not b"]);
    assert!(conversation.is_ready(LINK));
    conversation.opened(2, now);
    assert_eq!(sent(&mut conversation), [alone("a", 4)]);
}

#[tokio::test]
async fn too_many_requests_and_silence_are_waited_out() {
    let now = Instant::now();
    let mut conversation = subscribed_to(&["a"], now);
    sent(&mut conversation);
    let error = json!({"type": "error", "id": 1, "code": "TooManyRequests", "message": "wait"});
    receive(&mut conversation, error, now);
    conversation.on_time(None, now);
    assert_eq!(sent(&mut conversation), [json!(null); 0]);
    assert!(!conversation.is_ready(LINK));
    assert_eq!(conversation.due(None), Some(now + BREATH));
    conversation.on_time(None, now + BREATH);
    assert_eq!(sent(&mut conversation).len(), 1);
    // A function failed: there will be no answer.
    let due = conversation.due(None).unwrap();
    conversation.on_time(None, due);
    assert_eq!(sent(&mut conversation), [json!({"action": "subscribe", "topics": ["a"], "id": 3})]);
}

#[tokio::test]
async fn a_position_that_is_not_accepted_is_left_behind() {
    let now = Instant::now();
    let mut conversation = Conversation::default();
    let since = Position { offset: 50, epoch: "e".to_owned() };
    conversation.add(Log::topic("a"), Some(since), &[LINK], None, now);
    sent(&mut conversation);
    let error = json!({"type": "error", "id": 1, "code": "BadRequest", "message": "`since` is above the log"});
    receive(&mut conversation, error, now);
    assert_eq!(sent(&mut conversation), [json!({"action": "subscribe", "topics": ["a"], "id": 2})]);
    let ack = json!({"type": "ack", "id": 2, "topics": {"a": {"offset": 8, "epoch": "e"}}});
    receive(&mut conversation, ack, now);
    let events = events(&mut conversation);
    assert!(events.len() == 1 && events[0].starts_with("Missed"), "{events:?}");
}

#[tokio::test]
async fn a_gap_is_asked_for_on_the_primary_link_and_its_answer_fills_it() {
    let now = Instant::now();
    let mut conversation = subscribed_to(&["a"], now);
    let ack = json!({"type": "ack", "id": 1, "topics": {"a": {"offset": 4, "epoch": "e"}}});
    receive(&mut conversation, ack, now);
    sent(&mut conversation);
    let message = |offset: u64| json!({"type": "message", "id": "n", "topic": "a", "offset": offset, "epoch": "e", "data": offset});
    receive(&mut conversation, message(6), now);
    let due = conversation.due(Some(LINK)).unwrap();
    conversation.on_time(None, due);
    assert_eq!(sent(&mut conversation), [json!(null); 0], "there is nobody to ask");
    conversation.on_time(Some(LINK), due);
    let since = json!({"offset": 4, "epoch": "e"});
    let history = json!({"action": "history", "topic": "a", "since": since, "limit": 100, "id": 2});
    assert_eq!(sent(&mut conversation), [history]);
    let page = json!({"type": "history", "id": 2, "topic": "a", "offset": 6, "epoch": "e", "messages": [message(5), message(6)]});
    receive(&mut conversation, page, due);
    assert_eq!(events(&mut conversation), ["5", "6"]);
    // A number that is for somebody else.
    receive(&mut conversation, json!({"type": "skip", "topic": "a", "offset": 7, "epoch": "e"}), due);
    assert_eq!((conversation.due(Some(LINK)), events(&mut conversation).len()), (None, 0));
}

#[tokio::test]
async fn calls_are_answered_by_id_and_fail_with_their_link() {
    let now = Instant::now();
    let mut conversation = Conversation::default();
    let call = |conversation: &mut Conversation| {
        let (answer, answered) = oneshot::channel();
        let body = json!({"action": "ping"}).as_object().unwrap().clone();
        conversation.call(LINK, body, answer, now);
        answered
    };
    let (first, second) = (call(&mut conversation), call(&mut conversation));
    assert!(conversation.has_calls(None) && conversation.has_calls(Some(LINK)));
    receive(&mut conversation, json!({"type": "pong", "id": 2}), now);
    assert_eq!(second.await.unwrap().unwrap(), r#"{"id":2,"type":"pong"}"#);
    conversation.gone(LINK, now);
    assert!(matches!(first.await.unwrap(), Err(CallError::Disconnected)));
    receive(&mut conversation, json!({"type": "pong", "id": 1}), now);
    assert_eq!(events(&mut conversation), [""; 0], "nobody waits for it any more");
}

#[tokio::test]
async fn complaints_and_frames_of_others_are_passed_on() {
    let now = Instant::now();
    let mut conversation = Conversation::default();
    receive(&mut conversation, json!({"type": "error", "code": "Forbidden", "message": "no"}), now);
    conversation.frame("hello".to_owned(), now);
    conversation.frame(r#"{"type":"pong"}"#.to_owned(), now);
    let events = events(&mut conversation);
    assert_eq!(events[1], r#"Other("hello")"#);
    assert!(events.len() == 2 && events[0].starts_with("Complaint"), "{events:?}");
}
