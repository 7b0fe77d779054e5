//! An older commit of this repository, built beside it to compare with.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build;

/// A commit whose programs are measured as well.
#[derive(Debug, Clone)]
pub struct Baseline {
    commit: String,
    /// Its work tree.
    folder: PathBuf,
}

impl Baseline {
    /// A commit by any name that git knows; [`Baseline::build`] makes its work tree a folder in `place`.
    ///
    /// # Errors
    ///
    /// Where git is missing, or knows no such commit.
    pub fn new(commit: &str, place: &Path) -> Result<Self> {
        let known = git(&["rev-parse", "--verify", "--short=7", &format!("{commit}^{{commit}}")]);
        let commit = known.map_err(|error| Error::other(format!("`{commit}` is no commit here: {error}")))?;
        let folder = place.join(&commit);
        Ok(Self { commit, folder })
    }

    /// Its hash, in short.
    #[must_use]
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Checks it out and builds these programs of it, in the profile of the caller.
    ///
    /// # Errors
    ///
    /// Where git or Cargo fails; Cargo has then said why.
    pub fn build(&self, programs: &[&str]) -> Result<()> {
        if !self.folder.exists() {
            git(&["worktree", "add", "--force", "--detach", &self.folder.to_string_lossy(), &self.commit])?;
        }
        build::programs(&self.folder, programs.iter().copied(), Some(&self.folder.join("target")))
    }

    /// The file of one of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("target").join(if cfg!(debug_assertions) { "debug" } else { "release" }).join(name)
    }
}

/// What git says in this repository.
fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.map_err(|error| Error::other(format!("git cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::other(format!("git {} failed: {}", arguments[0], said.trim())));
    }
    String::from_utf8(output.stdout).map(|said| said.trim().to_owned()).map_err(Error::other)
}
