//! Asking somebody to look who is there: through the notification queue, so that it is done even if whoever asks dies.

use std::time::Duration;

use crate::clock::Clock;
use crate::ids::Topic;
use crate::presence::{Check, Moved, Presence, Subject};
use crate::queue::{Queue, QueueError};

/// A look waits so long after a connection has left: a page that is loaded again is back by then.
const AFTER_A_LEAVE: Duration = Duration::from_secs(3);

/// Where it is kept who is there, and how somebody is asked to look. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lookout {
    presence: Presence,
    /// Whether users are of interest that are in no such topic.
    users: bool,
    /// Whether there can be somebody who follows single connections.
    connections: bool,
    queue: Queue,
    clock: Clock,
}

impl Lookout {
    /// For these topics; with `users` also for users with any connection. Looks are asked for through the notification
    /// queue `queue`.
    #[must_use]
    pub fn new(presence: Presence, users: bool, queue: Queue) -> Self {
        Self { presence, users, connections: false, queue, clock: Clock::System }
    }

    /// The same, which has those told who follow single connections in these topics.
    #[must_use]
    pub fn with_connections(self) -> Self {
        Self { connections: true, ..self }
    }

    /// Whether it is kept who is in this topic.
    #[must_use]
    pub fn keeps(&self, topic: &Topic) -> bool {
        self.presence.is_kept(topic)
    }

    /// Whether it is kept which users have a connection.
    pub(crate) fn keeps_users(&self) -> bool {
        self.users
    }

    /// Milliseconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        self.clock.milliseconds()
    }

    /// Asks somebody to look at those who came, or whose time is over, at once.
    pub(crate) async fn came(&self, subjects: &[Subject]) -> Result<(), QueueError> {
        self.ask(subjects, Duration::ZERO).await
    }

    /// Asks somebody to look at those who left, in a few seconds.
    pub(crate) async fn left(&self, subjects: &[Subject]) -> Result<(), QueueError> {
        self.ask(subjects, AFTER_A_LEAVE).await
    }

    /// Has those told who follow connections, at once.
    pub(crate) async fn moved(&self, moved: &[Moved]) -> Result<(), QueueError> {
        match moved.first() {
            Some(first) if self.connections => {
                let messages = moved.iter().map(Moved::to_message).collect();
                self.queue.send(messages, first.connection.as_str(), Duration::ZERO).await
            }
            _ => Ok(()),
        }
    }

    async fn ask(&self, subjects: &[Subject], delay: Duration) -> Result<(), QueueError> {
        let Some(group) = subjects.first().map(|subject| subject.user.as_str()) else { return Ok(()) };
        let looks = subjects.iter().map(|subject| Check { subject: subject.clone(), seen: false }.to_message());
        self.queue.send(looks.collect(), group, delay).await
    }
}
