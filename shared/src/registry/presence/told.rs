//! What was told of users, and whose turn it is to tell.
//!
//! Whoever looks at a user writes a version of its own first and reads who is there then; it may change what is told only
//! while its version stands. So whoever began later, and has seen more, is not overwritten.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValue};

use super::super::interval::Interval;
use super::super::items::{self, Item};
use super::super::keys::{Key, told_of_partition};
use super::super::names::{CHANGE, EXPIRES_AT, FROM_THEN, OWNER, SENT, TOLD, VERSION};
use super::super::{Registry, RegistryError, retry};
use super::{KEPT_SECONDS, number};
use crate::ids::{Topic, UserId};
use crate::presence::{State, Subject};

/// How long somebody may take to tell, in milliseconds.
const LONGEST_TURN: i64 = 10_000;
/// By how much clocks may differ, in milliseconds.
const SKEW: i64 = 1_000;
/// One list of a topic in so many milliseconds.
const BETWEEN_LISTS: i64 = 1_000;

/// The right to tell of a topic.
#[derive(Debug)]
pub(crate) struct TellingTurn {
    owner: String,
    /// The number of what is told now: higher than that of all before.
    pub(crate) change: i64,
}

impl TellingTurn {
    /// Whether nobody else can have taken a turn by `now` (milliseconds since the epoch), whatever its clock says.
    ///
    /// What is read later must not be told under this turn's number: others may have told under a higher one what came before.
    pub(crate) fn holds(&self, now: i64) -> bool {
        now < self.change + LONGEST_TURN - SKEW
    }
}

fn read(item: &Item) -> Result<State, RegistryError> {
    let flag = |name: &str| item.get(name).and_then(|value| value.as_bool().ok()).copied();
    Ok(State {
        told: flag(TOLD).unwrap_or_default(),
        change: if item.contains_key(CHANGE) { items::number(item, CHANGE)? } else { 0 },
        unsent: flag(SENT) == Some(false),
    })
}

impl Registry {
    /// What is written of a user.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub(crate) async fn told_of(&self, subject: &Subject) -> Result<State, RegistryError> {
        let row = self.get(Key::told_of(subject.topic.as_ref(), &subject.user).attributes()).await?;
        row.as_ref().map_or(Ok(State::default()), read)
    }

    /// Writes that somebody looks at a user from now on; what is written of it.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub(crate) async fn begin_look(&self, subject: &Subject, version: &str, now: i64) -> Result<State, RegistryError> {
        let request = self
            .told_row(subject)
            .update_expression("SET #version = :version, #expires_at = :expires_at")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":version", AttributeValue::S(version.to_owned()))
            .expression_attribute_values(":expires_at", number(now / 1_000 + KEPT_SECONDS))
            .return_values(ReturnValue::AllNew);
        read(&self.update_told(request).await?.unwrap_or_default())
    }

    /// Writes a change, unless somebody else began to look since `version` did.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn change_told(
        &self,
        subject: &Subject,
        version: &str,
        state: State,
    ) -> Result<bool, RegistryError> {
        let request = self
            .told_row(subject)
            .update_expression("SET #told = :told, #change = :change, #sent = :sent")
            .condition_expression("#version = :version")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#told", TOLD)
            .expression_attribute_names("#change", CHANGE)
            .expression_attribute_names("#sent", SENT)
            .expression_attribute_values(":version", AttributeValue::S(version.to_owned()))
            .expression_attribute_values(":told", AttributeValue::Bool(state.told))
            .expression_attribute_values(":change", number(state.change))
            .expression_attribute_values(":sent", AttributeValue::Bool(!state.unsent));
        Ok(self.update_told(request).await?.is_some())
    }

    /// Forgets a user who is not there, and of whom nothing is to be told, unless somebody else began to look since `version`
    /// did.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn end_look(&self, subject: &Subject, version: &str) -> Result<(), RegistryError> {
        self.forget_told(subject, (VERSION, AttributeValue::S(version.to_owned()))).await
    }

    /// Writes that a change was sent, unless there was another one since. Of who left nothing stays.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn mark_sent(&self, subject: &Subject, state: State) -> Result<(), RegistryError> {
        if !state.told {
            return self.forget_told(subject, (CHANGE, number(state.change))).await;
        }
        let request = self
            .told_row(subject)
            .update_expression("SET #sent = :sent")
            .condition_expression("#change = :change")
            .expression_attribute_names("#change", CHANGE)
            .expression_attribute_names("#sent", SENT)
            .expression_attribute_values(":change", number(state.change))
            .expression_attribute_values(":sent", AttributeValue::Bool(true));
        self.update_told(request).await.map(drop)
    }

    /// Deletes the row where an attribute of it has this value still.
    async fn forget_told(&self, subject: &Subject, (name, value): (&str, AttributeValue)) -> Result<(), RegistryError> {
        retry::retrying("DeleteItem", || async {
            let key = Key::told_of(subject.topic.as_ref(), &subject.user).attributes();
            let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
            let request = request
                .condition_expression("#name = :value")
                .expression_attribute_names("#name", name)
                .expression_attribute_values(":value", value)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => self.counter.add_write(answer.consumed_capacity.as_ref()),
                // The user is back, or somebody else looks.
                Err(Error::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
        .await
    }

    /// Up to `most` users of a topic with a change that was not sent, and whether there are more. Everybody who is in the
    /// topic is read, consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or a row is malformed.
    pub(crate) async fn unsent(
        &self,
        topic: &Topic,
        most: usize,
    ) -> Result<(Vec<(UserId, State)>, bool), RegistryError> {
        let (mut unsent, mut from) = (Vec::new(), None);
        loop {
            let query = self.query(&told_of_partition(topic), &Interval::whole());
            let answer = self.ask(query.set_exclusive_start_key(from.take())).await?;
            for row in answer.items() {
                let state = read(row)?;
                if let (true, Ok(user)) = (state.unsent, UserId::parse(items::sort_key(row))) {
                    unsent.push((user, state));
                }
            }
            match answer.last_evaluated_key {
                None if unsent.len() <= most => return Ok((unsent, false)),
                Some(rest) if unsent.len() <= most => from = Some(rest),
                _ => {
                    unsent.truncate(most);
                    return Ok((unsent, true));
                }
            }
        }
    }

    /// Takes the turn to tell of a topic, where nobody has it and the last list is a second old.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn take_turn(
        &self,
        topic: &Topic,
        owner: &str,
        now: i64,
    ) -> Result<Option<TellingTurn>, RegistryError> {
        let request = self
            .telling_row(topic)
            .update_expression("SET #owner = :owner, #from = :end, #change = :now, #expires_at = :expires_at")
            .condition_expression("attribute_not_exists(#from) OR (#from <= :now AND #change < :now)")
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_names("#from", FROM_THEN)
            .expression_attribute_names("#change", CHANGE)
            .expression_attribute_names("#expires_at", EXPIRES_AT)
            .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
            .expression_attribute_values(":end", number(now + LONGEST_TURN))
            .expression_attribute_values(":now", number(now))
            .expression_attribute_values(":expires_at", number(now / 1_000 + KEPT_SECONDS));
        let taken = self.update_told(request).await?;
        Ok(taken.map(|_| TellingTurn { owner: owner.to_owned(), change: now }))
    }

    /// Gives the turn back; the next is a second after this one began.
    ///
    /// # Errors
    /// When DynamoDB fails: then it ends by itself.
    pub(crate) async fn end_turn(&self, topic: &Topic, turn: TellingTurn) -> Result<(), RegistryError> {
        let request = self
            .telling_row(topic)
            .update_expression("SET #from = :from")
            .condition_expression("#owner = :owner")
            .expression_attribute_names("#owner", OWNER)
            .expression_attribute_names("#from", FROM_THEN)
            .expression_attribute_values(":owner", AttributeValue::S(turn.owner))
            .expression_attribute_values(":from", number(turn.change + BETWEEN_LISTS));
        self.update_told(request).await.map(drop)
    }

    fn told_row(&self, subject: &Subject) -> UpdateItemFluentBuilder {
        let key = Key::told_of(subject.topic.as_ref(), &subject.user).attributes();
        self.client.update_item().table_name(&self.table).set_key(Some(key))
    }

    fn telling_row(&self, topic: &Topic) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.table).set_key(Some(Key::telling(topic).attributes()))
    }

    /// The row as the request wants it; `None` where its condition does not hold.
    async fn update_told(&self, request: UpdateItemFluentBuilder) -> Result<Option<Item>, RegistryError> {
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
