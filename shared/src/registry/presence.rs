//! Who is there, and what was told of it.
//!
//! Beside the membership of a topic in which it is kept stand two rows: that the connection is here, and when its time is
//! over. They are written with it. Where a bus is told of users, the membership of a user has the latter too.
//!
//! The former is deleted with the membership. The latter stays until somebody was asked to look, so that whoever dies in
//! between leaves something that is found: when the time is over, somebody is asked in any case.

mod ends;
mod here;
mod told;

pub(crate) use told::TellingTurn;

use aws_sdk_dynamodb::types::{AttributeValue, WriteRequest};

use super::change::Change;
use super::items::{self, Connection, Item, Membership, memberships};
use super::keys::Key;
use super::memberships::Said;
use super::names::{ENDS_AT, EXPIRES_AT, INFO, SINCE, TOPIC, USER};
use super::{Registry, RegistryError, batch, retry};
use crate::ids::{Topic, UserId};
use crate::presence::{Moved, Subject};

/// Ends that are looked at together, in seconds.
const SPAN_SECONDS: i64 = 300;
/// How long a row is kept that somebody is to look at, after its time, in seconds.
const KEPT_SECONDS: i64 = 24 * 3_600;

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

impl Registry {
    /// Whether it is kept who is in this topic.
    #[must_use]
    pub fn keeps_presence(&self, topic: &Topic) -> bool {
        self.lookout.as_ref().is_some_and(|lookout| lookout.keeps(topic))
    }

    /// The writes that do this to what stands beside a membership of a connection.
    pub(super) fn writes_beside(
        &self,
        change: Change,
        connection: &Connection,
        membership: Membership<'_>,
    ) -> Vec<WriteRequest> {
        let here = self.here_row(connection, membership);
        match change {
            Change::Join => here.into_iter().chain(self.end_row(connection, membership)).map(batch::put).collect(),
            Change::Leave => here.iter().filter_map(Key::of).map(batch::delete).collect(),
        }
    }

    /// Makes what stands beside memberships of topics what these say, until both agree: others change both as well.
    pub(super) async fn keep_beside(&self, connection: &Connection, mut said: Said) -> Result<(), RegistryError> {
        said.retain(|topic, _| self.keeps_presence(topic));
        let mut failures = 0;
        while !said.is_empty() {
            let writes = said
                .iter()
                .flat_map(|(topic, change)| self.writes_beside(*change, connection, Membership::Topic(topic)));
            self.write_all(writes.collect()).await?;
            let topics: Vec<_> = said.keys().cloned().collect();
            let (now, seen) = self.look_at_memberships(&connection.id, &topics).await?;
            let is_there = now.is_some();
            let wanted = seen.into_iter().map(|(topic, change)| (topic, if is_there { change } else { Change::Leave }));
            said = wanted.filter(|(topic, change)| said.get(topic) != Some(change)).collect();
            if !said.is_empty() && !retry::again(&mut failures).await {
                return Err(RegistryError::Contended);
            }
        }
        Ok(())
    }

    /// That a connection is here, beside its membership of a topic in which that is kept.
    fn here_row(&self, connection: &Connection, membership: Membership<'_>) -> Option<Item> {
        let lookout = self.lookout.as_ref()?;
        let Membership::Topic(topic) = membership else { return None };
        if !lookout.keeps(topic) {
            return None;
        }
        let mut here = Key::here(topic, connection.user.as_ref(), &connection.id).attributes();
        here.insert(SINCE.to_owned(), number(lookout.now()));
        here.insert(EXPIRES_AT.to_owned(), number(connection.expires_at()));
        here.extend(connection.shown().map(|info| (INFO.to_owned(), AttributeValue::S(info.clone()))));
        Some(here)
    }

    /// When the time of such a membership is over, or that of a user's of whom a bus is told.
    fn end_row(&self, connection: &Connection, membership: Membership<'_>) -> Option<Item> {
        let lookout = self.lookout.as_ref()?;
        match membership {
            Membership::Topic(topic) if lookout.keeps(topic) => {
                Some(end(connection, Some(topic), connection.user.as_ref()?))
            }
            Membership::User(user) if lookout.keeps_users() => Some(end(connection, None, user)),
            _ => None,
        }
    }

    /// Whoever is to be looked at when a connection came to these audiences or left them.
    fn subjects<'a>(
        &self,
        connection: &Connection,
        memberships: impl IntoIterator<Item = Membership<'a>>,
    ) -> Vec<Subject> {
        let (Some(lookout), Some(user)) = (&self.lookout, &connection.user) else { return Vec::new() };
        let subject = |topic: Option<&Topic>| Subject { topic: topic.cloned(), user: user.clone() };
        let of = |membership| match membership {
            Membership::Topic(topic) if lookout.keeps(topic) => Some(subject(Some(topic))),
            Membership::User(_) if lookout.keeps_users() => Some(subject(None)),
            _ => None,
        };
        memberships.into_iter().filter_map(of).collect()
    }

    /// Asks somebody to look at who came with a connection, its topics and `more`, once all of it is written.
    pub(super) async fn look_at_new(&self, connection: &Connection, more: &[Topic]) -> Result<(), RegistryError> {
        let Some(lookout) = &self.lookout else { return Ok(()) };
        let more = more.iter().filter(|topic| !connection.topics.contains(topic));
        self.have_followers_told(connection, connection.topics.iter().chain(more.clone())).await?;
        let more = more.map(Membership::Topic);
        lookout
            .came(&self.subjects(connection, memberships(connection).chain(more)))
            .await
            .map_err(RegistryError::Unlooked)
    }

    /// Asks somebody to look at who left with a connection, once all of it is deleted; nobody needs to look again then when
    /// its time is over.
    pub(super) async fn look_at_gone(&self, connection: &Connection) -> Result<(), RegistryError> {
        let Some(lookout) = &self.lookout else { return Ok(()) };
        self.have_followers_told(connection, &connection.topics).await?;
        lookout.left(&self.subjects(connection, memberships(connection))).await.map_err(RegistryError::Unlooked)?;
        let ends = memberships(connection).filter_map(|membership| self.end_row(connection, membership));
        self.write_all(ends.filter_map(|end| Key::of(&end)).map(batch::delete).collect()).await
    }

    /// Asks somebody to look at who came to topics or left them, once that is written.
    pub(super) async fn look_at_change(
        &self,
        connection: &Connection,
        change: Change,
        topics: &[Topic],
    ) -> Result<(), RegistryError> {
        let Some(lookout) = &self.lookout else { return Ok(()) };
        let subjects = self.subjects(connection, topics.iter().map(Membership::Topic));
        let asked = match change {
            Change::Join => lookout.came(&subjects).await,
            Change::Leave => lookout.left(&subjects).await,
        };
        asked.map_err(RegistryError::Unlooked)
    }

    /// Keeps that a connection came to a topic, or left it, whose membership is written by itself; and has it looked at. Those
    /// who follow single connections are told by [`Self::have_followers_told`].
    ///
    /// # Errors
    /// When DynamoDB fails, or nobody could be asked to look.
    pub async fn keep_presence(
        &self,
        connection: &Connection,
        topic: &Topic,
        is_there: bool,
    ) -> Result<(), RegistryError> {
        if !self.keeps_presence(topic) {
            return Ok(());
        }
        let change = Change::towards(is_there);
        self.keep_beside(connection, Said::from([(topic.clone(), change)])).await?;
        self.look_at_change(connection, change, std::slice::from_ref(topic)).await
    }

    /// Has those told who follow the connections of these topics, once it is written whether this one is in them.
    ///
    /// # Errors
    /// When nobody could be asked to tell them.
    pub async fn have_followers_told<'a>(
        &self,
        connection: &Connection,
        topics: impl IntoIterator<Item = &'a Topic>,
    ) -> Result<(), RegistryError> {
        let Some(lookout) = &self.lookout else { return Ok(()) };
        let moved = topics.into_iter().filter(|topic| lookout.keeps(topic)).map(|topic| Moved {
            connection: connection.id.clone(),
            user: connection.user.clone(),
            topic: topic.clone(),
            info: connection.shown().cloned(),
        });
        lookout.moved(&moved.collect::<Vec<_>>()).await.map_err(RegistryError::Unlooked)
    }

    /// Whether a connection is in a topic at `now` (milliseconds since the epoch). Read consistently.
    pub(crate) async fn is_connection_here(&self, moved: &Moved, now: i64) -> Result<bool, RegistryError> {
        let key = Key::here(&moved.topic, moved.user.as_ref(), &moved.connection);
        let row = self.get(key.attributes()).await?;
        Ok(row.is_some_and(|row| !items::is_expired(&row, now)))
    }

    /// The same for a user whose connections were all changed.
    pub(super) async fn look_at_user(&self, user: &UserId, change: Change, topic: &Topic) -> Result<(), RegistryError> {
        let Some(lookout) = self.lookout.as_ref().filter(|lookout| lookout.keeps(topic)) else { return Ok(()) };
        let subjects = [Subject { topic: Some(topic.clone()), user: user.clone() }];
        let asked = match change {
            Change::Join => lookout.came(&subjects).await,
            Change::Leave => lookout.left(&subjects).await,
        };
        asked.map_err(RegistryError::Unlooked)
    }

    /// These topics, and where they are left what connections are told of them under.
    pub(super) fn with_watching(&self, change: Change, topics: &[Topic]) -> Vec<Topic> {
        let left = topics.iter().filter(|topic| change == Change::Leave && self.keeps_presence(topic));
        let beside = left.flat_map(|topic| [topic.watching(), topic.following()]);
        topics.iter().cloned().chain(beside).collect()
    }
}

/// That somebody is to look at a user when the connection's time is over.
fn end(connection: &Connection, topic: Option<&Topic>, user: &UserId) -> Item {
    let ends_at = connection.expires_at();
    let mut item = Key::end(ends_at.div_euclid(SPAN_SECONDS), topic, user, &connection.id).attributes();
    item.insert(USER.to_owned(), AttributeValue::S(user.to_string()));
    if let Some(topic) = topic {
        item.insert(TOPIC.to_owned(), AttributeValue::S(topic.to_string()));
    }
    item.insert(ENDS_AT.to_owned(), number(ends_at));
    item.insert(EXPIRES_AT.to_owned(), number(ends_at + KEPT_SECONDS));
    item
}
