//! Writes that need no transaction, 25 at a time.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{DeleteRequest, PutRequest, ReturnConsumedCapacity, WriteRequest};

use super::items::Item;
use super::keys::Key;
use super::{Registry, RegistryError, retry};

/// `BatchWriteItem` takes no more.
const MAX_ITEMS: usize = 25;
const OPERATION: &str = "BatchWriteItem";

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
