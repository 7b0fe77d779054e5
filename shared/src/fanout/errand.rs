//! What the notifier does for clients that recover.

use super::{FanOut, FanOutError, Invocation};
use crate::web_pubsub::{Errand, Step};

impl FanOut {
    /// Does what is to be done with the outbox of a connection.
    ///
    /// # Errors
    /// When it is to be done again.
    pub async fn run_errand(&self, errand: &Errand, invocation: &Invocation) -> Result<(), FanOutError> {
        let Errand { outbox: id, socket, step } = errand;
        let (delivery, deadline) = (self.delivery(), invocation.deadline);
        match step {
            Step::Greet { user, token } => delivery.greet((id, socket), user.as_ref(), token, deadline).await?,
            Step::Resume(old) => delivery.resume(id, socket, old, deadline).await?,
            Step::SendAway => delivery.send_away(id, socket, deadline).await,
            Step::End => {
                let ended = delivery.registry().disconnect(id, socket).await?;
                tracing::info!(connection.id = %id, known = ended.is_some(), "its client did not come back");
            }
        }
        Ok(())
    }
}
