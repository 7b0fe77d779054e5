//! Telling the bus of clients that said who they are in a frame.

use super::{FanOut, FanOutError};
use crate::events::Identified;

impl FanOut {
    /// Puts the event of a connection whose client has said who it is on the bus, if there is one.
    ///
    /// # Errors
    /// When EventBridge does not take it.
    pub async fn tell_identified(&self, identified: &Identified) -> Result<(), FanOutError> {
        if let (Some(bus), Some(event)) = (&self.bus, identified.event()) {
            bus.put(&[event]).await?;
        }
        Ok(())
    }
}
