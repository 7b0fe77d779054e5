//! One HTTP call, signed where that is needed.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::Failure;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The system's certificates cannot be read.
    #[error("cannot read this system's certificates")]
    Certificates(#[source] std::io::Error),
    /// Nobody takes the request.
    #[error("cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// The answer does not come to its end.
    #[error("the answer broke off")]
    BrokenOff(#[source] hyper::Error),
}

/// Sends a request, and reads its answer whole.
pub(super) async fn call(request: Request<Full<Bytes>>) -> Result<(Parts, Bytes), CallError> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(CallError::Certificates)?;
    let client = Client::builder(TokioExecutor::new()).build(connector.https_or_http().enable_http1().build());
    let (parts, body) = client.request(request).await.map_err(CallError::Unreachable)?.into_parts();
    Ok((parts, body.collect().await.map_err(CallError::BrokenOff)?.to_bytes()))
}

/// Signs a request for a service of AWS, or for what behaves as one.
pub(super) fn sign_for(
    request: &mut Request<Full<Bytes>>,
    body: &[u8],
    (service, region): (&str, &str),
    credentials: Credentials,
) -> Result<(), Failure> {
    let identity = credentials.into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| Failure::new(&error))?
        .into();
    let (method, url) = (request.method().as_str(), request.uri().to_string());
    let signable = SignableRequest::new(method, url, std::iter::empty(), SignableBody::Bytes(body));
    let signable = signable.map_err(|error| Failure::new(&error))?;
    let (instructions, _) = sign(signable, &parameters).map_err(|error| Failure::new(&error))?.into_parts();
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(|error| Failure::new(&error))?;
        let value = HeaderValue::try_from(value).map_err(|error| Failure::new(&error))?;
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

/// Calls a service at an address that takes any keys, as a gateway of this machine does. What it answers, or in one sentence why
/// nobody did.
pub(super) async fn call_local(
    endpoint: &str,
    path: &str,
    (service, headers): (&str, &[(&str, &str)]),
    body: String,
) -> Result<(Parts, Bytes), Failure> {
    let url = format!("{}{path}", endpoint.trim_end_matches('/'));
    let request = headers.iter().fold(Request::post(url), |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::from(body.clone()));
    let mut request =
        request.map_err(|error| Failure(format!("{endpoint} is no address: {error}; see --endpoint-url")))?;
    let keys = Credentials::new("local", "local", None, None, "tidings");
    sign_for(&mut request, body.as_bytes(), (service, "us-east-1"), keys)?;
    call(request).await.map_err(|error| match error {
        CallError::Unreachable(_) => Failure(format!("nothing listens at {endpoint}: is `cargo dev` running?")),
        error => Failure(format!("{endpoint}: {}", tidings::describe(&error))),
    })
}

/// Why a call was refused, in the service's own words where it has some.
pub(super) fn refused(endpoint: &str, parts: &Parts, answer: &Value) -> Failure {
    let said = answer["message"].as_str().or_else(|| answer["Message"].as_str());
    Failure(said.map_or_else(|| format!("{endpoint} answers {}", parts.status), str::to_owned))
}
