//! Reading logs for clients: what one that comes back has missed, and what was said before.
//!
//! A subscriber's membership is written first, then the head of the log is read, then the log. Whoever appends does it the
//! other way round: the entry first, then the audience. So a message is pushed to the subscriber, or stands in the log that
//! its reply was read from; perhaps both, never neither.

use crate::history::Retention;
use crate::ids::{ConnectionId, NotificationId};
use crate::log::{Epoch, LogName, LogPosition, MOST_OFFSET, Place, Since};
use crate::notification::{DEFAULT_TTL_SECONDS, Defaults, Notification};
use crate::protocol::{ENVELOPE_BYTES, Told};
use crate::registry::{Entry, Head, Registry, RegistryError};

/// Entries that are read at once.
const PAGE: usize = 500;
/// What is read, for whom.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Whose log.
    pub log: &'a LogName,
    /// What is kept of it.
    pub retention: Retention,
    /// Who reads; `None` for who has no connection.
    pub connection: Option<&'a ConnectionId>,
    /// In milliseconds since the epoch.
    pub now: i64,
}

/// What of a log is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// From here on, or up to here where it is read backwards.
    pub since: Option<&'a Since>,
    /// No more messages than this.
    pub limit: usize,
    /// The newest first.
    pub reverse: bool,
}

/// Why a log is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoveryError {
    /// The client says that it has what was never said.
    #[error("`since` is {since}, and the log ends at {end}; give the offset of the last message that came")]
    Ahead {
        /// What it says.
        since: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Registry {
    /// Where a log ends: for a subscriber that has missed nothing.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn end_of_log(&self, reading: &Reading<'_>) -> Result<LogPosition, RegistryError> {
        Ok(self.raised_head(reading).await?.position())
    }

    /// What a client missed since it was here, from the oldest on, as much as `bytes` has room for; one message always has.
    ///
    /// # Errors
    /// [`RecoveryError::Ahead`] when it says that it has more than there is; else when DynamoDB fails.
    pub async fn missed(&self, reading: &Reading<'_>, since: &Since, bytes: &mut usize) -> Result<Told, RecoveryError> {
        self.history(reading, Asked { since: Some(since), limit: usize::MAX, reverse: false }, bytes).await
    }

    /// What a log has, as much as `bytes` has room for; one message always has.
    ///
    /// # Errors
    /// [`RecoveryError::Ahead`] when the client says that it has more than there is; else when DynamoDB fails.
    pub async fn history(
        &self,
        reading: &Reading<'_>,
        asked: Asked<'_>,
        bytes: &mut usize,
    ) -> Result<Told, RecoveryError> {
        let head = self.raised_head(reading).await?;
        let (end, position) = (head.offset, head.position());
        let since = asked.since.filter(|since| since.position.epoch == head.epoch);
        if let Some(ahead) = since.filter(|since| since.position.offset > end) {
            return Err(RecoveryError::Ahead { since: ahead.position.offset, end });
        }
        let least = lowest(&head, end, reading.retention);
        let (after, to) = match (since, asked.reverse) {
            (Some(since), false) => (since.position.offset.max(least), end),
            (Some(since), true) => (least, since.position.offset.saturating_sub(1)),
            (None, _) => (least, end),
        };
        let mut page = Page::new(reading, asked, bytes);
        if after < to {
            self.read_into(&mut page, reading, &head, (after, to)).await?;
        }
        let has_all = since.is_some_and(|since| {
            let begins = page.first.is_none_or(|first| first == since.position.offset + 1);
            (since.position.offset == end)
                || (page.first.is_some() && begins && !page.has_gap && page.last_seen_is(end))
        });
        Ok(Told {
            recovered: asked.since.filter(|_| !asked.reverse).map(|_| has_all),
            messages: page.messages,
            more: page.is_full,
            position,
        })
    }

    /// The head of a log, as high as the log reaches. A log without one begins.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn raised_head(&self, reading: &Reading<'_>) -> Result<Head, RegistryError> {
        let mut head = self.head_or_begin(reading).await?;
        head.offset = self.end_behind(reading, &head).await?;
        Ok(head)
    }

    async fn head_or_begin(&self, reading: &Reading<'_>) -> Result<Head, RegistryError> {
        match self.head(reading.log).await? {
            Some(head) => {
                self.keep_head(reading.log, &head, reading.retention, reading.now).await?;
                Ok(head)
            }
            None => self.begin_log(reading.log, reading.retention, reading.now).await,
        }
    }

    /// Where the log ends: at its head, or above it where an appender has not raised it yet. Then it is raised before it is
    /// told, for an offset that was told must not be given again.
    async fn end_behind(&self, reading: &Reading<'_>, head: &Head) -> Result<u64, RegistryError> {
        let mut end = head.offset;
        loop {
            let above = self.entries(reading.log, &head.epoch, (end, MOST_OFFSET), false, PAGE).await?;
            end = above.entries.last().map_or(end, |entry| entry.offset);
            if !above.goes_on {
                break;
            }
        }
        if end > head.offset {
            let position = LogPosition { offset: end, epoch: head.epoch.clone() };
            self.raise_head(reading.log, &position, reading.retention, reading.now).await?;
        }
        Ok(end)
    }

    async fn read_into(
        &self,
        page: &mut Page<'_>,
        reading: &Reading<'_>,
        head: &Head,
        (mut after, mut to): (u64, u64),
    ) -> Result<(), RegistryError> {
        while after < to && !page.is_full {
            let read = self.entries(reading.log, &head.epoch, (after, to), page.asked.reverse, PAGE).await?;
            let Some(last) = read.entries.last().map(|entry| entry.offset) else { return Ok(()) };
            for entry in read.entries {
                if !page.take(entry, &head.epoch) {
                    return Ok(());
                }
            }
            match page.asked.reverse {
                true => to = last - 1,
                false => after = last,
            }
            if !read.goes_on {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The offset above which entries can be read: nothing trims a log.
fn lowest(head: &Head, end: u64, retention: Retention) -> u64 {
    let by_count = retention.messages.map_or(0, |messages| end.saturating_sub(u64::from(messages)));
    head.floor.max(by_count)
}

/// Messages that are taken as long as there is room.
struct Page<'a> {
    reading: &'a Reading<'a>,
    asked: Asked<'a>,
    bytes: &'a mut usize,
    messages: Vec<Notification>,
    is_full: bool,
    /// The first entry that could be read, and the last one, whether it is for this client or not.
    first: Option<u64>,
    last: Option<u64>,
    has_gap: bool,
}

impl<'a> Page<'a> {
    fn new(reading: &'a Reading<'a>, asked: Asked<'a>, bytes: &'a mut usize) -> Self {
        let messages = Vec::new();
        Self { reading, asked, bytes, messages, is_full: false, first: None, last: None, has_gap: false }
    }

    /// Whether everything up to `end` was seen, or would be if there were room.
    fn last_seen_is(&self, end: u64) -> bool {
        self.is_full || self.last == Some(end)
    }

    /// Takes an entry; `false` where there is no room for it.
    fn take(&mut self, entry: Entry, epoch: &Epoch) -> bool {
        if entry.expires_at <= self.reading.now / 1_000 {
            return true;
        }
        let size = entry.notification.len() + ENVELOPE_BYTES;
        if self.messages.len() >= self.asked.limit || (size > *self.bytes && !self.messages.is_empty()) {
            self.is_full = true;
            return false;
        }
        self.has_gap |= self.last.is_some_and(|last| !self.asked.reverse && entry.offset != last + 1);
        self.first = self.first.or(Some(entry.offset));
        self.last = Some(entry.offset);
        if let Some(message) = self.message(&entry, epoch) {
            *self.bytes = self.bytes.saturating_sub(size);
            self.messages.push(message);
        }
        true
    }

    /// The message of an entry, if it is for this client: not one that leaves it out, nor one past the time to live that its
    /// producer gave. The default one bounds pushes, not the log.
    fn message(&self, entry: &Entry, epoch: &Epoch) -> Option<Notification> {
        let defaults = Defaults { id: NotificationId::parse("entry").ok()?, at: 0 };
        let mut message = match Notification::parse_own(&entry.notification, &defaults) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, offset = entry.offset, "skipped an entry of a log that cannot be read");
                return None;
            }
        };
        let before = self.asked.since.and_then(|since| since.connection.as_ref());
        let is_left_out =
            message.except.iter().any(|other| Some(other) == self.reading.connection || Some(other) == before);
        let is_over = message.ttl != DEFAULT_TTL_SECONDS && message.is_expired(self.reading.now);
        let position = LogPosition { offset: entry.offset, epoch: epoch.clone() };
        message.log = Some(Place { log: self.reading.log.clone(), position });
        (!is_left_out && !is_over).then_some(message)
    }
}
