//! Who comes in: the hooks of `authorizer` and `connect`.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tidings::aws::dynamodb::types::AttributeValue;
use tidings::function::BoxError;
use tidings::{Context, Handshake, Refusal};
use tidings_authorizer::Identity;
use tidings_connect::Welcome;

use crate::App;

/// Every key begins so. What begins otherwise is left to tokens.
const PREFIX: &str = "shop_";

/// What the shop knows of whoever has a key.
#[derive(Debug, Clone, Default)]
pub struct Customer {
    /// The user: what is for it reaches all its connections.
    pub customer: String,
    pub name: String,
    /// May order what is for members only.
    pub member: bool,
    /// The key is for a screen on the wall: it sees the orders, and orders nothing.
    pub looks_on: bool,
    pub suspended: bool,
}

/// Where customers are looked up: the table, or a list in a test.
pub trait Customers: Send + Sync + 'static {
    fn with_key(
        &self,
        hash: &str,
    ) -> impl Future<Output = Result<Option<Customer>, BoxError>> + Send;
}

/// The hook of `authorizer`: lets in by an API key, and says what is known of its owner. Every action
/// has that as `cx.user()`, `cx.permissions()` and `cx.claims()`.
pub async fn verify<C: Customers>(
    customers: Arc<C>,
    handshake: Handshake,
) -> Result<Option<Identity>, Refusal> {
    let Some(key) = key(&handshake) else {
        return Ok(None);
    };
    // The client may well be a good one: with 500 and more the function fails, and denies nobody.
    let away = |error: BoxError| Refusal::new(503, tidings::describe(&*error));
    let found = customers.with_key(&hash(key)).await.map_err(away)?;
    let customer = found.ok_or_else(|| Refusal::unauthorized("there is no such key"))?;
    let identity = Identity::of(&customer.customer)?
        .with_claim("name", customer.name)
        .with_claim("member", customer.member)
        .with_claim("suspended", customer.suspended);
    Ok(Some(match customer.looks_on {
        true => identity.with_permissions("")?,
        // `DefaultPermissions` in template.yaml.
        false => identity,
    }))
}

/// The hook of `connect`: whoever is suspended stays outside, and all others hear what the shop says.
/// The client gets the status; the reason is in the log.
pub async fn welcome(cx: Context, _: Handshake) -> Result<Welcome, Refusal> {
    match (cx.user(), cx.claims().get("suspended")) {
        (Some(user), Some(suspended)) if *suspended == true => Err(Refusal::new(
            402,
            format!("{user} is suspended until the last bill is paid"),
        )),
        _ => Welcome::new().topic("shop"),
    }
}

/// The key that a client shows, where a token would be: as `Authorization: Bearer <key>`, or behind
/// `access_token.` among the subprotocols, for a browser can set no other header.
fn key(handshake: &Handshake) -> Option<&str> {
    let header = handshake.header("authorization");
    let offers = handshake.headers("sec-websocket-protocol");
    let mut offers = offers.flat_map(|line| line.split(',')).map(str::trim);
    let key = header
        .and_then(|value| value.strip_prefix("Bearer "))
        .or_else(|| offers.find_map(|offer| offer.strip_prefix("access_token.")));
    key.filter(|key| key.starts_with(PREFIX))
}

/// How the table knows a key, so that whoever reads the table cannot connect with it:
/// `printf %s KEY | sha256sum`.
pub fn hash(key: &str) -> String {
    let bytes = Sha256::digest(key);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Customers for App {
    async fn with_key(&self, hash: &str) -> Result<Option<Customer>, BoxError> {
        let row = self.dynamodb.get_item().table_name(&self.tables.customers);
        let row = row.key("key_hash", AttributeValue::S(hash.to_owned()));
        let found = row.send().await?.item;
        Ok(found.map(|row| Customer::read(&row)))
    }
}

impl Customer {
    fn read(row: &HashMap<String, AttributeValue>) -> Self {
        let text = |name| row.get(name).and_then(|value| value.as_s().ok()).cloned();
        let is = |name| row.get(name).and_then(|value| value.as_bool().ok()) == Some(&true);
        Self {
            customer: text("customer").unwrap_or_default(),
            name: text("name").unwrap_or_default(),
            member: is("member"),
            looks_on: is("looks_on"),
            suspended: is("suspended"),
        }
    }
}
