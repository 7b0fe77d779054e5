//! Calls of services that speak AWS's JSON protocols, for the few operations of each that functions need. A crate of the
//! SDK brings every operation of a service, and takes ten seconds to compile; `docs/decisions/0011-json-calls.md`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::transport::{AGENT, FIRST_BACKOFF, Transport, TransportError};
use crate::function::BoxError;

/// As the SDK does by default.
const ATTEMPTS: u32 = 3;
/// For one attempt. The largest request has a mebibyte.
const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);

/// A service, as its requests name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// In the signature and in the host's name.
    pub(crate) name: &'static str,
    /// The version of the protocol.
    pub(crate) content_type: &'static str,
}

pub(crate) const SQS: Service = Service { name: "sqs", content_type: "application/x-amz-json-1.0" };
pub(crate) const SECRETS_MANAGER: Service =
    Service { name: "secretsmanager", content_type: "application/x-amz-json-1.1" };
pub(crate) const EVENTS: Service = Service { name: "events", content_type: "application/x-amz-json-1.1" };

/// A client of one service. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct JsonClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    endpoint: String,
    region: String,
    credentials: Credentials,
    transport: Box<dyn Transport>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no answer within {ATTEMPT_DEADLINE:?}")]
    TimedOut,
    #[error("the request could not be sent")]
    Transport(#[source] TransportError),
    #[error("status {status}, {code}: {message}")]
    Refused { status: u16, code: String, message: String },
    #[error("the answer cannot be read")]
    Answer(#[source] serde_json::Error),
    #[error("the request cannot be written")]
    Request(#[source] BoxError),
}

impl CallError {
    /// What the service calls the reason, such as `ResourceNotFoundException`.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether another attempt may go better.
    fn is_passing(&self) -> bool {
        match self {
            Self::TimedOut | Self::Transport(_) => true,
            Self::Refused { status, code, .. } => {
                *status >= 500 || *status == 429 || code.contains("Throttl") || code == "RequestLimitExceeded"
            }
            Self::Answer(_) | Self::Request(_) => false,
        }
    }
}

impl JsonClient {
    pub(crate) fn new(
        service: Service,
        endpoint: String,
        region: String,
        credentials: Credentials,
        transport: Box<dyn Transport>,
    ) -> Self {
        Self(Arc::new(Inner { service, endpoint, region, credentials, transport }))
    }

    /// Calls an operation, named as `X-Amz-Target` wants it; what fails for a passing reason is tried three times in all.
    pub(crate) async fn call<Out: DeserializeOwned>(
        &self,
        operation: &'static str,
        input: &impl Serialize,
    ) -> Result<Out, CallError> {
        let body = serde_json::to_vec(input).map_err(|error| CallError::Request(error.into()))?;
        let answer = self.0.answer(operation, Bytes::from(body)).await?;
        // Some operations answer with nothing at all.
        let answer = if answer.is_empty() { Bytes::from_static(b"{}") } else { answer };
        serde_json::from_slice(&answer).map_err(CallError::Answer)
    }
}

impl Inner {
    async fn answer(&self, operation: &str, body: Bytes) -> Result<Bytes, CallError> {
        let mut attempt = 1;
        loop {
            let failure = match self.attempt(operation, body.clone()).await {
                Err(failure) if failure.is_passing() && attempt < ATTEMPTS => failure,
                done => return done,
            };
            tracing::debug!(operation, attempt, error = crate::describe(&failure), "a call is tried again");
            sleep(FIRST_BACKOFF.mul_f64(fastrand::f64() * f64::from(1 << (attempt - 1)))).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, operation: &str, body: Bytes) -> Result<Bytes, CallError> {
        let request = self.request(operation, body, SystemTime::now()).map_err(CallError::Request)?;
        match timeout(ATTEMPT_DEADLINE, self.transport.send(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(answer.into_body()),
            Ok(Ok(answer)) => Err(refused(&answer)),
            Ok(Err(error)) => Err(CallError::Transport(error)),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    fn request(&self, operation: &str, body: Bytes, now: SystemTime) -> Result<Request<Bytes>, BoxError> {
        let request = Request::post(&self.endpoint).header("x-amz-target", operation);
        let request = request.header(header::CONTENT_TYPE, self.service.content_type);
        let mut request = request.header(header::USER_AGENT, AGENT).body(body)?;
        self.sign(&mut request, now)?;
        if let Some(trace) = trace() {
            request.headers_mut().insert("x-amzn-trace-id", trace);
        }
        Ok(request)
    }

    fn sign(&self, request: &mut Request<Bytes>, now: SystemTime) -> Result<(), BoxError> {
        let identity = self.credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name)
            .time(now)
            .settings(SigningSettings::default())
            .build()?
            .into();
        let url = request.uri().to_string();
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new("POST", url, headers, SignableBody::Bytes(request.body()))?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

/// The trace that this call belongs to; by it Lambda notices functions that call each other in a circle (Lambda Developer
/// Guide, "Recursive loop detection"). The runtime sets the variable for each invocation.
fn trace() -> Option<HeaderValue> {
    std::env::var_os("AWS_LAMBDA_FUNCTION_NAME")?;
    HeaderValue::try_from(std::env::var("_X_AMZN_TRACE_ID").ok()?).ok()
}

/// `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"…"}`; the namespace and the message's capital vary.
fn refused(answer: &Response<Bytes>) -> CallError {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name| body.get(name).and_then(Value::as_str);
    let code = text("__type").unwrap_or("no code given");
    let code = code.rsplit('#').next().unwrap_or(code).to_owned();
    let message = text("message").or_else(|| text("Message")).unwrap_or("no reason given").to_owned();
    CallError::Refused { status: answer.status().as_u16(), code, message }
}

/// Where a service is, in the partition of the region (AWS General Reference, "Service endpoints").
pub(crate) fn endpoint(service: Service, region: &str) -> String {
    let suffix = match region.split('-').next().unwrap_or_default() {
        "cn" => "amazonaws.com.cn",
        "eusc" => "amazonaws.eu",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        _ if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        _ => "amazonaws.com",
    };
    format!("https://{}.{region}.{suffix}", service.name)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::aws::transport::Exchange;

    /// Answers with one status after the other.
    #[derive(Debug)]
    struct Answers(Mutex<Vec<(u16, &'static str)>>);

    impl Transport for Answers {
        fn send(&self, _: Request<Bytes>) -> Exchange<'_> {
            let (status, body) = self.0.lock().unwrap().remove(0);
            let answer = Response::builder().status(status).body(Bytes::from(body)).unwrap();
            Box::pin(async { Ok(answer) })
        }
    }

    fn client(answers: &[(u16, &'static str)]) -> JsonClient {
        let credentials = Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test");
        let transport = Box::new(Answers(Mutex::new(answers.to_vec())));
        JsonClient::new(SQS, endpoint(SQS, "eu-west-1"), "eu-west-1".to_owned(), credentials, transport)
    }

    const THROTTLED: (u16, &str) = (400, r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"slower"}"#);
    const MISSING: (u16, &str) = (400, r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","Message":"no such queue"}"#);

    #[tokio::test]
    async fn what_passes_is_tried_three_times_and_anything_else_once() {
        let call = async |answers: &[_]| client(answers).call::<Value>("AmazonSQS.SendMessage", &json!({})).await;
        assert_eq!(
            call(&[(500, ""), THROTTLED, (200, r#"{"MessageId":"1"}"#)]).await.unwrap(),
            json!({"MessageId": "1"})
        );
        assert_eq!(call(&[(200, "")]).await.unwrap(), json!({}));
        let error = call(&[(500, ""), (503, ""), THROTTLED]).await.unwrap_err();
        assert_eq!(error.to_string(), "status 400, RequestThrottled: slower");
        let error = call(&[MISSING]).await.unwrap_err();
        assert_eq!(error.code(), Some("QueueDoesNotExist"));
        assert_eq!(error.to_string(), "status 400, QueueDoesNotExist: no such queue");
    }

    #[test]
    fn a_request_names_its_operation_and_signs_that() {
        let request =
            client(&[]).0.request("AmazonSQS.SendMessage", Bytes::from_static(b"{}"), SystemTime::now()).unwrap();
        let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        assert_eq!(request.uri().to_string(), "https://sqs.eu-west-1.amazonaws.com/");
        assert_eq!(header("x-amz-target"), "AmazonSQS.SendMessage");
        assert_eq!(header("content-type"), "application/x-amz-json-1.0");
        assert_eq!(header("x-amz-security-token"), "token");
        let signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=";
        assert!(header("authorization").contains(signed), "{}", header("authorization"));
    }

    #[test]
    fn each_partition_has_its_domain() {
        for (region, host) in [
            ("us-gov-west-1", "secretsmanager.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "secretsmanager.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", "secretsmanager.eusc-de-east-1.amazonaws.eu"),
            ("us-iso-east-1", "secretsmanager.us-iso-east-1.c2s.ic.gov"),
        ] {
            assert_eq!(endpoint(SECRETS_MANAGER, region), format!("https://{host}"));
        }
    }
}
