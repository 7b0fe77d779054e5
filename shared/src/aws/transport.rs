//! Requests that we sign ourselves, and how they travel.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

/// Who we are, in requests that no SDK makes.
pub(crate) const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidings/", env!("CARGO_PKG_VERSION")));
/// DynamoDB and SQS answer within milliseconds, so the SDK's first pause of a second would be most of a client's wait.
pub(super) const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// Carries one signed request to AWS, and its answer back. Apart from an HTTP client only a simulation is one: it can have
/// no sockets, because time stands still in it.
pub trait Transport: std::fmt::Debug + Send + Sync {
    /// Sends a request, and reads the answer to its end.
    fn send(&self, request: Request<Bytes>) -> Exchange<'_>;
}

/// A request on its way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Response<Bytes>, TransportError>> + Send + 'a>>;

/// Why a request has no answer.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;
