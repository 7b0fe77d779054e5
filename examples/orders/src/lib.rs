//! A shop: customers come with an API key, order, and see on each of their devices how it goes.

mod customers;
mod orders;

use serde::Deserialize;
use tidings::aws::Aws;
use tidings::aws::dynamodb::Client;
use tidings::function::BoxError;

pub use customers::{Customer, Customers, hash, verify, welcome};
pub use orders::{Cancel, Order, STATES, cancel, list, menu, place};

/// What is made once in a cold start, and every hook and action has.
pub struct App {
    dynamodb: Client,
    tables: Tables,
}

/// What the template gives as `Application`.
#[derive(Deserialize)]
pub struct Tables {
    pub orders: String,
    pub customers: String,
}

impl App {
    pub async fn load() -> Result<Self, BoxError> {
        let tables = serde_json::from_str(&std::env::var("APPLICATION")?)?;
        Ok(Self::new(&Aws::from_env()?, tables))
    }

    pub fn new(aws: &Aws, tables: Tables) -> Self {
        let dynamodb = aws.dynamodb();
        Self { dynamodb, tables }
    }
}
