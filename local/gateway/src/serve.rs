//! The accept loop: HTTP/1.1 with upgrades, each request with its head as sent and the addresses of its connection.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service as _;
use tracing::{debug, warn};

use super::head::{Heads, Tap};

/// How long requests that are under way may take to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection may be silent between requests or within a head. Longer than HTTP clients keep idle
/// connections, so that the client's own timeout comes first and no call meets a connection that is just closing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(120);

/// The two ends of the TCP connection that a request came over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
}

/// Serves `router` until `shutdown` completes, then waits at most five seconds for requests that are under way.
///
/// Use this instead of `axum::serve` for a router that has the gateway's routes in it: header names then reach
/// functions in the client's own spelling. WebSocket connections live on; [`super::Gateway::close_all`] ends them.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(connection(stream, client, router.clone(), stopped.clone()));
                }
                Err(error) => wait_out(&error).await,
            },
        }
    }
    drop(listener);
    // Fails only if no connection is left to be told.
    let _ = stop.send(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
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

async fn connection(stream: TcpStream, client: SocketAddr, router: Router, mut stopped: watch::Receiver<bool>) {
    let Ok(server) = stream.local_addr() else { return };
    if let Err(error) = stream.set_nodelay(true) {
        debug!(error = &error as &dyn std::error::Error, "cannot switch off Nagle's algorithm");
    }
    let (tap, heads) = Tap::new(stream);
    let service = hyper::service::service_fn(move |request| {
        answer(router.clone(), request, &heads, Addresses { client, server })
    });
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
