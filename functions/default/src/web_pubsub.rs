//! Clients of Azure Web PubSub: what their frames ask for, and how they are answered.
//!
//! Whatever fails is an answer too: API Gateway's own frame for a function that fails has no `type`, and ends the connection
//! of some libraries.

mod events;
mod groups;
mod raw;

use tidings::metrics::{Metric, Recorder};
use tidings::protocol::web_pubsub::{
    self, AckError, Asked, BadFrame, Command, ErrorName, ack, decode, disconnected, pong,
};
use tidings::protocol::{ClientError, ErrorCode, Protocol};
use tidings::registry::{Connection, Place, RegistryError, WebPubSub};

use crate::commands::Commands;
use crate::frame::Frame;
use crate::guard::Verdict;

/// What a client is told whose connection the registry does not have any more.
const NOT_CONNECTED: &str = "the connection is not registered any more; connect again";

/// Why a command is not done.
pub(crate) enum Undone {
    /// It is answered.
    Refused(AckError),
    /// The connection is gone.
    NotConnected,
}

/// A client, as the registry knows it.
pub(crate) struct Sender<'a, S> {
    pub(crate) commands: &'a Commands<S>,
    pub(crate) frame: &'a Frame,
    pub(crate) connection: &'a Connection,
    pub(crate) kept: &'a WebPubSub,
    pub(crate) recorder: &'a Recorder,
    /// The number of what it asks for.
    pub(crate) ack_id: Option<u64>,
}

impl From<AckError> for Undone {
    fn from(error: AckError) -> Self {
        Self::Refused(error)
    }
}

impl From<ClientError> for Undone {
    fn from(ClientError { code, message }: ClientError) -> Self {
        let name = match code {
            ErrorCode::NotConnected => return Self::NotConnected,
            ErrorCode::Forbidden => ErrorName::Forbidden,
            ErrorCode::BadRequest | ErrorCode::UnknownAction => ErrorName::BadRequest,
            code => ErrorName::Application(code.name()),
        };
        AckError::new(name, message).into()
    }
}

/// What others are told of a failure of ours.
pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> Undone {
    tracing::error!(error = tidings::describe(error), "a command failed");
    AckError::new(ErrorName::InternalServerError, "Internal server error").into()
}

/// What a client is told where the registry refuses.
pub(crate) fn refused(error: RegistryError) -> Undone {
    error.into_client_error().map_or_else(|error| failed(&error), Undone::from)
}

impl<S: 'static> Commands<S> {
    /// Answers a frame.
    pub(crate) async fn web_pubsub(&self, frame: Frame, recorder: &Recorder, verdict: &Verdict) -> Option<String> {
        if frame.caller.protocol == Protocol::WebPubSubRaw {
            return self.raw_web_pubsub(&frame, recorder, verdict).await;
        }
        if let Verdict::Dismiss(error) = verdict {
            return self.send_away(&frame, &error.message).await;
        }
        let (ack_id, asked) = match decode(&frame.text) {
            Ok(Command { ack_id, asked }) => (ack_id, Ok(asked)),
            Err(BadFrame { ack_id: Some(number), problem }) => (Some(number), Err(ClientError::bad_request(problem))),
            // Nobody waits for an answer: Web PubSub ends such a connection.
            Err(bad) => return self.send_away(&frame, &bad.problem).await,
        };
        let done = match (verdict, asked) {
            (Verdict::Refuse(error), _) => Err(error.clone().into()),
            (_, Err(error)) => Err(error.into()),
            (_, Ok(Asked::SequenceAck(number))) => {
                self.confirm(&frame, number).await;
                return None;
            }
            (_, Ok(asked)) => match unsupported(&asked) {
                Some(answer) => return answer,
                None => self.acknowledged(&frame, recorder, ack_id, asked).await,
            },
        };
        match done {
            Ok(()) => ack_id.map(ack),
            Err(Undone::NotConnected) => self.send_away(&frame, NOT_CONNECTED).await,
            Err(Undone::Refused(error)) => {
                let name = format!("{:?}", error.name);
                recorder.add(Metric::CommandsRefused, 1);
                tracing::info!(connection.id = %frame.caller.connection, code = name, "refused a command");
                ack_id.map(|number| web_pubsub::refused(number, &error))
            }
        }
    }

    /// Notes up to where a client has everything. One that is lost is made up for by the next.
    async fn confirm(&self, frame: &Frame, number: u64) {
        let caller = &frame.caller;
        if caller.protocol.has_outbox()
            && let Err(error) = self.services.registry.confirm(&caller.connection, number).await
        {
            drop(failed(&error));
        }
    }

    /// Tells a client why its connection ends, and ends it.
    async fn send_away(&self, frame: &Frame, why: &str) -> Option<String> {
        let id = &frame.caller.connection;
        tracing::info!(connection.id = %id, reason = why, "disconnects a client");
        self.services.sockets.dismiss(&frame.caller.socket, &disconnected(why)).await;
        None
    }

    async fn acknowledged(
        &self,
        frame: &Frame,
        recorder: &Recorder,
        ack_id: Option<u64>,
        asked: Asked,
    ) -> Result<(), Undone> {
        let (registry, id) = (&self.services.registry, &frame.caller.connection);
        let connection = registry.connection(id).await.map_err(refused)?.ok_or(Undone::NotConnected)?;
        let kept = connection.web_pubsub.as_ref().ok_or(Undone::NotConnected)?;
        if let Some(number) = ack_id.filter(|number| kept.acked.contains(number)) {
            let message = format!("Message with ack-id: {number} has been processed");
            return Err(AckError::new(ErrorName::Duplicate, message).into());
        }
        let sender = Sender { commands: self, frame, connection: &connection, kept, recorder, ack_id };
        match asked {
            Asked::Join(group) => sender.join(&group).await?,
            Asked::Leave(group) => sender.leave(&group).await?,
            Asked::Send(send) => sender.send(send).await?,
            Asked::Event(event) => sender.event(event).await?,
            Asked::GroupState => {
                let error = AckError::new(ErrorName::NotSupported, "states of groups are not supported here");
                return Err(error.into());
            }
            // Answered by now.
            _ => {}
        }
        if let Some(number) = ack_id {
            // It is done, whatever becomes of the note.
            let noted = registry.note_acked(id, kept, number).await;
            noted.unwrap_or_else(|error| drop(failed(&error)));
        }
        Ok(())
    }
}

/// The answer to what needs no connection; `None` for what does.
fn unsupported(asked: &Asked) -> Option<Option<String>> {
    let error = |what: &str| AckError::new(ErrorName::NotSupported, format!("{what} are not supported here"));
    match asked {
        Asked::Ping => Some(Some(pong())),
        // Nothing was numbered, opened or invoked.
        Asked::SequenceAck(_) | Asked::CancelInvocation | Asked::EndStream => Some(None),
        Asked::Invoke(id) => Some(Some(web_pubsub::invocation_refused(id, &error("invocations")))),
        Asked::Stream(id) => Some(Some(web_pubsub::stream_refused(id, &error("streams")))),
        Asked::Join(_) | Asked::Leave(_) | Asked::Send(_) | Asked::Event(_) | Asked::GroupState => None,
    }
}

impl<S> Sender<'_, S> {
    /// Where its command stands among those of its connection: the time at which it came, then its number.
    pub(crate) fn place(&self) -> Place {
        Place::new(self.frame.at, self.ack_id.unwrap_or_default())
    }
}
