//! The console in a real browser.

use std::path::PathBuf;

use serde_json::json;
use tests::browser::Page;
use tests::client::Client;
use tests::stack::Stack;

/// Opens the console of a new stack; `None` where there is no browser.
async fn console() -> Option<(Stack, Page)> {
    let mut page = Page::new().await?;
    let stack = Stack::start(&[]).await;
    page.open(stack.console()).await;
    page.until("document.getElementById('link').textContent === 'live'").await;
    Some((stack, page))
}

async fn keep(page: &mut Page, name: &str) {
    if let Some(folder) = std::env::var_os("TIDINGS_SCREENSHOTS") {
        std::fs::write(PathBuf::from(folder).join(name), page.screenshot().await).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_appears_with_its_user_and_topics_and_vanishes_when_it_closes() {
    let Some((stack, mut page)) = console().await else { return };
    let mut client = Client::connect(&format!("{}?user=alice&topic=orders/42", stack.url())).await;
    page.until("document.querySelector('#connections-rows .user')?.textContent === 'alice'").await;
    client.subscribe("news").await;
    page.until("document.querySelector('#connections-rows .topics').textContent === 'newsorders/42'").await;
    keep(&mut page, "first.png").await;
    client.close().await;
    page.until("document.querySelectorAll('#connections-rows tr').length === 0").await;
    assert_eq!(page.complaints().await, [""; 0]);
    assert_eq!(json!(1), 1);
    stack.stop().await;
}
