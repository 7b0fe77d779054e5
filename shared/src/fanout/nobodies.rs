//! Connections whose clients do not say who they are.

use super::{FanOut, FanOutError};
use crate::registry::Nobody;

impl FanOut {
    /// Closes connections whose first frame has not said who they are within a minute. One that fails keeps no other.
    ///
    /// # Errors
    /// When the registry fails, or API Gateway does not close one: the next look tries again.
    pub async fn close_nobodies(&self) -> Result<(), FanOutError> {
        let mut failure = None;
        for nobody in self.delivery.registry().opening(self.delivery.clock().milliseconds()).await? {
            if let Err(error) = self.close_nobody(&nobody).await {
                tracing::warn!(connection.id = %nobody.id, error = crate::describe(&error), "cannot be closed");
                failure = Some(error);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn close_nobody(&self, nobody: &Nobody) -> Result<(), FanOutError> {
        let registry = self.delivery.registry();
        let connection = registry.connection(&nobody.id).await?;
        if connection.is_some_and(|connection| connection.session.is_none()) {
            tracing::info!(connection.id = %nobody.id, "closes a connection that does not say who it is");
            self.delivery.close(&nobody.id.first_socket()).await?;
        }
        Ok(registry.end_opening(nobody).await?)
    }
}
