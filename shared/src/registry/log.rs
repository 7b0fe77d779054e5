//! Logs of topics and users: their heads and entries.
//!
//! There is no counter: a counter and an entry are two writes, and between them lies every hole. An entry is put at the
//! place behind the last one on condition that nothing stands there; whoever loses goes on to the next place (`append`). The
//! head, which says where the log ends, is raised afterwards, and may lag behind the log; so whoever wants to know where a
//! log ends reads its head first and then what stands above it. All reads are consistent.

mod append;

use std::collections::HashMap;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};

use super::batch::MAX_READS;
use super::items::{self, Item};
use super::keys::{self, Key};
use super::names::{EPOCH, EXPIRES_AT, FLOOR, ID, NOTIFICATION, OFFSET, PK, SK};
use super::{Registry, RegistryError, retry};
use crate::history::Retention;
use crate::ids::NotificationId;
use crate::log::{Epoch, LogName, LogPosition};

pub use append::{Append, Appended};

/// How long the head outlives the last append, in seconds: with it the log begins anew, under another epoch.
const HEAD_SECONDS: i64 = 30 * 24 * 3_600;
/// Entries of one query.
const PAGE_ENTRIES: i32 = 500;

/// Where a log ends, as far as its head knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The last entry's offset, or less; 0 for a log without entries.
    pub offset: u64,
    /// Which log it is.
    pub epoch: Epoch,
    /// Entries up to this offset are out of reach.
    pub floor: u64,
    /// When the head stops to count, in seconds since the epoch.
    expires_at: i64,
    /// Whether it is written. One that is not is known to nobody else.
    pub(crate) is_written: bool,
}

/// One message of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub offset: u64,
    /// The notification, as JSON.
    pub notification: String,
    /// When it cannot be read any more, in seconds since the epoch.
    pub expires_at: i64,
    /// What names it: its id with the scope that the id is unique in.
    id: String,
}

/// Some entries, and whether there may be more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// In the order in which they were asked for.
    pub entries: Vec<Entry>,
    /// Whether the log may have more in that direction.
    pub goes_on: bool,
}

impl Head {
    /// The head of a log that is to begin: with its first entry ([`Registry::begin_log_at`]), unless somebody is faster. `now`
    /// is in milliseconds since the epoch.
    #[must_use]
    pub fn of_new_log(retention: Retention, now: i64) -> Self {
        let expires_at = head_expires_at(retention, now);
        Self { offset: 0, epoch: Epoch::random(), floor: 0, expires_at, is_written: false }
    }

    /// Where the log ends, as far as its head knows.
    #[must_use]
    pub fn position(&self) -> LogPosition {
        LogPosition { offset: self.offset, epoch: self.epoch.clone() }
    }

    fn read(item: &Item) -> Result<Self, RegistryError> {
        let LogPosition { offset: end, epoch } = position(item)?;
        let expires_at = items::number(item, EXPIRES_AT)?;
        Ok(Self { offset: end, epoch, floor: offset(item, FLOOR)?, expires_at, is_written: true })
    }
}

impl Entry {
    fn read(item: &Item) -> Result<Self, RegistryError> {
        let malformed =
            |attribute| RegistryError::Malformed { attribute, problem: "is missing or not what it should be" };
        Ok(Self {
            offset: items::sort_key(item).parse().map_err(|_| malformed(SK))?,
            notification: items::text(item, NOTIFICATION).cloned().ok_or_else(|| malformed(NOTIFICATION))?,
            expires_at: items::number(item, EXPIRES_AT)?,
            id: items::text(item, ID).cloned().unwrap_or_default(),
        })
    }
}

impl Entry {
    /// What its notification's id is unique in.
    #[must_use]
    pub fn scope(&self) -> String {
        self.id.split_once('#').map(|(scope, _)| scope).unwrap_or_default().to_owned()
    }
}

/// What names an entry: an id counts only within its scope.
fn entry_id(scope: &str, id: &NotificationId) -> String {
    format!("{scope}#{id}")
}

/// The place in a log that a row names.
pub(super) fn position(item: &Item) -> Result<LogPosition, RegistryError> {
    let malformed = RegistryError::Malformed { attribute: EPOCH, problem: "is not an epoch" };
    let epoch = items::text(item, EPOCH).and_then(|text| Epoch::parse(text).ok()).ok_or(malformed)?;
    Ok(LogPosition { offset: offset(item, OFFSET)?, epoch })
}

fn offset(item: &Item, name: &'static str) -> Result<u64, RegistryError> {
    let malformed = RegistryError::Malformed { attribute: name, problem: "is below zero" };
    u64::try_from(items::number(item, name)?).map_err(|_| malformed)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// When a head stops to count that is written at `now` (milliseconds since the epoch).
fn head_expires_at(retention: Retention, now: i64) -> i64 {
    now / 1_000 + HEAD_SECONDS.max(i64::from(retention.seconds))
}

impl Registry {
    /// The heads of these logs; a log without one is left out.
    ///
    /// # Errors
    /// When DynamoDB fails or a head is malformed.
    pub async fn heads(&self, logs: &[LogName]) -> Result<HashMap<LogName, Head>, RegistryError> {
        if let [log] = logs {
            let head = self.head(log).await?;
            return Ok(head.into_iter().map(|head| (log.clone(), head)).collect());
        }
        let mut rows = Vec::with_capacity(logs.len());
        for logs in logs.chunks(MAX_READS) {
            rows.extend(self.read_batch(logs.iter().map(|log| Key::head(log).attributes()).collect()).await?);
        }
        let by_key: HashMap<_, _> = rows.iter().filter_map(|row| Some((items::text(row, PK)?.as_str(), row))).collect();
        let known = logs.iter().filter_map(|log| Some((log, *by_key.get(Key::head(log).pk.as_str())?)));
        known.map(|(log, row)| Ok((log.clone(), Head::read(row)?))).collect()
    }

    /// The head of a log; `None` where nothing was ever said there, or not for a month.
    ///
    /// # Errors
    /// When DynamoDB fails or the head is malformed.
    pub async fn head(&self, log: &LogName) -> Result<Option<Head>, RegistryError> {
        let row = self.get(Key::head(log).attributes()).await?;
        row.as_ref().map(Head::read).transpose()
    }

    /// Begins a log, unless somebody has; its head. `now` is in milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails or the head is malformed.
    pub async fn begin_log(&self, log: &LogName, retention: Retention, now: i64) -> Result<Head, RegistryError> {
        self.write_head(log, Head::of_new_log(retention, now)).await
    }

    /// Begins a log that has its first entry already, unless somebody has. `false` where the log is another one by now. `now`
    /// is in milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails or the head is malformed.
    pub async fn begin_log_at(
        &self,
        log: &LogName,
        position: &LogPosition,
        retention: Retention,
        now: i64,
    ) -> Result<bool, RegistryError> {
        let LogPosition { offset, epoch } = position.clone();
        let head = Head { offset, epoch, ..Head::of_new_log(retention, now) };
        Ok(self.write_head(log, head).await?.epoch == position.epoch)
    }

    /// Writes a head where none stands; the one that stands there now.
    async fn write_head(&self, log: &LogName, head: Head) -> Result<Head, RegistryError> {
        let mut item = Key::head(log).attributes();
        item.insert(EPOCH.to_owned(), AttributeValue::S(head.epoch.to_string()));
        item.insert(OFFSET.to_owned(), number(head.offset));
        item.insert(FLOOR.to_owned(), number(head.floor));
        item.insert(EXPIRES_AT.to_owned(), number(head.expires_at));
        match self.put_new(item).await? {
            Ok(()) => Ok(Head { is_written: true, ..head }),
            Err(other) => Head::read(&other),
        }
    }

    /// Puts a row where none stands; the row that stands there already, if one does.
    pub(super) async fn put_new(&self, item: Item) -> Result<Result<(), Item>, RegistryError> {
        let put = retry::retrying("PutItem", || async {
            let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
            let request = request
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", PK)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item.unwrap_or_default())),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(put.map(|answer| self.counter.add_write(answer.consumed_capacity.as_ref())))
    }

    /// Raises a head to an offset, unless it is higher. `false` where the log is another one by now. `now` is in
    /// milliseconds since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn raise_head(
        &self,
        log: &LogName,
        position: &LogPosition,
        retention: Retention,
        now: i64,
    ) -> Result<bool, RegistryError> {
        let raised = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table).set_key(Some(Key::head(log).attributes()));
            let request = request
                .update_expression("SET #offset = :offset, #expires_at = :expires_at")
                .condition_expression("#epoch = :epoch AND #offset < :offset")
                .expression_attribute_names("#offset", OFFSET)
                .expression_attribute_names("#epoch", EPOCH)
                .expression_attribute_names("#expires_at", EXPIRES_AT)
                .expression_attribute_values(":offset", number(position.offset))
                .expression_attribute_values(":epoch", AttributeValue::S(position.epoch.to_string()))
                .expression_attribute_values(":expires_at", number(head_expires_at(retention, now)))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item)),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(match raised {
            Ok(answer) => {
                self.counter.add_write(answer.consumed_capacity.as_ref());
                true
            }
            Err(item) => {
                item.is_some_and(|item| items::text(&item, EPOCH).is_some_and(|other| other == position.epoch.as_str()))
            }
        })
    }

    /// Puts all that a log has up to this place out of reach, for good.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn raise_floor(&self, log: &LogName, position: &LogPosition) -> Result<(), RegistryError> {
        // Where not, it is higher already, or the log has begun anew.
        self.change_head(log, |request| {
            request
                .update_expression("SET #floor = :floor")
                .condition_expression("#epoch = :epoch AND #floor < :floor")
                .expression_attribute_names("#floor", FLOOR)
                .expression_attribute_names("#epoch", EPOCH)
                .expression_attribute_values(":floor", number(position.offset))
                .expression_attribute_values(":epoch", AttributeValue::S(position.epoch.to_string()))
        })
        .await
    }

    /// Lets a head that a subscriber has read live on, where less than half of its time is left.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn keep_head(
        &self,
        log: &LogName,
        head: &Head,
        retention: Retention,
        now: i64,
    ) -> Result<(), RegistryError> {
        let wanted = head_expires_at(retention, now);
        if head.expires_at - now / 1_000 >= (wanted - now / 1_000) / 2 {
            return Ok(());
        }
        self.change_head(log, |request| {
            request
                .update_expression("SET #expires_at = :expires_at")
                .condition_expression("#epoch = :epoch AND #expires_at < :expires_at")
                .expression_attribute_names("#epoch", EPOCH)
                .expression_attribute_names("#expires_at", EXPIRES_AT)
                .expression_attribute_values(":epoch", AttributeValue::S(head.epoch.to_string()))
                .expression_attribute_values(":expires_at", number(wanted))
        })
        .await
    }

    /// Changes a log's head, where the condition of the request holds.
    async fn change_head(
        &self,
        log: &LogName,
        change: impl FnOnce(UpdateItemFluentBuilder) -> UpdateItemFluentBuilder,
    ) -> Result<(), RegistryError> {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(Key::head(log).attributes()));
        let request = change(request).return_consumed_capacity(ReturnConsumedCapacity::Total);
        retry::retrying("UpdateItem", || async {
            match request.send().await.map_err(Error::from) {
                Ok(answer) => self.counter.add_write(answer.consumed_capacity.as_ref()),
                Err(Error::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })
        .await
    }

    /// The entries of a log above `after` up to and including `to`, at most a page of them; the newest first where
    /// `backwards`. Nothing is left out that has expired: who tells clients does that.
    ///
    /// # Errors
    /// When DynamoDB fails or an entry is malformed.
    pub async fn entries(
        &self,
        log: &LogName,
        epoch: &Epoch,
        (after, to): (u64, u64),
        backwards: bool,
        limit: usize,
    ) -> Result<Entries, RegistryError> {
        let limit = i32::try_from(limit).unwrap_or(PAGE_ENTRIES).clamp(1, PAGE_ENTRIES);
        let stretch = (keys::entry(after.saturating_add(1)), keys::entry(to));
        let answer = self.between(keys::log_partition(log, epoch), stretch, backwards, limit).await?;
        let entries = answer.items().iter().map(Entry::read).collect::<Result<_, _>>()?;
        Ok(Entries { entries, goes_on: answer.last_evaluated_key.is_some() })
    }
}
