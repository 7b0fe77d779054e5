//! Logs: appended to without a hole, once for each notification, and read consistently.

use futures_util::future::join_all;
use tests::engine::Table;
use tidings::history::Retention;
use tidings::log::{Epoch, LogName, LogPosition, Since};
use tidings::recovery::{Asked, Reading, RecoveryError};
use tidings::registry::{Append, Appended, Head, Registry};
use tidings::{ConnectionId, NotificationId};

use super::{NOW, on_both_engines, registry, topic};

on_both_engines!(
    many_appenders_leave_no_hole_and_no_double,
    a_notification_that_comes_again_keeps_its_place,
    a_log_whose_head_lags_is_told_whole_and_its_head_is_raised,
    a_log_that_began_anew_is_not_raised_under_its_old_epoch,
    what_a_client_missed_is_what_came_since_for_it,
    what_has_expired_is_not_told_and_not_called_recovered,
    a_page_has_room_for_one_message_and_says_that_there_is_more,
    history_is_read_from_both_ends,
    a_log_begins_with_its_first_entry_unless_somebody_was_faster,
    an_append_costs_two_write_units_and_its_claim_none_more,
);

const KEPT: Retention = Retention { seconds: 300, messages: None, ordered: false };

fn log() -> LogName {
    LogName::Topic(topic("t"))
}

fn id(name: &str) -> NotificationId {
    NotificationId::parse(name).unwrap()
}

fn body(name: &str, more: &str) -> String {
    format!(r#"{{"id":"{name}","to":{{"topic":"t"}},"data":"{name}","at":{NOW}{more}}}"#)
}

/// Says something, as of `now`.
async fn say(registry: &Registry, name: &str, more: &str, now: i64) -> Appended {
    let head = head(registry).await;
    let (id, text) = (id(name), body(name, more));
    let log = log();
    let append =
        Append { log: &log, retention: KEPT, scope: "s", id: &id, notification: &text, head: &head, from: None };
    let appended = registry.append(&append, now).await.unwrap();
    assert!(registry.raise_head(&log, &appended.position, KEPT, now).await.unwrap());
    appended
}

async fn head(registry: &Registry) -> Head {
    match registry.head(&log()).await.unwrap() {
        Some(head) => head,
        None => registry.begin_log(&log(), KEPT, NOW).await.unwrap(),
    }
}

fn since(head: &Head, offset: u64) -> Since {
    Since { position: LogPosition { offset, epoch: head.epoch.clone() }, connection: None }
}

/// What connection `c` reads: offsets, whether that is all, and whether there is more.
async fn missed(
    registry: &Registry,
    since: &Since,
    bytes: usize,
    now: i64,
) -> Result<(Vec<u64>, Option<bool>, bool), RecoveryError> {
    let (log, connection) = (log(), ConnectionId::parse("c").unwrap());
    let reading = Reading { log: &log, retention: KEPT, connection: Some(&connection), now };
    let mut room = bytes;
    let told = registry.missed(&reading, since, &mut room).await?;
    let offsets = told.messages.iter().map(|message| message.log.as_ref().unwrap().position.offset);
    Ok((offsets.collect(), told.recovered, told.more))
}

async fn many_appenders_leave_no_hole_and_no_double(table: Table) {
    let registry = registry(&table);
    let names: Vec<_> = (0..40).map(|number| format!("n{number}")).collect();
    let mut places: Vec<_> = join_all(names.iter().map(|name| say(&registry, name, "", NOW)))
        .await
        .into_iter()
        .map(|at| at.position.offset)
        .collect();
    places.sort_unstable();
    assert_eq!(places, (1..=40).collect::<Vec<_>>());
    assert_eq!(head(&registry).await.offset, 40);
}

async fn a_notification_that_comes_again_keeps_its_place(table: Table) {
    let registry = registry(&table);
    let first = head(&registry).await;
    say(&registry, "a", "", NOW).await;
    say(&registry, "b", "", NOW).await;
    // The attempt that died knew the log as it was before `a`.
    let (log, id, text, now_head) = (log(), id("a"), body("a", ""), head(&registry).await);
    let from = first.position();
    let append = Append {
        log: &log,
        retention: KEPT,
        scope: "s",
        id: &id,
        notification: &text,
        head: &now_head,
        from: Some(&from),
    };
    let again = registry.append(&append, NOW).await.unwrap();
    assert_eq!((again.position.offset, again.was_there, again.said_at), (1, true, Some(NOW)));
    let elsewhere = Append { scope: "other", ..append };
    let other = registry.append(&elsewhere, NOW).await.unwrap();
    assert_eq!((other.position.offset, other.was_there), (3, false), "the same id in another scope is another one");
}

async fn a_log_whose_head_lags_is_told_whole_and_its_head_is_raised(table: Table) {
    let registry = registry(&table);
    let begun = head(&registry).await;
    let (log, id, text) = (log(), id("a"), body("a", ""));
    let append =
        Append { log: &log, retention: KEPT, scope: "s", id: &id, notification: &text, head: &begun, from: None };
    registry.append(&append, NOW).await.unwrap();
    assert_eq!(head(&registry).await.offset, 0, "its appender has not raised it yet");
    assert_eq!(missed(&registry, &since(&begun, 0), 1_000, NOW).await.unwrap(), (vec![1], Some(true), false));
    assert_eq!(head(&registry).await.offset, 1);
}

async fn a_log_that_began_anew_is_not_raised_under_its_old_epoch(table: Table) {
    let registry = registry(&table);
    let first = head(&registry).await;
    let old = LogPosition { offset: 9, epoch: Epoch::parse("old").unwrap() };
    assert!(!registry.raise_head(&log(), &old, KEPT, NOW).await.unwrap());
    assert_eq!(head(&registry).await, first);
    let asked = Since { position: old, connection: None };
    say(&registry, "a", "", NOW).await;
    assert_eq!(missed(&registry, &asked, 1_000, NOW).await.unwrap(), (vec![1], Some(false), false));
}

async fn a_log_begins_with_its_first_entry_unless_somebody_was_faster(table: Table) {
    let registry = registry(&table);
    let (log, id, text) = (log(), id("a"), body("a", ""));
    let [mine, late] = [(); 2].map(|()| Head::of_new_log(KEPT, NOW));
    let append =
        Append { log: &log, retention: KEPT, scope: "s", id: &id, notification: &text, head: &mine, from: None };
    let first = registry.append(&append, NOW).await.unwrap().position;
    assert_eq!(registry.head(&log).await.unwrap(), None, "nobody knows of the entry yet");
    assert!(registry.begin_log_at(&log, &first, KEPT, NOW).await.unwrap());
    let begun = head(&registry).await;
    assert_eq!(begun.position(), first);
    // Whoever saw no head either has put an entry where nobody reads, and is told so.
    let other = Append { head: &late, ..append };
    let lost = registry.append(&other, NOW).await.unwrap().position;
    assert!(!registry.begin_log_at(&log, &lost, KEPT, NOW).await.unwrap());
    // It looks in the log that there is, all of it, for a copy of its own.
    let again = Append { head: &begun, from: Some(&lost), ..append };
    let again = registry.append(&again, NOW).await.unwrap();
    assert_eq!((again.position, again.was_there), (first, true));
}

async fn what_a_client_missed_is_what_came_since_for_it(table: Table) {
    let registry = registry(&table);
    say(&registry, "a", "", NOW).await;
    say(&registry, "b", r#","except":["c"]"#, NOW).await;
    say(&registry, "c", r#","ttl":1"#, NOW).await;
    say(&registry, "d", r#","except":["before"]"#, NOW).await;
    say(&registry, "e", "", NOW).await;
    let head = head(&registry).await;
    let now = NOW + 2_000;
    assert_eq!(missed(&registry, &since(&head, 1), 9_000, now).await.unwrap(), (vec![4, 5], Some(true), false));
    let same_client = Since { connection: Some(ConnectionId::parse("before").unwrap()), ..since(&head, 1) };
    assert_eq!(missed(&registry, &same_client, 9_000, now).await.unwrap(), (vec![5], Some(true), false));
    assert_eq!(missed(&registry, &since(&head, 5), 9_000, now).await.unwrap(), (vec![], Some(true), false));
    let ahead = missed(&registry, &since(&head, 6), 9_000, now).await.unwrap_err();
    assert_eq!(ahead.to_string(), "`since` is 6, and the log ends at 5; give the offset of the last message that came");
}

async fn what_has_expired_is_not_told_and_not_called_recovered(table: Table) {
    let registry = registry(&table);
    say(&registry, "a", "", NOW).await;
    say(&registry, "b", "", NOW + 200_000).await;
    let head = head(&registry).await;
    let later = NOW + 301_000;
    assert_eq!(missed(&registry, &since(&head, 0), 9_000, later).await.unwrap(), (vec![2], Some(false), false));
    assert_eq!(missed(&registry, &since(&head, 1), 9_000, later).await.unwrap(), (vec![2], Some(true), false));
    let all_gone = NOW + 900_000;
    assert_eq!(missed(&registry, &since(&head, 1), 9_000, all_gone).await.unwrap(), (vec![], Some(false), false));
}

async fn a_page_has_room_for_one_message_and_says_that_there_is_more(table: Table) {
    let registry = registry(&table);
    for name in ["a", "b", "c"] {
        say(&registry, name, "", NOW).await;
    }
    let head = head(&registry).await;
    assert_eq!(missed(&registry, &since(&head, 0), 0, NOW).await.unwrap(), (vec![1], Some(true), true));
    assert_eq!(missed(&registry, &since(&head, 1), 500, NOW).await.unwrap(), (vec![2, 3], Some(true), false));
}

async fn history_is_read_from_both_ends(table: Table) {
    let registry = registry(&table);
    for name in ["a", "b", "c", "d"] {
        say(&registry, name, "", NOW).await;
    }
    let head = head(&registry).await;
    let (log, connection, place) = (log(), ConnectionId::parse("c").unwrap(), since(&head, 3));
    let read = async |since: Option<&Since>, limit, reverse, messages| {
        let retention = Retention { messages, ..KEPT };
        let reading = Reading { log: &log, retention, connection: Some(&connection), now: NOW };
        let mut room = 9_000;
        let told = registry.history(&reading, Asked { since, limit, reverse }, &mut room).await.unwrap();
        let offsets = told.messages.iter().map(|message| message.log.as_ref().unwrap().position.offset);
        (offsets.collect::<Vec<_>>(), told.more, told.position.offset)
    };
    assert_eq!(read(None, 2, false, None).await, (vec![1, 2], true, 4));
    assert_eq!(read(None, 2, true, None).await, (vec![4, 3], true, 4));
    assert_eq!(read(Some(&place), 9, false, None).await, (vec![4], false, 4));
    assert_eq!(read(Some(&place), 9, true, None).await, (vec![2, 1], false, 4));
    assert_eq!(read(None, 9, false, Some(3)).await, (vec![2, 3, 4], false, 4), "only so many are kept");
}

async fn an_append_costs_two_write_units_and_its_claim_none_more(table: Table) {
    let registry = registry(&table);
    say(&registry, "a", "", NOW).await;
    let before = registry.consumed();
    say(&registry, "b", "", NOW).await;
    let consumed = registry.consumed() - before;
    assert_eq!((consumed.write, consumed.read), (2.0, 1.0));
}
