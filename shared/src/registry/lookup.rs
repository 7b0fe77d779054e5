//! Reading connections one knows the ids of.

use super::batch::MAX_READS;
use super::items::{self, Connection};
use super::keys::Key;
use super::{Registry, RegistryError};
use crate::ids::ConnectionId;

impl Registry {
    /// Those of these connections that are registered, in no particular order. Read consistently, a hundred at a time;
    /// no id may come twice. A row that cannot be read is left out and logged.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn connections(&self, ids: &[ConnectionId]) -> Result<Vec<Connection>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_READS) {
            let keys = ids.iter().map(|id| Key::connection(id).attributes()).collect();
            let rows = self.read_batch(keys).await?;
            found.extend(rows.iter().filter_map(items::readable));
        }
        Ok(found)
    }
}
