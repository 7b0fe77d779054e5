//! A small HTTP server for the stand-ins: as little work as can be, so that what is measured is not it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Result;

/// What came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What goes back.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    pub(crate) fn status(status: StatusCode) -> Self {
        Self { status, ..Self::default() }
    }
}

/// A server on a port of its own; it ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers what comes, encrypted where there is an acceptor, and so late as if the answer had come a long way.
    pub(crate) async fn start<H, F>(tls: Option<TlsAcceptor>, round_trip: Duration, handler: H) -> Result<Self>
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Answers are small: Nagle's algorithm would hold them back for 40 ms.
                let _ = socket.set_nodelay(true);
                let (handler, tls) = (Arc::clone(&handler), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        // A client that gives up a handshake tells of it itself.
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, round_trip, handler).await;
                            }
                        }
                        None => serve(socket, round_trip, handler).await,
                    }
                });
            }
        });
        Ok(Self { port, task })
    }
}

async fn serve<H, F>(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    round_trip: Duration,
    handler: Arc<H>,
) where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let handler = Arc::clone(&handler);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let request = Request { path: head.uri.path().to_owned(), headers: head.headers, body };
            let reply = handler(request).await;
            if !round_trip.is_zero() {
                tokio::time::sleep(round_trip).await;
            }
            Ok::<_, hyper::Error>(response(reply))
        }
    });
    // Ends when the client hangs up, in whatever way.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}
