//! Reads by key and writes without a condition, as many at a time as DynamoDB takes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest};

use futures_util::StreamExt;
use futures_util::stream;

use super::items::Item;
use super::keys::Key;
use super::{Registry, RegistryError, retry};

/// `BatchWriteItem` takes no more.
const MAX_ITEMS: usize = 25;
const OPERATION: &str = "BatchWriteItem";
/// Batches that are written side by side.
const SIDE_BY_SIDE: usize = 4;
/// `BatchGetItem` takes no more.
pub(super) const MAX_READS: usize = 100;
const READ: &str = "BatchGetItem";

pub(super) fn put(item: Item) -> WriteRequest {
    // Only a missing item is refused, and it is there.
    let request = PutRequest::builder().set_item(Some(item)).build().ok();
    WriteRequest::builder().set_put_request(request).build()
}

pub(super) fn delete(key: Key) -> WriteRequest {
    // Only a missing key is refused, and it is there.
    let request = DeleteRequest::builder().set_key(Some(key.attributes())).build().ok();
    WriteRequest::builder().set_delete_request(request).build()
}

impl Registry {
    /// The rows that have these keys, at most a hundred, in no particular order; keys that DynamoDB leaves unprocessed are
    /// read again. Read consistently.
    pub(super) async fn read_batch(&self, mut keys: Vec<Item>) -> Result<Vec<Item>, RegistryError> {
        let mut items = Vec::with_capacity(keys.len());
        let mut failures = 0;
        while !keys.is_empty() {
            let answer = retry::retrying(READ, || async {
                let wanted = KeysAndAttributes::builder().set_keys(Some(keys.clone())).consistent_read(true);
                let request = self.client.batch_get_item().request_items(&self.table, wanted.build()?);
                Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
            })
            .await?;
            self.counter.add_read(answer.consumed_capacity());
            items.extend(answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default());
            let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.table));
            keys = left.map(|left| left.keys).unwrap_or_default();
            if !keys.is_empty() && !retry::again(&mut failures).await {
                return Err(RegistryError::Unfinished { operation: READ, left: keys.len() });
            }
        }
        Ok(items)
    }

    /// Writes everything, in no particular order; items that DynamoDB leaves unprocessed are written again. Nothing is
    /// on its way any more when it returns, a failure included.
    pub(super) async fn write_all(&self, requests: Vec<WriteRequest>) -> Result<(), RegistryError> {
        let chunks: Vec<_> = requests.chunks(MAX_ITEMS).map(|chunk| self.write_chunk(chunk.to_vec())).collect();
        let written: Vec<_> = stream::iter(chunks).buffer_unordered(SIDE_BY_SIDE).collect().await;
        written.into_iter().collect()
    }

    async fn write_chunk(&self, mut chunk: Vec<WriteRequest>) -> Result<(), RegistryError> {
        let mut failures = 0;
        loop {
            let answer = retry::retrying(OPERATION, || async {
                let items = HashMap::from([(self.table.clone(), chunk.clone())]);
                let request = self.client.batch_write_item().set_request_items(Some(items));
                Ok(request.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?)
            })
            .await?;
            self.counter.add_write(answer.consumed_capacity());
            chunk = answer.unprocessed_items.and_then(|mut left| left.remove(&self.table)).unwrap_or_default();
            if chunk.is_empty() {
                return Ok(());
            }
            if !retry::again(&mut failures).await {
                return Err(RegistryError::Unfinished { operation: OPERATION, left: chunk.len() });
            }
        }
    }
}
