//! Channels: `subscribe` and `unsubscribe`. Channels are topics.

use tidings::Topic;
use tidings::going_live::{self, Begun, GoingLive};
use tidings::history::Retention;
use tidings::log::{Epoch, LogPosition, Since};
use tidings::metrics::Metric;
use tidings::permissions::Action;
use tidings::protocol::Told;
use tidings::protocol::centrifuge::{Answer, Code, Disconnect, Publication, Subscribe, Subscribed};
use tidings::recovery::RecoveryError;
use tidings::registry::{Place, RegistryError};

use super::permitted::Permitted;
use super::session::internal;
use super::{Going, Identified, Step};
use crate::outcome::MOST_BYTES;

/// What a `subscribe` found of what its client missed.
struct Found {
    told: Told,
    /// Whether the reply has all of it, or is followed by the rest.
    recovered: bool,
}

impl<'a, S: 'static> Identified<'a, S> {
    pub(super) async fn subscribe(&self, asked: Subscribe, place: Place) -> Step<'a> {
        match self.permitted(asked).await {
            Ok(permitted) => self.subscribe_permitted(&permitted, place).await,
            Err(step) => step,
        }
    }

    /// What is asked for, if the client may be told of it; else what it is answered.
    pub(super) async fn permitted(&self, asked: Subscribe) -> Result<Permitted, Step<'a>> {
        let refused = |code: Code| Err(Step::Answer(code.into()));
        let Ok(topic) = Topic::parse(asked.channel.as_str()) else { return refused(Code::BAD_REQUEST) };
        if asked.tf.is_some() {
            return refused(Code::BAD_REQUEST);
        }
        if asked.kind != 0 {
            return refused(Code::NOT_AVAILABLE);
        }
        let expires_at = if !asked.token.is_empty() {
            self.permitted_by(&asked.channel, &asked.token).await?
        } else if self.permissions.allow(Action::Subscribe, &topic) {
            None
        } else {
            return refused(Code::PERMISSION_DENIED);
        };
        Ok(Permitted { expires_at, ..Permitted::new(topic, asked) })
    }

    /// Notes the ordered ones of these topics among those of the connection, by one write instead of one for each. Where
    /// there is no room for all, each is noted by itself, and those are refused for which there is none.
    pub(super) async fn note<'b>(&self, permitted: impl Iterator<Item = &'b mut Permitted>) {
        let history = &self.services().history;
        let is_ordered = |one: &&mut Permitted| history.of_topic(&one.topic).is_some_and(|retention| retention.ordered);
        let mut ordered: Vec<_> = permitted.filter(is_ordered).collect();
        let topics: Vec<_> = ordered.iter().map(|one| one.topic.clone()).collect();
        if topics.len() < 2 {
            return;
        }
        match self.services().registry.note_topics(&self.connection.id, &topics).await {
            Ok(Some(_)) => ordered.iter_mut().for_each(|one| one.is_noted = true),
            Ok(None) => {}
            Err(error) => tracing::info!(connection.id = %self.connection.id, %error, "notes topics one by one"),
        }
    }

    /// Subscribes to a topic that the client may be told of. Only in ordered ones the library may go by offsets.
    pub(super) async fn subscribe_permitted(&self, permitted: &Permitted, place: Place) -> Step<'a> {
        let Permitted { topic, asked, expires_at, .. } = permitted;
        let subscribed =
            Subscribed { expires: expires_at.is_some(), ttl: self.ttl(*expires_at), ..Subscribed::default() };
        if self.follows(permitted)
            && let Err(error) = self.services().registry.follow_at(place, &self.connection.id, topic).await
        {
            return failed(error);
        }
        let retention = self.services().history.of_topic(topic).filter(|retention| retention.ordered);
        let step = match retention {
            Some(retention) => self.go(permitted, retention, place, subscribed).await,
            None => self.join(topic, asked, place, subscribed).await,
        };
        let step = step.unwrap_or_else(failed);
        if matches!(step, Step::Live(..) | Step::Answer(Answer::Subscribe(_))) {
            self.recorder.add(Metric::Subscriptions, 1);
            tracing::info!(connection.id = %self.connection.id, topic = topic.as_str(), "subscribed");
        }
        step
    }

    /// Whether the client is told who joins and leaves: it asks for that, may know it, and it is kept. Else it is told nothing,
    /// as by a server that does not have it.
    fn follows(&self, Permitted { topic, asked, .. }: &Permitted) -> bool {
        asked.join_leave
            && self.permissions.allow(Action::Presence, topic)
            && self.services().registry.keeps_presence(topic)
    }

    /// A topic whose messages come as they come.
    async fn join(
        &self,
        topic: &Topic,
        asked: &Subscribe,
        place: Place,
        subscribed: Subscribed,
    ) -> Result<Step<'a>, RegistryError> {
        self.services().registry.subscribe_at(place, &self.connection.id, std::slice::from_ref(topic)).await?;
        if asked.recover && asked.rejects_unrecovered() {
            return Ok(Step::Answer(Code::UNRECOVERABLE_POSITION.into()));
        }
        Ok(Step::Answer(Answer::Subscribe(Subscribed { was_recovering: asked.recover, ..subscribed })))
    }

    /// An ordered topic: live once the client has its reply.
    async fn go(
        &self,
        permitted: &Permitted,
        retention: Retention,
        place: Place,
        subscribed: Subscribed,
    ) -> Result<Step<'a>, RegistryError> {
        let (registry, clock) = (&self.services().registry, self.services().clock);
        let Permitted { topic, asked, .. } = permitted;
        if !permitted.is_noted {
            let noted = registry.note_topics(&self.connection.id, std::slice::from_ref(topic)).await?;
            noted.ok_or(RegistryError::NotConnected)?;
        }
        let live = match going_live::begin(registry, self.connection, topic, retention, place, clock).await? {
            Begun::Ours(live) => live,
            // An unsubscribe that was sent later: the library does not wait for this.
            Begun::Overtaken => return Ok(Step::Answer(Code::INTERNAL.into())),
            Begun::Stuck => return Ok(Step::End(Disconnect::INSUFFICIENT_STATE)),
        };
        registry.keep_presence(self.connection, topic, true).await?;
        let found = match found(&live, asked).await {
            Ok(found) => found,
            Err(error) => {
                internal(&error);
                return Ok(Step::End(Disconnect::INSUFFICIENT_STATE));
            }
        };
        if asked.recover {
            let metric = if found.recovered { Metric::Recovered } else { Metric::MissedBeyondLog };
            self.recorder.add(metric, 1);
        }
        if asked.recover && !found.recovered && asked.rejects_unrecovered() {
            live.give_up().await?;
            registry.strike_topic(&self.connection.id, topic).await?;
            registry.keep_presence(self.connection, topic, false).await?;
            return Ok(Step::Answer(Code::UNRECOVERABLE_POSITION.into()));
        }
        let (answer, at, is_behind) = answer(subscribed, asked, found);
        Ok(Step::Live(Answer::Subscribe(answer), Box::new(Going { live, at, is_behind })))
    }

    pub(super) async fn unsubscribe(&self, channel: &str, place: Place) -> Step<'a> {
        let Ok(topic) = Topic::parse(channel) else { return Step::Answer(Code::BAD_REQUEST.into()) };
        let is_ordered = self.services().history.of_topic(&topic).is_some_and(|retention| retention.ordered);
        let left = match is_ordered {
            true => self.leave(&topic, place).await,
            false => {
                let topics = std::slice::from_ref(&topic);
                let left = self.services().registry.unsubscribe_at(place, &self.connection.id, topics).await;
                left.map(|()| true)
            }
        };
        match left {
            Ok(true) => {
                self.recorder.add(Metric::Unsubscriptions, 1);
                Step::Answer(Answer::Unsubscribe {})
            }
            Ok(false) => Step::End(Disconnect::INSUFFICIENT_STATE),
            // An error would make the library connect anew.
            Err(RegistryError::NotConnected) => Step::End(Disconnect::FORCE_RECONNECT),
            Err(error) => failed(error),
        }
    }

    /// Whether it is known that nothing more comes.
    async fn leave(&self, topic: &Topic, place: Place) -> Result<bool, RegistryError> {
        let (registry, clock) = (&self.services().registry, self.services().clock);
        if registry.keeps_presence(topic) {
            registry.unfollow_at(place, &self.connection.id, topic).await?;
        }
        match going_live::leave(registry, self.connection, topic, place, clock).await? {
            Begun::Ours(()) => {
                registry.strike_topic(&self.connection.id, topic).await?;
                registry.keep_presence(self.connection, topic, false).await?;
                registry.have_followers_told(self.connection, [topic]).await?;
                Ok(true)
            }
            Begun::Overtaken => Ok(true),
            Begun::Stuck => Ok(false),
        }
    }
}

/// What the client missed, if it says where it is.
async fn found(live: &GoingLive<'_>, asked: &Subscribe) -> Result<Found, RecoveryError> {
    let mut room = MOST_BYTES;
    let epoch = match asked.recover {
        // Who names no epoch is in the one that there is.
        true if asked.epoch.is_empty() => Some(live.missed(None, &mut room).await?.position.epoch),
        true => Epoch::parse(&asked.epoch).ok(),
        false => None,
    };
    let since = epoch.map(|epoch| Since { position: LogPosition { offset: asked.offset, epoch }, connection: None });
    if let Some(since) = &since {
        match live.missed(Some(since), &mut room).await {
            Ok(told) => {
                let goes_on = told.more && told.messages.first().is_some_and(|first| follows(first, since));
                let recovered = told.recovered == Some(true) || goes_on;
                if recovered {
                    return Ok(Found { told, recovered });
                }
            }
            // It has what was never said: a log of another stack, or one that was lost.
            Err(RecoveryError::Ahead { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Found { told: live.missed(None, &mut room).await?, recovered: false })
}

fn follows(first: &tidings::notification::Notification, since: &Since) -> bool {
    first.log.as_ref().is_some_and(|place| place.position.offset == since.position.offset + 1)
}

/// The reply, up to where its client has everything then, and whether there is more.
fn answer(subscribed: Subscribed, asked: &Subscribe, found: Found) -> (Subscribed, LogPosition, bool) {
    let Found { told, recovered } = found;
    let last = told.messages.last().and_then(|message| message.log.as_ref()).map(|place| place.position.clone());
    let at = match last {
        Some(last) if told.more => last,
        _ => told.position.clone(),
    };
    let publications = match recovered {
        true => told.messages.iter().map(|message| Publication::of(message, true)).collect(),
        false => Vec::new(),
    };
    let subscribed = Subscribed {
        recoverable: true,
        positioned: true,
        epoch: told.position.epoch.to_string(),
        // The libraries take it for where they are before they give out what was missed.
        offset: if recovered { asked.offset } else { told.position.offset },
        was_recovering: asked.recover,
        recovered,
        publications,
        ..subscribed
    };
    (subscribed, at, told.more)
}

/// What the client is told where the registry refuses.
fn failed<'a>(error: RegistryError) -> Step<'a> {
    match error {
        RegistryError::NotConnected => Step::End(Disconnect::FORCE_RECONNECT),
        RegistryError::TooManyTopics { .. } | RegistryError::TopicsTooLong { .. } => {
            Step::Answer(Code::LIMIT_EXCEEDED.into())
        }
        // A row may be pending: its client begins anew.
        error => {
            internal(&error);
            Step::End(Disconnect::INSUFFICIENT_STATE)
        }
    }
}
