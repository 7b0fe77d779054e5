//! The task of one open WebSocket: reads frames, writes what is queued, watches the clock, and runs `$disconnect`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::{debug, info, warn};

use super::connections::{Connection, Outgoing, Queue};
use super::ending::{Ending, Farewell};
use super::events::epoch_ms;
use super::traffic::{Incoming, MAX_MESSAGE};
use super::{Api, Shared, integration, mapped, messages, shuffle};
use tidings_local_stack::Integration;

/// The most that one frame of a client may hold.
const MAX_FRAME: usize = 32 * 1024;
/// Messages of one connection that may be with functions at once; the next ones wait in the socket. AWS's number is
/// not known.
const IN_FLIGHT: usize = 50;
/// How long a client may take for what is queued before a close, for the close itself, and to hang up after it.
const GRACE: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Runs an open connection to its end, `$disconnect` included.
pub(super) async fn run(
    shared: &Arc<Shared>,
    api: &Arc<Api>,
    connection: Arc<Connection>,
    outgoing: Queue,
    upgraded: Result<Upgraded, hyper::Error>,
) {
    let ending = match upgraded {
        Ok(upgraded) => {
            let config = WebSocketConfig::default()
                .max_frame_size(Some(MAX_FRAME))
                .max_message_size(Some(MAX_MESSAGE))
                // Held by every idle connection; grows with what comes.
                .read_buffer_size(512)
                .write_buffer_size(4 * 1024);
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
            converse(shared, api, &connection, outgoing, socket).await
        }
        // The client left while `$connect` ran. It was let in, so `$disconnect` may clean up; AWS is not known here.
        Err(error) => {
            debug!(connection.id = connection.id(), error = &error as &dyn std::error::Error, "the client left early");
            close_table(shared, &connection);
            Ending::lost()
        }
    };
    // In a box, so that an idle connection does not hold what only its end needs.
    Box::pin(disconnect(shared, api, &connection, &ending)).await;
}

/// Carries frames both ways until one side ends it; the socket is as good as closed afterwards.
async fn converse(
    shared: &Arc<Shared>,
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    mut outgoing: Queue,
    socket: Socket,
) -> Ending {
    let (mut sink, mut stream) = socket.split();
    let ending = tokio::select! {
        // In this order, so that a close frame that has come is seen before the write that fails because of it.
        biased;
        ending = read(shared, api, connection, &mut stream) => ending,
        ending = write(&mut sink, &mut outgoing) => ending,
        ending = watch(shared, connection) => ending,
    };
    close_table(shared, connection);
    if let Ok(socket) = sink.reunite(stream) {
        Box::pin(say_farewell(socket, &ending)).await;
    }
    ending
}

/// From here on the id answers 410.
fn close_table(shared: &Shared, connection: &Connection) {
    shared.connections.remove(connection.id());
    connection.shut();
}

async fn read(
    shared: &Arc<Shared>,
    api: &Arc<Api>,
    connection: &Arc<Connection>,
    stream: &mut SplitStream<Socket>,
) -> Ending {
    let permits = Arc::new(Semaphore::new(IN_FLIGHT));
    let number = shared.opened.fetch_add(1, Ordering::Relaxed);
    let mut count = 0;
    while let Some(frame) = stream.next().await {
        match frame {
            Ok(Message::Text(text)) => {
                connection.traffic.count_received();
                connection.touch();
                // Here, for what is spawned below may start in another order.
                let at = epoch_ms();
                let wait = shared.settings.shuffle.map(|seed| shuffle::wait(seed, number, count)).unwrap_or_default();
                count += 1;
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
                let (shared, api, connection) = (Arc::clone(shared), Arc::clone(api), Arc::clone(connection));
                tokio::spawn(async move {
                    messages::handle(&shared, &api, &connection, Incoming { text: &text, at, wait }).await;
                    drop(permit);
                });
            }
            Ok(Message::Binary(_)) => {
                warn!(connection.id = connection.id(), "the client sent a binary frame; closing with 1003 as AWS does");
                return Ending::by_gateway(CloseCode::Unsupported, "");
            }
            Ok(Message::Close(frame)) => return Ending::by_client(frame),
            // Tungstenite answers pings. They do not count as traffic: whether they do on AWS is unknown, and a
            // client that relied on it would be cut off there.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
            Err(error) => return broken(connection, &error),
        }
    }
    Ending::lost()
}

fn broken(connection: &Connection, error: &Error) -> Ending {
    let ending = Ending::from_error(error);
    if ending.farewell == Farewell::Close {
        let error = error as &dyn std::error::Error;
        warn!(connection.id = connection.id(), status = ending.code, error, "closing because of a bad frame");
    }
    ending
}

/// A slow client holds up only this; reading and the clock go on.
async fn write(sink: &mut SplitSink<Socket, Message>, outgoing: &mut Queue) -> Ending {
    while let Some(next) = outgoing.recv().await {
        match *next {
            Outgoing::Text(text, _share) => {
                if sink.send(Message::Text(text)).await.is_err() {
                    break;
                }
            }
            Outgoing::Close(ending) => return ending,
        }
    }
    Ending::lost()
}

/// Ends a connection that is idle, too old or deleted, and all of them when the gateway stops.
async fn watch(shared: &Shared, connection: &Connection) -> Ending {
    let mut stopping = shared.stopping.subscribe();
    let ending = tokio::select! {
        () = idle(shared, connection) => Ending::going_away(),
        () = shared.clock.reach(connection.opened() + shared.settings.connection_lifetime) => Ending::going_away(),
        () = connection.deleted() => Ending::deleted(),
        _ = stopping.wait_for(|stopping| *stopping) => Ending::going_away(),
    };
    shared.connections.remove(connection.id());
    connection.close(ending.clone());
    sleep(GRACE).await;
    ending
}

async fn idle(shared: &Shared, connection: &Connection) {
    loop {
        let deadline = connection.last_active() + shared.settings.idle_timeout;
        if deadline <= shared.clock.now() {
            return;
        }
        shared.clock.reach(deadline).await;
    }
}

async fn say_farewell(mut socket: Socket, ending: &Ending) {
    match ending.farewell {
        Farewell::Nothing => {}
        Farewell::Answer => {
            // Ends with an error in any case: "closed" if the answer is out.
            let _ = timeout(GRACE, socket.flush()).await;
        }
        Farewell::Close => {
            let frame = CloseFrame { code: ending.code.into(), reason: ending.reason.as_str().into() };
            if timeout(GRACE, socket.close(Some(frame))).await.is_ok_and(|closed| closed.is_ok()) {
                tokio::spawn(linger(socket));
            }
        }
    }
}

/// Reads on until the client hangs up. To drop a TCP connection with unread data resets it, and the client might lose
/// the close frame; half of a frame that was too large may still be on its way.
async fn linger(mut socket: Socket) {
    let stream = socket.get_mut();
    let drain = async {
        stream.shutdown().await?;
        let mut scrap = vec![0; 4 * 1024];
        while stream.read(&mut scrap).await? > 0 {}
        std::io::Result::Ok(())
    };
    // The connection is over whatever comes of this.
    let _ = timeout(GRACE, drain).await;
}

/// Runs the `$disconnect` route, if there is one. Nobody sees its answer.
async fn disconnect(shared: &Shared, api: &Api, connection: &Connection, ending: &Ending) {
    shared.saw_close(connection, ending);
    info!(connection.id = connection.id(), route.key = "$disconnect", status = ending.code, "disconnected");
    let Some(route) = api.routes.get("$disconnect") else { return };
    let Integration::Lambda { function, timeout_ms } = &route.integration else {
        return mapped::disconnect(shared, api, connection, ending).await;
    };
    let event = connection.origin.disconnect(connection.authorizer.as_ref(), ending.code, &ending.reason);
    let limit = Duration::from_millis(*timeout_ms);
    let answer = integration::call(&shared.invoker, function, limit, event.payload)
        .await
        .and_then(|answer| integration::ProxyResponse::parse(&answer));
    if let Err(failure) = answer {
        let error = &failure as &dyn std::error::Error;
        warn!(connection.id = connection.id(), route.key = "$disconnect", function, error, "$disconnect failed");
    }
}
