//! A key that all servers share, such as that of an API: nobody else has it, and it says nothing of who calls.

use ring::hmac;
use tidings::metrics::Recorder;

use crate::keys::{KeySet, Keys, KeysError, Refresh};

/// The key of an API, kept in a secret. While it is being replaced, the one before counts too.
#[derive(Debug)]
pub struct ServerKey {
    keys: Keys,
    /// Texts are compared by what it makes of them.
    comparing: hmac::Key,
}

impl ServerKey {
    /// The key that a secret has, which is not read yet. It has at least 32 bytes.
    #[must_use]
    pub fn new(secret: tidings::secret::Secret, refresh: Refresh) -> Self {
        Self { keys: Keys::new(secret, refresh), comparing: hmac::Key::new(hmac::HMAC_SHA256, b"what servers say") }
    }

    /// Whether this is the key. How long it takes says nothing of the key.
    ///
    /// # Errors
    /// When the secret cannot be read: then it may well be the key.
    pub async fn admits(&self, given: &str, recorder: &Recorder) -> Result<bool, KeysError> {
        let keys = self.keys.current(recorder).await?;
        if self.is_one_of(&keys, given) {
            return Ok(true);
        }
        // It may be newer than what was read.
        let newer = self.keys.newer(&keys, recorder).await?;
        Ok(newer.is_some_and(|newer| self.is_one_of(&newer, given)))
    }

    fn is_one_of(&self, keys: &KeySet, given: &str) -> bool {
        let tag = hmac::sign(&self.comparing, given.as_bytes());
        let secrets = keys.named(None).into_iter().filter_map(|key| key.key.try_get_as_bytes().ok());
        // All of them, and each in constant time.
        secrets.fold(false, |found, secret| hmac::verify(&self.comparing, secret, tag.as_ref()).is_ok() | found)
    }
}
