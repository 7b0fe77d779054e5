//! Calls of DynamoDB, counted by what they do and to which rows: `GetItem head`, `BatchGetItem`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;

use crate::races;

/// What was called how often, of one client or several.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    refused: Option<&'static str>,
}

impl Calls {
    /// The same, which refuse one for good.
    #[must_use]
    pub fn refusing(call: &'static str) -> Self {
        Self { refused: Some(call), ..Self::default() }
    }

    /// An HTTP client in front of another one, whose calls are counted.
    #[must_use]
    pub fn client(&self, inner: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Through { calls: self.clone(), inner })
    }

    /// How often this was called since it was last asked for.
    pub fn take(&self, call: &str) -> usize {
        self.counts.lock().unwrap().remove(call).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Through {
    calls: Calls,
    inner: SharedHttpClient,
}

impl HttpClient for Through {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Connector { calls: self.calls.clone(), inner })
    }
}

#[derive(Debug)]
struct Connector {
    calls: Calls,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let step = races::step(&request);
        let is_refused = self.calls.refused == Some(step.as_str());
        *self.calls.counts.lock().unwrap().entry(step).or_default() += 1;
        if is_refused {
            let body = SdkBody::from(r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#);
            return HttpConnectorFuture::ready(Ok(HttpResponse::new(400.try_into().unwrap(), body)));
        }
        self.inner.call(request)
    }
}
