//! HS256: a secret in Secrets Manager. While it is being replaced, the one before counts too.

use jsonwebtoken::{Algorithm, DecodingKey};
use tidings::secret::{Secret, Version};

use super::{Key, KeySet, KeysError};

/// As many bytes as the hash has (RFC 7518, 3.2).
const SHORTEST: usize = 32;

pub(super) async fn read(secret: &Secret) -> Result<KeySet, KeysError> {
    let current = secret.read(Version::Current).await?.ok_or(KeysError::ShortSecret(0))?;
    if current.len() < SHORTEST {
        return Err(KeysError::ShortSecret(current.len()));
    }
    let mut keys = vec![key(&current)];
    let previous = secret.read(Version::Previous).await?;
    keys.extend(previous.filter(|previous| previous.len() >= SHORTEST).as_deref().map(key));
    Ok(KeySet::new(keys))
}

fn key(secret: &[u8]) -> Key {
    Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }
}
