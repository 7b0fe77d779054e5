//! A user's inbox: its log, and how far it has read in it.

use crate::history::Retention;
use crate::ids::UserId;
use crate::log::{Epoch, LogName, LogPosition};
use crate::recovery::Reading;
use crate::registry::{Head, Registry, RegistryError};

pub use crate::unread::Unread;

/// Whose inbox is meant.
#[derive(Debug, Clone, Copy)]
pub struct Inbox<'a> {
    /// The user.
    pub user: &'a UserId,
    /// What is kept of its messages.
    pub retention: Retention,
    /// In milliseconds since the epoch.
    pub now: i64,
}

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// What is left to read.
    pub unread: Unread,
    /// Whether the mark rose.
    pub has_risen: bool,
}

/// Why a mark is not set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The client says that it has read what was never said.
    #[error("{offset} is beyond the log, which ends at {end}; give the offset of a message that came")]
    Ahead {
        /// What it says.
        offset: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

fn unread(head: &Head, mark: Option<&LogPosition>) -> Unread {
    Unread::of(&head.position(), head.floor, mark)
}

impl Registry {
    /// How many of its messages a user has not read. Those count that have expired.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn unread(&self, inbox: &Inbox<'_>) -> Result<Unread, RegistryError> {
        let head = self.end_of_inbox(inbox).await?;
        Ok(unread(&head, self.read_mark(inbox.user).await?.as_ref()))
    }

    /// Notes that a user has read its messages up to `offset`, in the log of this epoch; `None` for the present one. A mark
    /// only rises, and one of another epoch marks nothing.
    ///
    /// # Errors
    /// [`InboxError::Ahead`] when there is no such message yet; else when DynamoDB fails.
    pub async fn mark_read(&self, inbox: &Inbox<'_>, offset: u64, epoch: Option<&Epoch>) -> Result<Marked, InboxError> {
        let head = self.end_of_inbox(inbox).await?;
        if epoch.is_none_or(|epoch| *epoch == head.epoch) {
            if offset > head.offset {
                return Err(InboxError::Ahead { offset, end: head.offset });
            }
            let mark = LogPosition { offset, epoch: head.epoch.clone() };
            if offset > 0 && self.raise_read_mark(inbox.user, &mark).await? {
                return Ok(Marked { unread: unread(&head, Some(&mark)), has_risen: true });
            }
        }
        let mark = self.read_mark(inbox.user).await?;
        Ok(Marked { unread: unread(&head, mark.as_ref()), has_risen: false })
    }

    async fn end_of_inbox(&self, inbox: &Inbox<'_>) -> Result<Head, RegistryError> {
        let log = LogName::User(inbox.user.clone());
        self.raised_head(&Reading { log: &log, retention: inbox.retention, connection: None, now: inbox.now }).await
    }
}
