//! Texts by collection and key, in SQLite: what queues, secrets and readers of streams keep.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

/// Why something cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refuses: the disk is full, or the file is damaged.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// A text is not what this version writes.
    #[error("what is kept as {key} in {collection} cannot be read")]
    Entry {
        /// The collection.
        collection: String,
        /// The key in it.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A change of what is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A text is there from now on.
    Put {
        /// The collection.
        collection: String,
        /// The key in it.
        key: String,
        /// The text.
        value: String,
    },
    /// It is not there any more.
    Delete {
        /// The collection.
        collection: String,
        /// The key in it.
        key: String,
    },
}

/// The texts. Clones share them.
#[derive(Debug, Clone)]
pub struct Store(Arc<Mutex<Connection>>);

impl Store {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// When SQLite cannot use it.
    pub fn open(file: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS kept (collection TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (collection, key))",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Everything in a collection, by key.
    ///
    /// # Errors
    /// When SQLite cannot read it.
    pub fn all(&self, collection: &str) -> Result<Vec<(String, String)>, StoreError> {
        let connection = self.lock();
        let mut all = connection.prepare_cached("SELECT key, value FROM kept WHERE collection = ?1 ORDER BY key")?;
        let rows = all.query_map([collection], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Writes all changes, or none of them.
    ///
    /// # Errors
    /// When SQLite cannot write them.
    pub fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for change in changes {
            match change {
                Change::Put { collection, key, value } => {
                    let put = "INSERT OR REPLACE INTO kept (collection, key, value) VALUES (?1, ?2, ?3)";
                    transaction.prepare_cached(put)?.execute(params![collection, key, value])?;
                }
                Change::Delete { collection, key } => {
                    let delete = "DELETE FROM kept WHERE collection = ?1 AND key = ?2";
                    transaction.prepare_cached(delete)?.execute(params![collection, key])?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change::Put { collection: "things".to_owned(), key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn what_is_written_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store");
        let store = Store::open(&file).unwrap();
        store.write(&[put("b", "2"), put("a", "1"), put("c", "3")]).unwrap();
        let delete = Change::Delete { collection: "things".to_owned(), key: "c".to_owned() };
        store.write(&[put("a", "one"), delete]).unwrap();
        // As after a kill: the first is still open.
        let again = Store::open(&file).unwrap();
        let expected = [("a", "one"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(again.all("things").unwrap(), expected);
        assert_eq!(again.all("other").unwrap(), []);
    }
}
