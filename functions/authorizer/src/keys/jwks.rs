//! An issuer's public keys (RFC 7517), found by their URL or through the issuer's OpenID configuration.

use http::Uri;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings::aws::HttpClient;

use super::{Key, KeySet, KeysError};
use crate::fetch;

/// More keys than any issuer has.
const MOST_KEYS: usize = 100;

/// Where the keys are.
#[derive(Debug)]
pub struct Jwks {
    client: HttpClient,
    location: Location,
}

#[derive(Debug)]
enum Location {
    Keys(Uri),
    Configuration { uri: Uri, issuer: String },
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Jwks {
    /// The key set at this URL.
    pub(crate) fn at(client: HttpClient, uri: Uri) -> Self {
        Self { client, location: Location::Keys(uri) }
    }

    /// The key set that this issuer's OpenID configuration names; `None` when the issuer is no URL that may be asked.
    pub(crate) fn of_issuer(client: HttpClient, issuer: &str) -> Option<Self> {
        let uri = fetch::url(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
        Some(Self { client, location: Location::Configuration { uri, issuer: issuer.to_owned() } })
    }

    pub(super) async fn read(&self) -> Result<KeySet, KeysError> {
        let uri = match &self.location {
            Location::Keys(uri) => uri.clone(),
            Location::Configuration { uri, issuer } => self.find(uri, issuer).await?,
        };
        let set: Set = self.document(&uri).await?;
        // One key that nobody can use must not spoil the others.
        let keys: Vec<Key> = set.keys.into_iter().take(MOST_KEYS).filter_map(usable).collect();
        if keys.is_empty() {
            return Err(wrong(&uri, "it has no key for RS256, PS256, ES256, ES384 or EdDSA"));
        }
        Ok(KeySet::new(keys))
    }

    async fn find(&self, uri: &Uri, issuer: &str) -> Result<Uri, KeysError> {
        let configuration: Configuration = self.document(uri).await?;
        if configuration.issuer != issuer {
            return Err(wrong(uri, &format!("its issuer is {:?}, not {issuer:?}", configuration.issuer)));
        }
        let keys = fetch::url(&configuration.jwks_uri);
        keys.ok_or_else(|| wrong(uri, &format!("its jwks_uri {:?} is no https URL", configuration.jwks_uri)))
    }

    async fn document<T: DeserializeOwned>(&self, uri: &Uri) -> Result<T, KeysError> {
        let document = fetch::get(&self.client, uri).await?;
        serde_json::from_slice(&document).map_err(|error| wrong(uri, &error.to_string()))
    }
}

fn wrong(uri: &Uri, problem: &str) -> KeysError {
    KeysError::Document { what: uri.to_string(), problem: problem.to_owned() }
}

/// A key of the set, with the one algorithm that it is for; `None` for what does not verify signatures, and for secrets,
/// which have no business in public.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = jwk.common.key_operations.as_deref();
    let verifies = operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !for_signatures || !verifies {
        return None;
    }
    let algorithm = match (&jwk.algorithm, jwk.common.key_algorithm) {
        // Some issuers do not say it of their RSA keys, and mean this one.
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        (AlgorithmParameters::RSA(_), Some(KeyAlgorithm::PS256)) => Algorithm::PS256,
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES384))
            if key.curve == EllipticCurve::P384 =>
        {
            Algorithm::ES384
        }
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Algorithm::EdDSA
        }
        _ => return None,
    };
    Some(Key { key: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id, algorithm })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_key_is_for_one_algorithm_and_secrets_are_none() {
        let rsa = || json!({"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"});
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let algorithm = |key: Value| usable(key).map(|key| key.algorithm);
        let (p256, ed) = (
            json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        );
        for (key, expected) in [
            (rsa(), Some(Algorithm::RS256)),
            (with(rsa(), "alg", json!("RS256")), Some(Algorithm::RS256)),
            (with(rsa(), "alg", json!("PS256")), Some(Algorithm::PS256)),
            (with(rsa(), "alg", json!("HS256")), None),
            (with(rsa(), "alg", json!("RSA-OAEP")), None),
            (with(rsa(), "use", json!("sig")), Some(Algorithm::RS256)),
            (with(rsa(), "use", json!("enc")), None),
            (with(rsa(), "key_ops", json!(["verify"])), Some(Algorithm::RS256)),
            (with(rsa(), "key_ops", json!(["sign"])), None),
            (p256.clone(), Some(Algorithm::ES256)),
            (with(p256.clone(), "alg", json!("ES384")), None),
            (with(p256, "crv", json!("P-384")), Some(Algorithm::ES384)),
            (ed.clone(), Some(Algorithm::EdDSA)),
            (with(ed, "alg", json!("ES256")), None),
            (json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}), None),
            (json!({"kty": "RSA", "n": 1}), None),
            (json!({"kty": "new", "alg": "XX1"}), None),
            (json!("key"), None),
        ] {
            assert_eq!(algorithm(key.clone()), expected, "{key}");
        }
    }
}
