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

use super::items::{self, Connection, Item, Membership, topic_bytes, topic_set};
use super::keys::{Key, PK, TOPIC_BYTES, TOPICS};
use super::{MAX_DURABLE_TOPICS_PER_USER, MAX_TOPIC_BYTES, MAX_TOPICS_PER_CONNECTION, Registry, RegistryError, retry};
use crate::ids::{ConnectionId, Topic, UserId};

/// Topics of one update: each is a part of the condition, which may have 4 KB. No set may grow by more.
const TOPICS_AT_ONCE: usize = 100;
/// An update is refused once where the set is not as was guessed, and again only where others change the same topics at
/// the same time.
const ATTEMPTS: usize = 10;

/// A change of what somebody is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Join,
    Leave,
}

impl Change {
    /// The change that makes a topic of a set what it is.
    pub(super) fn towards(is_in_set: bool) -> Self {
        if is_in_set { Self::Join } else { Self::Leave }
    }
}

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

/// What was done last to memberships of a connection.
#[derive(Debug)]
pub(super) struct Done {
    last: HashMap<Topic, Change>,
}

impl Done {
    pub(super) fn new(change: Change, topics: &[Topic]) -> Self {
        Self { last: topics.iter().map(|topic| (topic.clone(), change)).collect() }
    }

    /// Watches over these topics too, for which nothing was done yet.
    pub(super) fn watch(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.last.entry(topic.clone()).or_insert(Change::Leave);
        }
    }

    /// The changes that make the memberships what the connection's row says now, and counts them as done. Of a connection
    /// that is gone nothing stays.
    pub(super) fn act(&mut self, now: Option<&Connection>) -> Vec<(Change, Topic)> {
        let mut changes = Vec::new();
        for (topic, last) in &mut self.last {
            let wanted = Change::towards(now.is_some_and(|now| now.topics.contains(topic)));
            if *last != wanted {
                *last = wanted;
                changes.push((wanted, topic.clone()));
            }
        }
        changes
    }
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
    ) -> Result<Option<Connection>, RegistryError> {
        let topics = &self.with_watching(change, topics);
        let Some(row) = self.change_set(set, change, topics).await? else { return Ok(None) };
        let connection = items::read(&row)?;
        self.write_memberships(&connection, topics.iter().map(|topic| (change, topic))).await?;
        let now = self.settle(&connection, change, topics).await?;
        self.look_at_change(&connection, change, topics).await?;
        Ok(now)
    }

    /// Writes memberships of topics, with what stands beside them.
    pub(super) async fn write_memberships<'t>(
        &self,
        connection: &Connection,
        changes: impl IntoIterator<Item = (Change, &'t Topic)>,
    ) -> Result<(), RegistryError> {
        let writes = |(change, topic)| self.writes(change, connection, Membership::Topic(topic));
        self.write_all(changes.into_iter().flat_map(writes).collect()).await
    }

    /// Sees to it that memberships which were just changed are what the connection's row says: others change both as well.
    /// Each looks at the row again after what it did to a membership, and acts again until both agree; so whoever acts
    /// last leaves them in agreement. Returns what the connection is then; `None` when it is gone.
    pub(super) async fn settle(
        &self,
        connection: &Connection,
        change: Change,
        topics: &[Topic],
    ) -> Result<Option<Connection>, RegistryError> {
        let mut done = Done::new(change, topics);
        let mut failures = 0;
        loop {
            let now = self.connection(&connection.id).await?;
            let changes = done.act(now.as_ref());
            if changes.is_empty() {
                return Ok(now);
            }
            self.write_memberships(connection, changes.iter().map(|(change, topic)| (*change, topic))).await?;
            if !retry::again(&mut failures).await {
                return Err(RegistryError::Contended);
            }
        }
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
        let update = match change {
            Change::Join => "ADD #topics :topics, #bytes :moved",
            Change::Leave => "DELETE #topics :topics ADD #bytes :moved",
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

    fn connection(names: &[&str]) -> Connection {
        let id = ConnectionId::parse("c").unwrap();
        Connection { topics: topics(names), ..Connection::new(id) }
    }

    /// What was done, as the topics that were put and those that were deleted.
    fn acted(done: &mut Done, now: Option<&Connection>) -> (usize, usize) {
        let changes = done.act(now);
        let joins = changes.iter().filter(|(change, _)| *change == Change::Join).count();
        (joins, changes.len() - joins)
    }

    #[test]
    fn memberships_follow_the_row_until_both_agree() {
        let one = connection(&["a", "b"]);
        let mut done = Done::new(Change::Join, &one.topics);
        assert_eq!(acted(&mut done, Some(&one)), (0, 0));
        done.watch(&topics(&["b", "c"]));
        assert_eq!(acted(&mut done, Some(&connection(&["b", "c"]))), (1, 1));
        assert_eq!(acted(&mut done, Some(&connection(&["b", "c"]))), (0, 0));
        assert_eq!(acted(&mut done, Some(&connection(&["a"]))), (1, 2));
        assert_eq!(acted(&mut done, None), (0, 1));
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
