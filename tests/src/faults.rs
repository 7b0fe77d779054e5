//! Faults that no local engine produces: transaction conflicts and throttling, told to the SDK as DynamoDB tells them.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};

/// An HTTP client in front of another one that lets a share of DynamoDB's calls fail before they get there.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: SharedHttpClient,
    share: f64,
}

impl Faulty {
    /// Lets calls through `inner` fail with a probability of `share`.
    #[must_use]
    pub fn client(inner: SharedHttpClient, share: f64) -> SharedHttpClient {
        SharedHttpClient::new(Self { inner, share })
    }
}

impl HttpClient for Faulty {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { inner, share: self.share })
    }
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    share: f64,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").and_then(|target| target.rsplit('.').next());
        match operation.and_then(fault).filter(|_| fastrand::f64() < self.share) {
            None => self.inner.call(request),
            Some(body) => HttpConnectorFuture::new(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let status = 400.try_into().expect("it is a status");
                Ok(HttpResponse::new(status, SdkBody::from(body.to_string())))
            }),
        }
    }
}

/// What DynamoDB says when the operation meets another one, or too many.
fn fault(operation: &str) -> Option<Value> {
    let error =
        |name: &str| json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "injected"});
    let throttled = error("ProvisionedThroughputExceededException");
    let choice = match operation {
        "TransactWriteItems" => {
            let reason = ["TransactionConflict", "ThrottlingError"][fastrand::usize(..2)];
            let mut cancelled = error("TransactionCanceledException");
            cancelled["CancellationReasons"] = json!([{"Code": reason, "Message": "injected"}, {"Code": "None"}]);
            cancelled
        }
        "DeleteItem" | "UpdateItem" if fastrand::bool() => error("TransactionConflictException"),
        "DeleteItem" | "UpdateItem" | "GetItem" | "Query" | "BatchWriteItem" | "BatchGetItem" => throttled,
        _ => return None,
    };
    Some(choice)
}
