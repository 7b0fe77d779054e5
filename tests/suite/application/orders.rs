//! `examples/orders`: keys, orders of one customer on all of its devices, and the page.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tests::browser::Page;
use tests::stack::Stack;
use tests::{engine, eventually};
use tidings_test::Client;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{application, picture};

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

async fn put(stack: &Stack, table: &str, row: HashMap<String, AttributeValue>) {
    let put = engine::client(stack.dynamodb(), engine::http()).put_item().table_name(stack.table_name(table));
    put.set_item(Some(row)).send().await.unwrap();
}

/// Gives a customer a key; `is` names what is true of it.
async fn give(stack: &Stack, key: &str, customer: &str, is: &[&str]) {
    let hash: String = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let texts = [("key_hash", hash.as_str()), ("customer", customer), ("name", customer)];
    let texts = texts.into_iter().map(|(name, value)| (name.to_owned(), text(value)));
    let flags = is.iter().map(|name| ((*name).to_owned(), AttributeValue::Bool(true)));
    put(stack, "CustomersTable", texts.chain(flags).collect()).await;
}

/// A device of whoever has this key.
async fn device(stack: &Stack, key: &str) -> Result<Client, u16> {
    Client::open(stack.url(), &[("Authorization", &format!("Bearer {key}"))]).await
}

/// What the shop's backend does: puts an order in another state.
async fn move_on(stack: &Stack, customer: &str, order: &str, item: &str, state: &str) {
    let texts = [("customer", customer), ("order", order), ("item", item), ("state", state)];
    put(stack, "OrdersTable", texts.map(|(name, value)| (name.to_owned(), text(value))).into()).await;
}

async fn code(client: &mut Client, action: Value) -> Value {
    client.ask(action).await["code"].take()
}

fn states(message: &Value) -> Value {
    assert_eq!((&message["type"], &message["event"]), (&json!("message"), &json!("order")), "{message}");
    json!([message["data"]["old"]["state"], message["data"]["new"]["state"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_hears_on_each_device_how_an_order_goes_and_nobody_else_does() {
    let Some((stack, _)) = application("orders").await else { return };
    give(&stack, "shop_1", "ada", &["member"]).await;
    give(&stack, "shop_2", "bob", &[]).await;
    let mut phone = device(&stack, "shop_1").await.unwrap();
    let mut laptop = device(&stack, "shop_1").await.unwrap();
    let mut bob = device(&stack, "shop_2").await.unwrap();
    let menu = phone.ask(json!({"action": "order.menu", "id": 1})).await["data"].take();
    assert_eq!((&menu["name"], &menu["items"][4]), (&json!("ada"), &json!("Roast of the week")), "{menu}");

    for id in [2, 3] {
        // What is sent twice is placed once. Its own message may come before its ack.
        let place = json!({"action": "order.place", "order": "k1", "item": "Espresso", "id": id});
        phone.send(place.to_string()).await;
    }
    let frames = [phone.json().await, phone.json().await, phone.json().await];
    let (acks, messages): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| frame["type"] == "ack");
    assert_eq!((acks.len(), states(&messages[0])), (2, json!([null, "placed"])));
    assert_eq!(states(&laptop.json().await), json!([null, "placed"]));
    move_on(&stack, "ada", "k1", "Espresso", "ready").await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(states(&device.json().await), json!(["placed", "ready"]));
    }
    bob.hears_nothing().await;

    let list = laptop.ask(json!({"action": "order.list", "id": 4})).await["data"].take();
    assert_eq!((&list["orders"][0]["order"], &list["orders"][0]["state"]), (&json!("k1"), &json!("ready")), "{list}");
    let list = bob.ask(json!({"action": "order.list", "id": 5})).await["data"].take();
    assert_eq!(list, json!({"orders": []}));
    let cancel = json!({"action": "order.cancel", "order": "k1", "id": 6});
    assert_eq!(code(&mut laptop, cancel.clone()).await, "TooLate");
    assert_eq!(code(&mut bob, cancel).await, "TooLate", "it is none of his");
    let place = json!({"action": "order.place", "order": "k1", "item": "Roast of the week", "id": 7});
    assert_eq!(code(&mut bob, place).await, "MembersOnly");
    stack.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_look_on_and_who_is_suspended_or_has_none_stays_outside() {
    let Some((stack, _)) = application("orders").await else { return };
    give(&stack, "shop_1", "ada", &["looks_on"]).await;
    give(&stack, "shop_2", "mallory", &["suspended"]).await;
    let mut screen = device(&stack, "shop_1").await.unwrap();
    let place = json!({"action": "order.place", "order": "k1", "item": "Espresso", "id": 1});
    assert_eq!(code(&mut screen, place).await, "MayNotOrder");

    assert_eq!(device(&stack, "shop_2").await.unwrap_err(), 402, "a status of the hook's own");
    assert_eq!(device(&stack, "shop_3").await.unwrap_err(), 401);
    assert_eq!(Client::offer(stack.url(), &[]).await.unwrap_err(), 403);
    for reason in ["mallory is suspended until the last bill is paid", "there is no such key"] {
        eventually(reason, Duration::from_secs(10), async || stack.log().contains(reason).then_some(())).await;
    }
    assert_eq!(stack.log().matches("shop_").count(), 0, "no key is ever logged");
    stack.stop().await;
}

/// The shop's side, as the README has it run, with two steps a second.
async fn shop(folder: &Path, stack: &Stack) -> Child {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--example", "shop", "--", stack.dynamodb(), "0.5"]).current_dir(folder);
    let mut shop = cargo.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(shop.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("the shop should open").starts_with("The shop is open") {}
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    shop
}

/// Whether the newest orders on the page are in these states.
fn shown(states: &[&str]) -> String {
    let cards = "[...document.querySelectorAll('.order')].map((card) => card.dataset.state)";
    format!("{cards}.slice(0, {}).join() === {:?}", states.len(), states.join(","))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_shop_shows_each_order_as_it_goes() {
    let Some((stack, folder)) = application("orders").await else { return };
    let Some(mut page) = Page::new().await else { return };
    let mut shop = shop(&folder, &stack).await;
    let address =
        |key: &str| format!("file://{}?key={key}&url={}", folder.join("web/index.html").display(), stack.url());
    page.open(&address("shop_ada")).await;
    page.until("document.getElementById('state').textContent === 'here as Ada'").await;
    page.click("#menu button:nth-child(3)").await;
    page.until(&shown(&["collected"])).await;
    // From here on the test is the shop, at its own pace.
    shop.kill().await.unwrap();
    for (button, states) in [(4, ["placed", "collected"]), (2, ["placed", "placed"]), (1, ["placed", "placed"])] {
        page.click(&format!("#menu button:nth-child({button})")).await;
        page.until(&shown(&states)).await;
    }
    for (place, state) in [(1, "preparing"), (2, "ready")] {
        let order = page.eval(&format!("document.querySelectorAll('.order')[{place}].id.slice('order-'.length)")).await;
        let item = page.eval(&format!("document.querySelectorAll('.order b')[{place}].textContent")).await;
        move_on(&stack, "ada", order.as_str().unwrap(), item.as_str().unwrap(), state).await;
    }
    page.until(&shown(&["placed", "preparing", "ready", "collected"])).await;
    assert_eq!(page.eval("document.title").await, "Ready: Cardamom bun");
    picture(&mut page, "orders.png").await;
    page.click(".order:first-child .cancel").await;
    page.until(&shown(&["cancelled", "preparing", "ready"])).await;

    // In a tunnel.
    page.eval("socket.close(); order('Croissant')").await;
    page.until(&shown(&["sending"])).await;
    page.until(&shown(&["placed", "cancelled"])).await;
    let closing = json!({"to": {"topic": "shop"}, "data": {"text": "We close in ten minutes."}});
    assert!(!stack.invoke("notifier", &closing.to_string()).await.failed);
    page.until("document.getElementById('note').textContent === 'We close in ten minutes.'").await;

    page.open(&address("shop_wall")).await;
    page.until("document.getElementById('greeting').textContent === 'Orders of Bob. This key only looks on.'").await;
    assert_eq!(page.eval("document.querySelectorAll('#menu button').length").await, 0);
    assert_eq!(page.complaints().await, [] as [String; 0]);

    page.open(&address("shop_mallory")).await;
    page.until("document.getElementById('state').textContent.startsWith('not let in')").await;
    stack.stop().await;
}
