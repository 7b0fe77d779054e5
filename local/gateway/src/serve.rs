//! The accept loop: HTTP/1.1 with upgrades, plain and over TLS on one port, each request with its head as sent and the
//! addresses of its connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower_service::Service as _;
use tracing::{debug, warn};

use super::head::{Heads, Tap};
use tidings_local_tls::Tls;

/// How long requests that are under way may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection may be silent between requests or within a head. Longer than HTTP clients keep idle
/// connections, so that the client's own timeout comes first and no call meets a connection that is just closing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a client may take to shake hands once it has begun to speak TLS.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// What a client that speaks TLS sends first: the type of a handshake record (RFC 8446, section 5.1). No request begins so.
const TLS_HANDSHAKE: u8 = 22;

/// The two ends of the TCP connection that a request came over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    /// Whether it is over TLS.
    pub(super) is_encrypted: bool,
}

/// Serves `router` until `shutdown` completes, then waits at most five seconds for requests that are under way.
///
/// Use this instead of `axum::serve` for a router that has the gateway's routes in it: header names then reach
/// functions in the client's own spelling. With `tls` the same port speaks it too, to clients that begin with it.
/// WebSocket connections live on; [`super::Gateway::close_all`] ends them.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, router: Router, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(connection(stream, client, tls.clone(), router.clone(), stopped.clone()));
                }
                Err(error) => wait_out(&error).await,
            },
        }
    }
    drop(listener);
    // Fails only if no connection is left to be told.
    let _ = stop.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if timeout(GRACE, finished).await.is_err() {
        debug!("some requests were cut off at shutdown");
    }
}

/// A client that went away before it was accepted is no news. Anything else, such as too many open files, may pass.
async fn wait_out(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        warn!(error = error as &dyn std::error::Error, "cannot accept a connection; trying again in a second");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn connection(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<Tls>,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(server) = stream.local_addr() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = &error as &dyn std::error::Error, "cannot switch off Nagle's algorithm");
    }
    let tls = tokio::select! {
        begun = begun(&stream, tls) => match begun {
            Some(tls) => tls,
            None => return,
        },
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    let addresses = Addresses { client, server, is_encrypted: tls.is_some() };
    match tls {
        None => requests(stream, addresses, router, stopped).await,
        // Apart, so that a connection without TLS is no larger for it.
        Some(tls) => Box::pin(encrypted(stream, &tls, addresses, router, stopped)).await,
    }
}

/// Waits for a client's first byte, and gives `tls` back if it begins with that. `None` is a client that says nothing.
async fn begun(stream: &TcpStream, tls: Option<Tls>) -> Option<Option<Tls>> {
    let Some(tls) = tls else { return Some(None) };
    let mut first = [0];
    match timeout(HEAD_TIMEOUT, stream.peek(&mut first)).await {
        Ok(Ok(1..)) => Some((first[0] == TLS_HANDSHAKE).then_some(tls)),
        _ => None,
    }
}

async fn encrypted(
    stream: TcpStream,
    tls: &Tls,
    addresses: Addresses,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let accepted = tokio::select! {
        accepted = timeout(TLS_TIMEOUT, tls.accept(stream, addresses.server.ip())) => accepted,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match accepted {
        Ok(Ok(stream)) => requests(stream, addresses, router, stopped).await,
        Ok(Err(error)) => debug!(error = &error as &dyn std::error::Error, "a client did not come to terms over TLS"),
        Err(_) => debug!("a client began to speak TLS and went on no further"),
    }
}

/// Serves the requests of a connection, until it is closed or becomes a WebSocket.
async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    addresses: Addresses,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let (tap, heads) = Tap::new(stream);
    let service = hyper::service::service_fn(move |request| answer(router.clone(), request, &heads, addresses));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(tap), service).with_upgrades());
    let served = tokio::select! {
        served = &mut connection => Some(served),
        _ = stopped.wait_for(|stopped| *stopped) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(error = &error as &dyn std::error::Error, "a connection ended early");
    }
}

fn answer(
    mut router: Router,
    mut request: http::Request<Incoming>,
    heads: &Heads,
    addresses: Addresses,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    if let Some(head) = heads.next() {
        request.extensions_mut().insert(head);
    }
    request.extensions_mut().insert(addresses);
    router.call(request.map(Body::new))
}
