//! What is kept of clients of Web PubSub in their connection's row: what servers grant and deny them, and which of their
//! commands were done last.

use aws_sdk_dynamodb::Error;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};

use super::items::{self, WebPubSub};
use super::keys::Key;
use super::names::{ACKED, GRANTS, WEB_PUBSUB};
use super::{Registry, RegistryError, retry};
use crate::ids::ConnectionId;
use crate::web_pubsub::Right;

/// Numbers of commands that are kept at least; twice as many stand in the row at most.
const LEAST_KEPT: usize = 64;
/// Changes of the same grants that may meet.
const ATTEMPTS: usize = 10;

impl Registry {
    /// Grants a client of Web PubSub a right on a group, or on all of them (`None`), or denies it. `false` where there is no
    /// such connection of Web PubSub.
    ///
    /// # Errors
    /// [`RegistryError::GrantsFull`] when there is no room for it; else when DynamoDB fails.
    pub async fn grant(
        &self,
        id: &ConnectionId,
        right: Right,
        group: Option<&str>,
        is_granted: bool,
    ) -> Result<bool, RegistryError> {
        for _ in 0..ATTEMPTS {
            let connection = self.connection(id).await?;
            let Some(kept) = connection.and_then(|connection| connection.web_pubsub) else { return Ok(false) };
            let before = (!kept.grants.is_empty()).then(|| kept.grants.to_json());
            let after = kept.grants.with(right, group, is_granted).map_err(RegistryError::GrantsFull)?.to_json();
            if self.change_grants(id, before, after).await? {
                return Ok(true);
            }
        }
        Err(RegistryError::Contended)
    }

    /// Whether the row was as it was read, and is changed.
    async fn change_grants(
        &self,
        id: &ConnectionId,
        before: Option<String>,
        after: String,
    ) -> Result<bool, RegistryError> {
        let condition = match before {
            Some(_) => "attribute_exists(#client) AND #grants = :before",
            None => "attribute_exists(#client) AND attribute_not_exists(#grants)",
        };
        retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let mut request = request
                .set_key(Some(Key::connection(id).attributes()))
                .update_expression("SET #grants = :after")
                .condition_expression(condition)
                .expression_attribute_names("#client", WEB_PUBSUB)
                .expression_attribute_names("#grants", GRANTS)
                .expression_attribute_values(":after", AttributeValue::S(after.clone()))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if let Some(before) = &before {
                request = request.expression_attribute_values(":before", AttributeValue::S(before.clone()));
            }
            let answer = request.send().await.map_err(Error::from);
            self.counter.was_written(answer.map(|answer| answer.consumed_capacity))
        })
        .await
    }

    /// Notes that a command of this number is done, for a client that was as `kept` says. The last 64 are known at least. A
    /// connection that is gone does not matter.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub async fn note_acked(&self, id: &ConnectionId, kept: &WebPubSub, number: u64) -> Result<(), RegistryError> {
        // Where others note theirs at the same time, theirs may be forgotten when the list is cut.
        let (update, numbers) = match kept.acked.len() < 2 * LEAST_KEPT {
            true => ("SET #acked = list_append(if_not_exists(#acked, :none), :numbers)", vec![number]),
            false => {
                let newest = kept.acked[kept.acked.len() - LEAST_KEPT..].iter().copied().chain([number]);
                ("SET #acked = :numbers", newest.collect())
            }
        };
        retry::retrying("UpdateItem", || async {
            let request = self.client.update_item().table_name(&self.table);
            let mut request = request
                .set_key(Some(Key::connection(id).attributes()))
                .update_expression(update)
                .condition_expression("attribute_exists(#client)")
                .expression_attribute_names("#client", WEB_PUBSUB)
                .expression_attribute_names("#acked", ACKED)
                .expression_attribute_values(":numbers", items::numbers(&numbers))
                .return_consumed_capacity(ReturnConsumedCapacity::Total);
            if update.contains(":none") {
                request = request.expression_attribute_values(":none", items::numbers(&[]));
            }
            match request.send().await.map_err(Error::from) {
                Ok(answer) => {
                    self.counter.add_write(answer.consumed_capacity.as_ref());
                    Ok(())
                }
                Err(Error::ConditionalCheckFailedException(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }
}
