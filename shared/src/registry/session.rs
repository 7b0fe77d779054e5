//! Connections whose client says who it is in its first frame: nobody until then, and in no audience.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::change::Change;
use super::items::{self, Connection, Membership, Session, join};
use super::keys::{EXPIRES_AT, Interval, Key, PK, SESSION, opening_partition};
use super::topics::TopicSet;
use super::{Registry, RegistryError, batch, retry};
use crate::ids::{ConnectionId, Topic};

/// How long the row stands that says so, in seconds: until the last look at it is over.
const KEPT_SECONDS: i64 = 15 * 60;
const MINUTE_MS: i64 = 60_000;

impl Registry {
    /// Registers a connection that is nobody yet.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn open(&self, connection: &Connection) -> Result<(), RegistryError> {
        let mut opening = Key::opening(connection.connected_at / MINUTE_MS, &connection.id).attributes();
        let end = connection.connected_at / 1_000 + KEPT_SECONDS;
        opening.insert(EXPIRES_AT.to_owned(), AttributeValue::N(end.to_string()));
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
            match request.send().await.map_err(Error::from) {
                Ok(answer) => {
                    self.counter.add_write(answer.consumed_capacity.as_ref());
                    Ok(true)
                }
                Err(Error::ConditionalCheckFailedException(_)) => Ok(false),
                Err(error) => Err(error),
            }
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
            match request.send().await.map_err(Error::from) {
                Ok(answer) => {
                    self.counter.add_write(answer.consumed_capacity.as_ref());
                    Ok(true)
                }
                Err(Error::ConditionalCheckFailedException(_)) => Ok(false),
                Err(error) => Err(error),
            }
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

    /// Connections that are nobody and were made in the minute before `before` (milliseconds since the epoch), or the three
    /// before that one, which a look may have missed.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn opening(&self, before: i64) -> Result<Vec<ConnectionId>, RegistryError> {
        let mut all = Vec::new();
        for minute in 1..=4 {
            let pk = opening_partition(before / MINUTE_MS - minute);
            let answer = retry::retrying("Query", || async {
                Ok(self.query(&pk, &Interval::whole()).consistent_read(true).send().await?)
            })
            .await?;
            self.counter.add_read(answer.consumed_capacity.as_ref());
            let rows = answer.items().iter().map(items::sort_key);
            all.extend(rows.filter_map(|sort_key| super::connection_of(&sort_key)));
        }
        Ok(all)
    }
}
