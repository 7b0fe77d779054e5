//! Functions behind a Lambda Invoke API: `sam local start-lambda`, `cargo lambda watch`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_lambda::error::{DisplayErrorContext, SdkError};
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::{InvokeError as ServiceError, InvokeOutput};
use aws_sdk_lambda::primitives::Blob;
use bytes::Bytes;
use indexmap::IndexMap;
use serde_json::Value;

use crate::stack::Stack;

use super::names::{REGION, folder};
use super::{Invocation, InvokeError};

/// A client of one Invoke API.
#[derive(Debug, Clone)]
pub struct Endpoint {
    client: aws_sdk_lambda::Client,
    url: String,
    /// Further names by logical id.
    names: IndexMap<String, Vec<String>>,
    /// The name that was right, by logical id.
    known: Arc<Mutex<HashMap<String, String>>>,
}

/// How the other side took an invocation.
enum Outcome {
    Answered(Invocation),
    /// It has no function of this name.
    NotFound,
}

impl Endpoint {
    /// A client for the API at `url`, for example `http://127.0.0.1:3001`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let config = aws_sdk_lambda::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(REGION))
            .endpoint_url(url)
            .credentials_provider(Credentials::new("local", "local", None, None, "local"))
            .retry_config(RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let client = aws_sdk_lambda::Client::from_conf(config);
        Self { client, url: url.to_owned(), names: IndexMap::new(), known: Arc::default() }
    }

    /// Also tries the other names that the functions of `stack` may have there: SAM knows logical ids and
    /// `FunctionName`, `cargo lambda` knows binaries.
    #[must_use]
    pub fn for_stack(mut self, stack: &Stack) -> Self {
        self.names = stack
            .functions
            .iter()
            .map(|(id, function)| {
                let others = [Some(function.name.as_str()), function.binary.as_deref(), folder(function)];
                (id.clone(), others.into_iter().flatten().filter(|name| name != id).map(str::to_owned).collect())
            })
            .collect();
        self
    }

    pub(super) async fn invoke(&self, function: &str, payload: Bytes) -> Result<Invocation, InvokeError> {
        let unavailable = |reason| InvokeError::Unavailable { function: function.to_owned(), reason };
        let known = self.known().get(function).cloned();
        let others = self.names.get(function).into_iter().flatten().map(String::as_str);
        for name in known.as_deref().into_iter().chain([function]).chain(others) {
            if let Outcome::Answered(invocation) = self.invoke_as(name, payload.clone()).await.map_err(unavailable)? {
                self.known().insert(function.to_owned(), name.to_owned());
                return Ok(invocation);
            }
        }
        Err(unavailable(format!("{} knows no function of this name", self.url)))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn invoke_as(&self, name: &str, payload: Bytes) -> Result<Outcome, String> {
        let started = Instant::now();
        match self.client.invoke().function_name(name).payload(Blob::new(payload)).send().await {
            Ok(answer) => Ok(Outcome::Answered(invocation(answer, started))),
            Err(SdkError::ServiceError(error)) if error.raw().status().as_u16() == 404 => Ok(Outcome::NotFound),
            Err(error) => match function_error(&error) {
                Some(payload) => Ok(Outcome::Answered(Invocation {
                    request_id: String::new(),
                    payload,
                    function_error: Some("Unhandled".to_owned()),
                    duration: started.elapsed(),
                    log: String::new(),
                })),
                None if matches!(error, SdkError::DispatchFailure(_)) => {
                    Err(format!("nothing answers at {}: is it running?", self.url))
                }
                None => Err(format!("{} answered: {}", self.url, DisplayErrorContext(error))),
            },
        }
    }
}

fn invocation(answer: InvokeOutput, started: Instant) -> Invocation {
    Invocation {
        request_id: answer.request_id().unwrap_or_default().to_owned(),
        payload: answer.payload.map(|blob| Bytes::from(blob.into_inner())).unwrap_or_default(),
        function_error: answer.function_error,
        duration: started.elapsed(),
        log: String::new(),
    }
}

/// The error object of a function, which `cargo lambda watch` sends with status 500 instead of 200 and a header.
fn function_error(error: &SdkError<ServiceError>) -> Option<Bytes> {
    let body = error.raw_response()?.body().bytes()?;
    let object: Value = serde_json::from_slice(body).ok()?;
    (object.get("errorType").is_some() && object.get("errorMessage").is_some()).then(|| Bytes::copy_from_slice(body))
}
