//! Groups: `joinGroup`, `leaveGroup` and `sendToGroup`. A group is a topic below its hub.

use tidings::delivery::check_size;
use tidings::metrics::Metric;
use tidings::notification::{DEFAULT_TTL_SECONDS, Notification, Origin, Target};
use tidings::protocol::ClientError;
use tidings::protocol::web_pubsub::{AckError, ErrorName, Send};
use tidings::web_pubsub::Right;
use tidings::{NotificationId, Topic};

use super::{Sender, Undone, failed, refused};
use crate::outcome::note;
use crate::publish;

impl<S: 'static> Sender<'_, S> {
    pub(super) async fn join(&self, group: &str) -> Result<(), Undone> {
        let topic = [self.permitted(Right::JoinLeaveGroup, group)?];
        let registry = &self.commands.services.registry;
        registry.subscribe_at(self.place(), &self.connection.id, &topic).await.map_err(refused)?;
        note(self.frame, self.recorder, &topic, Metric::Subscriptions, "subscribed");
        Ok(())
    }

    pub(super) async fn leave(&self, group: &str) -> Result<(), Undone> {
        let topic = [self.permitted(Right::JoinLeaveGroup, group)?];
        let registry = &self.commands.services.registry;
        registry.unsubscribe_at(self.place(), &self.connection.id, &topic).await.map_err(refused)?;
        note(self.frame, self.recorder, &topic, Metric::Unsubscriptions, "unsubscribed");
        Ok(())
    }

    /// Its answer means that the message is on the queue. One that comes again under its number is the same notification.
    pub(super) async fn send(&self, send: Send) -> Result<(), Undone> {
        let topic = self.permitted(Right::SendToGroup, &send.group)?;
        let (services, caller) = (&self.commands.services, &self.frame.caller);
        services.guard.publish(&caller.connection, self.frame.at)?;
        let name = match self.ack_id {
            Some(number) => tidings::hash(&[caller.connection.as_str(), &number.to_string()]),
            None => self.frame.message.clone(),
        };
        let notification = Notification {
            id: NotificationId::parse(format!("client-{name}")).map_err(|error| failed(&error))?,
            to: vec![Target::Topic(topic)],
            except: send.no_echo.then(|| caller.connection.clone()).into_iter().collect(),
            topic: None,
            event: None,
            payload: send.payload,
            at: self.frame.at,
            ttl: send.ttl.unwrap_or(DEFAULT_TTL_SECONDS),
            log: None,
            from: Some(Origin { user: caller.user.clone() }),
        };
        check_size(&notification).map_err(|error| ClientError::bad_request(error.to_string()))?;
        publish::queue(services, self.frame, self.recorder, &notification).await.map_err(|error| failed(&error))
    }

    /// The topic of a group with which the client may do this. What servers said of it since it connected counts first.
    fn permitted(&self, right: Right, group: &str) -> Result<Topic, Undone> {
        let client = &self.kept.client;
        let topic = client.hub.group(group).map_err(|error| AckError::new(ErrorName::BadRequest, error.to_string()))?;
        let is_permitted = self.kept.grants.say(right, Some(group)).unwrap_or_else(|| {
            client.roles.allow(right, group) || self.frame.caller.permissions.allow(right.action(), &topic)
        });
        match is_permitted {
            true => Ok(topic),
            false => {
                let message = format!("you have no permission {} for the group {group:?}", right.name());
                Err(AckError::new(ErrorName::Forbidden, message).into())
            }
        }
    }
}
