//! The pace that all workers share: one row says until when it is given away.

use std::time::Duration;

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

use super::keys::{Key, TAKEN_UNTIL};
use super::{Registry, RegistryError, items};

/// What nobody took up to so long ago may still be taken.
const OLDEST: Duration = Duration::from_millis(100);
/// Others may be first so often.
const ATTEMPTS: usize = 3;

impl Registry {
    /// Takes the next `turn` of the pace. Returns when it begins, which may be a tenth of a second ago; `None` if that
    /// would be more than `patience` from now, or if others are always faster. `now` and the answer are in microseconds
    /// since the epoch.
    ///
    /// # Errors
    /// When DynamoDB fails. It is not asked again: whoever waits for a turn has something better to do.
    pub async fn take_turn(&self, turn: Duration, now: i64, patience: Duration) -> Result<Option<i64>, RegistryError> {
        let length = microseconds(turn);
        let (oldest, latest) = (now - microseconds(OLDEST), now + microseconds(patience));
        for _ in 0..ATTEMPTS {
            let next = self
                .pace_row()
                .update_expression("ADD #until :turn")
                .expression_attribute_values(":turn", number(length));
            let next = next.condition_expression("#until BETWEEN :oldest AND :latest");
            let next = next.expression_attribute_values(":latest", number(latest));
            let taken_until = match self.update_pace(next, oldest).await? {
                Ok(until) => return Ok(Some(until - length)),
                Err(taken_until) => taken_until,
            };
            if taken_until.is_some_and(|until| until > latest) {
                return Ok(None);
            }
            // Nobody took a turn for a while.
            let first = self.pace_row().update_expression("SET #until = :until");
            let first = first.expression_attribute_values(":until", number(now + length));
            let first = first.condition_expression("attribute_not_exists(#until) OR #until < :oldest");
            if self.update_pace(first, oldest).await?.is_ok() {
                return Ok(Some(now));
            }
        }
        Ok(None)
    }

    fn pace_row(&self) -> UpdateItemFluentBuilder {
        let request = self.client.update_item().table_name(&self.table).set_key(Some(Key::pace().attributes()));
        request.expression_attribute_names("#until", TAKEN_UNTIL)
    }

    /// Until when the pace is given away now; `Err` with what the row said if the condition does not hold.
    async fn update_pace(
        &self,
        request: UpdateItemFluentBuilder,
        oldest: i64,
    ) -> Result<Result<i64, Option<i64>>, RegistryError> {
        let request = request
            .expression_attribute_values(":oldest", number(oldest))
            .return_values(ReturnValue::UpdatedNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match request.send().await.map_err(Error::from) {
            Ok(answer) => {
                self.counter.add_write(answer.consumed_capacity.as_ref());
                Ok(Ok(items::number(&answer.attributes.unwrap_or_default(), TAKEN_UNTIL)?))
            }
            Err(Error::ConditionalCheckFailedException(refused)) => {
                Ok(Err(refused.item.as_ref().and_then(|row| items::number(row, TAKEN_UNTIL).ok())))
            }
            Err(error) => Err(RegistryError::DynamoDb { operation: "UpdateItem", source: Box::new(error) }),
        }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
