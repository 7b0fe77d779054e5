//! Conflicts between transactions, which no local engine produces: an HTTP client that stands between the SDK and the
//! engine and refuses what DynamoDB refuses.
//!
//! DynamoDB does not queue what meets a transaction on the same item: another transaction is cancelled, with the reason
//! `TransactionConflict`, and a single write fails with `TransactionConflictException`. Single writes never meet each
//! other, and neither do the writes of a batch.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

/// How long a transaction goes on at least: DynamoDB's take about so long, and a local engine's next to nothing.
const TRANSACTION: Duration = Duration::from_millis(10);

/// Sees to it that transactions conflict as they do in DynamoDB. Cheap to clone; clones share what they see.
#[derive(Debug, Clone, Default)]
pub struct Conflicts {
    /// The items of the transactions that go on now.
    taken: Arc<Mutex<HashSet<String>>>,
    refused: Arc<AtomicUsize>,
    transactions: Arc<AtomicUsize>,
}

impl Conflicts {
    /// An HTTP client for the SDK that calls through `inner`.
    #[must_use]
    pub fn client(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Through { conflicts: self.clone(), inner })
    }

    /// How many calls were refused so far because they met a transaction.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many transactions were sent so far, refused or not.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Takes all of these items, or says which of them are taken.
    fn take(&self, items: &[String]) -> Result<Taken, Vec<bool>> {
        let mut taken = self.taken.lock().unwrap();
        let conflicts: Vec<_> = items.iter().map(|item| taken.contains(item)).collect();
        if conflicts.contains(&true) {
            return Err(conflicts);
        }
        taken.extend(items.iter().cloned());
        Ok(Taken { conflicts: self.clone(), items: items.to_vec() })
    }

    fn is_taken(&self, item: &str) -> bool {
        self.taken.lock().unwrap().contains(item)
    }
}

/// Items of one transaction, until it ends.
#[derive(Debug)]
struct Taken {
    conflicts: Conflicts,
    items: Vec<String>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self.conflicts.taken.lock().unwrap();
        for item in &self.items {
            taken.remove(item);
        }
    }
}

#[derive(Debug)]
struct Through {
    conflicts: Conflicts,
    inner: SharedHttpClient,
}

impl HttpClient for Through {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { conflicts: self.conflicts.clone(), inner })
    }
}

#[derive(Debug)]
struct Connector {
    conflicts: Conflicts,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        match operation {
            Some("TransactWriteItems") => self.transact(request),
            Some("PutItem" | "UpdateItem" | "DeleteItem") => self.write(request),
            _ => self.inner.call(request),
        }
    }
}

impl Connector {
    fn transact(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.conflicts.transactions.fetch_add(1, Ordering::Relaxed);
        let body = body(&request);
        let writes = body["TransactItems"].as_array().unwrap().iter();
        // Each write is an object with one entry, named by what it does.
        let items: Vec<_> = writes.map(|write| item(write.as_object().unwrap().values().next().unwrap())).collect();
        match self.conflicts.take(&items) {
            Err(conflicts) => {
                let reasons = conflicts.iter().map(|conflict| match conflict {
                    true => json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}),
                    false => json!({"Code": "None"}),
                });
                let mut error = error("TransactionCanceledException");
                error["CancellationReasons"] = reasons.collect();
                self.refuse(&error)
            }
            Ok(taken) => {
                let inner = self.inner.call(request);
                HttpConnectorFuture::new(async move {
                    let answer = inner.await;
                    tokio::time::sleep(TRANSACTION).await;
                    drop(taken);
                    answer
                })
            }
        }
    }

    fn write(&self, request: HttpRequest) -> HttpConnectorFuture {
        match self.conflicts.is_taken(&item(&body(&request))) {
            true => self.refuse(&error("TransactionConflictException")),
            false => self.inner.call(request),
        }
    }

    fn refuse(&self, error: &Value) -> HttpConnectorFuture {
        self.conflicts.refused.fetch_add(1, Ordering::Relaxed);
        let status = 400.try_into().expect("it is a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(error.to_string()))))
    }
}

fn body(request: &HttpRequest) -> Value {
    serde_json::from_slice(request.body().bytes().unwrap()).unwrap()
}

/// What names the item of a write.
fn item(write: &Value) -> String {
    let key = write.get("Key").or_else(|| write.get("Item")).unwrap();
    format!("{} {} {}", write["TableName"], key["pk"]["S"], key["sk"]["S"])
}

fn error(name: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "it meets a transaction"})
}
