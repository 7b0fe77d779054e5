//! Appending: one entry for a notification, however often it comes again.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Deserialize;

use super::{Head, entry_id, number};
use crate::history::Retention;
use crate::ids::NotificationId;
use crate::log::{LogName, LogPosition, MOST_OFFSET};
use crate::registry::items;
use crate::registry::keys::{self, Key};
use crate::registry::names::{EXPIRES_AT, ID, NOTIFICATION};
use crate::registry::{Registry, RegistryError, retry};

/// Places that are tried one after the other before the end of the log is looked for again.
const IN_A_ROW: u32 = 3;

/// What is to be appended, and what is known of the log.
#[derive(Debug, Clone, Copy)]
pub struct Append<'a> {
    /// Whose log.
    pub log: &'a LogName,
    /// What is kept of it.
    pub retention: Retention,
    /// What the notification's id is unique in.
    pub scope: &'a str,
    /// The notification.
    pub id: &'a NotificationId,
    /// The same as JSON, without a place in a log.
    pub notification: &'a str,
    /// The log's head, as it was read before.
    pub head: &'a Head,
    /// A place above which the notification may stand already, if this is not the first time that it is taken up.
    pub from: Option<&'a LogPosition>,
}

/// Where a notification stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Its position.
    pub position: LogPosition,
    /// Places that others had taken before.
    pub contended: u32,
    /// Whether it stood there already.
    pub was_there: bool,
    /// When it was said, as it stands there, if it stood there already; in milliseconds since the epoch.
    pub said_at: Option<i64>,
}

/// What stands at a place after an attempt to put an entry there.
enum Put {
    /// The entry, as of now.
    Done,
    /// The entry, since an earlier attempt, with when that was said.
    WasThere(Option<i64>),
    /// Another one.
    Taken,
}

impl Registry {
    /// Appends a notification to a log, and raises nothing: see [`Registry::raise_head`]. `now` is in milliseconds since the
    /// epoch.
    ///
    /// # Errors
    /// [`RegistryError::Contended`] where others were faster again and again; else when DynamoDB fails.
    pub async fn append(&self, append: &Append<'_>, now: i64) -> Result<Appended, RegistryError> {
        let epoch = &append.head.epoch;
        let (mut last, mut contended, mut failures) = (append.head.offset, 0, 0);
        let position = |offset| LogPosition { offset, epoch: epoch.clone() };
        let new =
            |offset, contended| Appended { position: position(offset), contended, was_there: false, said_at: None };
        let own = |offset, contended, said_at| Appended { was_there: true, said_at, ..new(offset, contended) };
        if let Some(from) = append.from.filter(|_| append.head.is_written) {
            // A log that has begun anew since has little in it.
            let after = if from.epoch == *epoch { from.offset } else { 0 };
            match self.find(append, after).await? {
                Ok((offset, said_at)) => return Ok(own(offset, 0, said_at)),
                Err(end) => last = end,
            }
        }
        loop {
            match self.put_entry(append, last + 1, now).await? {
                Put::Done => return Ok(new(last + 1, contended)),
                Put::WasThere(said_at) => return Ok(own(last + 1, contended, said_at)),
                Put::Taken => {}
            }
            (last, contended) = (last + 1, contended + 1);
            if contended % IN_A_ROW == 0 {
                if !retry::again(&mut failures).await {
                    return Err(RegistryError::Contended);
                }
                last = self.end_of(append, last).await?;
            }
        }
    }

    /// The notification's own place above `after`, and when it was said there; else where the log ends.
    async fn find(
        &self,
        append: &Append<'_>,
        mut after: u64,
    ) -> Result<Result<(u64, Option<i64>), u64>, RegistryError> {
        let id = entry_id(append.scope, append.id);
        loop {
            let read = self.entries(append.log, &append.head.epoch, (after, MOST_OFFSET), false, usize::MAX).await?;
            if let Some(own) = read.entries.iter().find(|entry| entry.id == id) {
                return Ok(Ok((own.offset, said_at(&own.notification))));
            }
            after = read.entries.last().map_or(after, |entry| entry.offset);
            if !read.goes_on {
                return Ok(Err(after.max(append.head.offset)));
            }
        }
    }

    /// Where the log ends, if it reaches `known` at least.
    async fn end_of(&self, append: &Append<'_>, known: u64) -> Result<u64, RegistryError> {
        let newest = self.entries(append.log, &append.head.epoch, (known, MOST_OFFSET), true, 1).await?;
        Ok(newest.entries.first().map_or(known, |entry| entry.offset))
    }

    async fn put_entry(&self, append: &Append<'_>, offset: u64, now: i64) -> Result<Put, RegistryError> {
        let id = entry_id(append.scope, append.id);
        let expires_at = now / 1_000 + i64::from(append.retention.seconds);
        let key = Key { pk: keys::log_partition(append.log, &append.head.epoch), sk: keys::entry(offset) };
        let mut item = key.attributes();
        item.insert(ID.to_owned(), AttributeValue::S(id.clone()));
        item.insert(NOTIFICATION.to_owned(), AttributeValue::S(append.notification.to_owned()));
        item.insert(EXPIRES_AT.to_owned(), number(expires_at));
        Ok(match self.put_new(item).await? {
            Ok(()) => Put::Done,
            Err(there) if items::text(&there, ID) == Some(&id) => {
                Put::WasThere(items::text(&there, NOTIFICATION).and_then(|text| said_at(text)))
            }
            Err(_) => Put::Taken,
        })
    }
}

/// When a notification was said that stands in a log.
fn said_at(notification: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Said {
        at: i64,
    }
    serde_json::from_str::<Said>(notification).ok().map(|said| said.at)
}
