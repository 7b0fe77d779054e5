//! The signatures of tokens, by ring: the crate that TLS uses here already. See `docs/decisions/0006-jwt.md`.

use aws_smithy_types::base64;
use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::hmac;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Serialize;
use signature::Verifier;

/// What `jsonwebtoken` verifies with. What this function signs is one kind of token, see [`signed`].
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` use ring in this process.
pub(crate) fn install() {
    // It fails where it is installed already, which is then the same.
    let _ = RING.install_default();
}

/// A token with these claims, by HS256; `None` where they cannot be written.
pub(crate) fn signed(secret: &[u8], claims: &impl Serialize) -> Option<String> {
    let claims = serde_json::to_vec(claims).ok()?;
    let body = format!("{}.{}", base64url(br#"{"alg":"HS256","typ":"JWT"}"#), base64url(&claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), body.as_bytes());
    Some(format!("{body}.{}", base64url(signature.as_ref())))
}

/// The alphabet of addresses, without padding.
fn base64url(bytes: &[u8]) -> String {
    base64::encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

struct Ring {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Secret(hmac::Key),
    Rsa { parameters: &'static RsaParameters, n: Vec<u8>, e: Vec<u8> },
    Public(UnparsedPublicKey<Vec<u8>>),
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let key = match algorithm {
        Algorithm::HS256 => Key::Secret(hmac::Key::new(hmac::HMAC_SHA256, bytes(key, AlgorithmFamily::Hmac)?)),
        Algorithm::RS256 => rsa(key, &RSA_PKCS1_2048_8192_SHA256)?,
        Algorithm::PS256 => rsa(key, &RSA_PSS_2048_8192_SHA256)?,
        Algorithm::ES256 => public(key, AlgorithmFamily::Ec, &ECDSA_P256_SHA256_FIXED)?,
        Algorithm::ES384 => public(key, AlgorithmFamily::Ec, &ECDSA_P384_SHA384_FIXED)?,
        Algorithm::EdDSA => public(key, AlgorithmFamily::Ed, &ED25519)?,
        _ => return Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    };
    Ok(Box::new(Ring { algorithm: *algorithm, key }))
}

fn rsa(key: &DecodingKey, parameters: &'static RsaParameters) -> Result<Key, Error> {
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => Ok(Key::Rsa { parameters, n: n.clone(), e: e.clone() }),
        DecodingKeyKind::SecretOrDer(_) => Err(new_error(ErrorKind::InvalidKeyFormat)),
    }
}

fn public(
    key: &DecodingKey,
    family: AlgorithmFamily,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Result<Key, Error> {
    Ok(Key::Public(UnparsedPublicKey::new(algorithm, bytes(key, family)?.to_vec())))
}

/// The bytes of a key of this family and no other: a public key is nobody's secret.
fn bytes(key: &DecodingKey, family: AlgorithmFamily) -> Result<&[u8], Error> {
    if key.family() != family {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    key.try_get_as_bytes()
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let verified = match &self.key {
            // In constant time.
            Key::Secret(key) => hmac::verify(key, message, signature),
            Key::Rsa { parameters, n, e } => RsaPublicKeyComponents { n, e }.verify(parameters, message, signature),
            Key::Public(key) => key.verify(message, signature),
        };
        // Nothing more is known of why, on purpose.
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
