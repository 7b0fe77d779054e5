//! An issuer of tokens: keys that sign, and a real HTTP server that tells the public ones (JWKS).

use std::fmt;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use ring::{hmac, rsa};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A part of a token.
#[must_use]
pub fn part(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token with this header and these claims, signed by whatever is given.
#[must_use]
pub fn assemble(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let content = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let signature = sign(content.as_bytes());
    format!("{content}.{}", part(signature))
}

/// What HS256 makes of a message.
#[must_use]
pub fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
}

/// A token that is signed with a secret.
#[must_use]
pub fn secret_token(secret: &[u8], claims: &Value) -> String {
    assemble(&json!({"alg": "HS256", "typ": "JWT"}), claims, |message| hs256(secret, message))
}

/// Seconds since the epoch.
///
/// # Panics
/// When the clock is set to before it.
#[must_use]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A key that signs.
#[derive(Debug)]
pub struct SigningKey {
    /// What the key is called.
    pub id: &'static str,
    /// The algorithm as tokens name it.
    pub algorithm: &'static str,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key pair")
    }
}

impl SigningKey {
    /// A new key for ES256.
    #[must_use]
    pub fn es256(id: &'static str) -> Self {
        Self::ec(id, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    /// A new key for ES384.
    #[must_use]
    pub fn es384(id: &'static str) -> Self {
        Self::ec(id, "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(
        id: &'static str,
        name: &'static str,
        algorithm: &'static EcdsaSigningAlgorithm,
        curve: &'static str,
    ) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
        Self { id, algorithm: name, pair: Pair::Ec(pair, curve) }
    }

    /// A new key for EdDSA.
    #[must_use]
    pub fn ed25519(id: &'static str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { id, algorithm: "EdDSA", pair: Pair::Ed(pair) }
    }

    /// Always the same key, for RS256 or PS256: ring makes no RSA keys.
    #[must_use]
    pub fn rsa(id: &'static str, algorithm: &'static str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("../keys/rsa-2048.pk8")).unwrap();
        Self { id, algorithm, pair: Pair::Rsa(Box::new(pair)) }
    }

    /// The public key as a key set has it.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Ec(pair, curve) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                json!({"kty": "EC", "crv": curve, "x": part(x), "y": part(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": part(pair.public_key())}),
            Pair::Rsa(pair) => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": part(public.n), "e": part(public.e)})
            }
        };
        jwk["kid"] = self.id.into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The header of its tokens.
    #[must_use]
    pub fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.id, "typ": "at+jwt"})
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        assemble(&self.header(), claims, |message| self.sign(message))
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding =
                    if self.algorithm == "PS256" { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

/// What the server does.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// Tells the keys.
    Keys(Value),
    /// Never answers.
    Hangs,
    /// Answers without end.
    Huge,
    /// Refuses.
    Status(u16),
    /// Says something else, at the address of the keys.
    Says(String),
    /// Names another issuer or another address in its configuration.
    Misleads(Value),
}

/// A running issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// What its tokens have as `iss`, and where its server is.
    pub url: String,
    state: Arc<Mutex<(Behaviour, usize)>>,
}

impl Issuer {
    /// Starts one that has no keys yet.
    ///
    /// # Panics
    /// When this machine has no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, state: Arc::new(Mutex::new((Behaviour::Keys(json!({"keys": []})), 0))) };
        let router = Router::new()
            .route("/.well-known/{document}", get(configuration))
            .route("/keys", get(keys))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        issuer
    }

    /// Tells these keys from now on.
    pub fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.behave(Behaviour::Keys(json!({"keys": keys})));
    }

    /// Does this from now on.
    ///
    /// # Panics
    /// When a thread that held it did.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap().0 = behaviour;
    }

    /// How often it was asked for its keys.
    ///
    /// # Panics
    /// When a thread that held it did.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.state.lock().unwrap().1
    }

    /// Claims that are good for an hour.
    #[must_use]
    pub fn claims(&self, user: &str) -> Value {
        json!({"iss": self.url, "aud": "app", "sub": user, "iat": now(), "exp": now() + 3_600})
    }
}

async fn configuration(State(issuer): State<Issuer>, Path(document): Path<String>) -> Response {
    if document != "openid-configuration" {
        return StatusCode::NOT_FOUND.into_response();
    }
    let behaviour = issuer.state.lock().unwrap().0.clone();
    match behaviour {
        Behaviour::Misleads(configuration) => configuration.to_string(),
        _ => json!({"issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url)}).to_string(),
    }
    .into_response()
}

async fn keys(State(issuer): State<Issuer>) -> Response {
    let behaviour = {
        let mut state = issuer.state.lock().unwrap();
        state.1 += 1;
        state.0.clone()
    };
    match behaviour {
        Behaviour::Keys(keys) => keys.to_string().into_response(),
        Behaviour::Hangs => std::future::pending().await,
        Behaviour::Huge => {
            let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
            axum::body::Body::from_stream(endless).into_response()
        }
        Behaviour::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Behaviour::Says(text) => text.into_response(),
        Behaviour::Misleads(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
