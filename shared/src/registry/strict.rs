//! What the row of a membership says whose client must get nothing twice and nothing out of order.

use super::items::{self, Item};
use super::names::{EPOCH, LIVE, LIVE_FROM, PENDING, PLACE, SINCE, STATE};
use crate::log::{Epoch, LogPosition};

/// A membership of a client that must get nothing twice and nothing out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strict {
    /// The place of the command that wrote it, as the table has it.
    pub place: String,
    /// How far it is.
    pub standing: Standing,
}

/// How far such a membership is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its subscribe is at work: it gets nothing, and whoever passes it says so.
    Pending {
        /// Since when, in milliseconds since the epoch.
        since: i64,
    },
    /// It has everything up to here, and gets what comes behind.
    Live(LogPosition),
    /// It left a moment ago.
    Left,
}

impl Strict {
    /// What a membership's row says; `None` for those of clients that sort by themselves.
    pub(super) fn read(item: &Item) -> Option<Self> {
        let standing = match items::text(item, STATE)?.as_str() {
            PENDING => Standing::Pending { since: items::number(item, SINCE).unwrap_or_default() },
            LIVE => {
                let epoch = Epoch::parse(items::text(item, EPOCH)?).ok()?;
                let offset = u64::try_from(items::number(item, LIVE_FROM).ok()?).ok()?;
                Standing::Live(LogPosition { offset, epoch })
            }
            _ => Standing::Left,
        };
        Some(Self { place: place_of(item), standing })
    }
}

/// The place of the command that wrote a row, as the table has it.
pub(super) fn place_of(item: &Item) -> String {
    item.get(PLACE).and_then(|place| place.as_n().ok()).cloned().unwrap_or_default()
}
