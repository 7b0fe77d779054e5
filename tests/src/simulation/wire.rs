//! SDK clients whose calls never leave the process, so that no socket is waited for while time stands still.

use std::future::Future;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use tidings::aws::{Exchange, Transport};

/// A service of AWS that speaks JSON.
pub(super) trait Service: std::fmt::Debug + Clone + Send + Sync + 'static {
    /// The status and the body that a call is answered with.
    fn answer(self, operation: String, body: String) -> impl Future<Output = (u16, String)> + Send;
}

#[derive(Debug)]
struct Connector<S>(S);

impl<S: Service> HttpConnector for Connector<S> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        // The SDK holds these requests in memory.
        let body = String::from_utf8(request.body().bytes().unwrap_or_default().to_vec()).unwrap();
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let (status, body) = service.answer(operation, body).await;
            Ok(HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body)))
        })
    }
}

impl<S: Service> Transport for Connector<S> {
    fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        let service = self.0.clone();
        Box::pin(async move {
            let (status, body) = service.answer(operation, body).await;
            Ok(Response::builder().status(status).body(Bytes::from(body))?)
        })
    }
}

/// What signed requests reach `service` with.
pub(super) fn transport(service: impl Service) -> impl Transport {
    Connector(service)
}

/// The HTTP client of an SDK that reaches `service`.
pub(super) fn client(service: impl Service) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(service));
    http_client_fn(move |_, _| connector.clone())
}
