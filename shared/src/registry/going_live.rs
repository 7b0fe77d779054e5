//! Memberships of clients that neither sort nor drop what they get: they go live in step with their topic's lane.
//!
//! A subscribe writes *pending*, reads the log, tells its client what was missed, and goes *live* from there, unless a lane
//! has passed it meanwhile. Leaving keeps a row that says so for a minute, so that a command which comes late changes
//! nothing. Each command has a [`Place`], and an earlier one never overwrites a later.

use std::cmp::Ordering;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::items::{self, Connection, Item, Membership, join};
use super::keys::Key;
use super::members::{self, Member};
use super::names::{
    EPOCH, EXPIRES_AT, LEASE, LEFT, LIVE, LIVE_FROM, NEXT, OWNER, PASSED, PENDING, PK, PLACE, SINCE, SK, STATE,
};
use super::place::Place;
use super::strict::{Strict, place_of};
use super::{Registry, RegistryError, retry};
use crate::ids::{ConnectionId, Topic};
use crate::log::LogPosition;

/// How long a row says that a connection has left, in seconds: longer than any frame of it can be late.
const LEFT_SECONDS: i64 = 60;

/// What an attempt to write such a membership came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Ours {
        /// Whether a row of the same connection stood there, of whatever age.
        replaced: bool,
    },
    /// A later command was here: there is nothing to do.
    Newer,
    /// Another subscribe of the connection is at work.
    Pending,
}

/// What an attempt to go live came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// It is live.
    Live,
    /// A lane has passed it up to this offset.
    Passed(u64),
    /// The row is another command's by now, or gone.
    NotOurs,
}

/// What an attempt to pass a member came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// It is written down, for the first time.
    First,
    /// It was passed before.
    Again,
    /// It is not the same any more.
    Changed,
}

/// Which batch of a lane is under way. Once it is another one, what read a membership before that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneBatch {
    /// Whether nobody is at work, nor has died at it.
    pub is_released: bool,
    owner: Option<String>,
    next: i64,
}

fn has_state(item: &Item, state: &str) -> bool {
    items::text(item, STATE).is_some_and(|there| there == state)
}

/// Whether a row is of this command, or of a later one.
fn compared(item: &Item, place: Place) -> Ordering {
    let digits = |text: &str| text.parse::<u128>().unwrap_or_default();
    let own = place.attribute();
    digits(&place_of(item)).cmp(&digits(own.as_n().map_or("", String::as_str)))
}

/// No command writes over a later one, nor over a subscribe that is at work.
const MAY_WRITE: &str =
    "(attribute_not_exists(#place) OR #place < :place) AND (attribute_not_exists(#state) OR #state <> :pending)";

impl Registry {
    /// Writes that a connection is about to be live in a topic.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn write_pending(
        &self,
        connection: &Connection,
        topic: &Topic,
        place: Place,
        now: i64,
    ) -> Result<Written, RegistryError> {
        let mut row = join(connection, Membership::Topic(topic));
        row.insert(STATE.to_owned(), AttributeValue::S(PENDING.to_owned()));
        row.insert(SINCE.to_owned(), number(now));
        let request = self.update_membership(Key::topic(topic, &connection.id));
        self.write_in_place(set_all(request, &row, &[LIVE_FROM, PASSED, EPOCH]), place).await
    }

    /// Writes that a connection has left a topic.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn write_left(
        &self,
        connection: &Connection,
        topic: &Topic,
        place: Place,
        now: i64,
    ) -> Result<Written, RegistryError> {
        let mut row = join(connection, Membership::Topic(topic));
        row.insert(STATE.to_owned(), AttributeValue::S(LEFT.to_owned()));
        row.insert(EXPIRES_AT.to_owned(), number(now / 1_000 + LEFT_SECONDS));
        let request = self.update_membership(Key::topic(topic, &connection.id));
        self.write_in_place(set_all(request, &row, &[LIVE_FROM, PASSED, EPOCH, SINCE]), place).await
    }

    async fn write_in_place(&self, request: UpdateItemFluentBuilder, place: Place) -> Result<Written, RegistryError> {
        let request = request
            .condition_expression(MAY_WRITE)
            .expression_attribute_names("#place", PLACE)
            .expression_attribute_values(":place", place.attribute())
            .expression_attribute_values(":pending", AttributeValue::S(PENDING.to_owned()))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match self.conditionally(request).await? {
            // Of a row that was not there the embedded engine returns the key.
            Ok(before) => Written::Ours { replaced: before.keys().any(|name| ![PK, SK].contains(&name.as_str())) },
            Err(there) => match compared(&there, place) {
                // Its answer was lost, and it was repeated.
                Ordering::Equal => Written::Ours { replaced: true },
                Ordering::Greater => Written::Newer,
                Ordering::Less => Written::Pending,
            },
        })
    }

    /// What a member's row says now; `None` where it is gone.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn member_now(&self, member: &Member, now: i64) -> Result<Option<Member>, RegistryError> {
        let key = Key { pk: member.membership.to_string(), sk: member.sort_key.clone() };
        let row = self.get(key.attributes()).await?;
        Ok(row.and_then(|item| members::member(&item, member.target, &member.membership, now)))
    }

    /// What a membership's row says now; `None` where it is gone, or no strict one.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn strict(&self, connection: &ConnectionId, topic: &Topic) -> Result<Option<Strict>, RegistryError> {
        let row = self.get(Key::topic(topic, connection).attributes()).await?;
        Ok(row.as_ref().and_then(Strict::read))
    }

    /// Says that a lane has passed a pending member up to this offset.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn pass(&self, member: &Member, place: &str, offset: u64) -> Result<Passing, RegistryError> {
        let key = Key { pk: member.membership.to_string(), sk: member.sort_key.clone() };
        let request = self
            .update_membership(key)
            .update_expression("SET #passed = :passed")
            .condition_expression(
                "#place = :place AND #state = :pending AND (attribute_not_exists(#passed) OR #passed <= :passed)",
            )
            .expression_attribute_names("#place", PLACE)
            .expression_attribute_names("#state", STATE)
            .expression_attribute_names("#passed", PASSED)
            .expression_attribute_values(":place", number(place))
            .expression_attribute_values(":pending", AttributeValue::S(PENDING.to_owned()))
            .expression_attribute_values(":passed", number(offset))
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        Ok(match self.conditionally(request).await? {
            Ok(before) if before.contains_key(PASSED) => Passing::Again,
            Ok(_) => Passing::First,
            // Somebody passed it further, in a life of the log that is over.
            Err(there) if place_of(&there) == place && has_state(&there, PENDING) => Passing::Again,
            Err(_) => Passing::Changed,
        })
    }

    /// Makes a membership live from a place, if it is still ours and nobody has passed it beyond.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn go_live(
        &self,
        connection: &ConnectionId,
        topic: &Topic,
        place: Place,
        at: &LogPosition,
    ) -> Result<Went, RegistryError> {
        let request = self
            .update_membership(Key::topic(topic, connection))
            .update_expression("SET #state = :live, #live_from = :from, #epoch = :epoch REMOVE #passed, #since")
            .condition_expression(
                "#place = :place AND #state = :pending AND (attribute_not_exists(#passed) OR #passed <= :from)",
            )
            .expression_attribute_names("#place", PLACE)
            .expression_attribute_names("#state", STATE)
            .expression_attribute_names("#passed", PASSED)
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_names("#live_from", LIVE_FROM)
            .expression_attribute_names("#epoch", EPOCH)
            .expression_attribute_values(":place", place.attribute())
            .expression_attribute_values(":pending", AttributeValue::S(PENDING.to_owned()))
            .expression_attribute_values(":live", AttributeValue::S(LIVE.to_owned()))
            .expression_attribute_values(":from", number(at.offset))
            .expression_attribute_values(":epoch", AttributeValue::S(at.epoch.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let there = match self.conditionally(request).await? {
            Ok(_) => return Ok(Went::Live),
            Err(there) => there,
        };
        let is_ours = compared(&there, place) == Ordering::Equal;
        Ok(match (is_ours, items::text(&there, STATE).map(String::as_str)) {
            (true, Some(PENDING)) => {
                let passed = items::number(&there, PASSED).unwrap_or_default();
                Went::Passed(u64::try_from(passed).unwrap_or_default())
            }
            // Its answer was lost, and it was repeated.
            (true, Some(LIVE)) => Went::Live,
            _ => Went::NotOurs,
        })
    }

    /// Takes back a membership that is pending, if it is still this command's.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn take_back_pending(
        &self,
        connection: &ConnectionId,
        topic: &Topic,
        place: Place,
        now: i64,
    ) -> Result<(), RegistryError> {
        let request = self
            .update_membership(Key::topic(topic, connection))
            .update_expression("SET #state = :left, #expires_at = :expires_at REMOVE #passed, #since")
            .condition_expression("#place = :place AND #state = :pending")
            .expression_attribute_names("#place", PLACE)
            .expression_attribute_names("#state", STATE)
            .expression_attribute_names("#passed", PASSED)
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":place", place.attribute())
            .expression_attribute_values(":pending", AttributeValue::S(PENDING.to_owned()))
            .expression_attribute_values(":left", AttributeValue::S(LEFT.to_owned()))
            .expression_attribute_values(":expires_at", number(now / 1_000 + LEFT_SECONDS));
        self.conditionally(request).await.map(drop)
    }

    /// Which batch the lane of a topic works on. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn lane_batch(&self, topic: &Topic) -> Result<LaneBatch, RegistryError> {
        let row = self.get(Key::lane(topic).attributes()).await?.unwrap_or_default();
        let lease = if row.contains_key(LEASE) { items::number(&row, LEASE)? } else { 0 };
        let next = if row.contains_key(NEXT) { items::number(&row, NEXT)? } else { 0 };
        Ok(LaneBatch { is_released: lease == 0, owner: items::text(&row, OWNER).cloned(), next })
    }

    fn update_membership(&self, key: Key) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(key.attributes()))
    }

    /// What the request returns, or the row that stands there where its condition does not hold.
    async fn conditionally(&self, request: UpdateItemFluentBuilder) -> Result<Result<Item, Item>, RegistryError> {
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = retry::retrying("UpdateItem", || async {
            match request.clone().send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item.unwrap_or_default())),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(answer.map(|answer| {
            self.counter.add_write(answer.consumed_capacity.as_ref());
            answer.attributes.unwrap_or_default()
        }))
    }
}

/// Makes the row say this, beside the place; nothing is left of `gone`.
fn set_all(request: UpdateItemFluentBuilder, row: &Item, gone: &[&'static str]) -> UpdateItemFluentBuilder {
    let mut request = request.expression_attribute_names("#state", STATE);
    let mut set = vec!["#place = :place".to_owned()];
    for (name, value) in row.iter().filter(|(name, _)| ![PK, SK].contains(&name.as_str())) {
        if name != STATE {
            request = request.expression_attribute_names(format!("#{name}"), name);
        }
        request = request.expression_attribute_values(format!(":new_{name}"), value.clone());
        set.push(format!("#{name} = :new_{name}"));
    }
    let mut remove = Vec::new();
    for name in gone {
        request = request.expression_attribute_names(format!("#{name}"), *name);
        remove.push(format!("#{name}"));
    }
    request.update_expression(format!("SET {} REMOVE {}", set.join(", "), remove.join(", ")))
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
