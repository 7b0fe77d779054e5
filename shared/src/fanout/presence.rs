//! Who is there, and whoever wants to know it: a look at one user compares what is written of connections with what was
//! told last, and tells what has changed.
//!
//! A look is a message that comes again until it is through. What it changes is written as not sent first, and it goes on
//! until that is sent, or somebody else has sent it. So whoever dies leaves nothing that nobody tells.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{FanOut, FanOutError, InvalidSegment, Invocation, Segment};
use crate::events::Event;
use crate::ids::{NotificationId, Topic, UserId};
use crate::metrics::Metric;
use crate::notification::{Notification, Payload, Target};
use crate::presence::{Check, Client, MOST_TOLD_OF, Moved, State, Subject};
use crate::protocol::centrifuge::{self, ClientInfo};
use crate::registry::{RegistryError, TellingTurn};

/// Looks at the same user that may meet, before one of them comes again later.
const ATTEMPTS: u32 = 10;
/// Longest pause between two of them.
const PAUSE: Duration = Duration::from_millis(100);
/// A look that comes so often is sent afresh, for it must never end as a dead letter.
const MOST_RECEIVES: u32 = 6;
/// Then it waits so long.
const AFRESH: Duration = Duration::from_secs(300);
/// A second's changes are told together.
const NEXT_LIST: Duration = Duration::from_secs(1);
/// Names that one list has, in bytes, so that it fits into a message whatever has to be escaped in them.
const MOST_NAMES: usize = 20 * 1_024;
/// How long it is worth to tell somebody of a change, in seconds.
const TTL_SECONDS: u32 = 60;
/// Writes at a time.
const SIDE_BY_SIDE: usize = 16;
/// What the ids of lists are unique in.
const SCOPE: &str = "presence";

impl FanOut {
    /// Looks at a user because a message asks for it, for the `receives`th time, and tells what has changed.
    ///
    /// # Errors
    /// When it is to come again.
    pub async fn look(&self, look: &Check, receives: u32, invocation: &Invocation) -> Result<(), FanOutError> {
        if receives >= MOST_RECEIVES {
            return self.look_later(look, AFRESH).await;
        }
        let Check { subject, seen } = look;
        let state =
            if *seen { self.delivery.registry().told_of(subject).await? } else { self.reconcile(subject).await? };
        match (&subject.topic, state.unsent) {
            (_, false) => Ok(()),
            (Some(topic), true) => self.tell_of(topic, subject, invocation).await,
            (None, true) => self.tell_backend(subject, state).await,
        }
    }

    /// Lets looks come at all whose connections' time is over, as far as there is time for it.
    ///
    /// # Errors
    /// When it is to be done again.
    pub async fn look_at_ends(&self, invocation: &Invocation) -> Result<(), FanOutError> {
        let registry = self.delivery.registry();
        let now = self.delivery.clock().milliseconds();
        let mut count = 0;
        for end in registry.ends(now).await? {
            if Instant::now() >= invocation.deadline {
                // The next one goes on: what was looked at is not there any more.
                tracing::warn!(count, "there was no time for all that have ended");
                return Ok(());
            }
            count += registry.look_at_ended(end, now).await?;
        }
        tracing::info!(count, "asked for looks at those whose time is over");
        Ok(registry.pass_ends(now).await?)
    }

    /// Sees to it that what is written of a user is what is seen; what is written of it then.
    async fn reconcile(&self, subject: &Subject) -> Result<State, FanOutError> {
        let (registry, clock) = (self.delivery.registry(), self.delivery.clock());
        for _ in 0..ATTEMPTS {
            let version = format!("{:016x}", fastrand::u64(..));
            let before = registry.begin_look(subject, &version, clock.milliseconds()).await?;
            let is_there = registry.is_there(subject, clock.milliseconds()).await?;
            let Some(changed) = before.after(is_there, clock.milliseconds()) else {
                if before.is_nothing() {
                    registry.end_look(subject, &version).await?;
                }
                return Ok(before);
            };
            if registry.change_told(subject, &version, changed).await? {
                return Ok(changed);
            }
            // Somebody began later, and may have died since: begins again.
            sleep(PAUSE.mul_f64(fastrand::f64())).await;
        }
        Err(RegistryError::Contended.into())
    }

    /// Tells a topic's watchers of all changes that were not sent yet, or leaves it to who comes in a second.
    async fn tell_of(&self, topic: &Topic, own: &Subject, invocation: &Invocation) -> Result<(), FanOutError> {
        let (registry, clock) = (self.delivery.registry(), self.delivery.clock());
        if registry.is_here_above(topic, MOST_TOLD_OF, clock.milliseconds()).await? {
            return Ok(());
        }
        let again = Check { subject: own.clone(), seen: true };
        let owner = format!("{}/{:016x}", invocation.owner, fastrand::u64(..));
        let Some(turn) = registry.take_turn(topic, &owner, clock.milliseconds()).await? else {
            return self.look_later(&again, NEXT_LIST).await;
        };
        let told = self.tell_list(topic, &turn, invocation).await;
        // Also where it failed: whoever comes next can go on at once.
        let ended = registry.end_turn(topic, turn).await;
        let is_all = told?;
        ended?;
        if is_all { Ok(()) } else { self.look_later(&again, NEXT_LIST).await }
    }

    /// Sends a list of what was not sent yet, and marks it as sent; whether that was all.
    async fn tell_list(&self, topic: &Topic, turn: &TellingTurn, invocation: &Invocation) -> Result<bool, FanOutError> {
        let (unsent, goes_on) = self.delivery.registry().unsent(topic, MOST_TOLD_OF).await?;
        if !turn.holds(self.delivery.clock().milliseconds()) {
            return Ok(false);
        }
        let (list, is_whole) = fitting(unsent);
        if !list.is_empty() {
            self.send_list(topic, turn.change, &list).await?;
            invocation.recorder.add(Metric::PresenceEvents, list.len() as u64);
            self.mark_sent(topic, list).await?;
        }
        Ok(is_whole && !goes_on)
    }

    /// Hands a list to the fan-out queue, where it is for a topic's watchers.
    async fn send_list(&self, topic: &Topic, change: i64, list: &[(UserId, State)]) -> Result<(), FanOutError> {
        let of = |told: bool| -> Vec<_> {
            list.iter().filter(|(_, state)| state.told == told).map(|(user, _)| user).collect()
        };
        let mut data = json!({ "change": change });
        for (name, users) in [("joined", of(true)), ("left", of(false))] {
            if !users.is_empty() {
                data[name] = json!(users);
            }
        }
        let name = format!("presence-{}", crate::hash(&[topic.as_str(), &change.to_string()]));
        // Neither can fail: the name is short, and what was made of names can be written.
        let (Ok(id), Ok(data)) = (NotificationId::parse(name), serde_json::value::to_raw_value(&data)) else {
            return Ok(());
        };
        let notification = Notification {
            id,
            to: vec![Target::Watchers(topic.clone())],
            except: Vec::new(),
            topic: None,
            event: None,
            payload: Payload::Json(data),
            at: self.delivery.clock().milliseconds(),
            ttl: TTL_SECONDS,
            log: None,
            from: None,
        };
        let letter = Segment::whole(notification, SCOPE).to_letter().unwrap_or_default();
        Ok(self.queues.fan_out.send(vec![letter], topic.as_str(), Duration::ZERO).await?)
    }

    /// What those who follow a topic's connections are told of one of them, as the table says it now. `name` is of the message
    /// that asks for it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn moved(&self, moved: &Moved, name: &str, invocation: &Invocation) -> Result<Segment, FanOutError> {
        let Moved { connection, user, topic, info } = moved;
        let now = self.delivery.clock().milliseconds();
        let is_here = self.delivery.registry().is_connection_here(moved, now).await?;
        let client = Client { connection: connection.clone(), user: user.clone(), info: info.clone() };
        let info = ClientInfo::from(client);
        let told = if is_here { centrifuge::Moved::Joined(info) } else { centrifuge::Moved::Left(info) };
        let id = crate::hash(&[topic.as_str(), connection.as_str(), name]);
        invocation.recorder.add(Metric::PresenceEvents, 1);
        let notification = Notification {
            id: NotificationId::parse(format!("moved-{id}")).map_err(InvalidSegment::from)?,
            to: vec![Target::Watchers(topic.watching())],
            except: Vec::new(),
            topic: None,
            event: None,
            payload: Payload::Json(serde_json::value::to_raw_value(&told).map_err(InvalidSegment::from)?),
            at: now,
            ttl: TTL_SECONDS,
            log: None,
            from: None,
        };
        Ok(Segment::whole(notification, SCOPE))
    }

    async fn mark_sent(&self, topic: &Topic, list: Vec<(UserId, State)>) -> Result<(), RegistryError> {
        let marks = list.into_iter().map(|(user, state)| {
            let (registry, subject) = (self.delivery.registry(), Subject { topic: Some(topic.clone()), user });
            async move { registry.mark_sent(&subject, state).await }
        });
        stream::iter(marks).buffer_unordered(SIDE_BY_SIDE).try_collect().await
    }

    /// Tells the bus that a user is online or offline.
    async fn tell_backend(&self, subject: &Subject, state: State) -> Result<(), FanOutError> {
        if let Some(bus) = &self.bus {
            let (user, at) = (&subject.user, state.change);
            let event = if state.told { Event::UserOnline { user, at } } else { Event::UserOffline { user, at } };
            bus.put(&[event]).await?;
        }
        Ok(self.delivery.registry().mark_sent(subject, state).await?)
    }

    async fn look_later(&self, look: &Check, delay: Duration) -> Result<(), FanOutError> {
        let group = look.subject.user.as_str();
        Ok(self.queues.notifications.send(vec![look.to_message()], group, delay).await?)
    }
}

/// As many changes as one list takes, and whether these are all.
fn fitting(unsent: Vec<(UserId, State)>) -> (Vec<(UserId, State)>, bool) {
    let (all, mut bytes) = (unsent.len(), 0);
    let fits = |(user, _): &(UserId, State)| {
        bytes += user.as_str().len();
        bytes <= MOST_NAMES
    };
    let list: Vec<_> = unsent.into_iter().take_while(fits).collect();
    let is_whole = list.len() == all;
    (list, is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_as_many_names_as_fit_into_a_message() {
        let change = |length: usize| (UserId::parse("u".repeat(length)).unwrap(), State::default());
        let count = |changes: Vec<_>| {
            let (list, is_whole) = fitting(changes);
            (list.len(), is_whole)
        };
        assert_eq!(count(vec![change(8); 500]), (500, true));
        assert_eq!(count(vec![change(256); 500]), (80, false));
        assert_eq!(count(Vec::new()), (0, true));
    }
}
