//! The keys that tokens are verified with: read when the first token comes, kept, and read again when there may be newer
//! ones.

mod jwks;
mod secret;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Serialize;
use tidings::metrics::{Metric, Recorder};
use tidings::secret::{Secret, SecretError};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::crypto;
use crate::fetch::FetchError;

pub use jwks::Jwks;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// Secrets Manager did not give the secret.
    #[error("the secret could not be read")]
    Secret(#[from] SecretError),
    /// Anybody could guess it.
    #[error("the secret has {0} bytes; HS256 needs at least 32 random ones")]
    ShortSecret(usize),
    /// The issuer's server did not give what it should.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It gave something else.
    #[error("{what} is not what it should be: {problem}")]
    Document {
        /// The address.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// It could not be read a moment ago, and is not asked that often.
    #[error("the last attempt failed a moment ago")]
    Recently,
}

/// When keys are read again. The default is for production.
#[derive(Debug, Clone, Copy)]
pub struct Refresh {
    /// Unknown keys are looked for no more often than this, so that nobody can make us ask and ask.
    pub at_most_every: Duration,
    /// Keys that are this old are read again before they are used: what was withdrawn must not count for long.
    pub at_least_every: Duration,
    /// When they cannot be read, the old ones count until this age.
    pub stale_after: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            at_most_every: Duration::from_secs(10),
            at_least_every: Duration::from_secs(300),
            stale_after: Duration::from_secs(3_600),
        }
    }
}

/// Keys and where they come from.
#[derive(Debug)]
pub struct Keys {
    source: Source,
    refresh: Refresh,
    /// Held while keys are read, so that only one reads them.
    state: Mutex<State>,
}

/// Where keys come from.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one in the whole process")]
pub enum Source {
    /// Secrets Manager.
    Secret(Secret),
    /// An issuer.
    Jwks(Jwks),
}

impl From<Secret> for Source {
    fn from(secret: Secret) -> Self {
        Self::Secret(secret)
    }
}

impl From<Jwks> for Source {
    fn from(jwks: Jwks) -> Self {
        Self::Jwks(jwks)
    }
}

#[derive(Debug, Default)]
struct State {
    keys: Option<(Arc<KeySet>, Instant)>,
    /// When newer keys were looked for, and whether that failed.
    looked: Option<(Instant, bool)>,
}

/// All keys of one moment.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// One key, for one algorithm only.
pub(crate) struct Key {
    /// What tokens call it; `None` where they need not name it.
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

impl KeySet {
    pub(crate) fn new(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// A token with these claims, signed with the first secret; `None` where there is none.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let key = self.0.iter().find(|key| key.algorithm == Algorithm::HS256)?;
        crypto::signed(key.key.try_get_as_bytes().ok()?, claims)
    }

    /// The keys that a token may mean by this name. One that names none means the only key there is.
    pub(crate) fn named(&self, id: Option<&str>) -> Vec<&Key> {
        let is_meant = |key: &&Key| match (&key.id, id) {
            (None, _) => true,
            (Some(own), Some(id)) => own == id,
            (Some(_), None) => self.0.len() == 1,
        };
        self.0.iter().filter(is_meant).collect()
    }
}

impl Keys {
    /// Keys that are not read yet.
    #[must_use]
    pub fn new(source: impl Into<Source>, refresh: Refresh) -> Self {
        crypto::install();
        Self { source: source.into(), refresh, state: Mutex::default() }
    }

    /// The keys to begin with.
    pub(crate) async fn current(&self, recorder: &Recorder) -> Result<Arc<KeySet>, KeysError> {
        let mut state = self.state.lock().await;
        let Some((keys, read)) = &state.keys else { return self.begin(&mut state, recorder).await };
        let (keys, age) = (Arc::clone(keys), read.elapsed());
        if age < self.refresh.at_least_every || (self.has_just_looked(&state) && age < self.refresh.stale_after) {
            return Ok(keys);
        }
        match self.look(&mut state, recorder).await {
            Err(error) if age < self.refresh.stale_after => {
                tracing::error!(
                    error = tidings::describe(&error),
                    "the keys could not be read again; the old ones count"
                );
                Ok(keys)
            }
            result => result,
        }
    }

    /// Newer keys than these, if that is not asked too often.
    pub(crate) async fn newer(
        &self,
        than: &Arc<KeySet>,
        recorder: &Recorder,
    ) -> Result<Option<Arc<KeySet>>, KeysError> {
        let mut state = self.state.lock().await;
        match &state.keys {
            Some((keys, _)) if !Arc::ptr_eq(keys, than) => return Ok(Some(Arc::clone(keys))),
            _ => {}
        }
        match state.looked {
            // A token with a new key may be a good one.
            Some((_, true)) if self.has_just_looked(&state) => Err(KeysError::Recently),
            Some(_) if self.has_just_looked(&state) => Ok(None),
            _ => self.look(&mut state, recorder).await.map(Some),
        }
    }

    /// Reads keys for the first time. Only a failure is remembered: right after a success, an unknown key is still looked
    /// for, because the issuer may have got it since.
    async fn begin(&self, state: &mut State, recorder: &Recorder) -> Result<Arc<KeySet>, KeysError> {
        if self.has_just_looked(state) {
            return Err(KeysError::Recently);
        }
        let result = self.read(state, recorder).await;
        if result.is_err() {
            state.looked = Some((Instant::now(), true));
        }
        result
    }

    fn has_just_looked(&self, state: &State) -> bool {
        state.looked.is_some_and(|(when, _)| when.elapsed() < self.refresh.at_most_every)
    }

    async fn look(&self, state: &mut State, recorder: &Recorder) -> Result<Arc<KeySet>, KeysError> {
        let result = self.read(state, recorder).await;
        state.looked = Some((Instant::now(), result.is_err()));
        result
    }

    async fn read(&self, state: &mut State, recorder: &Recorder) -> Result<Arc<KeySet>, KeysError> {
        let keys = match &self.source {
            // Boxed: the SDK's futures are so deep that the compiler would give up on their layout.
            Source::Secret(secret) => Box::pin(secret::read(secret)).await,
            Source::Jwks(jwks) => Box::pin(jwks.read()).await,
        };
        recorder.add(if keys.is_ok() { Metric::KeyRefreshes } else { Metric::KeyRefreshFailures }, 1);
        let keys = Arc::new(keys?);
        state.keys = Some((Arc::clone(&keys), Instant::now()));
        Ok(keys)
    }
}
