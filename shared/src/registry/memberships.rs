//! Memberships of topics: each keeps the place of the command that wrote it, and who has left keeps a row for a minute.
//!
//! So a command that is carried out late, after one that the client sent later, changes nothing. A server's write has no
//! place: it takes the row's, and raises a count beside it.

use std::collections::HashMap;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use futures_util::StreamExt;
use futures_util::stream;

use super::batch::MAX_READS;
use super::change::Change;
use super::items::{self, Connection, Item, Membership, join, leave};
use super::keys::{Key, topic_partition};
use super::names::{CONNECTED_AT, EXPIRES_AT, LEFT, PK, PLACE, PROTOCOL, RAISED, SK, SOCKET, STATE, USER};
use super::place::By;
use super::{Registry, RegistryError, batch, retry};
use crate::clock::Clock;
use crate::ids::{ConnectionId, Topic};

/// For how long somebody who has left keeps a row: longer than any function runs.
const LEFT_SECONDS: i64 = 60;
/// Memberships that are written side by side.
const SIDE_BY_SIDE: usize = 32;
/// Attributes of a membership that one who has left does not have.
const OF_MEMBERS: [&str; 4] = [PROTOCOL, CONNECTED_AT, USER, SOCKET];

/// What memberships of a connection say: whether it is a member.
pub(super) type Said = HashMap<Topic, Change>;

/// An update of one row.
struct Update {
    set: Item,
    remove: Vec<&'static str>,
    /// Whether the count is raised, as servers do.
    raises: bool,
    /// When it may be done.
    condition: Option<&'static str>,
}

impl Update {
    fn new(connection: &Connection, change: Change, topic: &Topic, by: By) -> Self {
        let mut update = match change {
            Change::Join => Self::join(connection, topic),
            Change::Leave => Self::leave(),
        };
        match by {
            By::Command(place) => {
                update.set.insert(PLACE.to_owned(), place.attribute());
                update.remove.push(RAISED);
                // Equal places have no order, unless a server came in between.
                update.condition = Some(
                    "attribute_not_exists(#place) OR #place < :place OR (#place = :place AND attribute_not_exists(#raised))",
                );
            }
            By::Server => {
                update.raises = true;
                update.condition = Some(match change {
                    // How far a member is whose client neither sorts nor drops stands there: it stays such a member.
                    Change::Join => "attribute_not_exists(#state) OR #state = :left",
                    // Nobody waits behind somebody who was never there.
                    Change::Leave => "attribute_exists(#pk)",
                });
            }
        }
        update
    }

    fn join(connection: &Connection, topic: &Topic) -> Self {
        let mut set = join(connection, Membership::Topic(topic));
        for key in [PK, SK] {
            set.remove(key);
        }
        let absent = OF_MEMBERS.into_iter().filter(|name| !set.contains_key(*name));
        Self { remove: absent.chain([STATE]).collect(), set, raises: false, condition: None }
    }

    fn leave() -> Self {
        let expires_at = Clock::System.milliseconds() / 1_000 + LEFT_SECONDS;
        let set = Item::from([
            (STATE.to_owned(), AttributeValue::S(LEFT.to_owned())),
            (EXPIRES_AT.to_owned(), AttributeValue::N(expires_at.to_string())),
        ]);
        Self { set, remove: OF_MEMBERS.into(), raises: false, condition: None }
    }

    /// The update's expression. Each attribute is named by its own name.
    fn expression(&self) -> String {
        let set: Vec<_> = self.set.keys().map(|name| format!("#{name} = :{name}")).collect();
        let remove: Vec<_> = self.remove.iter().map(|name| format!("#{name}")).collect();
        let raise = if self.raises { format!(" ADD #{RAISED} :{RAISED}") } else { String::new() };
        format!("SET {} REMOVE {}{raise}", set.join(", "), remove.join(", "))
    }

    fn names(&self) -> HashMap<String, String> {
        let set = self.set.keys().map(String::as_str);
        let raised = self.raises.then_some(RAISED);
        let key = self.condition.filter(|condition| condition.contains("#pk")).map(|_| PK);
        let all = set.chain(self.remove.iter().copied()).chain(raised).chain(key);
        all.map(|name| (format!("#{name}"), name.to_owned())).collect()
    }

    fn values(&self) -> Item {
        let set = self.set.iter().map(|(name, value)| (format!(":{name}"), value.clone()));
        let one = self.raises.then(|| (format!(":{RAISED}"), AttributeValue::N("1".to_owned())));
        let names_left = self.condition.is_some_and(|condition| condition.contains(":left"));
        let left = names_left.then(|| (":left".to_owned(), AttributeValue::S(LEFT.to_owned())));
        set.chain(one).chain(left).collect()
    }
}

impl Registry {
    /// Writes memberships of a connection, each by itself, where no later command was there. Returns what they say then.
    /// Nothing is on its way any more when it returns, a failure included.
    pub(super) async fn change_memberships(
        &self,
        connection: &Connection,
        change: Change,
        topics: &[Topic],
        by: By,
    ) -> Result<Said, RegistryError> {
        let writes: Vec<_> = topics.iter().map(|topic| self.change_membership(connection, change, topic, by)).collect();
        let written: Vec<_> = stream::iter(writes).buffer_unordered(SIDE_BY_SIDE).collect().await;
        written.into_iter().collect()
    }

    /// Writes one membership; what it says then.
    pub(super) async fn change_membership(
        &self,
        connection: &Connection,
        change: Change,
        topic: &Topic,
        by: By,
    ) -> Result<(Topic, Change), RegistryError> {
        let update = Update::new(connection, change, topic, by);
        let key = leave(&connection.id, Membership::Topic(topic)).attributes();
        let refused = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table).set_key(Some(key));
            let request = request
                .update_expression(update.expression())
                .set_condition_expression(update.condition.map(str::to_owned))
                .set_expression_attribute_names(Some(update.names()))
                .set_expression_attribute_values(Some(update.values()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => {
                    self.counter.add_write(answer.consumed_capacity.as_ref());
                    Ok(None)
                }
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Some(refused.item.unwrap_or_default())),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok((topic.clone(), refused.map_or(change, |row| Change::towards(items::is_member(&row)))))
    }

    /// A connection and what these memberships of it say, read consistently and side by side.
    pub(super) async fn look_at_memberships(
        &self,
        id: &ConnectionId,
        topics: &[Topic],
    ) -> Result<(Option<Connection>, Said), RegistryError> {
        let own = Key::connection(id);
        let keys = topics.iter().map(|topic| leave(id, Membership::Topic(topic))).chain([own.clone()]);
        let keys: Vec<_> = keys.map(Key::attributes).collect();
        let mut rows = HashMap::new();
        for some in keys.chunks(MAX_READS) {
            for row in self.read_batch(some.to_vec()).await? {
                rows.insert(items::text(&row, PK).cloned().unwrap_or_default(), row);
            }
        }
        let connection = rows.get(&own.pk).map(items::read).transpose()?;
        let said = topics.iter().map(|topic| {
            let is_member = rows.get(&topic_partition(topic)).is_some_and(items::is_member);
            (topic.clone(), Change::towards(is_member))
        });
        Ok((connection, said.collect()))
    }

    /// Deletes memberships of a connection that is gone.
    pub(super) async fn delete_memberships(
        &self,
        id: &ConnectionId,
        topics: impl IntoIterator<Item = &Topic>,
    ) -> Result<(), RegistryError> {
        let keys = topics.into_iter().map(|topic| leave(id, Membership::Topic(topic)));
        self.write_all(keys.map(batch::delete).collect()).await
    }
}
