//! One connection, from its handshake to its end: a task of its own, which reads, writes, and notices silence.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::error::Reason;
use crate::handshake::{self, Failure, Socket};
use crate::options::{KeepAlive, Options};
use crate::wire::PING;

/// How long the server may take to answer our goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// How many frames are read ahead.
const AHEAD: usize = 16;

/// What a link tells.
#[derive(Debug)]
pub(crate) struct Received {
    /// The link's number.
    pub(crate) link: u64,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Opened,
    Frame(String),
    /// It is over; or, if it was not opened, there was none.
    Ended(Failure),
}

/// The other side of a link. Dropped, it says goodbye and ends.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) number: u64,
    /// When it was begun.
    pub(crate) since: Instant,
    outgoing: UnboundedSender<String>,
}

/// Where the links of a client speak to.
pub(crate) fn channel() -> (Sender<Received>, Receiver<Received>) {
    mpsc::channel(AHEAD)
}

impl Link {
    /// Begins to connect.
    pub(crate) fn start(number: u64, options: &Arc<Options>, incoming: &Sender<Received>) -> Self {
        let (outgoing, frames) = mpsc::unbounded_channel();
        let task = Task { number, incoming: incoming.clone(), outgoing: frames };
        tokio::spawn(task.run(Arc::clone(options)));
        Self { number, since: Instant::now(), outgoing }
    }

    /// Sends a frame, after the handshake.
    pub(crate) fn send(&self, frame: String) {
        // One that is over has told so, or is about to.
        let _ = self.outgoing.send(frame);
    }
}

struct Task {
    number: u64,
    incoming: Sender<Received>,
    outgoing: UnboundedReceiver<String>,
}

impl Task {
    async fn run(mut self, options: Arc<Options>) {
        let opened = tokio::select! {
            opened = handshake::open(&options) => opened,
            // Nobody wants it any more.
            () = self.incoming.closed() => return,
        };
        let failure = match opened {
            Err(failure) => failure,
            Ok(socket) => {
                self.tell(What::Opened).await;
                match self.serve(socket, options.keep_alive).await {
                    Some(reason) => Failure { reason, shown: None },
                    None => return,
                }
            }
        };
        self.tell(What::Ended(failure)).await;
    }

    async fn tell(&self, what: What) {
        // A client that is gone wants to know nothing.
        let _ = self.incoming.send(Received { link: self.number, what }).await;
    }

    /// Until it is over: why, or nothing if it was us who had enough.
    async fn serve(&mut self, mut socket: Socket, keep_alive: KeepAlive) -> Option<Reason> {
        let mut watch = Watch::new(keep_alive);
        loop {
            let frame = tokio::select! {
                message = socket.next() => {
                    match read(message) {
                        Ok(Some(text)) => self.tell(What::Frame(text)).await,
                        Ok(None) => {}
                        Err(reason) => return Some(reason),
                    }
                    // Now, and not before: an application that takes its time makes no silence.
                    watch.heard();
                    continue;
                }
                frame = self.outgoing.recv() => match frame {
                    Some(frame) => frame,
                    None => {
                        goodbye(socket).await;
                        return None;
                    }
                },
                () = sleep_until(watch.due()) => match watch.elapsed() {
                    Quiet::Ping => PING.to_owned(),
                    Quiet::Dead => return Some(Reason::Silent),
                },
            };
            match timeout(keep_alive.pong_within, socket.send(Message::text(frame))).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Some(Reason::Lost(error.into())),
                // The other end takes nothing any more.
                Err(_) => return Some(Reason::Silent),
            }
        }
    }
}

/// The text of a frame, if it has any; or why the connection is over.
fn read(message: Option<Result<Message, Error>>) -> Result<Option<String>, Reason> {
    match message {
        Some(Ok(Message::Text(text))) => Ok(Some(text.to_string())),
        Some(Ok(Message::Close(frame))) => Err(closed(frame)),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Reason::Lost(error.into())),
        None => Err(Reason::Lost(io::Error::from(io::ErrorKind::UnexpectedEof).into())),
    }
}

fn closed(frame: Option<CloseFrame>) -> Reason {
    match frame {
        Some(frame) => Reason::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
        None => Reason::Closed { code: CloseCode::Status.into(), reason: String::new() },
    }
}

/// Says goodbye, so that the server need not find out.
async fn goodbye(mut socket: Socket) {
    let goodbye = async {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // A server that does not answer is not waited for.
    let _ = timeout(GOODBYE, goodbye).await;
}

/// What a silence asks for.
#[derive(Debug, PartialEq, Eq)]
enum Quiet {
    Ping,
    Dead,
}

/// When a silence is too long.
#[derive(Debug)]
struct Watch {
    keep_alive: KeepAlive,
    due: Instant,
    pinged: bool,
}

impl Watch {
    fn new(keep_alive: KeepAlive) -> Self {
        Self { keep_alive, due: Instant::now() + keep_alive.ping_after, pinged: false }
    }

    fn due(&self) -> Instant {
        self.due
    }

    fn heard(&mut self) {
        *self = Self::new(self.keep_alive);
    }

    /// The time is up.
    fn elapsed(&mut self) -> Quiet {
        if self.pinged {
            return Quiet::Dead;
        }
        self.pinged = true;
        self.due = Instant::now() + self.keep_alive.pong_within;
        Quiet::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silence_is_answered_by_a_ping_and_then_by_the_end() {
        let seconds = Duration::from_secs;
        let mut watch = Watch::new(KeepAlive { ping_after: seconds(300), pong_within: seconds(10) });
        let start = Instant::now();
        sleep_until(watch.due()).await;
        assert_eq!((start.elapsed(), watch.elapsed()), (seconds(300), Quiet::Ping));
        tokio::time::advance(seconds(5)).await;
        watch.heard();
        sleep_until(watch.due()).await;
        assert_eq!((start.elapsed(), watch.elapsed()), (seconds(605), Quiet::Ping));
        sleep_until(watch.due()).await;
        assert_eq!((start.elapsed(), watch.elapsed()), (seconds(615), Quiet::Dead));
    }

    #[test]
    fn every_end_has_its_reason() {
        let ends = |message| read(message).unwrap_err().to_string();
        assert_eq!(ends(None), "the connection is lost");
        assert_eq!(ends(Some(Ok(Message::Close(None)))), "closed by the server");
        let frame = CloseFrame { code: CloseCode::Away, reason: "Going away".into() };
        assert_eq!(ends(Some(Ok(Message::Close(Some(frame))))), "closed by the server (1001 Going away)");
        assert_eq!(read(Some(Ok(Message::text("a")))).unwrap().as_deref(), Some("a"));
        assert_eq!(read(Some(Ok(Message::Ping("".into())))).unwrap(), None);
    }
}
