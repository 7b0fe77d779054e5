//! The form that notifies, the small client, and the keyboard.

use serde_json::{Value, json};
use tests::stack::{Stack, root};
use tidings_test::Client;

use super::Console;

#[tokio::test(flavor = "multi_thread")]
async fn the_form_notifies_a_real_client_and_shows_what_came_of_it() {
    let Some(mut console) = Console::open().await else { return };
    let mut client = Client::connect(&format!("{}?user=alice&topic=orders/42", console.stack.url())).await;
    console.shows("#connections-rows .user", "alice").await;

    console.page.fill("#notify-data", "{\n  \"order\": 42,\n}").await;
    console.shows("#notify-error", "The data is not JSON: look at line 3, column 1").await;
    console.page.press("Enter", 2).await;
    console.page.fill("#notify-data", r#"{"order": 43}"#).await;
    console.page.until("document.getElementById('notify-error').hidden").await;
    console.page.press("Enter", 2).await;
    console.shows("#notify-reply", "Delivered to 1 of 1").await;
    let message = client.json().await;
    assert_eq!((&message["topic"], &message["event"]), (&json!("orders/42"), &json!("order.shipped")), "{message}");
    assert_eq!(message["data"], json!({"order": 43}), "the one with a mistake was not sent");
    console.shows("#timeline-rows .push .badge", "200").await;
    console.shows("#timeline-rows .invoke .what", "notifier").await;

    console.page.fill("#notify-targets input", "").await;
    console.page.click("#notify-send").await;
    console.shows("#notify-error", "Name the topic").await;
    console.page.fill("#notify-targets input", "nobody/here").await;
    console.page.click("#notify-send").await;
    console.shows("#notify-reply", "Nobody is in this audience").await;

    // A chip of the list aims the form; a second target joins the first; what the notifier refuses is told.
    console.page.click("#connections-rows .chip").await;
    console.page.click("#notify-add").await;
    console.page.eval("{ const kind = document.querySelectorAll('#notify-targets select')[1]; kind.value = 'everyone'; kind.dispatchEvent(new Event('change')); }").await;
    console.page.fill("#notify-type", "").await;
    console.page.click("#notify-send").await;
    // Once in the log of the topic, and once for everyone.
    console.shows("#notify-reply", "Delivered to 2 of 2").await;
    assert_eq!(client.json().await["topic"], "orders/42");
    assert_eq!(client.json().await["topic"], Value::Null);
    console.page.eval("document.getElementById('notify-kind').value = 'binary'").await;
    console.page.fill("#notify-data", "%").await;
    console.page.click("#notify-send").await;
    console.shows("#notify-reply", "`data` is not base64").await;
    client.hears_nothing().await;
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_small_client_connects_subscribes_and_receives() {
    let Some(mut console) = Console::open().await else { return };
    console.page.click("[data-view=client]").await;
    console.page.fill("#client-user", "carol").await;
    console.page.fill("#client-topics", "orders/42 news").await;
    console.page.press("Enter", 0).await;
    console.shows("#client-state", "connected").await;
    console.shows("#connections-rows .user", "carol").await;

    console.page.fill("#client-topic", "more").await;
    console.page.press("Enter", 0).await;
    console.shows("#client-log .received", r#""ack""#).await;
    console.shows("#connections-rows .topics", "more").await;
    console.page.click("#client-unsubscribe").await;
    console.page.until("document.querySelector('#connections-rows .topics')?.textContent === 'newsorders/42'").await;

    let report = console.stack.invoke("notifier", r#"{"to":{"topic":"news"},"data":"extra, extra"}"#).await;
    assert_eq!(report.payload["delivered"], 1, "{report:?}");
    console.shows("#client-log .received", "extra, extra").await;
    console.page.fill("#client-frame", r#"{"action":"whoami","id":"me"}"#).await;
    console.page.press("Enter", 2).await;
    console.shows("#client-log .received", "\"user\":\"carol\"").await;
    console.picture("client.png").await;

    console.page.click("#client-close").await;
    console.shows("#client-log", "closed 1000").await;
    console.shows("#connections-none", "Nobody is connected").await;
    console.page.fill("#client-protocol", "nonsense").await;
    console.page.click("#client-connect").await;
    console.shows("#client-log .bad", "refused").await;
    console.shows("#timeline-rows .bad .badge", "400").await;
    console.stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_with_the_keyboard() {
    let Some(mut console) = Console::open().await else { return };
    let mut clients = Vec::new();
    for name in ["alice", "bob", "carol"] {
        clients.push(Client::connect(&format!("{}?user={name}", console.stack.url())).await);
    }
    console.shows("#connections-count", "3").await;
    console.page.until("document.querySelectorAll('#timeline-rows .row').length === 9").await;

    // One stop for each list, however long it is.
    let mut walk = Vec::new();
    for _ in 0..14 {
        console.page.press("Tab", 0).await;
        walk.push(console.page.eval("document.activeElement.id || document.activeElement.className || document.activeElement.dataset.kind || document.activeElement.tagName").await);
    }
    let expected = [
        "address",
        "help-open",
        "connections-find",
        "id mono",
        "handshake",
        "frame",
        "invocation",
        "push",
        "bus",
        "close",
        "timeline-find",
        "timeline-pause",
        "timeline-clear",
        "SUMMARY",
    ];
    assert_eq!(walk[..expected.len()], expected.map(|name| json!(name)), "{walk:?}");

    // Connections: newest first.
    console.page.press("1", 0).await;
    console.page.press("ArrowDown", 0).await;
    console.page.press("Enter", 0).await;
    console.shows("#timeline-only", "Only bob").await;
    console.page.press("Escape", 0).await;
    console.page.until("document.getElementById('timeline-only').hidden").await;
    console.page.press("ArrowDown", 0).await;
    console.page.press("ArrowRight", 0).await;
    assert_eq!(console.focused().await, "×");
    console.page.press("Enter", 0).await;
    assert_eq!(u16::from(clients[0].closed().await.unwrap().code), 1000);
    console.shows("#connections-count", "2").await;
    assert_ne!(console.focused().await, "", "the focus stays in the list");

    // The timeline: rows open and close.
    console.page.press("2", 0).await;
    console.page.press("End", 0).await;
    console.page.press("Enter", 0).await;
    console.page.until("document.activeElement.parentElement.open").await;
    console.page.press("/", 0).await;
    assert_eq!(console.focused().await, "timeline-find");
    console.page.press("p", 0).await;
    assert_eq!(console.page.eval("document.activeElement.value").await, "p", "a letter in a field is a letter");
    console.page.fill("#timeline-find", "").await;
    console.page.press("Escape", 0).await;
    console.page.press("p", 0).await;
    console.page.until("document.getElementById('timeline-pause').getAttribute('aria-pressed') === 'true'").await;
    console.page.press("x", 0).await;
    console.page.until("document.querySelectorAll('#timeline-rows li').length === 0").await;

    // The help, and the way back.
    console.page.press("?", 8).await;
    console.page.until("document.getElementById('help').open").await;
    console.picture("help.png").await;
    console.page.press("Escape", 0).await;
    console.page.until("!document.getElementById('help').open").await;
    console.page.press("3", 0).await;
    console.page.until("document.activeElement.closest('#notify') !== null").await;
    console.page.eval("document.activeElement.blur()").await;
    console.page.press("4", 0).await;
    console.page.until("document.activeElement.closest('#client') !== null").await;
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_fired_by_its_button_and_topics_are_listed_with_their_subscribers() {
    let template = root().join("tests/templates/any-service.yaml");
    let Some(mut console) = Console::of(async || Stack::start_at(&template, &[], &[]).await).await else { return };
    console.page.press("5", 0).await;
    console.shows("#stack-list dd", "Nightly at cron(0 3 ? * MON-FRI *), UTC → notifier").await;
    console.shows("#stack-list dd", "News (news) → notifier, raw, filtered").await;
    // It is reached with Tab alone.
    console.page.press("Tab", 0).await;
    while console.focused().await != "Fire now" {
        console.page.press("Tab", 0).await;
    }
    console.page.press("Enter", 0).await;
    console.shows("#stack-list .fire", "Fired").await;
    console.shows("#timeline-rows .bus .what", "Scheduled Event").await;
    console.shows("#timeline-rows .invoke .what", "notifier").await;
    console.stack.running().sns().publish("arn:aws:sns:us-east-1:123456789012:news", "hello").unwrap();
    console.shows("#timeline-rows .topic .what", "2 subscribers").await;
    console.has_no_overflow("what runs").await;
    console.picture("stack.png").await;
    console.close().await;
}
