//! Durable topics: what a user is subscribed to on every connection, those to come included.
//!
//! A user's durable topics are one row. Whoever changes it and whoever connects may meet in any order, so each does three
//! things one after the other: a change writes the row, reads the user's connections and acts on each; a connection
//! writes itself, reads the row and acts. Whatever the order, one of the two sees the other. At last each reads the row
//! again, and acts again until what it did last agrees with it. So of two that were overtaken by each other, the one that
//! acts last leaves every connection as the row says.

use std::collections::HashMap;
use std::slice;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};

use super::batch::MAX_READS;
use super::change::Change;
use super::interval::Interval;
use super::items::{self, Connection};
use super::keys::{Key, user_partition};
use super::memberships::Said;
use super::names::TOPICS;
use super::place::By;
use super::topics::TopicSet;
use super::{Registry, RegistryError, retry};
use crate::ids::{Topic, UserId};

/// Connections of a user that are changed side by side.
const SIDE_BY_SIDE: usize = 32;

impl Registry {
    /// The topics that a user is subscribed to on every connection, sorted. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn durable_topics(&self, user: &UserId) -> Result<Vec<Topic>, RegistryError> {
        let row = self.get(Key::durable_topics(user).attributes()).await?;
        row.as_ref().map_or(Ok(Vec::new()), items::topics)
    }

    /// Subscribes all connections of a user to a topic, those to come included. Returns how many it is subscribed on now.
    /// Doing it twice does no harm, and repairs what a failure left undone.
    ///
    /// # Errors
    /// [`RegistryError::TooManyDurableTopics`] or [`RegistryError::DurableTopicsTooLong`] when the user would have more than
    /// is allowed; else when DynamoDB fails.
    pub async fn add_durable_topic(&self, user: &UserId, topic: &Topic) -> Result<usize, RegistryError> {
        self.change_set(TopicSet::Durable(user), Change::Join, slice::from_ref(topic)).await?;
        let changed = self.change_connections(user, topic, Change::Join).await?;
        self.look_at_user(user, Change::Join, topic).await?;
        Ok(changed)
    }

    /// Takes a topic from all connections of a user, those to come included. Returns how many it was taken from. Doing it
    /// twice does no harm, and repairs what a failure left undone.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn remove_durable_topic(&self, user: &UserId, topic: &Topic) -> Result<usize, RegistryError> {
        let row = self.change_set(TopicSet::Durable(user), Change::Leave, slice::from_ref(topic)).await?;
        if row.is_some_and(|row| !row.contains_key(TOPICS)) {
            self.delete_empty(user).await?;
        }
        let changed = self.change_connections(user, topic, Change::Leave).await?;
        self.look_at_user(user, Change::Leave, topic).await?;
        Ok(changed)
    }

    /// Deletes a user's row that holds no topic any more.
    async fn delete_empty(&self, user: &UserId) -> Result<(), RegistryError> {
        retry::retrying("DeleteItem", || async {
            let request = self.client.delete_item().table_name(&self.table);
            let request = request.set_key(Some(Key::durable_topics(user).attributes()));
            let request = request.condition_expression("attribute_not_exists(#topics)");
            let request = request.expression_attribute_names("#topics", TOPICS);
            match request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(Error::from) {
                Ok(answer) => self.counter.add_write(answer.consumed_capacity.as_ref()),
                // Somebody has added one since.
                Err(Error::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
        .await
    }

    /// Subscribes a connection that was just written to its user's durable topics, and sees to it that its row lists what
    /// its memberships are, see [`Registry::settle`]. Returns the durable topics.
    pub(super) async fn join_durable_topics(&self, connection: &Connection) -> Result<Vec<Topic>, RegistryError> {
        let set = TopicSet::Granted(&connection.id);
        let mut said: Said = connection.topics.iter().map(|topic| (topic.clone(), Change::Join)).collect();
        let mut granted = Vec::new();
        let mut failures = 0;
        let mut round = 0;
        let now = loop {
            let (now, durable) = self.look_at(connection).await?;
            if now.is_none() || durable == granted {
                break now;
            }
            // The first round is as it should be; only then somebody else is at work.
            if round > 0 && !retry::again(&mut failures).await {
                return Err(RegistryError::Contended);
            }
            round += 1;
            let (added, taken) = (difference(&durable, &granted), difference(&granted, &durable));
            for (change, topics) in [(Change::Join, &added), (Change::Leave, &taken)] {
                if !topics.is_empty() && self.change_set(set, change, topics).await?.is_some() {
                    said.extend(self.change_memberships(connection, change, topics, By::Server).await?);
                }
            }
            granted = durable;
        };
        let now = self.settle(connection, set, said, now).await?;
        now.map(|_| granted).ok_or(RegistryError::NotConnected)
    }

    /// A connection and the durable topics of its user as they are now, in one read.
    async fn look_at(&self, connection: &Connection) -> Result<(Option<Connection>, Vec<Topic>), RegistryError> {
        let user = connection.user.as_ref().map(Key::durable_topics);
        let keys = user.into_iter().chain([Key::connection(&connection.id)]);
        let rows = self.read_batch(keys.map(Key::attributes).collect()).await?;
        let (durable, own): (Vec<_>, Vec<_>) = rows.iter().partition(|row| items::sort_key(row) == TOPICS);
        Ok((
            own.first().map(|row| items::read(row)).transpose()?,
            durable.first().map_or(Ok(Vec::new()), |row| items::topics(row))?,
        ))
    }

    /// Applies a change of the user's row to every connection that the user has, until the row says the same as what was
    /// done last. Returns how many connections were changed, none if somebody else's change came after it.
    async fn change_connections(&self, user: &UserId, topic: &Topic, change: Change) -> Result<usize, RegistryError> {
        let mut doing = change;
        let mut failures = 0;
        loop {
            let changed = self.change_each(user, topic, doing).await?;
            let wanted = Change::towards(self.durable_topics(user).await?.contains(topic));
            if wanted == doing {
                return Ok(if doing == change { changed } else { 0 });
            }
            doing = wanted;
            if !retry::again(&mut failures).await {
                return Err(RegistryError::Contended);
            }
        }
    }

    async fn change_each(&self, user: &UserId, topic: &Topic, change: Change) -> Result<usize, RegistryError> {
        let pk = user_partition(user);
        let mut interval = Interval::whole();
        let mut changed = 0;
        loop {
            let answer = retry::retrying("Query", || async {
                Ok(self.query(&pk, &interval).consistent_read(true).limit(self.page_rows).send().await?)
            })
            .await?;
            self.counter.add_read(answer.consumed_capacity.as_ref());
            let connections: Vec<_> = answer.items().iter().filter_map(items::readable).collect();
            for some in connections.chunks(MAX_READS) {
                changed += self.change_some_connections(some, topic, change).await?;
            }
            let last = answer.last_evaluated_key.as_ref().map(items::sort_key);
            match last.and_then(|last| interval.behind(last)) {
                None => return Ok(changed),
                Some(rest) => interval = rest,
            }
        }
    }

    /// What [`Registry::change`] does, for many connections at once. Returns how many of them are there.
    async fn change_some_connections(
        &self,
        connections: &[Connection],
        topic: &Topic,
        change: Change,
    ) -> Result<usize, RegistryError> {
        let topics = &self.with_watching(change, slice::from_ref(topic));
        let sets = connections.iter().map(|connection| TopicSet::Granted(&connection.id));
        let changes: Vec<_> = sets.map(|set| self.change_set(set, change, topics)).collect();
        let rows: Vec<_> = stream::iter(changes).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
        let changed = rows.iter().flatten().map(items::read).collect::<Result<Vec<_>, _>>()?;
        let writes = changed.iter().map(|connection| self.change_memberships(connection, change, topics, By::Server));
        let writes: Vec<_> = writes.collect();
        let said: Vec<_> = stream::iter(writes).buffered(SIDE_BY_SIDE).collect().await;
        let ids: Vec<_> = changed.iter().map(|connection| connection.id.clone()).collect();
        // All of them are looked at together, and most are as they should be.
        let now = self.connections(&ids).await?;
        let count = now.len();
        let mut now: HashMap<_, _> = now.into_iter().map(|now| (now.id.clone(), now)).collect();
        for (connection, said) in changed.iter().zip(said) {
            let (set, now) = (TopicSet::Granted(&connection.id), now.remove(&connection.id));
            self.settle(connection, set, said?, now).await?;
            self.have_followers_told(connection, [topic]).await?;
        }
        Ok(count)
    }
}

/// Those of `all` that are not among `some`.
fn difference(all: &[Topic], some: &[Topic]) -> Vec<Topic> {
    all.iter().filter(|topic| !some.contains(topic)).cloned().collect()
}
