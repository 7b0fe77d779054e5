//! The shop's own side, as a program: it gives out four keys, and moves every order on, one step every
//! few seconds.
//!
//! ```sh
//! cargo run --example shop                               # beside `tidings dev`
//! cargo run --example shop -- http://127.0.0.1:8000 1    # DynamoDB elsewhere, and a step each second
//! ```

use std::thread::sleep;
use std::time::Duration;

use tidings::aws::Aws;
use tidings::aws::dynamodb::Client;
use tidings::aws::dynamodb::types::AttributeValue;
use tidings::function::BoxError;

use orders::{STATES, hash};

/// Keys, whose they are, and what is true of them.
const KEYS: [(&str, &str, &str, &str); 4] = [
    ("shop_ada", "ada", "Ada", "member"),
    ("shop_bob", "bob", "Bob", ""),
    ("shop_wall", "bob", "Bob", "looks_on"),
    ("shop_mallory", "mallory", "Mallory", "suspended"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next();
    let endpoint = endpoint.as_deref().unwrap_or("http://127.0.0.1:8000");
    let seconds: f64 = arguments.next().map_or(Ok(4.0), |text| text.parse())?;
    let dynamodb = Aws::local(endpoint).dynamodb();
    let (customers, orders) = (
        table(&dynamodb, "CustomersTable").await?,
        table(&dynamodb, "OrdersTable").await?,
    );
    for (key, customer, name, is) in KEYS {
        give(&dynamodb, &customers, (key, customer, name, is)).await?;
        println!("{key:<13} {name} {is}");
    }
    println!("The shop is open. Ctrl-C closes it.");
    loop {
        sleep(Duration::from_secs_f64(seconds));
        for customer in ["ada", "bob"] {
            move_on(&dynamodb, &orders, customer).await?;
        }
    }
}

/// What the stack's table is called: its own name stands between the stack's and something random.
async fn table(dynamodb: &Client, id: &str) -> Result<String, BoxError> {
    let tables = dynamodb.list_tables().send().await?;
    let mut names = tables.table_names().iter();
    let found = names.find(|name| name.contains(&format!("-{id}-")));
    found
        .cloned()
        .ok_or_else(|| format!("there is no table {id}: is `tidings dev` running?").into())
}

async fn give(
    dynamodb: &Client,
    customers: &str,
    (key, customer, name, is): (&str, &str, &str, &str),
) -> Result<(), BoxError> {
    let mut row = dynamodb
        .put_item()
        .table_name(customers)
        .item("key_hash", text(&hash(key)))
        .item("customer", text(customer))
        .item("name", text(name));
    if !is.is_empty() {
        row = row.item(is, AttributeValue::Bool(true));
    }
    row.send().await?;
    Ok(())
}

/// Every order of this customer that is not done yet.
async fn move_on(dynamodb: &Client, table: &str, customer: &str) -> Result<(), BoxError> {
    let orders = dynamodb
        .query()
        .table_name(table)
        .key_condition_expression("customer = :customer")
        .expression_attribute_values(":customer", text(customer))
        .send()
        .await?;
    for row in orders.items() {
        let is = |state: &str| row.get("state") == Some(&text(state));
        let next = STATES.iter().position(|state| is(state)).map(|at| at + 1);
        let Some(next) = next.and_then(|next| STATES.get(next)) else {
            continue;
        };
        let put = dynamodb
            .put_item()
            .table_name(table)
            .set_item(Some(row.clone()))
            .item("state", text(next))
            // The customer may cancel meanwhile.
            .condition_expression("#state = :was")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":was", row["state"].clone())
            .send()
            .await;
        match put.map_err(|error| error.into_service_error()) {
            Err(error) if error.is_conditional_check_failed_exception() => {}
            other => drop(other?),
        }
        println!(
            "{customer}: {} is {next}",
            row["item"].as_s().map_or("?", String::as_str)
        );
    }
    Ok(())
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}
