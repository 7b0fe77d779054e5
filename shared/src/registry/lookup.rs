//! Reading connections one knows the ids of.

use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};

use super::items::{self, Connection};
use super::keys::Key;
use super::{Registry, RegistryError, retry};
use crate::ids::ConnectionId;

/// The most that DynamoDB reads in one batch.
const BATCH: usize = 100;

impl Registry {
    /// Those of these connections that are registered, in no particular order. Read eventually consistently, a hundred
    /// at a time; no id may come twice. A row that cannot be read is left out and logged.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn connections(&self, ids: &[ConnectionId]) -> Result<Vec<Connection>, RegistryError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let mut keys: Vec<_> = ids.iter().map(|id| Key::connection(id).attributes()).collect();
            let mut failures = 0;
            while !keys.is_empty() {
                let answer = retry::retrying("BatchGetItem", || async {
                    let wanted = KeysAndAttributes::builder().set_keys(Some(keys.clone())).build()?;
                    let request = self.client.batch_get_item().request_items(&self.table, wanted);
                    Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
                })
                .await?;
                self.counter.add_read(answer.consumed_capacity());
                let rows = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
                found.extend(rows.iter().filter_map(readable));
                let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
                keys = left.map(|left| left.keys).unwrap_or_default();
                if !keys.is_empty() && !retry::again(&mut failures).await {
                    return Err(RegistryError::Unfinished { operation: "BatchGetItem", left: keys.len() });
                }
            }
        }
        Ok(found)
    }
}

fn readable(row: &items::Item) -> Option<Connection> {
    items::read(row).inspect_err(|error| tracing::error!(%error, "skipped a row that cannot be read")).ok()
}
