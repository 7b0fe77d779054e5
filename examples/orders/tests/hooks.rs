//! Who gets in, and as whom: the hooks, without AWS and without events.

use std::collections::HashMap;
use std::sync::Arc;

use tidings::function::BoxError;
use tidings::{Caller, ConnectionId, Context, Handshake, Refusal};
use tidings_authorizer::Identity;
use tidings_connect::Welcome;

use orders::{Customer, Customers, hash, verify, welcome};

/// Customers by the hashes of their keys; without any, the table cannot be read.
struct List(HashMap<String, Customer>);

impl Customers for List {
    async fn with_key(&self, hash: &str) -> Result<Option<Customer>, BoxError> {
        match self.0.is_empty() {
            true => Err("the table is away".into()),
            false => Ok(self.0.get(hash).cloned()),
        }
    }
}

fn ada() -> Customer {
    Customer {
        customer: "ada".to_owned(),
        name: "Ada".to_owned(),
        member: true,
        ..Customer::default()
    }
}

fn handshake() -> Handshake {
    Handshake::new(ConnectionId::parse("c").unwrap())
}

async fn verified(customer: Customer) -> Result<Option<Identity>, Refusal> {
    let list = List(HashMap::from([(hash("shop_1"), customer)]));
    verify(
        Arc::new(list),
        handshake().with_header("Authorization", "Bearer shop_1"),
    )
    .await
}

#[tokio::test]
async fn a_key_says_who_a_client_is_and_what_is_known_of_it() {
    let identity = verified(ada()).await.unwrap().unwrap();
    assert_eq!(identity.user.unwrap().as_str(), "ada");
    assert_eq!(identity.claims["name"], "Ada");
    assert_eq!(identity.claims["member"], true);
    assert_eq!(identity.permissions, None, "what the stack's defaults say");
    let looks_on = Customer {
        looks_on: true,
        ..ada()
    };
    let identity = verified(looks_on).await.unwrap().unwrap();
    assert_eq!(identity.permissions.unwrap().to_string(), "");
}

#[tokio::test]
async fn a_browser_shows_its_key_beside_the_protocol() {
    let list = || Arc::new(List(HashMap::from([(hash("shop_1"), ada())])));
    let offer = |offer| handshake().with_header("Sec-WebSocket-Protocol", offer);
    let identity = verify(list(), offer("tidings.v1.json, access_token.shop_1")).await;
    assert!(identity.unwrap().is_some());
    let identity = verify(list(), offer("tidings.v1.json, access_token.e30.e30.AA")).await;
    assert_eq!(identity, Ok(None), "a token is looked at after the hook");
}

#[tokio::test]
async fn a_key_that_nobody_has_is_refused_and_a_table_that_is_away_refuses_nobody() {
    let unknown = handshake().with_header("Authorization", "Bearer shop_2");
    let list = List(HashMap::from([(hash("shop_1"), ada())]));
    let refusal = verify(Arc::new(list), unknown.clone()).await.unwrap_err();
    assert_eq!(refusal.status(), 401);
    let refusal = verify(Arc::new(List(HashMap::new())), unknown)
        .await
        .unwrap_err();
    assert_eq!(refusal.status(), 503, "the function fails: {refusal}");
}

/// What `connect` says to whom `authorizer` let in.
async fn welcomed(customer: Customer) -> Result<Welcome, Refusal> {
    let identity = verified(customer).await?.unwrap();
    let mut caller = Caller::anonymous(ConnectionId::parse("c").unwrap());
    caller.user = identity.user;
    caller.claims = identity.claims;
    welcome(Context::detached_for((), caller), handshake()).await
}

#[tokio::test]
async fn who_is_suspended_is_refused_with_a_status_and_a_reason_for_the_log() {
    let suspended = Customer {
        suspended: true,
        ..ada()
    };
    let refusal = welcomed(suspended).await.unwrap_err();
    assert_eq!(refusal.status(), 402);
    assert_eq!(
        refusal.to_string(),
        "ada is suspended until the last bill is paid"
    );
    assert_eq!(welcomed(ada()).await, Welcome::new().topic("shop"));
}
