//! Wide and narrow, light and dark.

use serde_json::json;
use tidings_test::Client;

use super::Console;

/// People at work.
async fn scene(console: &mut Console) -> Vec<Client> {
    let mut clients = Vec::new();
    for (user, topics) in [
        ("alice", "topic=orders/42&topic=news"),
        ("bob", "topic=orders/42"),
        ("carol", "topic=news&topic=shops/berlin/tills/7/receipts"),
    ] {
        clients.push(Client::connect(&format!("{}?user={user}&{topics}", console.stack.url())).await);
    }
    clients.push(Client::connect(&format!("{}?protocol=raw&topic=orders/42", console.stack.url())).await);
    clients[0].subscribe("prices/eur").await;
    let wrong = console.stack.url().replace("/dev", "/prod");
    assert_eq!(Client::offer(&wrong, &[]).await.unwrap_err(), 403);
    let reply = clients[1].ask(json!({"action": "dance", "id": 2})).await;
    assert_eq!(reply["type"], "error", "{reply}");
    console.page.click("#notify-send").await;
    console.shows("#notify-reply", "Delivered to 3 of 3").await;
    console.shows("#timeline-rows .push .badge", "200").await;
    console.shows("#connections-count", "4").await;
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wider_than_the_screen_in_any_panel_light_or_dark() {
    let Some(mut console) = Console::open().await else { return };
    let _clients = scene(&mut console).await;
    console
        .page
        .eval("[...document.querySelectorAll('#timeline-rows .invoke')].at(-1).querySelector('summary').click()")
        .await;
    console.page.until("document.querySelector('#timeline-rows .detail') !== null").await;
    console.picture("console.png").await;
    for (dark, name) in [(false, "light"), (true, "dark")] {
        for width in [1440, 1000] {
            console.page.resize(width, 860, dark).await;
            console.picture(&format!("{name}-{width}.png")).await;
            console.has_no_overflow(&format!("{name} {width}")).await;
        }
        for width in [720, 360] {
            console.page.resize(width, 720, dark).await;
            for panel in ["connections", "timeline", "notify", "client", "stack", "logs"] {
                console.page.click(&format!("[data-view={panel}]")).await;
                console.page.until(&format!("document.getElementById({panel:?}).checkVisibility()")).await;
                console.picture(&format!("{name}-{width}-{panel}.png")).await;
                console.has_no_overflow(&format!("{name} {width} {panel}")).await;
            }
        }
    }
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_control_has_a_name_and_every_id_is_there_once() {
    let Some(mut console) = Console::open().await else { return };
    let _clients = scene(&mut console).await;
    let nameless = "[...document.querySelectorAll('button, input, select, textarea, summary, section, nav, aside')].filter((one) => \
        !one.hidden && !(one.textContent.trim() || one.ariaLabel || one.labels?.length || one.getAttribute('aria-labelledby')))\
        .map((one) => one.outerHTML)";
    assert_eq!(console.page.eval(nameless).await, json!([]));
    let twice = "(() => { const ids = [...document.querySelectorAll('[id]')].map((one) => one.id); \
        return ids.filter((id, index) => ids.indexOf(id) !== index); })()";
    assert_eq!(console.page.eval(twice).await, json!([]));
    let dangling = "[...document.querySelectorAll('[aria-labelledby], [aria-describedby], label[for]')].flatMap((one) => \
        [one.getAttribute('aria-labelledby'), one.getAttribute('aria-describedby'), one.getAttribute('for')])\
        .filter((id) => id && !document.getElementById(id))";
    assert_eq!(console.page.eval(dangling).await, json!([]));
    console.close().await;
}
