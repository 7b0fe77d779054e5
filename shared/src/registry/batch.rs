//! Reads by key and writes that need no transaction, as many at a time as DynamoDB takes.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, PutRequest, ReturnConsumedCapacity, WriteRequest};

use super::items::Item;
use super::keys::Key;
use super::{Registry, RegistryError, members, retry};

/// `BatchWriteItem` takes no more.
const MAX_ITEMS: usize = 25;
const OPERATION: &str = "BatchWriteItem";
/// `BatchGetItem` takes no more.
pub(super) const MAX_READS: usize = 100;
const READ: &str = "BatchGetItem";

/// How rows are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    /// Whole rows, eventually consistently.
    Whole,
    /// What a push needs of them, consistently.
    Members,
}

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
    /// read again.
    pub(super) async fn read_batch(&self, mut keys: Vec<Item>, reading: Reading) -> Result<Vec<Item>, RegistryError> {
        let mut items = Vec::with_capacity(keys.len());
        let mut failures = 0;
        while !keys.is_empty() {
            let answer = retry::retrying(READ, || async {
                let mut wanted = KeysAndAttributes::builder().set_keys(Some(keys.clone()));
                if let Reading::Members = reading {
                    wanted = wanted.consistent_read(true).projection_expression(members::PROJECTION);
                    wanted = wanted.set_expression_attribute_names(Some(members::placeholders()));
                }
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

    /// Writes everything, in order; items that DynamoDB leaves unprocessed are written again.
    pub(super) async fn write_all(&self, requests: Vec<WriteRequest>) -> Result<(), RegistryError> {
        for chunk in requests.chunks(MAX_ITEMS) {
            self.write_chunk(chunk.to_vec()).await?;
        }
        Ok(())
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
