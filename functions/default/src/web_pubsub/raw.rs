//! Clients without a subprotocol: each frame is the event `message`, or a message to the group that the client has named. They
//! receive bare data and wait for no answers, so what fails ends the connection, as with Web PubSub.

use tidings::metrics::{Metric, Recorder};
use tidings::notification::Payload;
use tidings::protocol::web_pubsub::{Event, Send};
use tidings::web_pubsub::SendsTo;

use super::{Sender, Undone, failed, refused};
use crate::commands::{Commands, LONGEST_RESPONSE};
use crate::frame::Frame;
use crate::guard::Verdict;

/// The event that a frame is.
const EVENT: &str = "message";

impl<S: 'static> Commands<S> {
    /// Answers a frame of such a client with what the application says to it.
    pub(super) async fn raw_web_pubsub(&self, frame: &Frame, recorder: &Recorder, verdict: &Verdict) -> Option<String> {
        let done = match verdict {
            Verdict::Pass => self.raw_frame(frame, recorder).await,
            // There are no words for it.
            Verdict::Refuse(_) | Verdict::Ignore => {
                recorder.add(Metric::CommandsRefused, 1);
                return None;
            }
            Verdict::Dismiss(error) => Err(error.clone().into()),
        };
        let why = match done {
            Ok(answer) => return answer,
            Err(Undone::NotConnected) => super::NOT_CONNECTED.to_owned(),
            Err(Undone::Refused(error)) => error.message,
        };
        recorder.add(Metric::CommandsRefused, 1);
        let socket = &frame.caller.socket;
        tracing::info!(connection.id = %frame.caller.connection, reason = why, "disconnects a client");
        if let Err(error) = self.services.sockets.close(socket).await {
            tracing::info!(connection.id = %socket, %error, "could not close a connection");
        }
        None
    }

    async fn raw_frame(&self, frame: &Frame, recorder: &Recorder) -> Result<Option<String>, Undone> {
        let connection = self.services.registry.connection(&frame.caller.connection).await;
        let connection = connection.map_err(refused)?.ok_or(Undone::NotConnected)?;
        let kept = connection.web_pubsub.as_ref().ok_or(Undone::NotConnected)?;
        let sender = Sender { commands: self, frame, connection: &connection, kept, recorder, ack_id: None };
        let payload = Payload::Text(frame.text.clone());
        if let Some(SendsTo { group, no_echo }) = kept.client.sends_to.clone() {
            sender.send(Send { group, no_echo, ttl: None, payload }).await?;
            return Ok(None);
        }
        let reply = sender.act(Event { name: EVENT.to_owned(), payload }).await?;
        let Some(text) = reply.data().map(ToString::to_string) else { return Ok(None) };
        if text.len() <= LONGEST_RESPONSE {
            return Ok(Some(text));
        }
        self.services.sockets.send(&connection.socket, text).await.map_err(|error| failed(&error))?;
        Ok(None)
    }
}
