//! Noticing that sources change.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::program::is_ignored;

/// How long it must be quiet after a change: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// Watches the source folders of workspaces, and single files. Hidden folders, `target` and `node_modules` do not count.
#[derive(Debug)]
pub struct Watch {
    changes: mpsc::UnboundedReceiver<PathBuf>,
    _watcher: RecommendedWatcher,
}

/// Why sources cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch the sources")]
pub struct WatchError(#[from] notify::Error);

impl Watch {
    /// Starts watching.
    ///
    /// # Errors
    /// When the operating system refuses, for example since too many folders are watched already.
    pub fn new(roots: &[PathBuf], files: &[PathBuf]) -> Result<Self, WatchError> {
        let (sender, changes) = mpsc::unbounded_channel();
        let (watched, single) = (roots.to_vec(), files.to_vec());
        let mut watcher = notify::recommended_watcher(move |event: Result<notify::Event, _>| {
            let Ok(event) = event else { return };
            let changed = matches!(event.kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_));
            for path in
                event.paths.into_iter().filter(|path| changed && (single.contains(path) || is_source(&watched, path)))
            {
                // The receiver is gone only when nobody waits for changes any more.
                let _ = sender.send(path);
            }
        })?;
        for root in roots {
            // Watching `target` as well would take a watch for each of its many folders.
            watcher.watch(root, RecursiveMode::NonRecursive)?;
            let folders = std::fs::read_dir(root).map_err(notify::Error::io)?;
            for folder in folders.flatten().filter(|entry| entry.path().is_dir()) {
                if !is_ignored(&folder.file_name().to_string_lossy()) {
                    watcher.watch(&folder.path(), RecursiveMode::Recursive)?;
                }
            }
        }
        for folder in files.iter().filter(|file| !is_source(roots, file)).filter_map(|file| file.parent()) {
            // Editors put a new file in the place of the old one, so it is the folder that tells.
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change, and then until it is quiet; which paths have changed.
    pub async fn changed(&mut self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        match self.changes.recv().await {
            Some(path) => paths.insert(path),
            // The watcher lives as long as this struct, so the channel does not close.
            None => std::future::pending().await,
        };
        while let Ok(Some(path)) = tokio::time::timeout(QUIET, self.changes.recv()).await {
            paths.insert(path);
        }
        paths
    }
}

fn is_source(roots: &[PathBuf], path: &Path) -> bool {
    let inside = roots.iter().find_map(|root| path.strip_prefix(root).ok());
    inside.is_some_and(|inside| {
        inside.components().all(|part| !matches!(part, Component::Normal(name) if is_ignored(&name.to_string_lossy())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_and_hidden_files_are_no_sources() {
        let roots = [PathBuf::from("/app")];
        for (path, expected) in [
            ("/app/functions/connect/src/lib.rs", true),
            ("/app/Cargo.toml", true),
            ("/app/target/debug/connect", false),
            ("/app/.git/index", false),
            ("/app/web/node_modules/x/y.js", false),
            ("/app/shared/.lib.rs.swp", false),
            ("/elsewhere/lib.rs", false),
        ] {
            assert_eq!(is_source(&roots, Path::new(path)), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_written_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        let mut watch = Watch::new(std::slice::from_ref(&root), &[]).unwrap();
        std::fs::write(root.join("src/deep/lib.rs"), "pub fn f() {}").unwrap();
        let paths = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.unwrap();
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), [root.join("src/deep/lib.rs")]);
    }
    #[tokio::test]
    async fn of_a_folder_elsewhere_only_the_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().canonicalize().unwrap().join("template.yaml");
        let mut watch = Watch::new(&[], std::slice::from_ref(&file)).unwrap();
        std::fs::write(file.with_file_name("other.yaml"), "{}").unwrap();
        std::fs::write(&file, "{}").unwrap();
        let paths = tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.unwrap();
        assert_eq!(paths.into_iter().collect::<Vec<_>>(), [file]);
    }
}
