//! How many requests may wait at once: one row of numbered places, and with each place that is taken the end of its lease.
//!
//! A count that goes up and down would never come back down after a crash. A lease ends by itself, and is longer than any
//! request, so that never more requests wait than there are places.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};

use super::items::Item;
use super::keys::Key;
use super::{Registry, RegistryError, retry};

/// Others may be first so often.
const ATTEMPTS: usize = 4;

/// The right to wait, up to the end of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollLease {
    place: String,
    /// In milliseconds since the epoch. It also tells whose lease it is: nobody can take the place before that.
    until: i64,
}

impl Registry {
    /// Takes one of `most` places up to `until`; `None` where all are taken. Both times are in milliseconds since the epoch. A
    /// read and a write; the row has 16 bytes for each place that is taken.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn take_poll_lease(&self, most: u32, until: i64, now: i64) -> Result<Option<PollLease>, RegistryError> {
        let mut row = self.polls().await?;
        for _ in 0..ATTEMPTS {
            let Some(place) = fastrand::choice(free(&row, most, now)) else { return Ok(None) };
            let lease = PollLease { place, until };
            match self.lease(&lease, now).await? {
                None => return Ok(Some(lease)),
                Some(other) => row = other,
            }
        }
        Ok(None)
    }

    /// Ends a lease before its time.
    ///
    /// # Errors
    /// When DynamoDB fails: then it ends by itself.
    pub async fn end_poll_lease(&self, lease: PollLease) -> Result<(), RegistryError> {
        let answer = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request
                .set_key(Some(Key::polls().attributes()))
                .update_expression("REMOVE #place")
                .condition_expression("#place = :until")
                .expression_attribute_names("#place", lease.place)
                .expression_attribute_values(":until", AttributeValue::N(lease.until.to_string()))
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
        Ok(())
    }

    async fn polls(&self) -> Result<Item, RegistryError> {
        let row = self.get(Key::polls().attributes()).await?;
        Ok(row.unwrap_or_default())
    }

    /// Takes a place; the row as it is where somebody else has it.
    async fn lease(&self, lease: &PollLease, now: i64) -> Result<Option<Item>, RegistryError> {
        let taken = retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let request = request
                .set_key(Some(Key::polls().attributes()))
                .update_expression("SET #place = :until")
                .condition_expression("attribute_not_exists(#place) OR #place <= :now")
                .expression_attribute_names("#place", &lease.place)
                .expression_attribute_values(":until", AttributeValue::N(lease.until.to_string()))
                .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            match request.send().await.map_err(Error::from) {
                Ok(answer) => Ok(Ok(answer)),
                Err(Error::ConditionalCheckFailedException(refused)) => Ok(Err(refused.item)),
                Err(error) => Err(error),
            }
        })
        .await?;
        Ok(match taken {
            Ok(answer) => {
                self.counter.add_write(answer.consumed_capacity.as_ref());
                None
            }
            Err(row) => Some(row.unwrap_or_default()),
        })
    }
}

/// The places that nobody has at `now`, in milliseconds since the epoch.
fn free(row: &Item, most: u32, now: i64) -> Vec<String> {
    let until = |place: &String| row.get(place)?.as_n().ok()?.parse::<i64>().ok();
    let is_free = |place: &String| until(place).is_none_or(|until| until <= now);
    (0..most).map(|place| format!("p{place}")).filter(is_free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_that_nobody_took_or_whose_lease_is_over() {
        let lease = |until: i64| AttributeValue::N(until.to_string());
        let row = Item::from([("p0".to_owned(), lease(10)), ("p2".to_owned(), lease(11)), ("p3".to_owned(), lease(9))]);
        assert_eq!(free(&row, 4, 10), ["p0", "p1", "p3"]);
        assert_eq!(free(&row, 0, 10), [] as [&str; 0]);
        assert_eq!(free(&Item::new(), 2, 10), ["p0", "p1"]);
    }
}
