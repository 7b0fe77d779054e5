//! The logs of topics and users.

use serde_json::{Value, json};
use tests::stack::Stack;
use tidings_test::Client;

use super::Console;

const HISTORY: &str = r#"[{"to":{"topic":"orders/**"},"seconds":3600,"messages":10,"ordered":true},
    {"to":{"topic":"**"},"seconds":300},{"to":{"user":"*"},"seconds":300}]"#;
const MARKUP: &str = "<img src=x onerror=alert(1)>";

async fn say(console: &Console, to: Value, data: Value) {
    let answer = console.stack.invoke("notifier", &json!({"to": to, "data": data}).to_string()).await;
    assert!(!answer.failed, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_listed_with_what_is_kept_of_them_and_open_with_the_keyboard() {
    let start = async || Stack::start(&[("History", HISTORY)]).await;
    let Some(mut console) = Console::of(start).await else { return };
    let _alice = Client::connect(&format!("{}?user=alice&topic=orders/42", console.stack.url())).await;
    console.page.press("6", 0).await;
    console.shows("#logs-none", "Nothing was said yet").await;
    // Out of the field, in which a digit is a digit.
    console.page.press("Escape", 0).await;
    let long = "long/".repeat(60);
    for (to, data) in [
        (json!({"topic": "orders/42"}), json!("first")),
        (json!({"topic": "orders/42"}), json!({"access_token": "s3cret-1", "text": MARKUP})),
        (json!({"topic": MARKUP}), json!(1)),
        (json!({"topic": long}), json!(2)),
        (json!({"user": "alice"}), json!(3)),
    ] {
        say(&console, to, data).await;
    }
    console.shows("#logs-count", "4").await;
    let names = "[...document.querySelectorAll('#logs-rows .what')].map((one) => one.textContent).join(' ')";
    assert_eq!(console.page.eval(names).await, format!("{MARKUP} orders/42 {long} alice"));
    let hint = "2 messages, kept for 1 h 00 m, the newest 10, ordered";
    console
        .page
        .until(&format!("document.querySelectorAll('#logs-rows .hint')[1].textContent.endsWith({hint:?})"))
        .await;
    // The chip of the connection says it too.
    console.page.until("document.querySelector('#connections-rows .chip').dataset.offset === '2'").await;

    console.page.press("6", 0).await;
    console.page.press("ArrowDown", 0).await;
    console.page.press("Enter", 0).await;
    let shown = "[...document.querySelectorAll('#logs-rows .messages b')].map((one) => one.textContent).join(' ')";
    console.page.until(&format!("{shown} === '2 1'")).await;
    console.shows("#logs-rows pre", MARKUP).await;
    console.shows("#logs-rows pre", "first").await;
    console.picture("logs.png").await;
    // What is said while it is open comes, and the focus stays.
    say(&console, json!({"topic": "orders/42"}), json!("third")).await;
    console.page.until(&format!("{shown} === '3 2 1'")).await;
    assert_eq!(console.page.eval("document.activeElement.querySelector('.what').textContent").await, "orders/42");
    console.page.press("End", 0).await;
    console.page.press("Enter", 0).await;
    console.page.until("document.activeElement.parentElement.querySelector('.messages b')?.textContent === '1'").await;

    console.page.fill("#logs-find", "topic orders").await;
    console.page.until(&format!("{names} === 'orders/42'")).await;
    console.page.fill("#logs-find", "nowhere").await;
    console.shows("#logs-none", "No log fits").await;
    let page = console.page.eval("document.documentElement.outerHTML").await;
    assert!(!page.as_str().unwrap().contains("s3cret"), "tokens are masked here too");
    assert_eq!(console.page.eval("document.querySelectorAll('#logs img').length").await, 0);
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_there_is_not_found() {
    let Some(mut console) = Console::open().await else { return };
    for path in ["topic/nobody", "user/nobody", "everyone/x", "topic/%00"] {
        let status =
            console.page.eval(&format!("fetch('/_tidings/logs/{path}').then((answer) => answer.status)")).await;
        assert_eq!(status, 404, "{path}");
    }
    console.stack.stop().await;
}
