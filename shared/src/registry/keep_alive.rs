//! Up to when quiet connections were kept alive.

use aws_sdk_dynamodb::types::AttributeValue;

use super::keys::Key;
use super::names::SPAN;
use super::{Registry, RegistryError, batch, items};

impl Registry {
    /// The last minute since the epoch whose connections were sent a sign of life; `None` before the first.
    ///
    /// # Errors
    /// When DynamoDB fails or the row is malformed.
    pub(crate) async fn kept_alive_until(&self) -> Result<Option<i64>, RegistryError> {
        let row = self.get(Key::kept_alive().attributes()).await?;
        row.map(|row| items::number(&row, SPAN)).transpose()
    }

    /// Writes that up to this minute since the epoch it was done.
    ///
    /// # Errors
    /// When DynamoDB fails.
    pub(crate) async fn note_kept_alive(&self, minute: i64) -> Result<(), RegistryError> {
        let mut item = Key::kept_alive().attributes();
        item.insert(SPAN.to_owned(), AttributeValue::N(minute.to_string()));
        self.write_all(vec![batch::put(item)]).await
    }
}
