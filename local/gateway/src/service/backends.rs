//! The way to the services: one HTTP client, whose calls are signed as an SDK's are.

use std::sync::OnceLock;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::super::settings::Settings;
use super::Answer;
use super::request::Outgoing;
use tidings_local_stack::Service;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a service has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// There is nothing to call.
    #[error("the service does not run here")]
    NoService,
    /// A mapped header or the path is not what HTTP allows.
    #[error("the request cannot be written")]
    Request(#[source] BoxError),
    /// The connection failed.
    #[error("the service does not answer")]
    Unreachable(#[source] BoxError),
}

/// The services, as the gateway reaches them. Connections are kept.
#[derive(Debug)]
pub(crate) struct Backends {
    plain: Client<HttpConnector, Full<Bytes>>,
    /// For a DynamoDB that is in AWS, made for the first call.
    encrypted: OnceLock<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>,
    settings: Settings,
}

impl Backends {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let plain = Client::builder(TokioExecutor::new()).build(connector);
        Self { plain, encrypted: OnceLock::new(), settings: settings.clone() }
    }

    /// Sends a request and reads the answer to its end.
    pub(super) async fn send(&self, service: Service, outgoing: Outgoing) -> Result<Answer, SendError> {
        let request = self.request(service, outgoing).map_err(SendError::Request)?.ok_or(SendError::NoService)?;
        let response = match request.uri().scheme_str() {
            Some("https") => self.encrypted().map_err(SendError::Unreachable)?.request(request).await,
            _ => self.plain.request(request).await,
        };
        let response = response.map_err(|error| SendError::Unreachable(error.into()))?;
        answer(response).await.map_err(SendError::Unreachable)
    }

    fn encrypted(&self) -> Result<&Client<HttpsConnector<HttpConnector>, Full<Bytes>>, BoxError> {
        if let Some(client) = self.encrypted.get() {
            return Ok(client);
        }
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?;
        let client = Client::builder(TokioExecutor::new()).build(connector.https_only().enable_http1().build());
        Ok(self.encrypted.get_or_init(|| client))
    }

    /// The signed request; `None` where the service has no address.
    fn request(&self, service: Service, outgoing: Outgoing) -> Result<Option<Request<Full<Bytes>>>, BoxError> {
        let endpoints = &self.settings.services;
        let (endpoint, name) = match service {
            Service::DynamoDb => (&endpoints.dynamodb, "dynamodb"),
            Service::EventBridge => (&endpoints.others, "events"),
            Service::Lambda => (&endpoints.others, "lambda"),
            Service::SecretsManager => (&endpoints.others, "secretsmanager"),
            Service::Sqs => (&endpoints.others, "sqs"),
        };
        if endpoint.is_empty() {
            return Ok(None);
        }
        let Outgoing { target, headers, body } = outgoing;
        let mut request = Request::post(format!("{endpoint}{target}")).body(Bytes::from(body))?;
        for (name, value) in headers {
            request.headers_mut().insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        self.sign(name, &mut request)?;
        Ok(Some(request.map(Full::from)))
    }

    fn sign(&self, service: &'static str, request: &mut Request<Bytes>) -> Result<(), BoxError> {
        let Settings { keys, region, .. } = &self.settings;
        let identity = Credentials::from_keys(&keys.access_key_id, &keys.secret_access_key, keys.session_token.clone());
        let identity = identity.into();
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
        let headers = headers.collect::<Result<Vec<_>, BoxError>>()?.into_iter();
        let uri = request.uri().to_string();
        let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(request.body()))?;
        let (instructions, _) = sign(signable, &parameters)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

async fn answer(response: Response<Incoming>) -> Result<Answer, BoxError> {
    let status = response.status().as_u16();
    let is_function_error = response.headers().contains_key("x-amz-function-error");
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned(), is_function_error })
}
