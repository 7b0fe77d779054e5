//! What the page shows of what happens.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_test::Client;
use tokio::time::interval;

use super::Console;

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_appears_with_its_user_and_topics_and_vanishes_when_it_closes() {
    let Some(mut console) = Console::open().await else { return };
    let mut alice = Client::connect(&format!("{}?user=alice&topic=orders/42", console.stack.url())).await;
    console.shows("#connections-rows .user", "alice").await;
    console.shows("#connections-rows .protocol", "tidings.v1.json").await;
    alice.subscribe("news").await;
    console.page.until("document.querySelector('#connections-rows .topics')?.textContent === 'newsorders/42'").await;
    console.page.until("document.querySelector('#connections-rows .traffic')?.textContent === '1 / 1'").await;

    let bob = Client::connect(&format!("{}?user=bob", console.stack.url())).await;
    console.shows("#connections-count", "2").await;
    bob.close().await;
    console.shows("#connections-count", "1").await;

    console.page.click("#connections-rows [aria-label^=Close]").await;
    assert_eq!(u16::from(alice.closed().await.unwrap().code), 1000);
    console.shows("#connections-none", "Nobody is connected").await;
    console.shows("#timeline-rows .close", "1000").await;
    console.shows("#timeline-rows .close", "by the gateway").await;
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_shown_with_its_route_its_invocation_and_its_answer() {
    let Some(mut console) = Console::open().await else { return };
    let mut client = Client::connect(&format!("{}?user=alice", console.stack.url())).await;
    client.subscribe("orders/42").await;
    console.shows("#timeline-rows .connect .what", "/dev?user=alice").await;
    console.shows("#timeline-rows .connect .badge", "101").await;
    console.shows("#timeline-rows .in .tag", "$default").await;
    console.shows("#timeline-rows .in .what", r#""topic":"orders/42""#).await;
    console.shows("#timeline-rows .in .who", "alice").await;
    console.shows("#timeline-rows .out .what", r#"{"type":"ack","id":1,"topics":"#).await;
    console.shows("#timeline-rows .invoke .what", "MESSAGE $default").await;
    console.shows("#timeline-rows .invoke .meta", "ms").await;

    // The first invocation is the authorizer's, the second that of `connect`, which logs a line.
    console.page.eval("document.querySelectorAll('#timeline-rows .invoke summary')[1].click()").await;
    console.shows("#timeline-rows .log li", "connected").await;
    console.page.click("#timeline-rows .in summary").await;
    console.shows("#timeline-rows .in pre", "\"action\": \"subscribe\"").await;
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_reaches_the_page() {
    let Some(mut console) = Console::open().await else { return };
    let url = format!("{}?user=alice&access_token=s3cret-1", console.stack.url());
    let mut client = Client::offer(&url, &["tidings.v1.json", "bearer", "s3cret-2"]).await.unwrap();
    client.send(json!({"action": "ping", "id": 1, "access_token": "s3cret-3"}).to_string()).await;
    client.send(r#"{"action":"ping","id":2,"x":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyZXQifQ.s3cret-4"}"#).await;
    console.shows("#timeline-rows .in .what", r#""id":2"#).await;
    console.shows("#timeline-rows .connect .what", "access_token=•••").await;
    // Everything that there is to see, and everything that was sent.
    console
        .page
        .eval("document.querySelectorAll('#timeline-rows details').forEach((one) => { one.open = true; })")
        .await;
    console.shows("#timeline-rows .connect .facts", "tidings.v1.json, bearer, •••").await;
    let page = console.page.eval("document.documentElement.outerHTML").await;
    assert!(!page.as_str().unwrap().contains("s3cret"));
    let stream = console
        .page
        .eval(
            "(async () => { const reader = (await fetch('/_tidings/events')).body.getReader(); let text = ''; \
             while (!text.includes('\"id\\\\\":2')) text += new TextDecoder().decode((await reader.read()).value); \
             reader.cancel(); return text; })()",
        )
        .await;
    assert!(stream.as_str().unwrap().contains("•••") && !stream.as_str().unwrap().contains("s3cret"), "{stream}");
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_is_filtered_paused_and_cleared() {
    let Some(mut console) = Console::open().await else { return };
    let mut alice = Client::connect(&format!("{}?user=alice", console.stack.url())).await;
    let mut bob = Client::connect(&format!("{}?user=bob", console.stack.url())).await;
    alice.subscribe("a").await;
    bob.subscribe("b").await;
    let rows = "[...document.querySelectorAll('#timeline-rows .row')].filter((row) => row.checkVisibility()).length";
    console.page.until(&format!("{rows} === 12")).await;

    console.page.click("#timeline-kinds [data-kind=invocation]").await;
    console.page.until(&format!("{rows} === 6")).await;
    console.page.fill("#timeline-find", "bob").await;
    console.page.until(&format!("{rows} === 3")).await;
    console.page.fill("#timeline-find", "\"topic\":\"a\"").await;
    console.page.until(&format!("{rows} === 1")).await;
    console.page.fill("#timeline-find", "nowhere").await;
    console.shows("#timeline-none", "No event fits").await;
    console.page.fill("#timeline-find", "").await;
    console.page.click("#timeline-kinds [data-kind=invocation]").await;
    console.page.until(&format!("{rows} === 12")).await;
    console.shows("#connections-count", "2").await;
    console.page.click("#connections-rows .id").await;
    console.shows("#timeline-only", "Only bob").await;
    console.page.until(&format!("{rows} === 6")).await;
    console.page.click("#timeline-only").await;
    console.page.until(&format!("{rows} === 12")).await;

    console.page.click("#timeline-pause").await;
    alice.hears_nothing().await;
    console.shows("#timeline-pause", "Go on (").await;
    console.page.until(&format!("{rows} === 12")).await;
    console.page.click("#timeline-pause").await;
    console.page.until(&format!("{rows} > 12")).await;

    // Who scrolls up stays there, whatever comes; a button leads back to the end.
    for _ in 0..20 {
        alice.hears_nothing().await;
    }
    console.page.until("document.getElementById('timeline-rows').scrollTop > 600").await;
    console.page.wheel("#timeline-rows", -600).await;
    console.page.until("!document.getElementById('timeline-latest').hidden").await;
    let place = console.page.eval("document.getElementById('timeline-rows').scrollTop").await;
    let before = console.page.eval(rows).await;
    alice.hears_nothing().await;
    console.page.until(&format!("{rows} === {before} + 3")).await;
    assert_eq!(console.page.eval("document.getElementById('timeline-rows').scrollTop").await, place);
    console.page.click("#timeline-latest").await;
    console.page.until("document.getElementById('timeline-latest').hidden").await;
    console.page.click("#timeline-clear").await;
    console.page.until(&format!("{rows} === 0")).await;
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_shown_with_its_status() {
    let Some(mut console) = Console::open().await else { return };
    let wrong = console.stack.url().replace("/dev", "/prod");
    assert_eq!(Client::offer(&wrong, &[]).await.unwrap_err(), 403);
    console.shows("#timeline-rows .bad .what", "/prod").await;
    console.shows("#timeline-rows .bad .badge", "403").await;
    assert_eq!(Client::offer(console.stack.url(), &["nonsense"]).await.unwrap_err(), 400);
    console.shows("#timeline-rows .bad .badge", "400").await;
    console.close().await;
}

/// How long nothing was drawn, at most, since the page was asked to watch.
const GAP: &str = "Math.round(window.longestGap)";
const WATCH_GAPS: &str = "(() => { window.longestGap = 0; let last = performance.now(); const step = (now) => { \
    window.longestGap = Math.max(window.longestGap, now - last); last = now; requestAnimationFrame(step); }; \
    requestAnimationFrame(step); })()";

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_connections_and_a_hundred_messages_a_second_leave_the_page_usable() {
    let Some(mut console) = Console::open().await else { return };
    console.page.eval(WATCH_GAPS).await;
    let mut clients = Vec::new();
    for number in 0..500 {
        let url = format!("{}?user=u{number}&topic=orders/{}", console.stack.url(), number % 7);
        clients.push(Client::connect(&url).await);
    }
    console.page.until("document.querySelectorAll('#connections-rows tr').length === 500").await;
    // A message is several events: what came, an invocation, and an answer.
    let mut beat = interval(Duration::from_millis(10));
    let busy = tokio::spawn(async move {
        for client in &mut clients {
            beat.tick().await;
            client.send(json!({"action": "ping", "id": 1}).to_string()).await;
        }
        clients
    });
    let answered =
        "[...document.querySelectorAll('#connections-rows .traffic')].filter((one) => one.textContent === '1 / 1')";
    console.page.until(&format!("{answered}.length > 50")).await;
    // In the middle of it, what is asked for comes at once.
    let asked = Instant::now();
    console.page.press("?", 8).await;
    console.page.until("document.getElementById('help').open").await;
    console.page.press("Escape", 0).await;
    console.page.fill("#connections-find", "u123").await;
    console.page.until("document.querySelectorAll('#connections-rows tr').length === 1").await;
    let answered = asked.elapsed();
    console.page.fill("#connections-find", "").await;
    let clients = busy.await.unwrap();
    console.page.until("document.querySelectorAll('#connections-rows tr').length === 500").await;
    console
        .page
        .until(
            "[...document.querySelectorAll('#connections-rows .traffic')].every((one) => one.textContent === '1 / 1')",
        )
        .await;
    let rows = console.page.eval("document.querySelectorAll('#timeline-rows .row').length").await;
    assert!(rows.as_u64().unwrap() <= 2_000, "{rows}");
    // The end stays in view while nobody scrolls.
    let at_end = "(() => { const list = document.getElementById('timeline-rows'); return document.getElementById(\
        'timeline-latest').hidden && list.scrollTop + list.clientHeight > list.scrollHeight - 24; })()";
    console.page.until(at_end).await;
    console.picture("busy.png").await;
    let gap = console.page.eval(GAP).await;
    println!("500 connections, 100 messages a second: answered in {answered:?}, at most {gap} ms without a frame");
    for client in clients {
        client.close().await;
    }
    console.shows("#connections-count", "0").await;
    console.close().await;
}
