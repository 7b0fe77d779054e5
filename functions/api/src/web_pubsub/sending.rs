//! Sending to everybody, to a group, to a user, and to a connection.

use std::time::Duration;

use tidings::clock::Clock;
use tidings::delivery::check_size;
use tidings::fanout::{Said, publish};
use tidings::notification::{self, DEFAULT_TTL_SECONDS, MAX_EXCEPTIONS, MAX_TARGETS, Notification, Payload, Target};
use tidings::registry::{Audience, Connection};
use tidings::trigger::Trigger;
use tidings::web_pubsub::{InvalidBody, payload};
use tidings::{ConnectionId, NotificationId, Topic};

use super::Call;
use super::failure::Failure;
use super::operation::Whose;
use super::parameters::Parameters;
use super::recipients::Choice;
use crate::response::Response;

/// Longest life of a message, in seconds.
const LONGEST_TTL: u32 = 300;
/// What a body is whose sender does not say.
const BYTES: &str = "application/octet-stream";

/// What is sent.
struct Message {
    payload: Payload,
    /// In seconds.
    ttl: u32,
}

impl Call<'_> {
    /// Answers 202 once the message is on its way, whether somebody is there or not.
    pub(super) async fn send(&self, to: &Whose, parameters: &mut Parameters) -> Result<Response, Failure> {
        let ttl = parameters.take_number("messageTtlSeconds", 0..=LONGEST_TTL)?;
        let choice = match to {
            Whose::Connection(_) => Choice::default(),
            _ => Choice::take(parameters)?,
        };
        let ttl = ttl.filter(|ttl| *ttl > 0).unwrap_or(DEFAULT_TTL_SECONDS);
        let message = Message { payload: self.payload()?, ttl };
        // Nobody can have any other name.
        if let Some(target) = self.target(to) {
            self.send_to(target, to, choice, &message).await?;
        }
        Ok(Response::empty(202))
    }

    fn target(&self, to: &Whose) -> Option<Target> {
        match to {
            Whose::Everybody => Some(Target::Topic(self.hub.topic().clone())),
            Whose::Group(topic) => Some(Target::Topic(topic.clone())),
            Whose::User(user) => user.clone().map(Target::User),
            Whose::Connection(connection) => connection.clone().map(Target::Connection),
        }
    }

    async fn send_to(&self, target: Target, to: &Whose, choice: Choice, message: &Message) -> Result<(), Failure> {
        let notification = self.notification(message, 0, vec![target.clone()])?;
        // Before anybody is looked for: it is as large for one as for all.
        check_size(&notification).map_err(Failure::too_large)?;
        if let Some(audience) = self.audience(to)
            && (choice.filter.is_some() || choice.excluded.len() > MAX_EXCEPTIONS)
        {
            return self.send_to_chosen(to, audience, &choice, message).await;
        }
        let notification = Notification { except: choice.excluded, ..notification };
        match target {
            Target::Topic(topic) => self.say(&topic, notification).await,
            _ => self.queue(vec![notification]).await,
        }
    }

    /// Sends to those whom a filter admits, by name: nobody else is to read it in a log, or who comes just now. All are found
    /// before anything is sent.
    async fn send_to_chosen(
        &self,
        to: &Whose,
        audience: Audience<'_>,
        choice: &Choice,
        message: &Message,
    ) -> Result<(), Failure> {
        let mut chosen: Vec<ConnectionId> = Vec::new();
        let page = async |page: Vec<Connection>| {
            chosen.extend(page.into_iter().map(|connection| connection.id));
            Ok(())
        };
        self.each_page(audience, choice, page).await?;
        let notifications = chosen.chunks(MAX_TARGETS).enumerate().map(|(place, some)| {
            let to_them = some.iter().cloned().map(Target::Connection).collect();
            let notification = self.notification(message, place, to_them)?;
            let topic = match to {
                Whose::Group(topic) => Some(topic.clone()),
                _ => None,
            };
            Ok(Notification { topic, ..notification })
        });
        let notifications = notifications.collect::<Result<Vec<_>, Failure>>()?;
        if notifications.is_empty() { Ok(()) } else { self.queue(notifications).await }
    }

    fn payload(&self) -> Result<Payload, Failure> {
        let bytes = self.event.bytes().ok_or_else(|| Failure::bad_request("body", "it is not what was sent"))?;
        let content_type = self.event.header("content-type").filter(|kind| !kind.trim().is_empty());
        payload(content_type.unwrap_or(BYTES), &bytes).map_err(|error| match error {
            InvalidBody::Type => Failure::UNSUPPORTED_MEDIA_TYPE,
            error => Failure::bad_request("body", tidings::describe(&error)),
        })
    }

    /// The `place`th notification of this call.
    fn notification(&self, message: &Message, place: usize, to: Vec<Target>) -> Result<Notification, Failure> {
        let id = NotificationId::parse(format!("web-pubsub-{}-{place}", self.event.request_id()));
        Ok(Notification {
            id: id.map_err(|error| Failure::internal(&error))?,
            to,
            except: Vec::new(),
            topic: None,
            event: None,
            payload: message.payload.clone(),
            at: self.event.time(),
            ttl: message.ttl,
            log: None,
            from: None,
        })
    }

    /// Says something in a topic: where that has a log it stands there before this returns, so that what is sent one after the
    /// other comes in that order.
    async fn say(&self, topic: &Topic, notification: Notification) -> Result<(), Failure> {
        let Some(retention) = self.deps.history.of_topic(topic) else { return self.queue(vec![notification]).await };
        let scope = scope();
        let said = Said { topic, notification, scope: &scope, is_keyed: false };
        let queue = self.deps.notifications.scoped(scope.as_str());
        let at = publish(&self.deps.registry, &queue, &said, retention, Clock::System).await;
        at.map(drop).map_err(|error| Failure::internal(&error))
    }

    async fn queue(&self, notifications: Vec<Notification>) -> Result<(), Failure> {
        // What we made can be written.
        let messages = notifications.iter().map(|notification| serde_json::to_string(notification).unwrap_or_default());
        let queue = self.deps.notifications.scoped(scope());
        let sent = queue.send(messages.collect(), self.hub.as_str(), Duration::ZERO).await;
        sent.map_err(|error| Failure::internal(&error))
    }
}

/// What the ids of these notifications are unique in.
fn scope() -> String {
    notification::scope(Trigger::Rest, &["web-pubsub"])
}
