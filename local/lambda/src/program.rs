//! What a function's processes run.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;

/// A program with all that it is started with.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Beside those that every function gets; they win.
    pub(super) variables: Vec<(String, String)>,
    /// The folders whose files it is made of; none if it is the file at `path` alone.
    pub(super) sources: Vec<PathBuf>,
    /// Files that live as long as the program.
    pub(super) _kept: Vec<Arc<TempDir>>,
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }
}

/// The files of a program as they are at one moment, to tell whether they have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    modified: Option<SystemTime>,
    files: u64,
    length: u64,
}

impl Program {
    /// Whether it is started as the other one is.
    pub(super) fn starts_as(&self, other: &Self) -> bool {
        (&self.path, &self.arguments, &self.variables) == (&other.path, &other.arguments, &other.variables)
    }

    /// Nothing where there is nothing to run.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let mut print = Fingerprint::default();
        if self.sources.is_empty() {
            print.add(&std::fs::metadata(&self.path).ok()?);
        }
        for folder in &self.sources {
            print.add_folder(folder);
        }
        Some(print)
    }
}

impl Fingerprint {
    fn add(&mut self, file: &std::fs::Metadata) {
        self.modified = self.modified.max(file.modified().ok());
        self.files += 1;
        self.length += file.len();
    }

    fn add_folder(&mut self, folder: &Path) {
        // What has gone meanwhile counts as gone.
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !is_ignored(&entry.file_name().to_string_lossy()) {
                self.add_folder(&entry.path());
            } else if let (true, Ok(metadata)) = (kind.is_file(), entry.metadata()) {
                self.add(&metadata);
            }
        }
    }
}

/// Whether a folder or file has no sources: hidden ones, and what tools put there.
pub(super) fn is_ignored(name: &str) -> bool {
    name.starts_with('.') || matches!(name, "target" | "node_modules" | "__pycache__")
}
