//! Functions behind a Lambda Invoke API: `sam local start-lambda`, `cargo lambda watch`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use indexmap::IndexMap;
use serde_json::Value;

use tidings_local_stack::Stack;

use super::names::folder;
use super::result::UNHANDLED;
use super::{Invocation, InvokeError};

/// A client of one Invoke API on this machine, which asks for no signature.
#[derive(Debug)]
pub struct Endpoint {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    /// Further names by logical id.
    names: IndexMap<String, Vec<String>>,
    /// The name that was right, by logical id.
    known: Mutex<HashMap<String, String>>,
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
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: url.trim_end_matches('/').to_owned(), names: IndexMap::new(), known: Mutex::default() }
    }

    /// Also tries the other names that the functions of `stack` may have there: SAM knows logical ids and
    /// `FunctionName`, `cargo lambda` knows binaries.
    #[must_use]
    pub fn for_stack(mut self, stack: &Stack) -> Self {
        self.names = stack
            .functions
            .iter()
            .map(|(id, function)| {
                // A path has slashes, which do not get through the URL; SAM knows nested functions by their own ids too.
                let own = id.rsplit_once('/').map(|(_, own)| own);
                let others = [Some(function.name.as_str()), function.binary.as_deref(), folder(function), own];
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
        let request = Request::post(format!("{}/2015-03-31/functions/{name}/invocations", self.url));
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::from(payload));
        let request = request.map_err(|error| format!("{name:?} is no function's name for a URL: {error}"))?;
        let response = self.client.request(request).await.map_err(|error| match error.is_connect() {
            true => format!("nothing answers at {}: is it running?", self.url),
            false => format!("{} broke off: {}", self.url, tidings::describe(&error)),
        })?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(Outcome::NotFound);
        }
        self.invocation(response, started).await.map(Outcome::Answered)
    }

    async fn invocation(&self, response: Response<Incoming>, started: Instant) -> Result<Invocation, String> {
        let status = response.status();
        let said = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (request_id, function_error) = (said("x-amzn-requestid"), said("x-amz-function-error"));
        let payload = response.into_body().collect().await;
        let payload = payload.map_err(|error| format!("the answer of {} broke off: {error}", self.url))?.to_bytes();
        let function_error = match status.is_success() {
            true => function_error,
            false if is_function_error(&payload) => Some(UNHANDLED.to_owned()),
            false => return Err(format!("{} answered {status}: {}", self.url, String::from_utf8_lossy(&payload))),
        };
        let request_id = request_id.unwrap_or_default();
        Ok(Invocation { request_id, payload, function_error, duration: started.elapsed(), log: String::new() })
    }
}

/// Whether it is the error object of a function, which `cargo lambda watch` sends with status 500 instead of 200 and a header.
fn is_function_error(payload: &[u8]) -> bool {
    let object: Value = serde_json::from_slice(payload).unwrap_or_default();
    object.get("errorType").is_some() && object.get("errorMessage").is_some()
}
