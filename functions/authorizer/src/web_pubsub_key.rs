//! The key that tokens of Azure Web PubSub are signed with, those of clients and those of servers.

use serde::Serialize;
use serde_json::{Map, Value};
use tidings::metrics::Recorder;
use tidings::secret::Secret;

use crate::claims::Rules;
use crate::keys::{Keys, KeysError, Refresh};
use crate::token::Unverified;
use crate::{Error, Refused};

/// By how many seconds clocks may differ, as Web PubSub has it.
const LEEWAY: u64 = 300;

/// The key that tokens of Web PubSub are signed with: the text of a secret, as it is. While it is being replaced, the one
/// before counts too.
#[derive(Debug)]
pub struct WebPubSubKey {
    keys: Keys,
}

/// Why a token of Web PubSub is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebPubSubTokenProblem {
    /// It is not a good one.
    #[error("{0}")]
    Invalid(String),
    /// It may well be a good one.
    #[error("the key that it is checked with could not be read")]
    Keys(#[source] KeysError),
}

impl WebPubSubKey {
    /// The key that a secret has, which is not read yet. It has at least 32 bytes.
    #[must_use]
    pub fn new(secret: Secret, refresh: Refresh) -> Self {
        Self { keys: Keys::new(secret, refresh) }
    }

    /// The claims of a token that is signed with the key by HS256 and is good now. Whom it is for is not looked at.
    ///
    /// # Errors
    /// When it is not a good one, or the key cannot be read.
    pub async fn verify(&self, token: &str, recorder: &Recorder) -> Result<Map<String, Value>, WebPubSubTokenProblem> {
        self.claims(token, recorder).await.map_err(|refused| match refused {
            Refused::Denied(denial) => WebPubSubTokenProblem::Invalid(denial.to_string()),
            Refused::Failed(Error::Keys(error)) => WebPubSubTokenProblem::Keys(error),
            Refused::Failed(error) => WebPubSubTokenProblem::Invalid(error.to_string()),
        })
    }

    /// A token with these claims, by the key that counts now.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub async fn sign(&self, claims: &impl Serialize, recorder: &Recorder) -> Result<String, KeysError> {
        let keys = self.keys.current(recorder).await?;
        keys.sign(claims).ok_or(KeysError::ShortSecret(0))
    }

    pub(crate) async fn claims(&self, token: &str, recorder: &Recorder) -> Result<Map<String, Value>, Refused> {
        // Nothing of ours is asked of it: neither an issuer nor one of our audiences.
        let verified = Unverified::read(token)?.with_leeway(LEEWAY).verify(&self.keys, &Rules::none(), recorder).await;
        Ok(verified?.into_all())
    }
}
