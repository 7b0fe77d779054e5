//! What a lane does with members whose clients neither sort nor drop what they get.
//!
//! A lane never waits for one that is about to go live: it writes down that it has passed it, and the member's subscribe
//! tells it the rest. Whoever may have a part of what it would get is closed, comes back and recovers.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FanOut, FanOutError};
use crate::clock::Clock;
use crate::delivery::{Admission, Doorkeeper, Verdict};
use crate::ids::{ConnectionId, Topic};
use crate::log::Epoch;
use crate::queue::Queue;
use crate::registry::{Member, Passing, Registry, RegistryError, Standing};

/// A subscribe that takes longer is given up, and its connection closed. In milliseconds.
const LONGEST_SUBSCRIBE_MS: i64 = 10_000;
/// When a member that was passed is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(11);

/// A message of the fan-out queue: a member was passed while it was pending, and is to be pending no more by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassedMember {
    /// Of which topic.
    passed: Topic,
    /// Which connection.
    connection: ConnectionId,
    /// By which of its commands.
    place: String,
}

impl PassedMember {
    /// Reads a message; `None` where it is something else.
    pub(super) fn parse(message: &str) -> Option<Self> {
        serde_json::from_str(message).ok()
    }
}

/// A batch that a lane is about to push.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) registry: Registry,
    pub(super) queue: Queue,
    pub(super) clock: Clock,
    pub(super) topic: Topic,
    /// Which life of the log it is of.
    pub(super) epoch: Epoch,
    /// Its last offset.
    pub(super) end: u64,
    /// Whether members may have a part of it that nobody has written down.
    pub(super) is_unsure: bool,
    /// Up to here nothing was pushed: whoever is live from before it misses something.
    pub(super) skipped: u64,
}

impl Batch {
    pub(super) fn doorkeeper(self) -> Arc<Doorkeeper> {
        let batch = Arc::new(self);
        Arc::new(move |member: Member, is_old: bool| {
            let batch = Arc::clone(&batch);
            Box::pin(async move { batch.look(member, is_old).await })
        })
    }

    async fn look(&self, mut member: Member, is_old: bool) -> Result<Admission, RegistryError> {
        let mut has_changed = is_old;
        loop {
            if has_changed {
                match self.registry.member_now(&member, self.clock.milliseconds()).await? {
                    Some(now) => member = now,
                    None => return Ok(Admission { member, verdict: Verdict::Passed }),
                }
            }
            match self.verdict(&member).await? {
                Some(verdict) => return Ok(Admission { member, verdict }),
                None => has_changed = true,
            }
        }
    }

    /// What the member gets; nothing where it is not as it was read any more.
    async fn verdict(&self, member: &Member) -> Result<Option<Verdict>, RegistryError> {
        let Some(strict) = &member.strict else { return Ok(Some(Verdict::Live)) };
        Ok(match &strict.standing {
            Standing::Left => Some(Verdict::Passed),
            Standing::Live(from) if from.epoch != self.epoch => Some(Verdict::Uncertain),
            Standing::Live(from) if self.is_unsure && from.offset < self.end => Some(Verdict::Uncertain),
            Standing::Live(from) if from.offset < self.skipped => Some(Verdict::Uncertain),
            Standing::Live(_) => Some(Verdict::Live),
            Standing::Pending { since } if self.clock.milliseconds() - since > LONGEST_SUBSCRIBE_MS => {
                Some(Verdict::Uncertain)
            }
            Standing::Pending { .. } => match self.registry.pass(member, &strict.place, self.end).await? {
                Passing::First => {
                    self.have_it_looked_at(member, &strict.place).await?;
                    Some(Verdict::Passed)
                }
                Passing::Again => Some(Verdict::Passed),
                Passing::Changed => None,
            },
        })
    }

    async fn have_it_looked_at(&self, member: &Member, place: &str) -> Result<(), RegistryError> {
        let message =
            PassedMember { passed: self.topic.clone(), connection: member.connection.clone(), place: place.to_owned() };
        // Names and a number can be written.
        let body = serde_json::to_string(&message).unwrap_or_default();
        let sent = self.queue.send(vec![body], member.connection.as_str(), LOOK_AGAIN).await;
        sent.map_err(|error| RegistryError::Queue(error.into()))
    }
}

impl FanOut {
    /// Closes a member that a lane has passed and whose subscribe has not told it the rest by now.
    ///
    /// # Errors
    /// When it is to come again.
    pub async fn check_passed(&self, member: &PassedMember) -> Result<(), FanOutError> {
        let PassedMember { passed: topic, connection, place } = member;
        let strict = self.delivery.registry().strict(connection, topic).await?;
        let is_pending =
            strict.is_some_and(|strict| strict.place == *place && matches!(strict.standing, Standing::Pending { .. }));
        if is_pending {
            self.delivery.close(&connection.first_socket()).await?;
        }
        Ok(())
    }
}
