//! Connect, subscribe, unsubscribe, disconnect.
//!
//! A connection's own row says who it is, and what it is subscribed to. Everybody changes that row first and the
//! memberships then, and looks at it again at last, see [`Registry::settle`]: of a topic the membership has the last word,
//! for it knows which command was the later one. So the order in which calls meet does not matter, and no two of them can
//! conflict.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};

use super::change::Change;
use super::items::{self, Connection, Item, Membership, join, leave, memberships};
use super::keys::Key;
use super::names::SOCKET;
use super::place::{By, Place};
use super::topics::{TopicSet, check_first};
use super::{Member, Registry, RegistryError, batch, retry};
use crate::ids::{ConnectionId, Socket, Topic};

impl Registry {
    /// Registers a connection with its user and its first topics, and subscribes it to its user's durable topics, which
    /// are returned.
    ///
    /// # Errors
    /// [`RegistryError::TooManyTopics`] or [`RegistryError::TopicsTooLong`] when it may not have all its topics; else when
    /// DynamoDB fails. What was written by then is taken back as far as possible, and expires in any case.
    pub async fn connect(&self, connection: &Connection) -> Result<Vec<Topic>, RegistryError> {
        check_first(connection)?;
        let connected = self.join_everything(connection).await;
        if connected.is_err() {
            self.take_back(connection).await;
        }
        connected
    }

    async fn join_everything(&self, connection: &Connection) -> Result<Vec<Topic>, RegistryError> {
        if connection.protocol.has_outbox() {
            self.open_outbox(connection).await?;
        }
        let mut requests = vec![batch::put(items::connection_item(connection))];
        requests.extend(memberships(connection).map(|membership| batch::put(join(connection, membership))));
        // What stands beside those of topics is written with what the memberships say at last.
        let others = memberships(connection).filter(|membership| !matches!(membership, Membership::Topic(_)));
        requests.extend(others.flat_map(|other| self.writes_beside(Change::Join, connection, other)));
        self.write_all(requests).await?;
        let durable = self.join_durable_topics(connection).await?;
        self.look_at_new(connection, &durable).await?;
        Ok(durable)
    }

    async fn take_back(&self, connection: &Connection) {
        let (id, socket) = (&connection.id, &connection.socket);
        let taken_back = match self.disconnect(id, socket).await {
            // Memberships of a connection that somebody else forgets may come after that.
            Ok(None) => self.forget(connection, &[]).await,
            outcome => outcome.map(drop),
        };
        if let Err(error) = taken_back {
            tracing::warn!(connection.id = %id, %error, "could not take back a connection that failed");
        }
    }

    /// Subscribes a connection to topics for a server: after whatever its client has asked for by now. All or none of
    /// them; topics that it is subscribed to already stay.
    ///
    /// # Errors
    /// [`RegistryError::NotConnected`] when the connection is gone, [`RegistryError::TooManyTopics`] or
    /// [`RegistryError::TopicsTooLong`] when it would exceed its limits; else when DynamoDB fails.
    pub async fn subscribe(&self, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        self.change_own(id, Change::Join, topics, By::Server).await.map(drop)
    }

    /// Subscribes a connection to topics as its client asks with a command of this place. Topics for which it has asked
    /// for something else with a later one stay as that has made them.
    ///
    /// # Errors
    /// As [`Self::subscribe`]. Of a connection at its limits that asks for a topic and its end at once, either command may
    /// be told that there is no room.
    pub async fn subscribe_at(&self, place: Place, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        self.change_own(id, Change::Join, topics, By::Command(place)).await.map(drop)
    }

    /// The same, and the connection is told who comes to the topics and leaves them. Each of them counts twice.
    ///
    /// # Errors
    /// As [`Self::subscribe_at`].
    pub async fn subscribe_watching(
        &self,
        place: Place,
        id: &ConnectionId,
        topics: &[Topic],
    ) -> Result<(), RegistryError> {
        let all: Vec<_> = topics.iter().cloned().chain(topics.iter().map(Topic::watching)).collect();
        self.change_own(id, Change::Join, &all, By::Command(place)).await.map(drop)
    }

    /// Lets a connection follow which others come to a topic and leave it, as its client asks with a command of this place. It
    /// counts as a topic.
    ///
    /// # Errors
    /// As [`Self::subscribe_at`].
    pub async fn follow_at(&self, place: Place, id: &ConnectionId, topic: &Topic) -> Result<(), RegistryError> {
        self.change_own(id, Change::Join, &[topic.following()], By::Command(place)).await.map(drop)
    }

    /// Ends that; a connection that does not follow does not matter.
    ///
    /// # Errors
    /// As [`Self::subscribe_at`].
    pub async fn unfollow_at(&self, place: Place, id: &ConnectionId, topic: &Topic) -> Result<(), RegistryError> {
        self.change_own(id, Change::Leave, &[topic.following()], By::Command(place)).await.map(drop)
    }

    /// Unsubscribes a connection from topics for a server: after whatever its client has asked for by now. Topics that it
    /// is not subscribed to do not matter.
    ///
    /// # Errors
    /// [`RegistryError::NotConnected`] when the connection is gone; else when DynamoDB fails.
    pub async fn unsubscribe(&self, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        self.change_own(id, Change::Leave, topics, By::Server).await.map(drop)
    }

    /// Unsubscribes a connection from topics as its client asks with a command of this place. A subscribe of an earlier
    /// place that is still to be carried out does not bring them back.
    ///
    /// # Errors
    /// As [`Self::subscribe_at`].
    pub async fn unsubscribe_at(&self, place: Place, id: &ConnectionId, topics: &[Topic]) -> Result<(), RegistryError> {
        self.change_own(id, Change::Leave, topics, By::Command(place)).await.map(drop)
    }

    /// Subscribes or unsubscribes a connection; what it is then, which was read for it.
    pub(crate) async fn change_own(
        &self,
        id: &ConnectionId,
        change: Change,
        topics: &[Topic],
        by: By,
    ) -> Result<Connection, RegistryError> {
        let changed = self.change(TopicSet::Subscriptions(id), change, topics, by).await?;
        changed.ok_or(RegistryError::NotConnected)
    }

    /// Forgets a connection and all its memberships, if `socket` is what carries it. Returns what it was; `None` when
    /// it is not there, or carried by another socket by now. Doing it twice does no harm.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn disconnect(&self, id: &ConnectionId, socket: &Socket) -> Result<Option<Connection>, RegistryError> {
        let Some(row) = self.delete_connection(id, socket).await? else { return Ok(None) };
        let (connection, left) = (items::read(&row)?, items::left_topics(&row)?);
        self.forget(&connection, &left).await?;
        Ok(Some(connection))
    }

    /// Deletes all that a connection has beside its own row, and has somebody look at who left with it.
    async fn forget(&self, connection: &Connection, left: &[Topic]) -> Result<(), RegistryError> {
        self.leave_everything(connection, left).await?;
        self.look_at_gone(connection).await
    }

    /// Deletes all that a connection has, and what it has left lately.
    async fn leave_everything(&self, connection: &Connection, left: &[Topic]) -> Result<(), RegistryError> {
        let all = memberships(connection).chain(left.iter().map(Membership::Topic));
        let writes = all.flat_map(|membership| {
            let own = batch::delete(leave(&connection.id, membership));
            [own].into_iter().chain(self.writes_beside(Change::Leave, connection, membership))
        });
        let outbox = connection.protocol.has_outbox().then(|| batch::delete(Key::outbox(&connection.id)));
        self.write_all(writes.chain(outbox).collect()).await
    }

    /// Forgets a connection whose socket a push found gone: the connection, its memberships, and the membership that
    /// led to it, which may be all that is left of it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn remove_gone(&self, member: &Member) -> Result<(), RegistryError> {
        self.disconnect(&member.connection, &member.socket).await?;
        let key = Key { pk: member.membership.to_string(), sk: member.sort_key.clone() };
        self.write_all(vec![batch::delete(key)]).await
    }

    async fn delete_connection(&self, id: &ConnectionId, socket: &Socket) -> Result<Option<Item>, RegistryError> {
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
        Ok(answer.attributes)
    }
}
