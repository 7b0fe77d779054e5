//! Requests that we sign ourselves, and how they travel.

use std::pin::Pin;

use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::http_client::HttpClient;

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

impl Transport for HttpClient {
    fn send(&self, request: Request<Bytes>) -> Exchange<'_> {
        let answer = self.request(request.map(SdkBody::from));
        Box::pin(async move {
            let (head, body) = answer.await?.into_parts();
            // To its end, or its connection could not be used again.
            let body = match body.is_end_stream() {
                true => Bytes::new(),
                false => body.collect().await?.to_bytes(),
            };
            Ok(Response::from_parts(head, body))
        })
    }
}
