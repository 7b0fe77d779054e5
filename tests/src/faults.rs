//! Faults that no local engine produces: throttling, failures, and answers that are lost on their way.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use serde_json::json;

use crate::races;

/// An HTTP client in front of another one that lets a share of DynamoDB's calls fail.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: SharedHttpClient,
    refused: f64,
    lost: f64,
}

impl Faulty {
    /// Lets calls through `inner` fail: a share of them, `refused`, before they get there, and of the others a share,
    /// `lost`, after DynamoDB did what they ask for.
    #[must_use]
    pub fn client(inner: SharedHttpClient, refused: f64, lost: f64) -> SharedHttpClient {
        SharedHttpClient::new(Self { inner, refused, lost })
    }
}

impl HttpClient for Faulty {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(FaultyConnector { inner, refused: self.refused, lost: self.lost })
    }
}

#[derive(Debug)]
struct FaultyConnector {
    inner: SharedHttpConnector,
    refused: f64,
    lost: f64,
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        if !request.headers().contains_key("x-amz-target") {
            return self.inner.call(request);
        }
        races::note(&request);
        if races::happens(self.refused) {
            let is_throttled = races::happens(0.5);
            return HttpConnectorFuture::new(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(if is_throttled { throttled() } else { failed() })
            });
        }
        let (inner, is_lost) = (self.inner.clone(), races::happens(self.lost));
        HttpConnectorFuture::new(async move {
            // Whoever is stopped here has its last answer, and has not sent this.
            tokio::task::yield_now().await;
            let answer = inner.call(request).await;
            if is_lost { answer.map(|_| failed()) } else { answer }
        })
    }
}

fn throttled() -> HttpResponse {
    refusal(400, "ProvisionedThroughputExceededException")
}

/// What DynamoDB says when it fails itself. Whether it did what was asked for is open.
fn failed() -> HttpResponse {
    refusal(500, "InternalServerError")
}

fn refusal(status: u16, name: &str) -> HttpResponse {
    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "injected"});
    HttpResponse::new(status.try_into().expect("it is a status"), SdkBody::from(body.to_string()))
}
