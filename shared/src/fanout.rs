//! Splitting one delivery over many invocations: a tree that grows with its audience.
//!
//! A *segment* is a part of a notification's audience. Whoever gets one looks at its first page. If it is more than one
//! invocation can do, it is split evenly, and the parts go to the fan-out queue; else it is pushed to. A segment that came
//! from a queue has a row in the registry, so that a message that comes twice, a worker that dies, or one whose time is
//! up do no harm.

mod claim;
mod direct;
mod doorkeeper;
mod errand;
mod greeting;
mod handover;
mod heads;
mod identified;
mod keep_alive;
mod lane;
mod logged;
mod nobodies;
mod page;
mod presence;
mod publishing;
mod segment;
mod undelivered;
mod unread;
mod worker;

use std::time::Duration;

use tokio::time::Instant;

use crate::delivery::{Delivery, DeliveryError};
use crate::events::{EventBus, EventsError};
use crate::history::History;
use crate::ids::NotificationId;
use crate::metrics::Recorder;
use crate::queue::{Queue, QueueError};
use crate::registry::RegistryError;

use heads::Heads;

pub use doorkeeper::PassedMember;
pub use publishing::{InLog, Said, publish};
pub use segment::{InvalidSegment, Segment, estimate, plan, split};
pub use unread::tell_unread;
pub use worker::HandedOn;

/// Where a fan-out's messages go.
#[derive(Debug, Clone)]
pub struct Queues {
    /// Notifications that are taken up by another invocation.
    pub notifications: Queue,
    /// Segments for other invocations.
    pub fan_out: Queue,
    /// What can never succeed.
    pub dead_letters: Queue,
}

/// Delivers notifications to audiences of any size.
#[derive(Debug)]
pub struct FanOut {
    delivery: Delivery,
    queues: Queues,
    history: History,
    heads: Heads,
    bus: Option<EventBus>,
}

/// When and by whom a segment is worked on.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Unique to this attempt: Lambda's request id and the record's.
    pub owner: String,
    /// Milliseconds since the epoch.
    pub now: i64,
    /// When to stop.
    pub deadline: Instant,
    /// When Lambda ends the invocation at the latest, in milliseconds since the epoch: then its leases end.
    pub lease_until: i64,
    /// Counts what comes of it.
    pub recorder: Recorder,
}

/// Why a segment was not done.
#[derive(Debug, thiserror::Error)]
pub enum FanOutError {
    /// Somebody else works on it.
    #[error("another worker holds the segment for {} s more", .for_another.as_secs())]
    Held {
        /// For how long at most.
        for_another: Duration,
    },
    /// It went from worker to worker for too long.
    #[error("the fan-out goes on for too long: it was handed on {hops} times")]
    Endless {
        /// How often it was handed on.
        hops: u32,
    },
    /// The idempotency key is that of another notification.
    #[error(
        "the id {id} is that of another notification, with other `data`, `type`, `to` or `except`; use a new `id` for each"
    )]
    Reused {
        /// The key.
        id: NotificationId,
    },
    /// The notification that a segment refers to is gone.
    #[error("the notification {id} is not stored any more: it is older than 19 days")]
    NotStored {
        /// Its id.
        id: NotificationId,
    },
    /// A message of the fan-out queue is none.
    #[error(transparent)]
    Segment(#[from] InvalidSegment),
    /// It could not be delivered.
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    /// Its row could not be read or written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It could not be handed on.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Nobody was told of users: of those who were not reached, and nobody was reached at all; or of one who came or went.
    #[error("nobody could be told of users")]
    Events(#[from] EventsError),
}

impl FanOutError {
    /// Whether trying again can never help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Endless { .. } | Self::Reused { .. } | Self::NotStored { .. } | Self::Segment(_) => true,
            Self::Delivery(error) => {
                matches!(error, DeliveryError::PayloadTooLarge { .. } | DeliveryError::Forbidden { .. })
            }
            Self::Held { .. } | Self::Registry(_) | Self::Queue(_) | Self::Events(_) => false,
        }
    }
}

impl FanOut {
    /// Delivers through `delivery`, and hands on through `queues`.
    #[must_use]
    pub fn new(delivery: Delivery, queues: Queues) -> Self {
        Self { delivery, queues, history: History::default(), heads: Heads::default(), bus: None }
    }

    /// With logs for the audiences that these rules name; without them there are none.
    #[must_use]
    pub fn with_history(self, history: History) -> Self {
        Self { history, ..self }
    }

    /// The same, which tells a bus of users who are not reached.
    #[must_use]
    pub fn with_bus(self, bus: impl Into<Option<EventBus>>) -> Self {
        Self { bus: bus.into(), ..self }
    }

    /// What pushes.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Where messages go.
    #[must_use]
    pub fn queues(&self) -> &Queues {
        &self.queues
    }
}
