//! Sets of topics: what a connection is subscribed to, and what all connections of a user are.
//!
//! A set is one row, and only updates of that row alone change it. DynamoDB takes these one after the other and cancels
//! none, so that many may change the same set at once. How many bytes the names have together stands beside them; so that
//! it stays right, an update says which topics it brings or takes, and is refused where one of these was there, or was not.

use std::collections::HashMap;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::change::Change;
use super::items::{self, Connection, Item, topic_bytes, topic_set};
use super::keys::Key;
use super::memberships::Said;
use super::names::{LEFT_TOPICS, PK, TOPIC_BYTES, TOPICS};
use super::place::By;
use super::{MAX_DURABLE_TOPICS_PER_USER, MAX_TOPIC_BYTES, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError, retry};
use crate::ids::{ConnectionId, Topic, UserId};

/// Topics of one update: each is a part of the condition, which may have 4 KB. No set may grow by more.
const TOPICS_AT_ONCE: usize = 100;
/// An update is refused once where the set is not as was guessed, and again only where others change the same topics at
/// the same time.
const ATTEMPTS: usize = 10;
/// Topics that a connection's row remembers to have left, and bytes of their names: each change of the row pays for them.
const MOST_LEFT: usize = 16;
const MOST_LEFT_BYTES: usize = 1_024;

/// A set of topics.
#[derive(Debug, Clone, Copy)]
pub(super) enum TopicSet<'a> {
    /// What a connection is subscribed to, as it asks itself.
    Subscriptions(&'a ConnectionId),
    /// The same, as its user's durable topics say: they come on top of what it may ask for.
    Granted(&'a ConnectionId),
    /// The durable topics of a user.
    Durable(&'a UserId),
}

impl TopicSet<'_> {
    fn key(self) -> Key {
        match self {
            Self::Subscriptions(connection) | Self::Granted(connection) => Key::connection(connection),
            Self::Durable(user) => Key::durable_topics(user),
        }
    }

    /// How many topics it may have; `None` where it is not bounded.
    fn most(self) -> Option<usize> {
        match self {
            Self::Subscriptions(_) => Some(MAX_TOPICS_PER_CONNECTION),
            Self::Granted(_) => None,
            Self::Durable(_) => Some(MAX_DURABLE_TOPICS_PER_USER),
        }
    }

    /// Refuses a set that would be too large.
    fn check(self, count: usize, bytes: usize) -> Result<(), RegistryError> {
        let Some(most) = self.most() else { return Ok(()) };
        let is_durable = matches!(self, Self::Durable(_));
        match (count > most, bytes > MAX_TOPIC_BYTES) {
            (true, _) if is_durable => Err(RegistryError::TooManyDurableTopics),
            (true, _) => Err(RegistryError::TooManyTopics { count }),
            (_, true) if is_durable => Err(RegistryError::DurableTopicsTooLong { bytes }),
            (_, true) => Err(RegistryError::TopicsTooLong { bytes }),
            _ => Ok(()),
        }
    }

    /// When the set may be changed by so many topics: none of them is there yet, or all are; and there is room.
    fn condition(self, change: Change, count: usize) -> String {
        let contains: Vec<_> = (0..count).map(|index| format!("contains(#topics, :t{index})")).collect();
        if change == Change::Leave {
            return contains.join(" AND ");
        }
        let mut grows = format!("NOT ({})", contains.join(" OR "));
        if self.most().is_some() {
            grows += " AND size(#topics) <= :count AND (attribute_not_exists(#bytes) OR #bytes <= :bytes)";
        }
        let condition = format!("(attribute_not_exists(#topics) OR ({grows}))");
        match self {
            // Only who connects makes a connection's row.
            Self::Subscriptions(_) | Self::Granted(_) => format!("attribute_exists(#pk) AND {condition}"),
            Self::Durable(_) => condition,
        }
    }
}

/// The topics of which a connection's row does not say the same as their memberships.
fn disagreeing(row: &Connection, said: &Said) -> Vec<Topic> {
    let says = |topic| Change::towards(row.topics.contains(topic));
    said.iter().filter(|(topic, said)| says(topic) != **said).map(|(topic, _)| topic.clone()).collect()
}

/// Refuses topics that a connection may not have from the beginning.
pub(super) fn check_first(connection: &Connection) -> Result<(), RegistryError> {
    let bytes = topic_bytes(&connection.topics);
    TopicSet::Subscriptions(&connection.id).check(connection.topics.len(), bytes)
}

impl Registry {
    /// Changes what a connection is subscribed to: first its own row, then its memberships. Returns what it is then;
    /// `None` when it is gone.
    pub(super) async fn change(
        &self,
        set: TopicSet<'_>,
        change: Change,
        topics: &[Topic],
        by: By,
    ) -> Result<Option<Connection>, RegistryError> {
        let topics = &self.with_watching(change, topics);
        let Some(row) = self.change_set(set, change, topics).await? else { return Ok(None) };
        let connection = items::read(&row)?;
        let said = self.change_memberships(&connection, change, topics, by).await?;
        let now = self.connection(&connection.id).await?;
        let now = self.settle(&connection, set, said, now).await?;
        self.have_followers_told(&connection, topics).await?;
        self.look_at_change(&connection, change, topics).await?;
        Ok(now)
    }

    /// Sees to it that a connection's row lists those memberships which say that they are one: others change both as well.
    /// `said` is what they said after the row was last written, and `now` the connection as it was read after that.
    /// Returns what it is in the end; `None` when it is gone.
    ///
    /// Whoever writes a row looks at what memberships say after that, and whoever writes a membership looks at the row
    /// after that; and each acts again until both agree. So whoever acts last leaves them in agreement.
    pub(super) async fn settle(
        &self,
        connection: &Connection,
        set: TopicSet<'_>,
        mut said: Said,
        mut now: Option<Connection>,
    ) -> Result<Option<Connection>, RegistryError> {
        let mut looked = false;
        let mut failures = 0;
        let mut refused = None;
        loop {
            let Some(row) = &now else {
                // Of a connection that is gone nothing stays.
                self.delete_memberships(&connection.id, said.keys()).await?;
                self.keep_beside(connection, said).await?;
                return Ok(None);
            };
            let wrong = disagreeing(row, &said);
            if wrong.is_empty() {
                self.keep_beside(connection, said).await?;
                return refused.map_or(Ok(now), Err);
            }
            if looked {
                refused = self.follow(connection, set, &said, &wrong).await?.or(refused);
                if !retry::again(&mut failures).await {
                    return Err(RegistryError::Contended);
                }
            }
            let seen;
            (now, seen) = self.look_at_memberships(&connection.id, &wrong).await?;
            said.extend(seen);
            looked = true;
        }
    }

    /// Changes a connection's row as its memberships say. Those for which it has no room any more are ended, and the
    /// refusal is returned.
    async fn follow(
        &self,
        connection: &Connection,
        set: TopicSet<'_>,
        said: &Said,
        wrong: &[Topic],
    ) -> Result<Option<RegistryError>, RegistryError> {
        let (joined, left): (Vec<_>, Vec<_>) =
            wrong.iter().cloned().partition(|topic| said.get(topic) == Some(&Change::Join));
        if !left.is_empty() {
            self.change_set(set, Change::Leave, &left).await?;
        }
        if joined.is_empty() {
            return Ok(None);
        }
        match self.change_set(set, Change::Join, &joined).await {
            Ok(_) => Ok(None),
            Err(error @ (RegistryError::TooManyTopics { .. } | RegistryError::TopicsTooLong { .. })) => {
                self.change_memberships(connection, Change::Leave, &joined, By::Server).await?;
                Ok(Some(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a connection's row forget what it has left, where that is much: the memberships' rows go by themselves.
    async fn forget_left(&self, row: &Item) -> Result<(), RegistryError> {
        let left = items::left_topics(row)?;
        if left.len() <= MOST_LEFT && topic_bytes(&left) <= MOST_LEFT_BYTES {
            return Ok(());
        }
        let key = Key { pk: items::text(row, PK).cloned().unwrap_or_default(), sk: items::sort_key(row) }.attributes();
        retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
            let request = request
                .update_expression("REMOVE #left")
                .condition_expression("attribute_exists(#left)")
                .expression_attribute_names("#left", LEFT_TOPICS)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => self.counter.add_write(answer.consumed_capacity.as_ref()),
                // The connection is gone, or somebody else was first.
                Err(Error::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
        .await
    }

    /// Changes a set, by all of the topics or none. Returns its row; `None` when there is none.
    pub(super) async fn change_set(
        &self,
        set: TopicSet<'_>,
        change: Change,
        topics: &[Topic],
    ) -> Result<Option<Item>, RegistryError> {
        if change == Change::Join {
            set.check(topics.len(), topic_bytes(topics))?;
        }
        let mut row = None;
        for some in topics.chunks(TOPICS_AT_ONCE) {
            row = self.change_some(set, change, some).await?;
        }
        if let (Change::Leave, Some(row)) = (change, &row) {
            self.forget_left(row).await?;
        }
        Ok(row)
    }

    async fn change_some(
        &self,
        set: TopicSet<'_>,
        change: Change,
        topics: &[Topic],
    ) -> Result<Option<Item>, RegistryError> {
        // A guess: none of them is there yet, or all are. Where it is wrong, DynamoDB's refusal has the row.
        let mut moving: Vec<&Topic> = topics.iter().collect();
        for _ in 0..ATTEMPTS {
            let row = match self.move_topics(set, change, &moving).await? {
                Ok(row) => return Ok(Some(row)),
                Err(None) => return Ok(None),
                Err(Some(row)) => row,
            };
            let has = items::topics(&row)?;
            moving = topics.iter().filter(|topic| Change::towards(!has.contains(topic)) == change).collect();
            if moving.is_empty() {
                return Ok(Some(row));
            }
            if change == Change::Join {
                let all = || has.iter().chain(moving.iter().copied());
                set.check(all().count(), topic_bytes(all()))?;
            }
        }
        Err(RegistryError::Contended)
    }

    /// Brings all of these topics into a set, or takes them out; `Err` with the row where they cannot move.
    async fn move_topics(
        &self,
        set: TopicSet<'_>,
        change: Change,
        moving: &[&Topic],
    ) -> Result<Result<Item, Option<Item>>, RegistryError> {
        // Who leaves keeps a row for a while, which the end of the connection has to find.
        let update = match (change, set) {
            (Change::Join, TopicSet::Durable(_)) => "ADD #topics :topics, #bytes :moved",
            (Change::Leave, TopicSet::Durable(_)) => "DELETE #topics :topics ADD #bytes :moved",
            (Change::Join, _) => "ADD #topics :topics, #bytes :moved DELETE #left :topics",
            (Change::Leave, _) => "DELETE #topics :topics ADD #bytes :moved, #left :topics",
        };
        let (names, values) = placeholders(set, change, moving);
        let outcome = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table).set_key(Some(set.key().attributes()));
            let request = request
                .update_expression(update)
                .condition_expression(set.condition(change, moving.len()))
                .set_expression_attribute_names(Some(names.clone()))
                .set_expression_attribute_values(Some(values.clone()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.return_values(ReturnValue::AllNew).send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item)),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(outcome.map(|answer| {
            self.counter.add_write(answer.consumed_capacity.as_ref());
            answer.attributes.unwrap_or_default()
        }))
    }
}

type Names = HashMap<String, String>;

/// What stands for what in the update and its condition; DynamoDB refuses what is not used.
fn placeholders(set: TopicSet<'_>, change: Change, moving: &[&Topic]) -> (Names, Item) {
    let moved = topic_bytes(moving.iter().copied());
    let mut names = vec![("#topics", TOPICS), ("#bytes", TOPIC_BYTES)];
    if !matches!(set, TopicSet::Durable(_)) {
        names.push(("#left", LEFT_TOPICS));
    }
    let topics = moving.iter().enumerate();
    let mut values: Item =
        topics.map(|(index, topic)| (format!(":t{index}"), AttributeValue::S(topic.to_string()))).collect();
    let mut put = |name: &str, value| values.insert(name.to_owned(), value);
    put(":topics", topic_set(moving.iter().copied()));
    match change {
        Change::Leave => drop(put(":moved", AttributeValue::N(format!("-{moved}")))),
        Change::Join => {
            put(":moved", AttributeValue::N(moved.to_string()));
            if let Some(most) = set.most() {
                // Both were checked to be at most what is allowed.
                put(":count", AttributeValue::N((most - moving.len()).to_string()));
                put(":bytes", AttributeValue::N((MAX_TOPIC_BYTES - moved).to_string()));
            }
            if !matches!(set, TopicSet::Durable(_)) {
                names.push(("#pk", PK));
            }
        }
    }
    (names.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: &[&str]) -> Vec<Topic> {
        names.iter().map(|name| Topic::parse(*name).unwrap()).collect()
    }

    #[test]
    fn a_row_that_lists_what_its_memberships_say_agrees_with_them() {
        let id = ConnectionId::parse("c").unwrap();
        let row = Connection { topics: topics(&["a", "b"]), ..Connection::new(id) };
        let disagree = |said: &[(&str, Change)]| {
            let said = said.iter().map(|(name, change)| (Topic::parse(*name).unwrap(), *change)).collect();
            disagreeing(&row, &said)
        };
        assert_eq!(disagree(&[("a", Change::Join), ("c", Change::Leave)]), []);
        assert_eq!(disagree(&[("a", Change::Leave), ("b", Change::Join)]), topics(&["a"]));
        assert_eq!(disagree(&[("c", Change::Join)]), topics(&["c"]));
    }

    #[test]
    fn a_set_is_bounded_in_topics_and_bytes_unless_it_is_granted() {
        let (connection, user) = (ConnectionId::parse("c").unwrap(), UserId::parse("u").unwrap());
        let refused = |set: TopicSet<'_>, count, bytes| set.check(count, bytes).err().map(|error| error.to_string());
        let (own, durable) = (TopicSet::Subscriptions(&connection), TopicSet::Durable(&user));
        for set in [own, durable] {
            assert_eq!(refused(set, 100, MAX_TOPIC_BYTES), None);
            assert!(refused(set, 101, 101).unwrap().contains("100 "));
            assert!(refused(set, 2, MAX_TOPIC_BYTES + 1).unwrap().contains("8193 bytes"));
        }
        assert_eq!(refused(TopicSet::Granted(&connection), 200, 2 * MAX_TOPIC_BYTES), None);
    }
}
