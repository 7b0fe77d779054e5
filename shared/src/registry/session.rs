//! Connections whose client says who it is in its first frame: nobody until then, and in no audience.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::change::Change;
use super::interval::Interval;
use super::items::{self, Connection, Item, Membership, Session, join};
use super::keys::{Key, connection_of, opening_partition};
use super::names::{CONNECTED_AT, EXPIRES_AT, PK, SESSION};
use super::topics::TopicSet;
use super::{Registry, RegistryError, batch, retry};
use crate::ids::{ConnectionId, Topic};

/// How long the row stands that says so, in seconds: until the last look at it is over.
const KEPT_SECONDS: i64 = 15 * 60;
const MINUTE_MS: i64 = 60_000;
/// Of how many minutes connections are looked at: the one that is over, and those that looks may have missed before it.
const MINUTES: i64 = 5;

/// A connection that has not said who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nobody {
    /// Whose first frame is still to come.
    pub id: ConnectionId,
    /// In which minute since the epoch it was made.
    minute: i64,
}

impl Registry {
    /// Registers a connection that is nobody yet.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn open(&self, connection: &Connection) -> Result<(), RegistryError> {
        let mut opening = Key::opening(connection.connected_at / MINUTE_MS, &connection.id).attributes();
        let end = connection.connected_at / 1_000 + KEPT_SECONDS;
        opening.insert(EXPIRES_AT.to_owned(), AttributeValue::N(end.to_string()));
        opening.insert(CONNECTED_AT.to_owned(), AttributeValue::N(connection.connected_at.to_string()));
        self.write_all(vec![batch::put(items::connection_item(connection)), batch::put(opening)]).await
    }

    /// Registers who a connection is, and makes it a member of the audiences that everybody and its user are. `false` where
    /// it is gone, or somebody already.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn identify(&self, connection: &Connection) -> Result<bool, RegistryError> {
        let item = items::connection_item(connection);
        let is_written = retry::retrying("PutItem", || async {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
            let request = request
                .condition_expression(
                    "attribute_exists(#pk) AND (attribute_not_exists(#session) OR #session = :session)",
                )
                .expression_attribute_names("#pk", PK)
                .expression_attribute_names("#session", SESSION)
                .expression_attribute_values(
                    ":session",
                    item.get(SESSION).cloned().unwrap_or(AttributeValue::Null(true)),
                )
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = request.send().await.map_err(Error::from);
            self.counter.was_written(answer.map(|answer| answer.consumed_capacity))
        })
        .await?;
        if is_written {
            let user = connection.user.iter().map(Membership::User);
            let joined = std::iter::once(Membership::Everyone).chain(user);
            let mut writes: Vec<_> = joined
                .flat_map(|membership| {
                    let own = batch::put(join(connection, membership));
                    [own].into_iter().chain(self.writes_beside(Change::Join, connection, membership))
                })
                .collect();
            writes.push(batch::delete(Key::opening(connection.connected_at / MINUTE_MS, &connection.id)));
            self.write_all(writes).await?;
            self.look_at_new(connection, &[]).await?;
        }
        Ok(is_written)
    }

    /// Writes what a new token says of a connection. `false` where it is gone.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn renew_session(&self, id: &ConnectionId, session: &Session) -> Result<bool, RegistryError> {
        // Texts and a number can be written.
        let text = serde_json::to_string(session).unwrap_or_default();
        retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request
                .set_key(Some(Key::connection(id).attributes()))
                .update_expression("SET #session = :session")
                .condition_expression("attribute_exists(#session)")
                .expression_attribute_names("#session", SESSION)
                .expression_attribute_values(":session", AttributeValue::S(text.clone()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = request.send().await.map_err(Error::from);
            self.counter.was_written(answer.map(|answer| answer.consumed_capacity))
        })
        .await
    }

    /// Notes among a connection's topics, within its limits, that it is about to be subscribed to these: all of them or none,
    /// by one write. `None` where it is gone.
    ///
    /// # Errors
    /// When it would exceed its limits, or DynamoDB fails.
    pub async fn note_topics(&self, id: &ConnectionId, topics: &[Topic]) -> Result<Option<Connection>, RegistryError> {
        let row = self.change_set(TopicSet::Subscriptions(id), Change::Join, topics).await?;
        row.as_ref().map(items::read).transpose()
    }

    /// Strikes a topic off a connection's topics.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn strike_topic(&self, id: &ConnectionId, topic: &Topic) -> Result<(), RegistryError> {
        self.change_set(TopicSet::Subscriptions(id), Change::Leave, std::slice::from_ref(topic)).await.map(drop)
    }

    /// Connections that have been nobody for a minute or longer at `now` (milliseconds since the epoch).
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn opening(&self, now: i64) -> Result<Vec<Nobody>, RegistryError> {
        let mut all = Vec::new();
        for minute in (1..=MINUTES).map(|back| now / MINUTE_MS - back) {
            let mut from = None;
            loop {
                let query = self.query(&opening_partition(minute), &Interval::whole()).limit(self.page_rows);
                let answer = self.ask(query.set_exclusive_start_key(from.take())).await?;
                let due = answer.items().iter().filter(|row| is_due(row, now));
                let ids = due.filter_map(|row| connection_of(&items::sort_key(row)));
                all.extend(ids.map(|id| Nobody { id, minute }));
                match answer.last_evaluated_key {
                    None => break,
                    rest => from = rest,
                }
            }
        }
        Ok(all)
    }

    /// Forgets that a connection was to be looked at.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn end_opening(&self, nobody: &Nobody) -> Result<(), RegistryError> {
        self.write_all(vec![batch::delete(Key::opening(nobody.minute, &nobody.id))]).await
    }
}

/// Whether the minute is over in which a client says who it is. A row without its time is looked at.
fn is_due(row: &Item, now: i64) -> bool {
    items::number(row, CONNECTED_AT).map_or(true, |since| now - since >= MINUTE_MS)
}
