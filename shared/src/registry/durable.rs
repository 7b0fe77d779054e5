//! Durable topics: what a user is subscribed to on every connection, those to come included.
//!
//! A user's durable topics are one row. Whoever changes it and whoever connects may meet in any order, so each does two
//! things one after the other: a change first writes the row and then reads the user's connections; a connection first
//! writes itself and then reads the row. Whatever the order, one of the two sees the other. And what either does to a
//! connection is a transaction which checks that the row still says so, so that one that was overtaken does nothing.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, ReturnConsumedCapacity, ReturnValue, TransactWriteItem};
use futures_util::future::try_join_all;

use super::items::{self, Connection, Membership, join, leave, topic_set};
use super::keys::{Interval, Key, TOPICS, user_partition};
use super::write::{refusals, unbuildable};
use super::{MAX_DURABLE_TOPICS_PER_USER, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError, retry};
use crate::ids::{Topic, UserId};

/// Topics of one transaction: each is a row and a part of the condition, which may have 4 KB.
const TOPICS_AT_ONCE: usize = 50;
/// Connections of a user that are changed side by side.
const SIDE_BY_SIDE: usize = 16;

/// A change of one connection's subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Join,
    Leave,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// The connection is gone, or has no room.
    Refused,
    /// The user's row says something else by now, and whoever changed it takes care of the connection.
    Overtaken,
}

impl Registry {
    /// The topics that a user is subscribed to on every connection, sorted. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn durable_topics(&self, user: &UserId) -> Result<Vec<Topic>, RegistryError> {
        let answer = retry::retrying("GetItem", || async {
            let request = self.client.get_item().table_name(&self.table).consistent_read(true);
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            Ok(request.set_key(Some(Key::durable_topics(user).attributes())).send().await?)
        })
        .await?;
        self.counter.add_read(answer.consumed_capacity.as_ref());
        answer.item.as_ref().map_or(Ok(Vec::new()), items::topics)
    }

    /// Subscribes all connections of a user to a topic, those to come included. Returns how many it is subscribed on now.
    /// Doing it twice does no harm, and repairs what a failure left undone.
    ///
    /// # Errors
    /// [`RegistryError::TooManyDurableTopics`] when the user has as many as are allowed; else when DynamoDB fails.
    pub async fn add_durable_topic(&self, user: &UserId, topic: &Topic) -> Result<usize, RegistryError> {
        let full = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request.set_key(Some(Key::durable_topics(user).attributes()));
            let request =
                request.update_expression("ADD #topics :topics").expression_attribute_names("#topics", TOPICS);
            let request = request.condition_expression(
                "attribute_not_exists(#topics) OR size(#topics) < :most OR contains(#topics, :topic)",
            );
            let request = request.expression_attribute_values(":topics", topic_set(std::slice::from_ref(topic)));
            let request = request.expression_attribute_values(":topic", AttributeValue::S(topic.to_string()));
            let most = AttributeValue::N(MAX_DURABLE_TOPICS_PER_USER.to_string());
            let request = request.expression_attribute_values(":most", most);
            match request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(Error::from) {
                Ok(answer) => {
                    self.counter.add_write(answer.consumed_capacity.as_ref());
                    Ok(false)
                }
                Err(Error::ConditionalCheckFailedException(_)) => Ok(true),
                Err(error) => Err(error),
            }
        })
        .await?;
        if full {
            return Err(RegistryError::TooManyDurableTopics);
        }
        self.change_connections(user, topic, Change::Join).await
    }

    /// Takes a topic from all connections of a user, those to come included. Returns how many it was taken from. Doing it
    /// twice does no harm, and repairs what a failure left undone.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn remove_durable_topic(&self, user: &UserId, topic: &Topic) -> Result<usize, RegistryError> {
        let answer = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request.set_key(Some(Key::durable_topics(user).attributes()));
            let request = request.update_expression("DELETE #topics :topics");
            let request = request.expression_attribute_names("#topics", TOPICS);
            let request = request.expression_attribute_values(":topics", topic_set(std::slice::from_ref(topic)));
            let request = request.return_values(ReturnValue::AllNew);
            Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
        })
        .await?;
        self.counter.add_write(answer.consumed_capacity.as_ref());
        if answer.attributes.is_some_and(|row| !row.contains_key(TOPICS)) {
            self.delete_empty(user).await?;
        }
        self.change_connections(user, topic, Change::Leave).await
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

    /// Subscribes a connection that was just written to its user's durable topics; returns these.
    pub(super) async fn join_durable_topics(&self, connection: &Connection) -> Result<Vec<Topic>, RegistryError> {
        let Some(user) = &connection.user else { return Ok(Vec::new()) };
        let mut failures = 0;
        loop {
            let topics = self.durable_topics(user).await?;
            let mut outcomes = Vec::new();
            for some in topics.chunks(TOPICS_AT_ONCE) {
                outcomes.push(self.change(connection, user, some, Change::Join).await?);
            }
            if outcomes.contains(&Outcome::Refused) {
                return Err(RegistryError::NotConnected);
            }
            if !outcomes.contains(&Outcome::Overtaken) {
                return Ok(topics);
            }
            if !retry::again(&mut failures).await {
                return Err(RegistryError::Contended);
            }
        }
    }

    /// Applies a change of the user's row to every connection that the user has.
    async fn change_connections(&self, user: &UserId, topic: &Topic, change: Change) -> Result<usize, RegistryError> {
        let (pk, topics) = (user_partition(user), std::slice::from_ref(topic));
        let mut interval = Interval::whole();
        let mut changed = 0;
        loop {
            let answer = retry::retrying("Query", || async {
                Ok(self.query(&pk, &interval).consistent_read(true).limit(self.page_rows).send().await?)
            })
            .await?;
            self.counter.add_read(answer.consumed_capacity.as_ref());
            let connections: Vec<_> = answer.items().iter().filter_map(items::readable).collect();
            let mut outcomes = Vec::with_capacity(connections.len());
            for some in connections.chunks(SIDE_BY_SIDE) {
                let changes = some.iter().map(|connection| self.change(connection, user, topics, change));
                outcomes.extend(try_join_all(changes).await?);
            }
            changed += outcomes.iter().filter(|outcome| **outcome == Outcome::Done).count();
            match answer.last_evaluated_key.as_ref().map(items::sort_key) {
                Some(last) if !outcomes.contains(&Outcome::Overtaken) => interval.after = Some(last),
                _ => return Ok(changed),
            }
        }
    }

    /// Changes one connection, if the user's row still says so.
    async fn change(
        &self,
        connection: &Connection,
        user: &UserId,
        topics: &[Topic],
        change: Change,
    ) -> Result<Outcome, RegistryError> {
        let (verb, room) = match change {
            Change::Join => {
                let most = MAX_TOPICS_PER_CONNECTION + MAX_DURABLE_TOPICS_PER_USER;
                ("ADD", Some(most - topics.len()))
            }
            Change::Leave => ("DELETE", None),
        };
        let mut writes = vec![self.change_topics(&connection.id, verb, topics, room)?];
        for topic in topics {
            let membership = Membership::Topic(topic);
            writes.push(match change {
                Change::Join => self.put(join(connection, membership))?,
                Change::Leave => self.delete(leave(&connection.id, membership))?,
            });
        }
        writes.push(self.check_durable(user, topics, change)?);
        let check = writes.len() - 1;
        match self.transact(writes).await {
            Ok(()) => Ok(Outcome::Done),
            Err(error) => match refusals(&error) {
                refused if refused.contains(&check) => Ok(Outcome::Overtaken),
                refused if !refused.is_empty() => Ok(Outcome::Refused),
                _ => Err(error),
            },
        }
    }

    /// Holds while the user's row has all of these topics, or none of them.
    fn check_durable(
        &self,
        user: &UserId,
        topics: &[Topic],
        change: Change,
    ) -> Result<TransactWriteItem, RegistryError> {
        let holds = match change {
            Change::Join => "contains",
            Change::Leave => "NOT contains",
        };
        let terms: Vec<_> = (0..topics.len()).map(|index| format!("{holds}(#topics, :t{index})")).collect();
        let mut condition = terms.join(" AND ");
        if change == Change::Leave {
            condition = format!("attribute_not_exists(#topics) OR ({condition})");
        }
        let mut check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::durable_topics(user).attributes()))
            .condition_expression(condition)
            .expression_attribute_names("#topics", TOPICS);
        for (index, topic) in topics.iter().enumerate() {
            check = check.expression_attribute_values(format!(":t{index}"), AttributeValue::S(topic.to_string()));
        }
        Ok(TransactWriteItem::builder().condition_check(check.build().map_err(unbuildable)?).build())
    }
}
