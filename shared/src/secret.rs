//! Secrets that functions read. Nothing else knows Secrets Manager.

use serde::Deserialize;
use serde_json::json;

use crate::aws::json::JsonClient;
use crate::decode_base64;
use crate::function::BoxError;

/// A secret; [`Aws::secret`](crate::aws::Aws::secret) makes one.
#[derive(Debug, Clone)]
pub struct Secret {
    client: JsonClient,
    id: String,
}

/// Which of a secret's versions: the staging labels that Secrets Manager moves when a secret is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// `AWSCURRENT`: the one that counts.
    Current,
    /// `AWSPREVIOUS`: the one before. A secret that was never changed has none.
    Previous,
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("GetSecretValue failed in Secrets Manager")]
pub struct SecretError(#[source] BoxError);

/// What is read of the answer of `GetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Value {
    secret_string: Option<String>,
    /// In base64.
    secret_binary: Option<String>,
}

impl Secret {
    pub(crate) fn new(client: JsonClient, id: String) -> Self {
        Self { client, id }
    }

    /// The bytes of a version; `None` when there is none of it.
    ///
    /// # Errors
    /// When Secrets Manager refuses or cannot be reached, or there is no such secret.
    pub async fn read(&self, version: Version) -> Result<Option<Vec<u8>>, SecretError> {
        let stage = match version {
            Version::Current => "AWSCURRENT",
            Version::Previous => "AWSPREVIOUS",
        };
        let input = json!({"SecretId": self.id, "VersionStage": stage});
        match self.client.call("secretsmanager.GetSecretValue", &input).await {
            Ok(Value { secret_string: Some(text), .. }) => Ok(Some(text.into_bytes())),
            Ok(Value { secret_binary, .. }) => Ok(secret_binary.as_deref().and_then(decode_base64)),
            Err(error) if version == Version::Previous && error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(SecretError(error.into())),
        }
    }
}
