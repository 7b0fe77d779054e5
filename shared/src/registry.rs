//! Who is connected and who listens to what: one DynamoDB table, no scans, no index.
//!
//! Nothing else knows DynamoDB. Every row of a membership is made from one pair of functions (`join`, `leave`), and
//! there are no transactions, which DynamoDB cancels where they meet: whoever changes a connection looks at its row again
//! at last, so that one which is gone leaves no orphan behind, whatever the order. What a crash leaves all the same dies
//! by its `expires_at`, or with the first push that finds its socket gone. What a client asked for last counts, whatever
//! is carried out last: memberships know their [`Place`].

mod batch;
mod capacity;
mod change;
mod durable;
mod going_live;
mod inbox;
mod interval;
mod items;
mod keep_alive;
mod keys;
mod lane;
mod listing;
mod log;
mod lookup;
mod members;
mod memberships;
mod names;
mod outbox;
mod place;
mod polls;
mod presence;
mod rate;
mod retry;
mod session;
mod strict;
mod topics;
mod web_pubsub;
mod work;
mod write;

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;

use crate::function::BoxError;
use crate::ids::ConnectionId;
use crate::lookout::Lookout;
use crate::protocol::{ClientError, ErrorCode};
use crate::queue::QueueError;
use crate::web_pubsub::GrantsFull;
use capacity::Counter;
use keys::Key;

pub use capacity::Consumed;
pub(crate) use change::Change;
pub use going_live::{LaneBatch, Passing, Went, Written};
pub use interval::Interval;
pub use items::{Connection, LONGEST_MOVING_MS, Session, WebPubSub};
pub use keys::{connection_of, entries_of_head, log_of_head};
pub use lane::{Begun, LaneHolder, LaneLease, LanePosition, LaneTaker, RENEWED_EVERY};
pub use listing::{Audience, Page};
pub use log::{Append, Appended, Entries, Entry, Head};
pub use members::{Member, Members};
pub use names::{CONNECTED_AT, EXPIRES_AT, PK, PROTOCOL, SK, SOCKET, TOPICS, USER};
pub use outbox::{Kept, Outbox, Taken};
pub(crate) use place::By;
pub use place::Place;
pub use polls::PollLease;
pub(crate) use presence::TellingTurn;
pub use session::Nobody;
pub use strict::{Standing, Strict};

pub use rate::{Granted, LearntRate, RateLimit, Wanted};
pub use work::{Attempt, Claim, Lease, Position, SegmentKey};

/// Most topics that one connection may subscribe to. Durable topics of its user count, but are never refused for it: a
/// connection that asked for as many as it may gets them on top.
pub const MAX_TOPICS_PER_CONNECTION: usize = 100;
/// Most durable topics of one user.
pub const MAX_DURABLE_TOPICS_PER_USER: usize = 100;
/// Most bytes that the names of a connection's topics may have together, and as many for the durable topics of a user:
/// every change of a set pays for all of it.
pub const MAX_TOPIC_BYTES: usize = 8 * 1_024;

/// Rows that one page of an audience holds: small enough to keep memory flat, large enough to pay for its request.
const PAGE_ROWS: i32 = 1_000;

/// Why the registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The connection is not there, or not any more.
    #[error("the connection is not registered any more; connect again")]
    NotConnected,
    /// The connection would be subscribed to too many topics.
    #[error(
        "the connection would be subscribed to {count} topics, and {MAX_TOPICS_PER_CONNECTION} are allowed; unsubscribe from some"
    )]
    TooManyTopics {
        /// How many it would be.
        count: usize,
    },
    /// The names of the topics that the connection would be subscribed to are too long together.
    #[error(
        "the names of the connection's topics would have {bytes} bytes together, and {MAX_TOPIC_BYTES} are allowed; unsubscribe from some, or use shorter names"
    )]
    TopicsTooLong {
        /// How many bytes it would be.
        bytes: usize,
    },
    /// The user has as many durable topics as are allowed.
    #[error("the user has {MAX_DURABLE_TOPICS_PER_USER} durable topics, and no more are allowed; remove one first")]
    TooManyDurableTopics,
    /// The names of the user's durable topics would be too long together.
    #[error(
        "the names of the user's durable topics would have {bytes} bytes together, and {MAX_TOPIC_BYTES} are allowed; remove one first, or use shorter names"
    )]
    DurableTopicsTooLong {
        /// How many bytes it would be.
        bytes: usize,
    },
    /// A connection has as many grants and denials as its row has room for.
    #[error(transparent)]
    GrantsFull(GrantsFull),
    /// Others changed the same topics of a connection or a user again and again.
    #[error("the same topics are changed too often at the same time; try again")]
    Contended,
    /// A row is not what it should be.
    #[error("the attribute {attribute} of a row {problem}")]
    Malformed {
        /// The attribute.
        attribute: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What has to be done later could not be put on its queue.
    #[error("it could not be seen to that a member is looked at again")]
    Queue(#[source] BoxError),
    /// Somebody else works on the segment by now.
    #[error("the lease of the segment is lost")]
    LeaseLost,
    /// It is done, but nobody could be asked to look who is there.
    #[error("nobody could be asked to look who is there")]
    Unlooked(#[source] QueueError),
    /// DynamoDB left a part of a batch undone, again and again.
    #[error("{operation} was not finished: DynamoDB left {left} of its items undone")]
    Unfinished {
        /// The operation.
        operation: &'static str,
        /// How many items.
        left: usize,
    },
    /// DynamoDB refused, or could not be reached.
    #[error("{operation} failed in DynamoDB")]
    DynamoDb {
        /// The operation.
        operation: &'static str,
        /// What DynamoDB said.
        source: BoxError,
    },
}

impl RegistryError {
    /// What a client is told of it; what is not the client's business stays what it is.
    ///
    /// # Errors
    /// With the error itself, where it is ours.
    pub fn into_client_error(self) -> Result<ClientError, Self> {
        Ok(match &self {
            Self::NotConnected => ClientError::new(ErrorCode::NotConnected, self.to_string()),
            Self::TooManyTopics { .. } => ClientError::new(ErrorCode::TooManyTopics, self.to_string()),
            Self::TopicsTooLong { .. } => ClientError::new(ErrorCode::TooManyTopics, format!("`topics`: {self}")),
            _ => return Err(self),
        })
    }
}

/// The registry in one table; [`Aws::registry`](crate::aws::Aws::registry) makes one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    client: Client,
    table: String,
    page_rows: i32,
    counter: Arc<Counter>,
    lookout: Option<Arc<Lookout>>,
}

impl Registry {
    pub(crate) fn with_client(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), page_rows: PAGE_ROWS, counter: Arc::default(), lookout: None }
    }

    /// The same registry, reading pages of at most `rows` rows (1,000 unless said otherwise).
    #[must_use]
    pub fn with_page_rows(mut self, rows: i32) -> Self {
        self.page_rows = rows;
        self
    }

    /// The same registry, which keeps who is there.
    #[must_use]
    pub fn with_lookout(mut self, lookout: Lookout) -> Self {
        self.lookout = Some(Arc::new(lookout));
        self
    }

    /// What this value and its clones have consumed of the table so far.
    #[must_use]
    pub fn consumed(&self) -> Consumed {
        self.counter.read()
    }

    /// The row of this key, if there is one. Read consistently.
    async fn get(&self, key: items::Item) -> Result<Option<items::Item>, RegistryError> {
        let answer = retry::retrying("GetItem", || async {
            let request = self.client.get_item().table_name(&self.table).consistent_read(true);
            let request = request.return_consumed_capacity(ReturnConsumedCapacity::Total);
            Ok(request.set_key(Some(key)).send().await?)
        })
        .await?;
        self.counter.add_read(answer.consumed_capacity.as_ref());
        Ok(answer.item)
    }

    /// The connection, if it is registered. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn connection(&self, id: &ConnectionId) -> Result<Option<Connection>, RegistryError> {
        let row = self.get(Key::connection(id).attributes()).await?;
        row.as_ref().map(items::read).transpose()
    }
}
