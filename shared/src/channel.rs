//! What Centrifugo's libraries ask of a channel's history, those of clients and those of servers.

use crate::log::{Epoch, LogPosition, Since};
use crate::protocol::MAX_MESSAGES_PER_COMMAND;
use crate::protocol::centrifuge::{History, Page, Publication};
use crate::recovery::{Asked, Reading, RecoveryError};
use crate::registry::{Registry, RegistryError};

/// Why the history of a channel is not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// It is asked for from a place in another life of the log.
    #[error("the place is in another life of the log")]
    Unrecoverable,
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A page of a channel's history, of at most so many bytes; one message always fits. Without a limit it says where the log
/// ends, and nothing more.
///
/// # Errors
/// When it is asked for from another life of the log, and when the registry fails.
pub async fn history(
    registry: &Registry,
    reading: &Reading<'_>,
    asked: &History,
    mut bytes: usize,
) -> Result<Page, HistoryError> {
    let end = registry.end_of_log(reading).await?;
    let since = match &asked.since {
        None => None,
        Some(since) if since.epoch.is_empty() || Epoch::parse(&since.epoch).ok().as_ref() == Some(&end.epoch) => {
            let position = LogPosition { offset: since.offset, epoch: end.epoch.clone() };
            Some(Since { position, connection: None })
        }
        Some(_) => return Err(HistoryError::Unrecoverable),
    };
    let limit = match asked.limit {
        0 => return Ok(Page::of(&end, Vec::new())),
        1.. => usize::try_from(asked.limit).unwrap_or(usize::MAX).min(MAX_MESSAGES_PER_COMMAND),
        _ => MAX_MESSAGES_PER_COMMAND,
    };
    let wanted = Asked { since: since.as_ref(), limit, reverse: asked.reverse };
    match registry.history(reading, wanted, &mut bytes).await {
        Ok(told) => {
            let publications = told.messages.iter().map(|message| Publication::of(message, true)).collect();
            Ok(Page::of(&told.position, publications))
        }
        Err(RecoveryError::Registry(error)) => Err(error.into()),
        // Nothing is behind what was never said.
        Err(_) => Ok(Page::of(&end, Vec::new())),
    }
}
