//! `publish` and `broadcast`.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::value::RawValue;
use tidings::clock::Clock;
use tidings::delivery::check_size;
use tidings::fanout::{Said, publish};
use tidings::notification::{self, Defaults, Notification};
use tidings::trigger::Trigger;
use tidings::{NotificationId, Topic};

use super::reply::{Error, Outcome, Published, Reply};
use super::request::Arguments;
use super::{Call, MOST, SIDE_BY_SIDE};

/// A notification as it is written down.
#[derive(Serialize)]
struct Written<'a> {
    to: To<'a>,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct To<'a> {
    topic: &'a Topic,
}

impl Call<'_> {
    pub(super) async fn publish(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        self.say(&arguments.channel, arguments, "0").await.map(Outcome::Published)
    }

    pub(super) async fn broadcast(&self, arguments: &Arguments) -> Result<Outcome, Error> {
        let channels = &arguments.channels;
        if channels.is_empty() || channels.len() > MOST {
            return Err(Error::BAD_REQUEST.because(format!("`channels` has {}; give 1 to {MOST}", channels.len())));
        }
        let said = channels.iter().enumerate().map(|(index, channel)| async move {
            Reply::from(self.say(channel, arguments, &index.to_string()).await.map(Outcome::Published))
        });
        let responses = stream::iter(said).buffered(SIDE_BY_SIDE).collect().await;
        Ok(Outcome::Broadcast { responses })
    }

    /// Says something in a channel, as the `place`th of its call.
    async fn say(&self, channel: &str, arguments: &Arguments, place: &str) -> Result<Published, Error> {
        let topic = super::topic(channel)?;
        let data = arguments.said().ok_or_else(|| Error::BAD_REQUEST.because("give `data`, or JSON in `b64data`"))?;
        let key = arguments.idempotency_key.as_str();
        let name = match key {
            "" => format!("{}-{}-{place}", self.event.request_id(), self.place),
            // A key counts for each channel by itself.
            key => tidings::hash(&[topic.as_str(), key]),
        };
        let id = NotificationId::parse(format!("centrifugo-{name}")).map_err(|error| Error::internal(&error))?;
        let defaults = Defaults { id, at: self.event.time() };
        // Names and JSON can be written.
        let text = serde_json::to_string(&Written { to: To { topic: &topic }, data: &data }).unwrap_or_default();
        let notification = Notification::parse(&text, &defaults).map_err(|error| Error::BAD_REQUEST.because(error))?;
        check_size(&notification).map_err(|error| Error::BAD_REQUEST.because(error))?;
        let scope = notification::scope(Trigger::Rest, &["centrifugo"]);
        let said = Said { topic: &topic, notification, scope: &scope, is_keyed: !key.is_empty() };
        self.send(&said, arguments.skip_history).await
    }

    async fn send(&self, said: &Said<'_>, skips_history: bool) -> Result<Published, Error> {
        let deps = self.deps;
        let queue = deps.notifications.scoped(said.scope);
        let published = match deps.history.of_topic(said.topic) {
            Some(_) if skips_history => {
                let detail = "`skip_history` is not served where a channel has a log; see the parameter `History`";
                return Err(Error::NOT_AVAILABLE.because(detail));
            }
            Some(retention) => {
                let at = publish(&deps.registry, &queue, said, retention, Clock::System).await;
                Some(at.map_err(|error| Error::internal(&error))?)
            }
            None => {
                // A notification that was parsed can be written.
                let message = serde_json::to_string(&said.notification).unwrap_or_default();
                let sent = queue.send(vec![message], said.topic.as_str(), Duration::ZERO).await;
                sent.map_err(|error| Error::internal(&error))?;
                None
            }
        };
        tracing::info!(notification.id = %said.notification.id, topic = said.topic.as_str(), "published");
        Ok(published.map_or_else(Published::default, |at| Published {
            offset: Some(at.offset),
            epoch: Some(at.epoch.to_string()),
        }))
    }
}
