//! How far users have read their messages: one row for each that ever said so. It does not expire, for its log may live on.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::keys::Key;
use super::names::{EPOCH, OFFSET};
use super::{Registry, RegistryError, log, retry};
use crate::ids::UserId;
use crate::log::LogPosition;

impl Registry {
    /// Up to which message a user has read, and of which life of its log; `None` where it never said. Read consistently.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub async fn read_mark(&self, user: &UserId) -> Result<Option<LogPosition>, RegistryError> {
        let row = self.get(Key::read_mark(user).attributes()).await?;
        row.as_ref().map(log::position).transpose()
    }

    /// Raises a user's mark; one of another epoch gives way. `false` where it stands there or higher already.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn raise_read_mark(&self, user: &UserId, position: &LogPosition) -> Result<bool, RegistryError> {
        let answer = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request
                .set_key(Some(Key::read_mark(user).attributes()))
                .update_expression("SET #offset = :offset, #epoch = :epoch")
                .condition_expression("attribute_not_exists(#epoch) OR #epoch <> :epoch OR #offset < :offset")
                .expression_attribute_names("#offset", OFFSET)
                .expression_attribute_names("#epoch", EPOCH)
                .expression_attribute_values(":offset", AttributeValue::N(position.offset.to_string()))
                .expression_attribute_values(":epoch", AttributeValue::S(position.epoch.to_string()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Some(answer)),
                Err(Error::ConditionalCheckFailedException(_)) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        if let Some(answer) = &answer {
            self.counter.add_write(answer.consumed_capacity.as_ref());
        }
        Ok(answer.is_some())
    }
}
