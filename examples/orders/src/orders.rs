//! What customers can ask for. An order has its customer in its key: nobody reaches somebody else's.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tidings::aws::dynamodb::types::AttributeValue;
use tidings::permissions::Action;
use tidings::{Context, Error, Topic, UserId};
use tidings_default::Reply;

use crate::App;

/// What there is, and whether it is for members only.
const MENU: [(&str, bool); 5] = [
    ("Espresso", false),
    ("Flat white", false),
    ("Croissant", false),
    ("Cardamom bun", false),
    ("Roast of the week", true),
];

/// How an order goes. The shop writes the next state into the table, and that is all it has to do: the
/// table's stream tells the customer.
pub const STATES: [&str; 4] = ["placed", "preparing", "ready", "collected"];

/// Most orders that are listed, the newest first.
const MOST: i32 = 20;

#[derive(Deserialize)]
pub struct Order {
    /// The client's own name for it: what is sent again after a lost connection is not placed twice.
    pub order: String,
    pub item: String,
}

#[derive(Deserialize)]
pub struct Cancel {
    pub order: String,
}

/// `{"action":"order.menu","id":1}`: what this customer may order.
pub async fn menu<S>(cx: Context<S>, _: IgnoredAny) -> Result<Reply, Error> {
    let items = MENU
        .iter()
        .filter(|(_, members)| !members || is_member(&cx));
    let items: Vec<_> = items.map(|(item, _)| item).collect();
    Ok(Reply::with(json!({
        "customer": customer(&cx)?,
        "name": cx.claims().get("name"),
        "may_order": may_order(&cx)?,
        "items": items,
    })))
}

/// `{"action":"order.place","order":"k3v9","item":"Espresso","id":2}`
pub async fn place(cx: Context<App>, body: Order) -> Result<(), Error> {
    check_may_order(&cx)?;
    check(&body, is_member(&cx))?;
    let App { dynamodb, tables } = cx.state();
    let placed = dynamodb
        .put_item()
        .table_name(&tables.orders)
        .item("customer", text(customer(&cx)?))
        .item("order", text(&body.order))
        .item("item", text(&body.item))
        .item("state", text(STATES[0]))
        .item("placed_at", AttributeValue::N(now().to_string()))
        .condition_expression("attribute_not_exists(customer)")
        .send()
        .await;
    match placed.map_err(|error| error.into_service_error()) {
        Ok(_) => Ok(()),
        // It came before.
        Err(error) if error.is_conditional_check_failed_exception() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `{"action":"order.list","id":3}`: the customer's own orders, the newest first.
pub async fn list(cx: Context<App>, _: IgnoredAny) -> Result<Reply, Error> {
    let App { dynamodb, tables } = cx.state();
    let found = dynamodb
        .query()
        .table_name(&tables.orders)
        .key_condition_expression("customer = :customer")
        .expression_attribute_values(":customer", text(customer(&cx)?))
        .scan_index_forward(false)
        .consistent_read(true)
        .limit(MOST)
        .send()
        .await?;
    let orders: Vec<_> = found.items().iter().map(plain).collect();
    Ok(Reply::with(json!({ "orders": orders })))
}

/// `{"action":"order.cancel","order":"k3v9","id":4}`: as long as nobody has begun with it.
pub async fn cancel(cx: Context<App>, body: Cancel) -> Result<(), Error> {
    check_may_order(&cx)?;
    let App { dynamodb, tables } = cx.state();
    let cancelled = dynamodb
        .update_item()
        .table_name(&tables.orders)
        .key("customer", text(customer(&cx)?))
        .key("order", text(&body.order))
        .update_expression("SET #state = :cancelled")
        .condition_expression("#state = :placed")
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":cancelled", text("cancelled"))
        .expression_attribute_values(":placed", text(STATES[0]))
        .send()
        .await;
    match cancelled.map_err(|error| error.into_service_error()) {
        Ok(_) => Ok(()),
        Err(error) if error.is_conditional_check_failed_exception() => {
            Err(Error::new("TooLate", "it is being made, or done already"))
        }
        Err(error) => Err(error.into()),
    }
}

fn check(body: &Order, is_member: bool) -> Result<(), Error> {
    let Order { order, item } = body;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    if !(1..=40).contains(&order.len()) || !order.chars().all(fits) {
        let message = "`order` has 1 to 40 letters, digits and `-`";
        return Err(Error::bad_request(message));
    }
    match MENU.iter().find(|(name, _)| name == item) {
        Some((_, for_members)) if is_member || !for_members => Ok(()),
        Some(_) => Err(Error::new("MembersOnly", format!("{item} is for members"))),
        None => Err(Error::new("NotOnTheMenu", format!("there is no {item:?}"))),
    }
}

fn customer<S>(cx: &Context<S>) -> Result<&str, Error> {
    let user = cx.user().map(UserId::as_str);
    user.ok_or_else(|| Error::new("NotACustomer", "connect with the key of a customer"))
}

fn is_member<S>(cx: &Context<S>) -> bool {
    cx.claims().get("member").is_some_and(|is| *is == true)
}

/// Whether the connection's permissions allow `publish:orders/<customer>`: `DefaultPermissions` do.
fn may_order<S>(cx: &Context<S>) -> Result<bool, Error> {
    let orders = Topic::parse(format!("orders/{}", customer(cx)?))?;
    Ok(cx.permissions().allow(Action::Publish, &orders))
}

fn check_may_order<S>(cx: &Context<S>) -> Result<(), Error> {
    match may_order(cx)? {
        true => Ok(()),
        false => Err(Error::new("MayNotOrder", "this key only looks on")),
    }
}

/// An order as JSON, as the stream of the table has it too.
fn plain(row: &HashMap<String, AttributeValue>) -> Value {
    let fields = row.iter().map(|(name, value)| match value {
        AttributeValue::N(number) => (name.clone(), json!(number.parse::<i64>().ok())),
        other => (name.clone(), json!(other.as_s().ok())),
    });
    fields.collect()
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// Milliseconds since the epoch.
fn now() -> u128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis()
}
