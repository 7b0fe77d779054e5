//! HS256: a secret in Secrets Manager. While it is being replaced, the one before counts too.

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{Key, KeySet, KeysError};

/// As many bytes as the hash has (RFC 7518, 3.2).
const SHORTEST: usize = 32;

/// A secret by its ARN or name.
#[derive(Debug)]
pub struct Secret {
    client: Client,
    id: String,
}

impl Secret {
    /// The secret of this ARN or name.
    pub(crate) fn new(client: Client, id: impl Into<String>) -> Self {
        Self { client, id: id.into() }
    }

    pub(super) async fn read(&self) -> Result<KeySet, KeysError> {
        let current = self.version("AWSCURRENT").await?;
        let current = current.ok_or(KeysError::ShortSecret(0))?;
        if current.len() < SHORTEST {
            return Err(KeysError::ShortSecret(current.len()));
        }
        let mut keys = vec![key(&current)];
        let previous = self.version("AWSPREVIOUS").await?;
        keys.extend(previous.filter(|previous| previous.len() >= SHORTEST).as_deref().map(key));
        Ok(KeySet::new(keys))
    }

    /// The bytes of the version with this label, if there is one. A secret that was never changed has no previous one.
    async fn version(&self, stage: &str) -> Result<Option<Vec<u8>>, KeysError> {
        let answer = self.client.get_secret_value().secret_id(&self.id).version_stage(stage).send().await;
        match answer {
            Ok(value) => {
                let binary = || value.secret_binary.map(aws_sdk_secretsmanager::primitives::Blob::into_inner);
                Ok(value.secret_string.map(String::into_bytes).or_else(binary))
            }
            Err(error) if stage == "AWSPREVIOUS" && is_missing(&error) => Ok(None),
            Err(error) => Err(KeysError::Secret(error.into())),
        }
    }
}

fn is_missing(error: &aws_sdk_secretsmanager::error::SdkError<GetSecretValueError>) -> bool {
    error.as_service_error().is_some_and(GetSecretValueError::is_resource_not_found_exception)
}

fn key(secret: &[u8]) -> Key {
    Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }
}
