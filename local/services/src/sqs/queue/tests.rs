use super::*;
use tidings_local_stack::Redrive;

/// Noon of some day.
const NOON: Millis = 1_800_000_000_000;

const SECOND: Millis = 1000;

fn standard() -> Queue {
    Queue::new(QueueSettings::default(), NOON)
}

fn fifo(change: impl FnOnce(&mut QueueSettings)) -> Queue {
    let mut settings = QueueSettings { fifo: true, content_based_deduplication: true, ..QueueSettings::default() };
    change(&mut settings);
    Queue::new(settings, NOON)
}

fn in_group(group: &str, body: &str) -> Message {
    Message { group: Some(group.to_owned()), ..Message::text(body) }
}

fn take(count: usize) -> Take {
    Take { count, bytes: usize::MAX, visibility: None }
}

fn receive(queue: &mut Queue, count: usize, now: Millis) -> Vec<Received> {
    queue.receive(&take(count), false, now).messages
}

fn bodies(received: &[Received]) -> Vec<&str> {
    received.iter().map(|received| received.message.body.as_str()).collect()
}

fn counts(queue: &mut Queue, now: Millis) -> (usize, usize, usize) {
    let Counts { visible, in_flight, delayed } = queue.counts(now);
    (visible, in_flight, delayed)
}

#[test]
fn a_received_message_is_hidden_until_its_time_is_over() {
    let mut queue = standard();
    queue.send(Message::text("a"), None, NOON).unwrap();
    let first = receive(&mut queue, 10, NOON);
    assert_eq!(bodies(&first), ["a"]);
    assert_eq!(counts(&mut queue, NOON), (0, 1, 0));
    assert_eq!(queue.next_visible(), Some(NOON + 30 * SECOND));
    assert!(receive(&mut queue, 10, NOON + 30 * SECOND - 1).is_empty());

    let again = receive(&mut queue, 10, NOON + 30 * SECOND);
    assert_eq!((again[0].receives, again[0].first_received), (2, NOON));
    assert_ne!(again[0].receipt, first[0].receipt);
}

#[test]
fn a_standard_queue_may_deliver_each_message_once_more_and_a_fifo_queue_never_does() {
    for (mut queue, times) in [(standard(), 2), (fifo(|_| ()), 1)] {
        queue.twice = true;
        queue.send(in_group("g", "a"), None, NOON).unwrap();
        for receives in 1..=times {
            let received = receive(&mut queue, 1, NOON).remove(0);
            assert_eq!((received.message.body.as_str(), received.receives), ("a", receives));
            queue.delete(&received.receipt, NOON).unwrap();
        }
        assert_eq!(counts(&mut queue, NOON), (0, 0, 0));
    }
}

#[test]
fn only_the_last_receipt_deletes() {
    let mut queue = standard();
    queue.send(Message::text("a"), None, NOON).unwrap();
    let first = receive(&mut queue, 1, NOON).remove(0).receipt;
    let second = receive(&mut queue, 1, NOON + 30 * SECOND).remove(0).receipt;
    assert_eq!(queue.delete(&first, NOON + 31 * SECOND).unwrap(), Deletion::ReceivedAgain);
    assert_eq!(counts(&mut queue, NOON + 31 * SECOND), (0, 1, 0));
    // Also when its time is over, as long as nobody else has received the message.
    assert_eq!(queue.delete(&second, NOON + 90 * SECOND).unwrap(), Deletion::Deleted);
    assert_eq!(queue.delete(&second, NOON + 90 * SECOND).unwrap(), Deletion::Gone);
    assert_eq!(counts(&mut queue, NOON + 90 * SECOND), (0, 0, 0));
    assert_eq!(queue.delete("nonsense", NOON).unwrap_err().code, Code::ReceiptHandleIsInvalid);
}

#[test]
fn visibility_can_be_longer_shorter_or_over() {
    let mut queue = standard();
    queue.send(Message::text("a"), None, NOON).unwrap();
    let receipt = receive(&mut queue, 1, NOON).remove(0).receipt;
    queue.change_visibility(&receipt, 60, NOON + 10 * SECOND).unwrap();
    assert!(receive(&mut queue, 1, NOON + 69 * SECOND).is_empty());
    queue.change_visibility(&receipt, 0, NOON + 69 * SECOND).unwrap();
    assert_eq!(queue.change_visibility(&receipt, 5, NOON + 69 * SECOND).unwrap_err().code, Code::MessageNotInflight);
    assert_eq!(receive(&mut queue, 1, NOON + 69 * SECOND).len(), 1);
    let stale = queue.change_visibility(&receipt, 5, NOON + 70 * SECOND).unwrap_err();
    assert_eq!(stale.code, Code::InvalidParameterValue);
}

#[test]
fn a_receive_may_choose_its_own_visibility() {
    let mut queue = standard();
    queue.send(Message::text("a"), None, NOON).unwrap();
    let take = Take { visibility: Some(0), ..take(1) };
    assert_eq!(queue.receive(&take, false, NOON).messages.len(), 1);
    assert_eq!(receive(&mut queue, 1, NOON).len(), 1);
}

#[test]
fn a_message_is_delayed_as_it_or_its_queue_says() {
    let mut queue = standard();
    queue.settings.delay = 5;
    queue.send(Message::text("queue"), None, NOON).unwrap();
    queue.send(Message::text("own"), Some(9), NOON).unwrap();
    queue.send(Message::text("none"), Some(0), NOON).unwrap();
    assert_eq!(counts(&mut queue, NOON), (1, 0, 2));
    assert_eq!(bodies(&receive(&mut queue, 10, NOON)), ["none"]);
    assert_eq!(bodies(&receive(&mut queue, 10, NOON + 5 * SECOND)), ["queue"]);
    assert_eq!(bodies(&receive(&mut queue, 10, NOON + 9 * SECOND)), ["own"]);
    assert_eq!(queue.send(Message::text("a"), Some(901), NOON).unwrap_err().code, Code::InvalidParameterValue);
}

#[test]
fn a_message_is_gone_after_the_retention() {
    let mut queue = standard();
    queue.settings.retention = 60;
    queue.send(Message::text("old"), None, NOON).unwrap();
    queue.send(Message::text("new"), None, NOON + 30 * SECOND).unwrap();
    assert_eq!(bodies(&receive(&mut queue, 10, NOON + 60 * SECOND)), ["new"]);
    assert_eq!(counts(&mut queue, NOON + 90 * SECOND), (0, 0, 0));
}

#[test]
fn a_receive_takes_no_more_than_it_may() {
    let mut queue = standard();
    for body in ["aaaa", "bbbb", "cccc"] {
        queue.send(Message::text(body), None, NOON).unwrap();
    }
    let by_bytes = Take { bytes: 8, ..take(10) };
    assert_eq!(bodies(&queue.receive(&by_bytes, false, NOON).messages), ["aaaa", "bbbb"]);
    let too_small = Take { bytes: 1, ..take(10) };
    assert_eq!(bodies(&queue.receive(&too_small, false, NOON).messages), ["cccc"]);
}

#[test]
fn what_is_received_too_often_moves_to_the_dead_letter_queue() {
    let dead_letter_queue = "arn:aws:sqs:us-east-1:123456789012:Dead".to_owned();
    let mut queue = standard();
    queue.settings.redrive = Some(Redrive { dead_letter_queue, max_receive_count: 2 });
    queue.send(Message::text("poison"), None, NOON).unwrap();
    for turn in 0..2 {
        assert_eq!(queue.receive(&take(1), true, NOON + turn * 30 * SECOND).messages.len(), 1);
    }
    queue.send(Message::text("good"), None, NOON).unwrap();
    let taken = queue.receive(&take(1), true, NOON + 60 * SECOND);
    assert_eq!((bodies(&taken.messages), taken.dead.len()), (vec!["good"], 1));

    let mut dead_letters = standard();
    for dead in taken.dead {
        dead_letters.dead_letter(dead, "arn:source", NOON + 60 * SECOND);
    }
    let dead = receive(&mut dead_letters, 1, NOON + 60 * SECOND).remove(0);
    assert_eq!((dead.message.body.as_str(), dead.receives, dead.sent), ("poison", 1, NOON));
    assert_eq!(dead.system_attributes()["DeadLetterQueueSourceArn"], "arn:source");
}

#[test]
fn without_a_dead_letter_queue_a_message_goes_on() {
    let mut queue = standard();
    let dead_letter_queue = "arn:aws:sqs:us-east-1:123456789012:Nowhere".to_owned();
    queue.settings.redrive = Some(Redrive { dead_letter_queue, max_receive_count: 1 });
    queue.send(Message::text("a"), None, NOON).unwrap();
    for turn in 0..5 {
        assert_eq!(receive(&mut queue, 1, NOON + turn * 30 * SECOND).len(), 1);
    }
}

#[test]
fn a_group_keeps_its_order_and_waits_for_what_is_in_flight() {
    let mut queue = fifo(|_| {});
    for (group, body) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        queue.send(in_group(group, body), None, NOON).unwrap();
    }
    let first = receive(&mut queue, 2, NOON);
    assert_eq!(bodies(&first), ["a1", "a2"]);
    assert_eq!(bodies(&receive(&mut queue, 10, NOON)), ["b1"]);
    queue.delete(&first[0].receipt, NOON).unwrap();
    assert!(receive(&mut queue, 10, NOON).is_empty(), "a2 is still in flight");
    queue.change_visibility(&first[1].receipt, 0, NOON).unwrap();
    assert_eq!(bodies(&receive(&mut queue, 10, NOON)), ["a2", "a3"]);
}

#[test]
fn a_fifo_queue_refuses_a_receipt_whose_time_is_over() {
    let mut queue = fifo(|_| {});
    queue.send(in_group("a", "1"), None, NOON).unwrap();
    let receipt = receive(&mut queue, 1, NOON).remove(0).receipt;
    let refusal = queue.delete(&receipt, NOON + 30 * SECOND).unwrap_err();
    assert!(refusal.message.ends_with("The receipt handle has expired."), "{refusal}");
}

#[test]
fn a_duplicate_is_taken_once_within_five_minutes() {
    let mut queue = fifo(|_| {});
    let first = queue.send(in_group("a", "same"), None, NOON).unwrap();
    let second = queue.send(in_group("b", "same"), None, NOON + 299 * SECOND).unwrap();
    assert_eq!(first, second);
    assert!(first.sequence_number.is_some());
    let third = queue.send(in_group("a", "same"), None, NOON + 300 * SECOND).unwrap();
    assert_ne!(first, third);
    assert_eq!(receive(&mut queue, 10, NOON + 300 * SECOND).len(), 2);

    let mut queue = fifo(|settings| settings.deduplication_by_group = true);
    queue.send(in_group("a", "same"), None, NOON).unwrap();
    queue.send(in_group("b", "same"), None, NOON).unwrap();
    assert_eq!(counts(&mut queue, NOON).0, 2);
}

#[test]
fn what_a_kind_of_queue_does_not_take_is_refused() {
    let check = |queue: &mut Queue, message: Message, delay: Option<u64>, code: Code| {
        assert_eq!(queue.send(message, delay, NOON).unwrap_err().code, code);
    };
    check(&mut fifo(|_| {}), Message::text("a"), None, Code::MissingParameter);
    check(&mut fifo(|_| {}), in_group("a", "a"), Some(1), Code::InvalidParameterValue);
    for group in ["", "two words", "ü", &"g".repeat(129)] {
        check(&mut fifo(|_| {}), in_group(group, "a"), None, Code::InvalidParameterValue);
    }
    let mut strict = fifo(|settings| settings.content_based_deduplication = false);
    check(&mut strict, in_group("a", "a"), None, Code::InvalidParameterValue);
    let with_id = Message { deduplication: Some("d".to_owned()), ..Message::text("a") };
    check(&mut standard(), with_id, None, Code::InvalidParameterValue);
    let mut small = standard();
    small.settings.maximum_message_size = 1024;
    check(&mut small, Message::text("a".repeat(1025)), None, Code::InvalidParameterValue);
}

#[test]
fn a_standard_queue_carries_a_group_without_keeping_it_back() {
    let mut queue = standard();
    queue.send(in_group("a", "1"), None, NOON).unwrap();
    queue.send(in_group("a", "2"), None, NOON).unwrap();
    let first = receive(&mut queue, 1, NOON);
    assert_eq!(first[0].system_attributes()["MessageGroupId"], "a");
    assert_eq!(bodies(&receive(&mut queue, 1, NOON)), ["2"]);
}

#[test]
fn a_purged_queue_is_empty() {
    let mut queue = fifo(|_| {});
    queue.send(in_group("a", "1"), None, NOON).unwrap();
    receive(&mut queue, 1, NOON);
    queue.purge();
    assert_eq!(counts(&mut queue, NOON), (0, 0, 0));
    queue.send(in_group("a", "2"), None, NOON).unwrap();
    assert_eq!(bodies(&receive(&mut queue, 1, NOON)), ["2"]);
}
