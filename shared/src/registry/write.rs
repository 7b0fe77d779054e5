//! Connect, subscribe, unsubscribe, disconnect.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnConsumedCapacity, ReturnValue, TransactWriteItem, Update, WriteRequest,
};

use super::items::{self, Connection, Item, Membership, join, leave, memberships, topic_set};
use super::keys::{Key, PK, SOCKET, TOPICS};
use super::{MAX_TOPICS_PER_CONNECTION, Member, Registry, RegistryError, batch, retry};
use crate::ids::{ConnectionId, Socket, Topic};

const TRANSACTION: &str = "TransactWriteItems";

impl Registry {
    /// Registers a connection with its user and its first topics, and subscribes it to its user's durable topics, which
    /// are returned.
    ///
    /// # Errors
    /// When there are too many topics or DynamoDB fails; what was written by then is taken back as far as possible, and
    /// expires in any case.
    pub async fn connect(&self, connection: &Connection) -> Result<Vec<Topic>, RegistryError> {
        if connection.topics.len() > MAX_TOPICS_PER_CONNECTION {
            return Err(RegistryError::TooManyTopics { count: connection.topics.len() });
        }
        let mut requests = vec![batch::put(items::connection_item(connection))];
        requests.extend(memberships(connection).map(|membership| batch::put(join(connection, membership))));
        let connected = match self.write_all(requests).await {
            // Written first and read then, so that a topic that is added meanwhile is seen here or sees us.
            Ok(()) => self.join_durable_topics(connection).await,
            Err(error) => Err(error),
        };
        if connected.is_err() {
            self.take_back(connection).await;
        }
        connected
    }

    async fn take_back(&self, connection: &Connection) {
        // What the row lists includes durable topics; without a row there are only those it was to begin with.
        let taken_back = match self.disconnect(&connection.id, &connection.socket).await {
            Ok(Some(_)) => return,
            Ok(None) | Err(_) => self.write_all(deletes(connection)).await,
        };
        if let Err(error) = taken_back {
            tracing::warn!(connection.id = %connection.id, %error, "could not take back a connection that failed");
        }
    }

    /// Subscribes a connection to topics, all or none of them. Topics that it is subscribed to already stay.
    ///
    /// # Errors
    /// [`RegistryError::NotConnected`] when the connection is gone, [`RegistryError::TooManyTopics`] when it would
    /// exceed its limit; else when DynamoDB fails.
    pub async fn subscribe(&self, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        let mut failures = 0;
        loop {
            let connection = self.connection(id).await?.ok_or(RegistryError::NotConnected)?;
            let new = topics.iter().filter(|topic| !connection.topics.contains(topic)).count();
            let count = connection.topics.len() + new;
            if count > MAX_TOPICS_PER_CONNECTION {
                return Err(RegistryError::TooManyTopics { count });
            }
            let room = MAX_TOPICS_PER_CONNECTION - new;
            let mut writes = vec![self.change_topics(id, "ADD", topics, Some(room))?];
            for topic in topics {
                writes.push(self.put(join(&connection, Membership::Topic(topic)))?);
            }
            match self.transact(writes).await {
                // The set grew or the connection went since it was read: look again.
                Err(error) if !refusals(&error).is_empty() && retry::again(&mut failures).await => {}
                outcome => return outcome,
            }
        }
    }

    /// Unsubscribes a connection from topics, all or none of them. Topics that it is not subscribed to do not matter.
    ///
    /// # Errors
    /// [`RegistryError::NotConnected`] when the connection is gone; else when DynamoDB fails.
    pub async fn unsubscribe(&self, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        let mut writes = vec![self.change_topics(id, "DELETE", topics, None)?];
        for topic in topics {
            writes.push(self.delete(leave(id, Membership::Topic(topic)))?);
        }
        self.transact(writes)
            .await
            .map_err(|error| if refusals(&error).is_empty() { error } else { RegistryError::NotConnected })
    }

    /// Forgets a connection and all its memberships, if `socket` is what carries it. Returns what it was; `None` when
    /// it is not there, or carried by another socket by now. Doing it twice does no harm.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn disconnect(&self, id: &ConnectionId, socket: &Socket) -> Result<Option<Connection>, RegistryError> {
        let Some(connection) = self.delete_connection(id, socket).await? else { return Ok(None) };
        let left = memberships(&connection).map(|membership| batch::delete(leave(id, membership)));
        self.write_all(left.collect()).await?;
        Ok(Some(connection))
    }

    /// Forgets a connection whose socket a push found gone: the connection, its memberships, and the membership that
    /// led to it, which may be all that is left of it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn remove_gone(&self, member: &Member) -> Result<(), RegistryError> {
        self.disconnect(&member.connection, &member.socket).await?;
        match &member.membership {
            None => Ok(()),
            Some(pk) => {
                let key = Key { pk: pk.to_string(), sk: member.sort_key.clone() };
                self.write_all(vec![batch::delete(key)]).await
            }
        }
    }

    async fn delete_connection(&self, id: &ConnectionId, socket: &Socket) -> Result<Option<Connection>, RegistryError> {
        let condition = match *socket == id.first_socket() {
            true => "attribute_not_exists(#socket) OR #socket = :socket",
            false => "#socket = :socket",
        };
        let answer = retry::retrying("DeleteItem", || async {
            let request = self.client.delete_item().table_name(&self.table);
            let request = request.set_key(Some(Key::connection(id).attributes())).condition_expression(condition);
            let request = request.expression_attribute_names("#socket", SOCKET);
            let request = request.expression_attribute_values(":socket", AttributeValue::S(socket.to_string()));
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.return_values(ReturnValue::AllOld).send().await.map_err(Error::from) {
                Ok(answer) => Ok(Some(answer)),
                Err(Error::ConditionalCheckFailedException(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        let Some(answer) = answer else { return Ok(None) };
        self.counter.add_write(answer.consumed_capacity.as_ref());
        answer.attributes.as_ref().map(items::read).transpose()
    }

    pub(super) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<(), RegistryError> {
        let answer = retry::retrying(TRANSACTION, || async {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
        })
        .await?;
        self.counter.add_write(answer.consumed_capacity());
        Ok(())
    }

    /// Changes the set of topics of a connection that exists; one that has more topics than `room` leaves is refused.
    pub(super) fn change_topics(
        &self,
        id: &ConnectionId,
        verb: &str,
        topics: &[Topic],
        room: Option<usize>,
    ) -> Result<TransactWriteItem, RegistryError> {
        let mut update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(Key::connection(id).attributes()))
            .update_expression(format!("{verb} #topics :topics"))
            .expression_attribute_names("#topics", TOPICS)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":topics", topic_set(topics));
        update = match room {
            None => update.condition_expression("attribute_exists(#pk)"),
            Some(room) => update
                .condition_expression(
                    "attribute_exists(#pk) AND (attribute_not_exists(#topics) OR size(#topics) <= :room)",
                )
                .expression_attribute_values(":room", AttributeValue::N(room.to_string())),
        };
        Ok(TransactWriteItem::builder().update(update.build().map_err(unbuildable)?).build())
    }

    pub(super) fn put(&self, item: Item) -> Result<TransactWriteItem, RegistryError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build().map_err(unbuildable)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    pub(super) fn delete(&self, key: Key) -> Result<TransactWriteItem, RegistryError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key.attributes()));
        Ok(TransactWriteItem::builder().delete(delete.build().map_err(unbuildable)?).build())
    }
}

pub(super) fn unbuildable(error: aws_sdk_dynamodb::error::BuildError) -> RegistryError {
    RegistryError::DynamoDb { operation: TRANSACTION, source: Box::new(error.into()) }
}

fn deletes(connection: &Connection) -> Vec<WriteRequest> {
    let left = memberships(connection).map(|membership| leave(&connection.id, membership));
    left.chain([Key::connection(&connection.id)]).map(batch::delete).collect()
}

/// The writes whose conditions did not hold, where a transaction was cancelled for that.
pub(super) fn refusals(error: &RegistryError) -> Vec<usize> {
    let RegistryError::DynamoDb { source, .. } = error else { return Vec::new() };
    let Error::TransactionCanceledException(cancelled) = source.as_ref() else { return Vec::new() };
    let reasons = cancelled.cancellation_reasons().iter().enumerate();
    reasons.filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed")).map(|(index, _)| index).collect()
}
