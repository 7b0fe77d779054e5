//! Posts to sockets over a plain HTTP client, without what the SDK does anew for each call.
//!
//! For one `PostToConnection` the SDK puts together its layers of configuration, resolves endpoint, identity and
//! authentication scheme, asks each interceptor, and turns request and answer into its own types and back: several times
//! what the post itself costs, and the same for every member of an audience. `docs/performance.md` has the profile.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tokio::time::timeout;

use super::sign::{self, CONTENT_TYPE, Hex, Signer};
use crate::aws::transport::{AGENT, Transport, TransportError};
use crate::ids::Socket;

/// Everything but what RFC 3986 calls unreserved, as signatures want it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &ENCODED.remove(b'/');

/// The API Gateway Management API at one endpoint. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sockets(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    transport: Box<dyn Transport>,
    signer: Signer,
    scheme: Scheme,
    /// Host and port.
    authority: Authority,
    /// The stage's path and `/@connections/`.
    path: String,
    /// The same as it is signed.
    signed_path: String,
    /// The headers that every post has.
    headers: HeaderMap,
    deadline: Duration,
}

/// An endpoint that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the endpoint {endpoint:?} is not a URL such as https://abcdef1234.execute-api.us-east-1.amazonaws.com/dev")]
pub struct InvalidEndpoint {
    endpoint: String,
}

/// A message with its hash, which is part of each signature.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) bytes: Bytes,
    hash: Hex,
}

impl Message {
    pub(super) fn new(bytes: Bytes) -> Self {
        let hash = sign::hash(&bytes);
        Self { bytes, hash }
    }
}

/// What API Gateway answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Empty for a post that was taken.
    pub(super) body: Bytes,
}

/// Why there is no answer. Operations are named as the SDKs name theirs: `tests/suite/roles.rs` reads in the programs what
/// they can call.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("{0} had no answer within {1:?}")]
    TimedOut(&'static str, Duration),
    #[error("{0} could not be sent")]
    Transport(&'static str, #[source] TransportError),
    #[error("the request cannot be written")]
    Request(#[from] http::Error),
}

const POST: &str = "ApiGatewayManagementApi.PostToConnection";
const DELETE: &str = "ApiGatewayManagementApi.DeleteConnection";

impl PostError {
    /// Whether another attempt would be the same.
    pub(super) fn is_permanent(&self) -> bool {
        matches!(self, Self::Request(_))
    }
}

impl Sockets {
    pub(crate) fn through(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        transport: impl Transport + 'static,
        deadline: Duration,
    ) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint { endpoint: endpoint.to_owned() };
        let uri: Uri = endpoint.parse().map_err(|_| invalid())?;
        let stage = uri.path().trim_end_matches('/').to_owned();
        let (Some(scheme), Some(authority)) = (uri.scheme().cloned(), uri.authority()) else { return Err(invalid()) };
        let own_port = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return Err(invalid()),
        };
        // Clients leave the scheme's own port out of the header that is signed.
        let host = match authority.port_u16().filter(|port| *port != own_port) {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::USER_AGENT, AGENT);
        if let Some(token) = credentials.session_token() {
            let mut token = HeaderValue::from_str(token).map_err(|_| invalid())?;
            // Never shown when something that holds it is.
            token.set_sensitive(true);
            headers.insert("x-amz-security-token", token);
        }
        Ok(Self(Arc::new(Inner {
            transport: Box::new(transport),
            scheme,
            authority: host.parse().map_err(|_| invalid())?,
            path: format!("{stage}/@connections/"),
            signed_path: format!("{}/%40connections/", percent_encode(stage.as_bytes(), PATH)),
            signer: Signer::new(credentials, region.to_owned(), host),
            headers,
            deadline,
        })))
    }

    /// Posts a message to a socket.
    pub(super) async fn post(&self, socket: &Socket, message: &Message) -> Result<Answer, PostError> {
        let request = self.0.request(Method::POST, socket, message, SystemTime::now())?;
        self.send(POST, request).await
    }

    /// Closes a socket.
    pub(super) async fn delete(&self, socket: &Socket) -> Result<Answer, PostError> {
        let request = self.0.request(Method::DELETE, socket, &Message::new(Bytes::new()), SystemTime::now())?;
        self.send(DELETE, request).await
    }

    async fn send(&self, operation: &'static str, request: Request<Bytes>) -> Result<Answer, PostError> {
        match timeout(self.0.deadline, self.0.transport.send(request)).await {
            Ok(Ok(answer)) => Ok(Answer { status: answer.status().as_u16(), body: answer.into_body() }),
            Ok(Err(error)) => Err(PostError::Transport(operation, error)),
            Err(_) => Err(PostError::TimedOut(operation, self.0.deadline)),
        }
    }
}

impl Inner {
    fn request(
        &self,
        method: Method,
        socket: &Socket,
        message: &Message,
        now: SystemTime,
    ) -> Result<Request<Bytes>, http::Error> {
        let id = percent_encode(socket.as_str().as_bytes(), ENCODED).to_string();
        let signed_path = format!("{}{}", self.signed_path, percent_encode(id.as_bytes(), ENCODED));
        let signature = self.signer.sign(method.as_str(), &signed_path, &message.hash, now)?;
        let path = PathAndQuery::from_maybe_shared(Bytes::from([self.path.as_str(), &id].concat()))?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        let mut request = Request::new(message.bytes.clone());
        *request.method_mut() = method;
        *request.uri_mut() = uri.build()?;
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert("x-amz-date", signature.date);
        headers.insert(header::AUTHORIZATION, signature.authorization);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(endpoint: &str) -> Result<Sockets, InvalidEndpoint> {
        let credentials = Credentials::new("AKID", "secret", Some("token".to_owned()), None, "test");
        let client = crate::aws::http_client::http_client_to(endpoint).unwrap();
        Sockets::through(endpoint, "us-east-1", credentials, client, Duration::from_secs(1))
    }

    #[test]
    fn a_post_goes_to_the_socket_below_the_stage_and_is_signed() {
        for (endpoint, uri) in [
            ("http://127.0.0.1:3030/dev", "http://127.0.0.1:3030/dev/@connections/a%3D"),
            ("http://127.0.0.1:80/dev/", "http://127.0.0.1/dev/@connections/a%3D"),
            ("http://localhost", "http://localhost/@connections/a%3D"),
        ] {
            let sockets = sockets(endpoint).unwrap();
            let message = Message::new(Bytes::from_static(b"{}"));
            let request =
                sockets.0.request(Method::POST, &Socket::parse("a=").unwrap(), &message, SystemTime::now()).unwrap();
            assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("POST", uri));
            assert_eq!(request.headers()["x-amz-security-token"], "token");
            let authorization = request.headers()["authorization"].to_str().unwrap();
            assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{authorization}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_refused_by_name() {
        for endpoint in ["", "abc", "ftp://host/dev", "/dev"] {
            let error = sockets(endpoint).unwrap_err();
            assert!(error.to_string().contains(&format!("{endpoint:?}")), "{error}");
        }
    }
}
