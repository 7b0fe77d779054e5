//! Going live: how a client that neither sorts nor drops what it gets is subscribed to an ordered topic.
//!
//! ```text
//! begin    its row says pending: lanes pass it, and say so
//! reading  what it missed, up to P, goes into its reply
//! finish   live from P, unless a lane has passed it beyond: then the rest is posted, and again
//! ```
//!
//! Commands of one connection run side by side, in any order. Each has a place: an earlier one changes nothing.
//! A subscribe that meets a row of its own connection waits until the lane has ended the batch that may have read it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::history::Retention;
use crate::ids::Topic;
use crate::log::{LogName, LogPosition, Since};
use crate::notification::Notification;
use crate::protocol::Told;
use crate::recovery::{Reading, RecoveryError};
use crate::registry::{Connection, Place, Registry, RegistryError, Went, Written};

/// For how long a command waits for another of the same connection, and for a lane.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// How often the rest is posted while a lane goes on passing.
const ROUNDS: usize = 20;

/// A subscribe that has begun. Its row is pending, and its own until it is live.
#[derive(Debug)]
pub struct GoingLive<'a> {
    registry: &'a Registry,
    connection: &'a Connection,
    log: LogName,
    topic: Topic,
    retention: Retention,
    place: Place,
    clock: Clock,
}

/// How a command of a connection begins.
#[derive(Debug)]
pub enum Begun<T> {
    /// It is its turn.
    Ours(T),
    /// A later command of the connection was here: there is nothing to do.
    Overtaken,
    /// It cannot be known what the client gets: the connection has to be closed.
    Stuck,
}

/// How a subscribe ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is live.
    Live,
    /// A later command of the connection has taken its place.
    Overtaken,
    /// It cannot be known what the client has: the connection has to be closed.
    Stuck,
}

/// Begins to subscribe a connection to an ordered topic. `place` is the command's among those of the connection.
///
/// # Errors
/// When the registry fails; then the connection has to be closed.
pub async fn begin<'a>(
    registry: &'a Registry,
    connection: &'a Connection,
    topic: &Topic,
    retention: Retention,
    place: Place,
    clock: Clock,
) -> Result<Begun<GoingLive<'a>>, RegistryError> {
    let end = Instant::now() + PATIENCE;
    let replaced = loop {
        match registry.write_pending(connection, topic, place, clock.milliseconds()).await? {
            Written::Ours { replaced } => break replaced,
            Written::Newer => return Ok(Begun::Overtaken),
            Written::Pending if Instant::now() >= end => return Ok(Begun::Stuck),
            Written::Pending => sleep(PAUSE).await,
        }
    };
    // A lane may have read the row that stood there: what it posts by that must be over first.
    if replaced && !batch_ends(registry, topic).await? {
        return Ok(Begun::Stuck);
    }
    let (log, topic) = (LogName::Topic(topic.clone()), topic.clone());
    Ok(Begun::Ours(GoingLive { registry, connection, log, topic, retention, place, clock }))
}

/// Unsubscribes a connection from an ordered topic.
///
/// # Errors
/// When the registry fails.
pub async fn leave(
    registry: &Registry,
    connection: &Connection,
    topic: &Topic,
    place: Place,
    clock: Clock,
) -> Result<Begun<()>, RegistryError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match registry.write_left(connection, topic, place, clock.milliseconds()).await? {
            Written::Ours { .. } => return Ok(Begun::Ours(())),
            Written::Newer => return Ok(Begun::Overtaken),
            Written::Pending if Instant::now() >= end => return Ok(Begun::Stuck),
            Written::Pending => sleep(PAUSE).await,
        }
    }
}

/// Waits until no lane is at work by what it read before; `false` where that takes too long.
async fn batch_ends(registry: &Registry, topic: &Topic) -> Result<bool, RegistryError> {
    let end = Instant::now() + PATIENCE;
    let first = registry.lane_batch(topic).await?;
    let mut now = first.clone();
    loop {
        if now.is_released || now != first {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(PAUSE).await;
        now = registry.lane_batch(topic).await?;
    }
}

impl GoingLive<'_> {
    /// Which topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Gives up: the client is told that it is not subscribed.
    ///
    /// # Errors
    /// When the registry fails; then the connection has to be closed.
    pub async fn give_up(&self) -> Result<(), RegistryError> {
        let now = self.clock.milliseconds();
        self.registry.take_back_pending(&self.connection.id, &self.topic, self.place, now).await
    }

    fn reading(&self) -> Reading<'_> {
        let (log, retention) = (&self.log, self.retention);
        Reading { log, retention, connection: Some(&self.connection.id), now: self.clock.milliseconds() }
    }

    /// What the client missed, or only where the log ends where it does not say where it is; as much as `bytes` has room for.
    ///
    /// # Errors
    /// When the client is ahead of the log, or the registry fails.
    pub async fn missed(&self, since: Option<&Since>, bytes: &mut usize) -> Result<Told, RecoveryError> {
        match since {
            Some(since) => self.registry.missed(&self.reading(), since, bytes).await,
            None => {
                let position = self.registry.end_of_log(&self.reading()).await?;
                Ok(Told { position, recovered: None, messages: Vec::new(), more: false })
            }
        }
    }

    /// Makes the membership live, now that the client has everything up to `at`. What a lane passed it with meanwhile is
    /// given to `post`, whose failure means that nobody knows what the client has. `is_behind` says that there is more even
    /// now.
    ///
    /// # Errors
    /// When the registry fails; then the connection has to be closed.
    pub async fn finish<E>(
        &self,
        mut at: LogPosition,
        is_behind: bool,
        post: impl AsyncFn(&[Notification]) -> Result<(), E>,
    ) -> Result<Ended, RecoveryError> {
        let mut is_behind = is_behind;
        for _ in 0..ROUNDS {
            if !is_behind {
                match self.registry.go_live(&self.connection.id, &self.topic, self.place, &at).await? {
                    Went::Live => return Ok(Ended::Live),
                    Went::NotOurs => return Ok(Ended::Overtaken),
                    Went::Passed(_) => {}
                }
            }
            let mut room = usize::MAX;
            let since = Since { position: at.clone(), connection: None };
            let told = self.missed(Some(&since), &mut room).await?;
            if told.recovered != Some(true) {
                return Ok(Ended::Stuck);
            }
            if !told.messages.is_empty() && post(&told.messages).await.is_err() {
                return Ok(Ended::Stuck);
            }
            (at, is_behind) = (told.position, false);
        }
        Ok(Ended::Stuck)
    }
}
