//! Lanes: who pushes the log of an ordered topic, and how far it is.
//!
//! One worker at a time holds a lane, by a lease of some seconds which it renews. Where it stands is a place in the log, and
//! within the messages that it pushes now a position in the audience, as with a segment.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};
use tokio::sync::Mutex;

use super::items::{self, Item};
use super::keys::Key;
use super::names::{
    BATCH_END, BEGAN, BEGUN, CAUSE, CURSOR, EPOCH, EXPIRES_AT, LEASE, NEXT, OWNER, STRAGGLERS, UNSURE, WAKES_AT,
};
use super::work::position;
use super::{Position, Registry, RegistryError, retry};
use crate::ids::Topic;
use crate::log::Epoch;

/// How long a lane is held without a word of its holder, in milliseconds.
const LEASE_MS: i64 = 10_000;
/// How often a holder renews its lease: twice before it must stop to post, five seconds before the lease ends.
pub const RENEWED_EVERY: Duration = Duration::from_secs(2);
/// As long as a log without appends, in seconds.
const KEPT_SECONDS: i64 = 30 * 24 * 3_600;

/// Who holds a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneHolder {
    /// Nobody: it was given back, or its lease is over.
    Nobody,
    /// A worker whose message comes again, should it die.
    ComesAgain {
        /// What its message is: who has the same is that message, come again.
        cause: String,
        /// When its lease ends, in milliseconds since the epoch.
        until: i64,
    },
    /// A worker that somebody waits for: should it die, nothing comes again.
    Direct {
        /// Whether somebody has seen to it that the lane is looked at when the lease is over.
        is_looked_after: bool,
    },
}

/// Who wants to hold a lane.
#[derive(Debug, Clone, Copy)]
pub struct LaneTaker<'a> {
    /// Unique to the attempt.
    pub owner: &'a str,
    /// What made it, where that comes again, should it die.
    pub cause: Option<&'a str>,
    /// When it ends at the latest, in milliseconds since the epoch. So does its lease: before what made it comes again.
    pub ends_at: i64,
}

/// How far a lane is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanePosition {
    /// Everything up to this offset was pushed.
    pub done: u64,
    /// Of which life of the log; `None` for a lane that nobody has held yet.
    pub epoch: Option<Epoch>,
    /// Up to which offset messages are being pushed, where some members have them and some have not.
    pub batch_end: Option<u64>,
    /// Which members have them.
    pub position: Position,
    /// How far strict members are that were begun with, by their sort keys.
    pub begun: BTreeMap<String, Begun>,
    /// Whether strict members may have something of the batch that is not written down: the last holder died, or failed.
    pub is_unsure: bool,
}

/// How far a holder got with a strict member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It has everything up to this offset.
    At(u64),
    /// It may have what was under way.
    Uncertain,
}

/// The right to push what a topic's log has.
#[derive(Debug)]
pub struct LaneLease {
    registry: Registry,
    topic: Topic,
    owner: String,
    /// When the lane was held for the first time, in seconds since the epoch.
    began: i64,
    /// When its holder ends at the latest, in milliseconds since the epoch.
    ends_at: i64,
    /// When it ends, in milliseconds since the epoch. Held while it is changed.
    until: Mutex<i64>,
}

impl LanePosition {
    fn read(item: &Item) -> Result<Self, RegistryError> {
        let offset = |name| match item.contains_key(name) {
            true => Ok(u64::try_from(items::number(item, name)?).ok()),
            false => Ok(None),
        };
        Ok(Self {
            done: offset(NEXT)?.unwrap_or_default(),
            epoch: items::text(item, EPOCH).and_then(|text| Epoch::parse(text).ok()),
            batch_end: offset(BATCH_END)?,
            position: position(item),
            begun: begun(item),
            // Who gives a lane back leaves no lease.
            is_unsure: item.contains_key(UNSURE) || (item.contains_key(LEASE) && items::number(item, LEASE)? != 0),
        })
    }
}

fn begun(item: &Item) -> BTreeMap<String, Begun> {
    let Some(Ok(members)) = item.get(BEGUN).map(AttributeValue::as_m) else { return BTreeMap::new() };
    let offset = |value: &AttributeValue| value.as_n().ok()?.parse::<u64>().ok().filter(|offset| *offset > 0);
    let members = members.iter().map(|(sort_key, value)| (sort_key.clone(), offset(value)));
    members.map(|(sort_key, offset)| (sort_key, offset.map_or(Begun::Uncertain, Begun::At))).collect()
}

fn begun_value(begun: &BTreeMap<String, Begun>) -> Option<AttributeValue> {
    let members = begun.iter().map(|(sort_key, begun)| {
        let offset = match begun {
            Begun::At(offset) => *offset,
            Begun::Uncertain => 0,
        };
        (sort_key.clone(), number(offset))
    });
    (!begun.is_empty()).then(|| AttributeValue::M(members.collect()))
}

impl Registry {
    /// Who holds the lane of a topic at `now` (milliseconds since the epoch). Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn lane_holder(&self, topic: &Topic, now: i64) -> Result<LaneHolder, RegistryError> {
        let row = self.get(Key::lane(topic).attributes()).await?;
        let Some(item) = row else { return Ok(LaneHolder::Nobody) };
        let wakes_at = if item.contains_key(WAKES_AT) { items::number(&item, WAKES_AT)? } else { 0 };
        let until = items::number(&item, LEASE)?;
        if until < now {
            return Ok(LaneHolder::Nobody);
        }
        Ok(match items::text(&item, CAUSE) {
            Some(cause) if !cause.is_empty() => LaneHolder::ComesAgain { cause: cause.clone(), until },
            _ => LaneHolder::Direct { is_looked_after: wakes_at >= now },
        })
    }

    /// Writes down that a message looks after the lane at `wakes_at`, once it is sent, so that the many who append while one
    /// worker holds the lane send few. `false` where nobody holds it any more, or another message is on its way. Times
    /// are in milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn look_after_lane(&self, topic: &Topic, wakes_at: i64, now: i64) -> Result<bool, RegistryError> {
        let request = lane_row(self, topic)
            .update_expression("SET #wakes_at = :wakes_at")
            .condition_expression("#lease >= :now AND (attribute_not_exists(#wakes_at) OR #wakes_at < :now)")
            .expression_attribute_names("#lease", LEASE)
            .expression_attribute_names("#wakes_at", WAKES_AT)
            .expression_attribute_values(":wakes_at", number(wakes_at))
            .expression_attribute_values(":now", number(now));
        Ok(self.update_lane(request).await?.is_some())
    }

    /// Takes the lane of a topic, where nobody holds it; how far it is.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn take_lane(
        &self,
        topic: &Topic,
        taker: &LaneTaker<'_>,
        now: i64,
    ) -> Result<Option<(LaneLease, LanePosition)>, RegistryError> {
        let LaneTaker { owner, cause, ends_at } = *taker;
        let until = ends_at.min(now + LEASE_MS);
        let request = lane_row(self, topic)
            .update_expression(
                "SET #lease = :until, #owner = :owner, #cause = :cause, #expires_at = :expires_at, \
                 #began = if_not_exists(#began, :began)",
            )
            .expression_attribute_names("#began", BEGAN)
            .expression_attribute_values(":began", number(now / 1_000))
            .condition_expression("attribute_not_exists(#lease) OR #lease < :now")
            .expression_attribute_names("#lease", LEASE)
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_names("#cause", CAUSE)
            .expression_attribute_values(":cause", AttributeValue::S(cause.unwrap_or_default().to_owned()))
            .expression_attribute_values(":until", number(until))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":expires_at", number(now / 1_000 + KEPT_SECONDS))
            .return_values(ReturnValue::AllOld);
        let Some(before) = self.update_lane(request).await? else { return Ok(None) };
        let (topic, owner) = (topic.clone(), owner.to_owned());
        let began = match before.contains_key(BEGAN) {
            true => items::number(&before, BEGAN)?,
            false => now / 1_000,
        };
        let lease = LaneLease { registry: self.clone(), topic, owner, began, ends_at, until: Mutex::new(until) };
        Ok(Some((lease, LanePosition::read(&before)?)))
    }

    /// The row before the change, or after it, as the request wants it; `None` where its condition does not hold.
    async fn update_lane(&self, request: UpdateItemFluentBuilder) -> Result<Option<Item>, RegistryError> {
        let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = retry::retrying("UpdateItem", || async {
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Some(answer)),
                Err(Error::ConditionalCheckFailedException(_)) => Ok(None),
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

impl LaneLease {
    /// When the lane was held for the first time, in seconds since the epoch.
    #[must_use]
    pub fn began(&self) -> i64 {
        self.began
    }

    /// Holds the lane for longer. `now` is in milliseconds since the epoch. One that is overtaken by what was written later,
    /// a release above all, does nothing; one that is repeated does no harm.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] when somebody else holds it by now; else when DynamoDB fails.
    pub async fn renew(&self, now: i64) -> Result<(), RegistryError> {
        let mut until = self.until.lock().await;
        let request = self
            .own_row("#owner = :owner AND (#lease = :known OR #lease = :until)")
            .update_expression("SET #lease = :until")
            .expression_attribute_values(":known", number(*until));
        self.change(request, &mut until, self.ends_at.min(now + LEASE_MS)).await
    }

    /// Writes down how far the lane is, and holds it for longer.
    ///
    /// # Errors
    /// As [`renew`](Self::renew).
    pub async fn save(&self, position: &LanePosition, now: i64) -> Result<(), RegistryError> {
        let mut until = self.until.lock().await;
        let request = self.with_position(position);
        self.change(request, &mut until, self.ends_at.min(now + LEASE_MS)).await
    }

    /// Writes down how far the lane is, and gives it back, unless it was given back or somebody else holds it by now.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn release(&self, position: &LanePosition) -> Result<(), RegistryError> {
        let mut until = self.until.lock().await;
        let request = self.with_position(position);
        match self.change(request, &mut until, 0).await {
            Err(RegistryError::LeaseLost) => Ok(()),
            released => released,
        }
    }

    fn own_row(&self, condition: &str) -> UpdateItemFluentBuilder {
        lane_row(&self.registry, &self.topic)
            .condition_expression(condition)
            .expression_attribute_names("#lease", LEASE)
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_values(":owner", AttributeValue::S(self.owner.clone()))
    }

    /// The row with this position, unless it was given back.
    fn with_position(&self, position: &LanePosition) -> UpdateItemFluentBuilder {
        let LanePosition { done, epoch, batch_end, position, begun, is_unsure } = position;
        let stragglers = (!position.stragglers.is_empty())
            .then(|| AttributeValue::Ss(position.stragglers.iter().cloned().collect()));
        let (mut set, mut remove) = ("SET #lease = :until".to_owned(), Vec::new());
        let request = self.own_row("#owner = :owner AND #lease > :zero");
        let mut request = request.expression_attribute_values(":zero", number(0));
        for (name, value_name, attribute, value) in [
            ("#next", ":next", NEXT, Some(number(*done))),
            ("#epoch", ":epoch", EPOCH, epoch.as_ref().map(|epoch| AttributeValue::S(epoch.to_string()))),
            ("#batch_end", ":batch_end", BATCH_END, batch_end.map(number)),
            ("#cursor", ":cursor", CURSOR, position.cursor.clone().map(AttributeValue::S)),
            ("#stragglers", ":stragglers", STRAGGLERS, stragglers),
            ("#begun", ":begun", BEGUN, begun_value(begun)),
            ("#unsure", ":unsure", UNSURE, is_unsure.then_some(AttributeValue::Bool(true))),
        ] {
            request = request.expression_attribute_names(name, attribute);
            match value {
                Some(value) => {
                    set += &format!(", {name} = {value_name}");
                    request = request.expression_attribute_values(value_name, value);
                }
                None => remove.push(name),
            }
        }
        let remove = if remove.is_empty() { String::new() } else { format!(" REMOVE {}", remove.join(", ")) };
        request.update_expression(set + &remove)
    }

    async fn change(&self, request: UpdateItemFluentBuilder, until: &mut i64, next: i64) -> Result<(), RegistryError> {
        let request = request.expression_attribute_values(":until", number(next));
        self.registry.update_lane(request).await?.ok_or(RegistryError::LeaseLost)?;
        *until = next;
        Ok(())
    }
}

fn lane_row(registry: &Registry, topic: &Topic) -> UpdateItemFluentBuilder {
    registry.client.update_item().table_name(&registry.table).set_key(Some(Key::lane(topic).attributes()))
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
