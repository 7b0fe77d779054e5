//! Secrets Manager in this process: the template's secrets with their versions and staging labels, in memory, and in a data
//! folder if there is one.
//!
//! `generate` makes random values as `GenerateSecretString` asks for them, `operations` are the API's calls.
//!
//! What is *not* here: rotation by a function, replication, policies, tags, and deletion with a recovery window.

mod generate;
mod operations;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::data::{Change, Store, StoreError};

use tidings_local_stack::{self as stack, SecretValue};

pub(crate) use operations::call;

/// The version that everybody uses.
const CURRENT: &str = "AWSCURRENT";
/// The version before.
const PREVIOUS: &str = "AWSPREVIOUS";

/// Where they are kept between starts, by name.
const COLLECTION: &str = "secrets";

/// All secrets. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    secrets: Mutex<IndexMap<String, Secret>>,
    /// Where they are kept between starts.
    store: Option<Store>,
}

struct Secret {
    arn: String,
    name: String,
    description: Option<String>,
    history: History,
}

/// What a secret has been: what is kept of it.
#[derive(Clone, Serialize, Deserialize)]
struct History {
    created: f64,
    changed: f64,
    /// By id, oldest first.
    versions: IndexMap<String, Version>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Version {
    value: Value,
    stages: Vec<String>,
    created: f64,
}

/// Texts stay texts and bytes stay bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Value {
    Text(String),
    /// In base64, as it came.
    Binary(String),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a secret")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Secrets {
    /// The secrets of a template. Generated values are new at every start.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a stack::Secret>) -> Self {
        let secrets = secrets.into_iter().map(|secret| (secret.name.clone(), Secret::new(secret)));
        Self(Arc::new(Shared { secrets: Mutex::new(secrets.collect()), store: None }))
    }

    /// The secrets of a template with the values that a data folder has of them; others are made, and kept.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn kept<'a>(secrets: impl IntoIterator<Item = &'a stack::Secret>, store: &Store) -> Result<Self, StoreError> {
        let mut kept: IndexMap<String, String> = store.all(COLLECTION)?.into_iter().collect();
        let (mut all, mut changes) = (IndexMap::new(), Vec::new());
        for template in secrets {
            let mut secret = Secret::new(template);
            match kept.swap_remove(&secret.name) {
                Some(history) => secret.history = read(&secret.name, &history)?,
                None => changes.push(secret.to_keep()),
            }
            all.insert(secret.name.clone(), secret);
        }
        store.write(&changes)?;
        Ok(Self(Arc::new(Shared { secrets: Mutex::new(all), store: Some(store.clone()) })))
    }

    /// The present value of a secret, where it has one that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let secrets = self.lock();
        let secret = secrets.get(name)?;
        match &secret.history.versions.get(secret.with_stage(CURRENT)?)?.value {
            Value::Text(text) => Some(text.clone()),
            Value::Binary(_) => None,
        }
    }

    /// Gives a secret a new value; `false` if there is none of this name.
    ///
    /// # Errors
    /// When it cannot be written to the data folder.
    pub fn put_text(&self, name: &str, text: impl Into<String>) -> Result<bool, StoreError> {
        let mut secrets = self.lock();
        let Some(secret) = secrets.get_mut(name) else { return Ok(false) };
        secret.put(Uuid::new_v4().to_string(), Value::Text(text.into()), vec![CURRENT.to_owned()]);
        self.write(secret).map(|()| true)
    }

    fn write(&self, secret: &Secret) -> Result<(), StoreError> {
        self.0.store.as_ref().map_or(Ok(()), |store| store.write(&[secret.to_keep()]))
    }

    fn lock(&self) -> MutexGuard<'_, IndexMap<String, Secret>> {
        self.0.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(name: &str, history: &str) -> Result<History, StoreError> {
    serde_json::from_str(history).map_err(|source| StoreError::Entry {
        collection: COLLECTION.to_owned(),
        key: name.to_owned(),
        source,
    })
}

impl Secret {
    fn new(secret: &stack::Secret) -> Self {
        let value = match &secret.value {
            SecretValue::Text(text) => Some(text.clone()),
            SecretValue::Generated(rules) => Some(generate::value(rules)),
            SecretValue::None => None,
        };
        let now = now();
        let mut made = Self {
            arn: secret.arn.clone(),
            name: secret.name.clone(),
            description: secret.description.clone(),
            history: History { created: now, changed: now, versions: IndexMap::new() },
        };
        if let Some(value) = value {
            made.put(Uuid::new_v4().to_string(), Value::Text(value), vec![CURRENT.to_owned()]);
        }
        made
    }

    fn to_keep(&self) -> Change {
        // Texts and numbers always have a JSON form.
        let value = serde_json::to_string(&self.history).unwrap_or_default();
        Change::Put { collection: COLLECTION.to_owned(), key: self.name.clone(), value }
    }

    /// Adds a version, or gives one that is there more labels. A label is on one version at a time; the version that
    /// loses `AWSCURRENT` gets `AWSPREVIOUS`, and versions without labels are forgotten.
    fn put(&mut self, id: String, value: Value, stages: Vec<String>) {
        let now = now();
        let replaced = self.with_stage(CURRENT).filter(|current| **current != id).cloned();
        let versions = &mut self.history.versions;
        for version in versions.values_mut() {
            version.stages.retain(|stage| !stages.contains(stage));
        }
        if let Some(replaced) = replaced.filter(|_| stages.iter().any(|stage| stage == CURRENT)) {
            for (other, version) in &mut *versions {
                version.stages.retain(|stage| stage != PREVIOUS);
                if *other == replaced {
                    version.stages.push(PREVIOUS.to_owned());
                }
            }
        }
        let version = versions.entry(id).or_insert(Version { value, stages: Vec::new(), created: now });
        version.stages.extend(stages);
        versions.retain(|_, version| !version.stages.is_empty());
        self.history.changed = now;
    }

    fn with_stage(&self, stage: &str) -> Option<&String> {
        let mut versions = self.history.versions.iter();
        versions.find(|(_, version)| version.stages.iter().any(|other| other == stage)).map(|(id, _)| id)
    }
}

/// Seconds since the epoch, as the API counts.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
