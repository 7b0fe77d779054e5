//! Segments of a fan-out: who works on them, and how far they are.
//!
//! A segment's row is what makes a queue's "at least once" harmless: two copies of a message cannot both work on it, one
//! that comes again goes on where the last one stopped, and one that is done is recognised. The notification itself is
//! stored once, in a row of its own: an update costs the write units of its whole row, whatever it changes.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::interval::Interval;
use super::items::{self, Item};
use super::keys::{self, Key};
use super::names::{self, EXPIRES_AT};
use super::{Registry, RegistryError, retry};
use crate::ids::NotificationId;
use crate::log::{Epoch, LogPosition};

/// As long as a queue retains a message: four days, and one more for what was sent on its last one.
const RETAINED_SECONDS: i64 = 5 * 24 * 3_600;
/// As long as a queue retains a message and then the dead-letter queue: 4 days, 14, and one more.
const PAYLOAD_SECONDS: i64 = 19 * 24 * 3_600;
/// The sort key of a notification among its segments; a part that goes its own way has its root behind it.
const PAYLOAD: &str = "payload";
const CLAIM: &str = "SET #lease = :until, #owner = :owner, #hash = :hash, #expires_at = :expires_at";

/// How far the work on a segment has come: everything up to `cursor` is settled, but for the stragglers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The last sort key that was passed; `None` at the beginning.
    pub cursor: Option<String>,
    /// Sort keys up to the cursor that are still to be served.
    pub stragglers: BTreeSet<String>,
    /// The last sort key that an audience was counted up to, if further than the cursor: nobody counts twice.
    pub counted: Option<String>,
}

/// Names a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentKey {
    /// What the notification's id is unique in.
    pub scope: String,
    /// The notification that is fanned out.
    pub notification: NotificationId,
    /// The segment's place in the tree: `0`, its third part `0.2`, and so on.
    pub segment: String,
}

/// An attempt to take a segment.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    /// Says what the segment's notification is.
    pub hash: &'a str,
    /// Unique to this attempt.
    pub owner: &'a str,
    /// In milliseconds since the epoch.
    pub now: i64,
    /// When the lease ends, in milliseconds since the epoch.
    pub until: i64,
    /// Where the log of its audience ends, or a place before that, if it is about to be appended to: the first attempt's is
    /// kept.
    pub log_end: Option<&'a LogPosition>,
}

/// What an attempt to take a segment came to.
#[derive(Debug)]
pub enum Claim {
    /// It is ours until the lease ends.
    Ours {
        /// The right to work on it.
        lease: Box<Lease>,
        /// How far it is.
        position: Position,
        /// The parts that it was split into, if it was.
        plan: Vec<Interval>,
        /// Behind which place of the log of its audience it may stand, if there was an attempt before.
        from: Option<LogPosition>,
    },
    /// Somebody finished it.
    Done,
    /// The notification's id was used for another one before.
    Reused,
    /// Somebody works on it, until this time at most (milliseconds since the epoch).
    Held {
        /// When the lease ends.
        until: i64,
    },
}

/// The right to work on one segment.
#[derive(Debug, Clone)]
pub struct Lease {
    registry: Registry,
    key: SegmentKey,
    owner: String,
}

impl SegmentKey {
    fn attributes(&self) -> Item {
        Key { pk: keys::work_partition(&self.scope, &self.notification), sk: self.segment.clone() }.attributes()
    }

    /// What the segment comes of: the whole notification, `0`, or the part for one of its audiences.
    fn root(&self) -> &str {
        self.segment.split(['.', '!']).next().unwrap_or_default()
    }

    /// The key of the notification, as its root has it.
    fn payload(&self) -> Item {
        let sk = match self.root() {
            "0" => PAYLOAD.to_owned(),
            root => format!("{PAYLOAD}.{root}"),
        };
        Key { pk: keys::work_partition(&self.scope, &self.notification), sk }.attributes()
    }
}

impl Position {
    /// Nothing but these sort keys.
    #[must_use]
    pub fn only(stragglers: impl IntoIterator<Item = String>) -> Self {
        Self { cursor: Some(keys::ABOVE_ALL.to_owned()), stragglers: stragglers.into_iter().collect(), counted: None }
    }

    /// Whether the member of this sort key is still to be served.
    #[must_use]
    pub fn is_open(&self, sort_key: &str) -> bool {
        self.cursor.as_deref().is_none_or(|cursor| sort_key > cursor) || self.stragglers.contains(sort_key)
    }

    /// Whether a member of this sort key, if it is open, was counted among its audience before.
    #[must_use]
    pub fn is_counted(&self, sort_key: &str) -> bool {
        let is_up_to = |bound: &Option<String>| bound.as_deref().is_some_and(|bound| sort_key <= bound);
        is_up_to(&self.cursor) || is_up_to(&self.counted)
    }

    /// The part of `interval` that holds everything that is open, and not much more.
    #[must_use]
    pub fn rest_of(&self, interval: &Interval) -> Interval {
        let after = match self.stragglers.first() {
            // Whatever precedes the first straggler and is read again is not open.
            Some(first) => Some(first.get(..first.len() - 1).unwrap_or_default().to_owned()),
            None => self.cursor.clone().or_else(|| interval.after.clone()),
        };
        let beyond = self.cursor.as_deref() == Some(keys::ABOVE_ALL);
        Interval { after, to: if beyond { self.stragglers.last().cloned() } else { interval.to.clone() } }
    }
}

impl Registry {
    /// Takes a segment, unless it is done or somebody else works on it.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn claim(&self, key: &SegmentKey, attempt: &Attempt<'_>) -> Result<Claim, RegistryError> {
        let Attempt { hash, owner, now, until, log_end } = *attempt;
        let outcome = retry::retrying("UpdateItem", || async {
            let mut request = self.client.update_item().table_name(&self.table).set_key(Some(key.attributes()));
            let mut update = CLAIM.to_owned();
            if let Some(end) = log_end {
                update += ", #from = if_not_exists(#from, :from), #from_epoch = if_not_exists(#from_epoch, :from_epoch)";
                request = request
                    .expression_attribute_names("#from", names::FROM)
                    .expression_attribute_names("#from_epoch", names::FROM_EPOCH)
                    .expression_attribute_values(":from", AttributeValue::N(end.offset.to_string()))
                    .expression_attribute_values(":from_epoch", AttributeValue::S(end.epoch.to_string()));
            }
            let request = request
                .update_expression(update)
                .condition_expression(
                    "attribute_not_exists(#done) AND (attribute_not_exists(#lease) OR #lease < :now OR #owner = :owner) \
                     AND (attribute_not_exists(#hash) OR #hash = :hash)",
                )
                .expression_attribute_names("#hash", names::HASH)
                .expression_attribute_values(":hash", AttributeValue::S(hash.to_owned()))
                .expression_attribute_names("#done", names::DONE)
                .expression_attribute_names("#lease", names::LEASE)
                .expression_attribute_names("#owner", names::OWNER)
                .expression_attribute_names("#expires_at", EXPIRES_AT)
                .expression_attribute_values(":until", AttributeValue::N(until.to_string()))
                .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
                .expression_attribute_values(":owner", AttributeValue::S(owner.to_owned()))
                .expression_attribute_values(":expires_at", AttributeValue::N((now / 1_000 + RETAINED_SECONDS).to_string()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            // What was there before: a place in a log counts only if an earlier attempt wrote it.
            match request.return_values(ReturnValue::AllOld).send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused)),
                Err(error) => Err(error),
            }
        })
        .await?;
        match outcome {
            Ok(answer) => {
                self.counter.add_write(answer.consumed_capacity.as_ref());
                let item = answer.attributes.unwrap_or_default();
                let lease = Lease { registry: self.clone(), key: key.clone(), owner: owner.to_owned() };
                let from = log_end_of(&item)?;
                Ok(Claim::Ours { lease: Box::new(lease), position: position(&item), plan: plan(&item)?, from })
            }
            Err(refused) => {
                let item = refused.item.unwrap_or_default();
                match items::text(&item, names::HASH) {
                    Some(other) if other != hash => Ok(Claim::Reused),
                    _ if item.contains_key(names::DONE) => Ok(Claim::Done),
                    _ => Ok(Claim::Held { until: items::number(&item, names::LEASE)? }),
                }
            }
        }
    }

    /// Stores the notification of a segment for all that come of it. `false` where its id was used for another one before.
    /// `hash` says what it is, `body` is its JSON; `now` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn store(&self, key: &SegmentKey, hash: &str, body: &str, now: i64) -> Result<bool, RegistryError> {
        let mut item = key.payload();
        item.insert(names::HASH.to_owned(), AttributeValue::S(hash.to_owned()));
        item.insert(names::NOTIFICATION.to_owned(), AttributeValue::S(body.to_owned()));
        item.insert(EXPIRES_AT.to_owned(), AttributeValue::N((now / 1_000 + PAYLOAD_SECONDS).to_string()));
        retry::retrying("PutItem", || async {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item.clone()));
            let request = request
                .condition_expression("attribute_not_exists(#hash) OR #hash = :hash")
                .expression_attribute_names("#hash", names::HASH)
                .expression_attribute_values(":hash", AttributeValue::S(hash.to_owned()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            let answer = request.send().await.map_err(Error::from);
            self.counter.was_written(answer.map(|answer| answer.consumed_capacity))
        })
        .await
    }

    /// The JSON of a notification that was stored; `None` where it is not there, or not any more.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn stored(&self, key: &SegmentKey) -> Result<Option<String>, RegistryError> {
        let row = self.get(key.payload()).await?;
        Ok(row.and_then(|item| items::text(&item, names::NOTIFICATION).cloned()))
    }
}

impl Lease {
    /// Writes down how far the work is.
    ///
    /// # Errors
    /// When the lease was lost or DynamoDB fails.
    pub async fn save(&self, position: &Position) -> Result<(), RegistryError> {
        let stragglers = (!position.stragglers.is_empty())
            .then(|| AttributeValue::Ss(position.stragglers.iter().cloned().collect()));
        let text = |text: &Option<String>| text.clone().map(AttributeValue::S);
        let (mut set, mut remove) = (Vec::new(), Vec::new());
        let (mut names, mut values) = (Vec::new(), HashMap::new());
        for (name, value_name, attribute, value) in [
            ("#cursor", ":cursor", names::CURSOR, text(&position.cursor)),
            ("#stragglers", ":stragglers", names::STRAGGLERS, stragglers),
            ("#counted", ":counted", names::COUNTED, text(&position.counted)),
        ] {
            names.push((name, attribute));
            match value {
                Some(value) => {
                    set.push(format!("{name} = {value_name}"));
                    values.insert(value_name.to_owned(), value);
                }
                None => remove.push(name),
            }
        }
        let clause = |verb: &str, terms: String| if terms.is_empty() { terms } else { format!("{verb} {terms} ") };
        let expression = clause("SET", set.join(", ")) + &clause("REMOVE", remove.join(", "));
        self.update(&expression, &mut names, values).await
    }

    /// Writes down the parts that the segment is split into, before any of them is sent.
    ///
    /// # Errors
    /// When the lease was lost or DynamoDB fails.
    pub async fn split(&self, parts: &[Interval]) -> Result<(), RegistryError> {
        let bounds = parts.iter().map(|part| {
            let bound = |bound: &Option<String>| AttributeValue::S(bound.clone().unwrap_or_default());
            AttributeValue::L(vec![bound(&part.after), bound(&part.to)])
        });
        let values = HashMap::from([(":plan".to_owned(), AttributeValue::L(bounds.collect()))]);
        self.update("SET #plan = :plan", &mut vec![("#plan", names::PLAN)], values).await
    }

    /// Gives the segment back, so that whoever comes next can go on at once.
    ///
    /// # Errors
    /// When the lease was lost or DynamoDB fails.
    pub async fn release(&self) -> Result<(), RegistryError> {
        let values = HashMap::from([(":ended".to_owned(), AttributeValue::N("0".to_owned()))]);
        self.update("SET #lease = :ended", &mut vec![("#lease", names::LEASE)], values).await
    }

    /// The same for one whose notification stands in a log: whoever comes next looks for it there.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub async fn release_appended(&self, position: &LogPosition) -> Result<(), RegistryError> {
        let LogPosition { offset, epoch } = position;
        let values = HashMap::from([
            (":ended".to_owned(), AttributeValue::N("0".to_owned())),
            (":from".to_owned(), AttributeValue::N(offset.saturating_sub(1).to_string())),
            (":from_epoch".to_owned(), AttributeValue::S(epoch.to_string())),
        ]);
        let mut names = vec![("#lease", names::LEASE), ("#from", names::FROM), ("#from_epoch", names::FROM_EPOCH)];
        self.update("SET #lease = :ended, #from = :from, #from_epoch = :from_epoch", &mut names, values).await
    }

    /// Writes down that nothing is left to do.
    ///
    /// # Errors
    /// When the lease was lost or DynamoDB fails.
    pub async fn finish(&self) -> Result<(), RegistryError> {
        let values = HashMap::from([(":done".to_owned(), AttributeValue::Bool(true))]);
        let mut names = vec![
            ("#done", names::DONE),
            ("#lease", names::LEASE),
            ("#cursor", names::CURSOR),
            ("#stragglers", names::STRAGGLERS),
            ("#counted", names::COUNTED),
            ("#plan", names::PLAN),
        ];
        let expression = "SET #done = :done REMOVE #lease, #cursor, #stragglers, #counted, #plan";
        self.update(expression, &mut names, values).await
    }

    async fn update(
        &self,
        expression: &str,
        names: &mut Vec<(&str, &str)>,
        mut values: HashMap<String, AttributeValue>,
    ) -> Result<(), RegistryError> {
        names.push(("#owner", names::OWNER));
        values.insert(":owner".to_owned(), AttributeValue::S(self.owner.clone()));
        let names: HashMap<_, _> =
            names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let registry = &self.registry;
        let answer = retry::retrying("UpdateItem", || async {
            let request = registry.client.update_item().table_name(&registry.table);
            let request = request.set_key(Some(self.key.attributes())).update_expression(expression);
            let request = request.condition_expression("#owner = :owner");
            let request = request.set_expression_attribute_names(Some(names.clone()));
            let request = request.set_expression_attribute_values(Some(values.clone()));
            match request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await.map_err(Error::from) {
                Ok(answer) => Ok(Some(answer)),
                Err(Error::ConditionalCheckFailedException(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        let answer = answer.ok_or(RegistryError::LeaseLost)?;
        registry.counter.add_write(answer.consumed_capacity.as_ref());
        Ok(())
    }
}

pub(super) fn position(item: &Item) -> Position {
    let stragglers = item.get(names::STRAGGLERS).and_then(|value| value.as_ss().ok());
    Position {
        cursor: items::text(item, names::CURSOR).cloned(),
        counted: items::text(item, names::COUNTED).cloned(),
        stragglers: stragglers.into_iter().flatten().cloned().collect(),
    }
}

fn log_end_of(item: &Item) -> Result<Option<LogPosition>, RegistryError> {
    let Some(epoch) = items::text(item, names::FROM_EPOCH).and_then(|text| Epoch::parse(text).ok()) else {
        return Ok(None);
    };
    let offset = u64::try_from(items::number(item, names::FROM)?).unwrap_or_default();
    Ok(Some(LogPosition { offset, epoch }))
}

fn plan(item: &Item) -> Result<Vec<Interval>, RegistryError> {
    let Some(parts) = item.get(names::PLAN) else { return Ok(Vec::new()) };
    let malformed = || RegistryError::Malformed { attribute: names::PLAN, problem: "is not a list of intervals" };
    let parts = parts.as_l().map_err(|_| malformed())?;
    parts
        .iter()
        .map(|part| {
            let bounds: Option<Vec<_>> = part.as_l().ok()?.iter().map(|bound| bound.as_s().ok().cloned()).collect();
            let [after, to] = <[String; 2]>::try_from(bounds?).ok()?;
            let bound = |text: String| (!text.is_empty()).then_some(text);
            Some(Interval { after: bound(after), to: bound(to) })
        })
        .map(|part| part.ok_or_else(malformed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn stragglers_are_open_and_all_else_up_to_the_cursor_is_not() {
        let position = Position { cursor: Some("40#m".to_owned()), stragglers: keys(&["30#a"]), counted: None };
        for (key, open) in [("30#a", true), ("30#b", false), ("40#m", false), ("40#n", true)] {
            assert_eq!(position.is_open(key), open, "{key}");
        }
    }

    #[test]
    fn the_rest_starts_just_below_the_first_straggler_and_at_the_cursor_without_one() {
        let whole = Interval::whole();
        let mut position = Position { cursor: Some("40#m".to_owned()), stragglers: keys(&["30#a"]), counted: None };
        let rest = position.rest_of(&whole);
        assert!(rest.contains("30#a") && rest.contains("ff#z") && !rest.contains("2f#z"));
        position.stragglers.clear();
        assert!(!position.rest_of(&whole).contains("40#m"));
    }

    #[test]
    fn a_position_of_only_some_keys_ends_with_the_last_of_them() {
        let position = Position::only(["30#a".to_owned(), "50#b".to_owned()]);
        let rest = position.rest_of(&Interval::whole());
        assert!(rest.contains("50#b") && !rest.contains("50#c"));
        assert!(position.is_open("30#a") && !position.is_open("40#a") && !position.is_open("ff#z"));
    }
}
