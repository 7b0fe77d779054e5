//! The core: answers one frame of one client with one frame.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidings::Context;
use tidings::context::Call;
use tidings::function::BoxError;
use tidings::metrics::{Metric, Recorder};
use tidings::protocol::{BadFrame, ClientError, Command, ErrorCode, Protocol, Reply, ReplyBody, Whoami};
use tidings::registry::RegistryError;

use crate::actions::Actions;
use crate::frame::Frame;
use crate::guard::Verdict;
use crate::outcome::{note, refused};
use crate::services::{Error, Services};
use crate::{history, inbox, presence, publish, subscribe};

/// Longest text that goes back as the route's response, in bytes: one frame (Developer Guide, quotas of WebSocket APIs).
/// Longer ones are posted, for posts may have several frames.
pub(crate) const LONGEST_RESPONSE: usize = 32 * 1_024;

/// What carries out commands, and an application's own actions.
pub struct Commands<S = ()> {
    pub(crate) services: Services,
    pub(crate) state: Arc<S>,
    pub(crate) actions: Actions<S>,
}

impl<S: 'static> Commands<S> {
    /// Answers a frame with the text of another; with none to a client that is sent away.
    ///
    /// # Errors
    /// When the registry or an application's action fails.
    pub async fn handle(&self, frame: Frame) -> Result<Option<String>, Error> {
        let (services, id) = (&self.services, &frame.caller.connection);
        let recorder = services.metrics.recorder();
        let verdict = services.guard.frame(id, frame.at);
        if verdict == Verdict::Ignore {
            recorder.add(Metric::CommandsRefused, 1);
            return Ok(None);
        }
        if frame.caller.protocol == Protocol::Centrifuge {
            return Ok(self.centrifuge(frame, &recorder, &verdict).await);
        }
        if frame.caller.protocol.is_web_pubsub() {
            return Ok(self.web_pubsub(frame, &recorder, &verdict).await);
        }
        let (id_of_frame, asked) = match frame.caller.protocol.decode(&frame.text) {
            Ok(request) => (request.id, Ok(request.command)),
            Err(bad) => (bad.id.clone(), Err(bad)),
        };
        let body = match (verdict.refusal(), asked) {
            (Some(error), _) => ReplyBody::Error(error.clone()),
            (None, Ok(command)) => self.run(&frame, &recorder, command).await?,
            (None, Err(bad)) => self.not_understood(&frame, bad).await?,
        };
        let reply = Reply { id: id_of_frame, body };
        let text = frame.caller.protocol.encode_reply(&reply).unwrap_or_default();
        if text.len() > LONGEST_RESPONSE {
            services.sockets.send(&id.first_socket(), text).await.map_err(Error::Reply)?;
            return Ok(None);
        }
        if let ReplyBody::Error(error) = &reply.body {
            recorder.add(Metric::CommandsRefused, 1);
            tracing::info!(connection.id = %id, code = error.code.name(), "refused a command");
            if error.code == ErrorCode::NotConnected || matches!(verdict, Verdict::Dismiss(_)) {
                services.sockets.dismiss(&id.first_socket(), &text).await;
                return Ok(None);
            }
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Carries out a command. What the client did wrong is an answer; what we did wrong is an error.
    async fn run(&self, frame: &Frame, recorder: &Recorder, command: Command) -> Result<ReplyBody, Error> {
        let (registry, id) = (&self.services.registry, &frame.caller.connection);
        let done = match command {
            Command::Ping => return Ok(ReplyBody::Pong),
            Command::Whoami => return self.whoami(frame).await,
            Command::Publish(publish) => return publish::run(&self.services, frame, recorder, publish).await,
            Command::Application { action, body } => return self.act(frame, action, body).await,
            Command::Subscribe(subscribe) => return subscribe::run(&self.services, frame, recorder, subscribe).await,
            Command::History(asked) => return history::run(&self.services, frame, asked).await,
            Command::Presence(topic) => return presence::run(&self.services, frame, topic).await,
            Command::Unread => return inbox::unread(&self.services, frame).await,
            Command::Read(asked) => return inbox::read(&self.services, frame, asked).await,
            Command::Unsubscribe(topics) => {
                let done = registry.unsubscribe_at(frame.place(), id, &topics).await;
                done.map(|()| note(frame, recorder, &topics, Metric::Unsubscriptions, "unsubscribed"))
            }
        };
        done.map_or_else(refused, |()| Ok(ReplyBody::Ack))
    }

    async fn whoami(&self, frame: &Frame) -> Result<ReplyBody, Error> {
        let connection = self.services.registry.connection(&frame.caller.connection).await;
        match connection.map_err(Error::Registry)? {
            None => refused(RegistryError::NotConnected),
            Some(connection) => Ok(ReplyBody::Whoami(Whoami {
                connection: connection.id,
                user: connection.user,
                connected_at: connection.connected_at,
                topics: connection.topics.into_iter().filter(|topic| !topic.is_watching()).collect(),
            })),
        }
    }

    async fn act(&self, frame: &Frame, action: String, body: Map<String, Value>) -> Result<ReplyBody, Error> {
        let context = self.context(frame);
        match self.actions.of(&action) {
            Ok(known) => answered(known(context, body).await).map_err(|source| Error::Action { action, source }),
            Err(unknown) => self.otherwise(frame, unknown).await,
        }
    }

    /// A frame that is no command of the protocol's, or one with a mistake in it.
    async fn not_understood(&self, frame: &Frame, bad: BadFrame) -> Result<ReplyBody, Error> {
        match bad.is_command {
            true => Ok(ReplyBody::Error(bad.error)),
            false => self.otherwise(frame, bad.error).await,
        }
    }

    /// What the application makes of a frame that nobody else knows; an error for the client where it makes nothing of any.
    async fn otherwise(&self, frame: &Frame, error: ClientError) -> Result<ReplyBody, Error> {
        match &self.actions.otherwise {
            None => Ok(ReplyBody::Error(error)),
            Some(handler) => answered(handler(self.context(frame), frame.text.clone()).await).map_err(Error::Otherwise),
        }
    }

    pub(crate) fn context(&self, frame: &Frame) -> Context<S> {
        let call = Call::new(frame.caller.clone(), self.services.registry.clone(), frame.at);
        let call =
            call.with_message(frame.message.clone()).with_notifications(self.services.notifications.clone().into());
        Context::new(Arc::clone(&self.state), call)
    }
}

/// What the client is told by an application's own code; that code's failure, where it is none of the client's.
fn answered(answer: Result<crate::Reply, tidings::Error>) -> Result<ReplyBody, BoxError> {
    match answer {
        Ok(reply) => Ok(reply.into_body()),
        Err(error) => error.into_client().map(ReplyBody::Error),
    }
}

impl<S> fmt::Debug for Commands<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("services", &self.services).finish_non_exhaustive()
    }
}
