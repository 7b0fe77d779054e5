//! A folder that keeps what the services have between starts: tables, queues and secrets.
//!
//! `dynamodb.sqlite` is the engine's, `services.sqlite` has the rest ([`Store`]). Both are written before a call is answered, so that
//! a process that is killed loses nothing that was acknowledged. A loss of power may cost the last moments: nothing is synced to
//! the disk for each call (SQLite, "PRAGMA synchronous", NORMAL).

mod store;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

pub use store::{Change, Store, StoreError};

/// What this version writes. Another one is neither read nor changed.
const FORMAT: u32 = 1;

/// What stands before the number in the file that marks a data folder.
const MARK: &str = "tidings data ";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process has it.
    #[error("the data folder {} is in use: stop the other `tidings dev`, or choose another folder with --data", .0.display())]
    InUse(PathBuf),
    /// Another version wrote it.
    #[error(
        "the data folder {} has the format {found}, and this version of tidings reads {FORMAT}: run the version that wrote it, \
         or choose another folder with --data; nothing was changed",
        path.display()
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// What stands in it.
        found: String,
    },
    /// Something else is in it.
    #[error("{} is not empty and no data folder of tidings: choose another one with --data; nothing was changed", .0.display())]
    Foreign(PathBuf),
    /// The system refuses.
    #[error("the data folder {} cannot be used", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database of queues and secrets cannot be opened.
    #[error("the data folder {} cannot be used", path.display())]
    Store {
        /// The folder.
        path: PathBuf,
        /// What SQLite said.
        source: StoreError,
    },
}

/// An open data folder. Nobody else can open it until it is dropped, or its process ends however it may.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    store: Store,
    /// Its lock ends with it.
    _mark: File,
}

impl DataFolder {
    /// Opens a folder, or makes one that only the user can read: secrets are in it.
    ///
    /// # Errors
    /// When another process has it, another version or another program wrote it, or the system refuses.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        make_private(path).map_err(io)?;
        let file = path.join("tidings-data");
        let is_new = !file.exists();
        if is_new && fs::read_dir(path).map_err(io)?.next().is_some() {
            return Err(DataError::Foreign(path.to_owned()));
        }
        let mut mark =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file).map_err(io)?;
        match mark.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut text = String::new();
        mark.read_to_string(&mut text).map_err(io)?;
        // An empty one is of a start that was cut off before it wrote anything.
        if text.is_empty() {
            writeln!(mark, "{MARK}{FORMAT}").map_err(io)?;
        } else if text.trim_end() != format!("{MARK}{FORMAT}") {
            let found = text.trim_end();
            let found = found.strip_prefix(MARK).unwrap_or(found).to_owned();
            return Err(DataError::Format { path: path.to_owned(), found });
        }
        let store = Store::open(&path.join("services.sqlite"));
        let store = store.map_err(|source| DataError::Store { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), store, _mark: mark })
    }

    /// What queues and secrets are kept in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The file of the DynamoDB engine.
    #[must_use]
    pub fn dynamodb(&self) -> PathBuf {
        self.path.join("dynamodb.sqlite")
    }
}

#[cfg(unix)]
fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_new_folder_is_the_users_alone_and_opens_again() {
        let parent = folder();
        let path = parent.path().join("deep/data");
        drop(DataFolder::open(&path).unwrap());
        drop(DataFolder::open(&path).unwrap());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_in_use_is_refused_until_it_is_free() {
        let parent = folder();
        let first = DataFolder::open(parent.path()).unwrap();
        let error = DataFolder::open(parent.path()).unwrap_err();
        assert!(matches!(error, DataError::InUse(_)), "{error}");
        drop(first);
        DataFolder::open(parent.path()).unwrap();
    }

    #[test]
    fn a_folder_of_another_version_or_of_somebody_else_is_left_as_it_is() {
        let (newer, foreign) = (folder(), folder());
        fs::write(newer.path().join("tidings-data"), "tidings data 2\n").unwrap();
        fs::write(foreign.path().join("thesis.txt"), "years of work").unwrap();
        let error = DataFolder::open(newer.path()).unwrap_err().to_string();
        assert!(error.contains("has the format 2, and this version of tidings reads 1"), "{error}");
        let error = DataFolder::open(foreign.path()).unwrap_err().to_string();
        assert!(error.contains("is not empty and no data folder"), "{error}");
        for folder in [newer, foreign] {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
