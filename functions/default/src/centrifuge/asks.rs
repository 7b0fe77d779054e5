//! What a client asks for once: `publish`, `history` and `rpc`.

use std::collections::BTreeSet;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tidings::Topic;
use tidings::channel::{self, HistoryError};
use tidings::log::LogName;
use tidings::permissions::Action;
use tidings::protocol::centrifuge::{Answer, Code, ErrorReply, History, Page};
use tidings::protocol::{ClientError, ErrorCode, Publish, ReplyBody};
use tidings::recovery::Reading;

use super::session::internal;
use super::{Identified, Step};
use crate::outcome::MOST_BYTES;
use crate::publish;

/// Most connections that one answer names.
const MOST_CLIENTS: usize = 1_000;
/// What an application's own error is under: the first of those that Centrifugo leaves to applications.
const APPLICATION: u32 = 400;

impl<'a, S: 'static> Identified<'a, S> {
    /// Its reply means that the message is in the channel's log, or where there is none, on the queue.
    pub(super) async fn publish(&self, channel: &str, data: &RawValue, id: u32) -> Step<'a> {
        let Ok(topic) = Topic::parse(channel) else { return Step::Answer(Code::BAD_REQUEST.into()) };
        let mut frame = self.frame.clone();
        // A frame can have several.
        frame.message = format!("{}-{id}", frame.message);
        let publish = Publish::to_topic(topic, data);
        Step::Answer(match publish::in_order(self.services(), &frame, self.recorder, publish).await {
            Ok(ReplyBody::Error(error)) => refused(&error),
            Ok(_) => Answer::Publish {},
            Err(error) => internal(&error).into(),
        })
    }

    pub(super) async fn history(&self, asked: &History) -> Step<'a> {
        Step::Answer(match self.read(asked).await {
            Ok(page) => Answer::History(page),
            Err(code) => code.into(),
        })
    }

    async fn read(&self, asked: &History) -> Result<Page, Code> {
        let topic = Topic::parse(asked.channel.as_str()).map_err(|_| Code::BAD_REQUEST)?;
        if !self.permissions.allow(Action::Subscribe, &topic) {
            return Err(Code::PERMISSION_DENIED);
        }
        let services = self.services();
        let retention = services.history.of_topic(&topic).ok_or(Code::NOT_AVAILABLE)?;
        let log = LogName::Topic(topic);
        let reading =
            Reading { log: &log, retention, connection: Some(&self.connection.id), now: services.clock.milliseconds() };
        channel::history(&services.registry, &reading, asked, MOST_BYTES).await.map_err(|error| match error {
            HistoryError::Unrecoverable => Code::UNRECOVERABLE_POSITION,
            error => internal(&error),
        })
    }

    /// Who is in a channel, by connection.
    pub(super) async fn presence(&self, channel: &str) -> Step<'a> {
        let topic = match self.watched(channel) {
            Ok(topic) => topic,
            Err(code) => return Step::Answer(code.into()),
        };
        let services = self.services();
        let here = services.registry.clients_here(&topic, MOST_CLIENTS, services.clock.milliseconds()).await;
        Step::Answer(match here {
            Ok(clients) => {
                let named = clients.into_iter().map(|client| (client.connection.to_string(), client.into()));
                Answer::Presence { presence: named.collect() }
            }
            Err(error) => internal(&error).into(),
        })
    }

    /// How many are in a channel.
    pub(super) async fn presence_stats(&self, channel: &str) -> Step<'a> {
        let topic = match self.watched(channel) {
            Ok(topic) => topic,
            Err(code) => return Step::Answer(code.into()),
        };
        let services = self.services();
        let here = services.registry.clients_here(&topic, usize::MAX, services.clock.milliseconds()).await;
        Step::Answer(match here {
            Ok(clients) => {
                let users: BTreeSet<_> = clients.iter().map(|client| &client.user).collect();
                Answer::PresenceStats { num_clients: clients.len() as u64, num_users: users.len() as u64 }
            }
            Err(error) => internal(&error).into(),
        })
    }

    /// The topic of a channel of which the client may know who is there.
    fn watched(&self, channel: &str) -> Result<Topic, Code> {
        let topic = Topic::parse(channel).map_err(|_| Code::BAD_REQUEST)?;
        if !self.permissions.allow(Action::Presence, &topic) {
            return Err(Code::PERMISSION_DENIED);
        }
        match self.services().registry.keeps_presence(&topic) {
            true => Ok(topic),
            false => Err(Code::NOT_AVAILABLE),
        }
    }

    /// An action of the application.
    pub(super) async fn rpc(&self, method: &str, data: Option<&RawValue>) -> Step<'a> {
        let body: Result<Map<String, Value>, _> = match data.map(RawValue::get) {
            None | Some("null") => Ok(Map::new()),
            Some(text) => serde_json::from_str(text),
        };
        let (Ok(body), Ok(action)) = (body, self.commands.actions.of(method)) else {
            let is_known = self.commands.actions.of(method).is_ok();
            return Step::Answer(if is_known { Code::BAD_REQUEST.into() } else { Code::METHOD_NOT_FOUND.into() });
        };
        Step::Answer(match action(self.commands.context(self.frame), body).await {
            Ok(reply) => Answer::Rpc { data: json(reply.data()) },
            Err(error) => match error.into_client() {
                Ok(error) => refused(&error),
                Err(error) => internal(error.as_ref()).into(),
            },
        })
    }
}

fn json(data: Option<&Value>) -> Box<RawValue> {
    // JSON can be written.
    data.and_then(|data| to_raw_value(data).ok()).unwrap_or_else(|| RawValue::NULL.to_owned())
}

/// The code of what a client is told in words of ours.
fn refused(error: &ClientError) -> Answer {
    let code = match error.code {
        ErrorCode::Forbidden => Code::PERMISSION_DENIED,
        ErrorCode::TooManyRequests => Code::TOO_MANY_REQUESTS,
        ErrorCode::TooManyTopics => Code::LIMIT_EXCEEDED,
        ErrorCode::Application(_) => Code { code: APPLICATION, message: "", temporary: false },
        _ => Code::BAD_REQUEST,
    };
    let Code { code, message, temporary } = code;
    let message = if message.is_empty() { error.message.clone() } else { format!("{message}: {}", error.message) };
    Answer::Error(ErrorReply { code, message, temporary })
}
