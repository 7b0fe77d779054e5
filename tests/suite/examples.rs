//! `examples/` is what `tidings new` writes, file by file, and its locked dependencies are those of this repository.
//!
//! `TIDINGS_REWRITE=1 cargo test --workspace --test suite -- examples` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::stack::{root, tidings};

const EXAMPLES: [&str; 2] = ["chat", "orders"];

/// What Cargo and SAM leave beside what was written.
const LEFT: [&str; 3] = ["target", ".aws-sam", "Cargo.lock"];

const COMMAND: &str = "TIDINGS_REWRITE=1 cargo test --workspace --test suite -- examples";

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// An application as the command line writes it into a folder `examples` of a clone.
fn written(name: &str) -> Files {
    let clone = tempfile::tempdir().unwrap();
    let (shared, examples) = (clone.path().join("shared"), clone.path().join("examples"));
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("Cargo.toml"), "").unwrap();
    fs::create_dir(&examples).unwrap();
    let mut new = Command::new(tidings());
    let output = new.args(["new", name, "--template", name, "--path", ".."]).current_dir(&examples).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files(&examples.join(name))
}

/// All files of an application, by their paths in it.
fn files(folder: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let inside = path.strip_prefix(folder).unwrap().to_owned();
            match entry.file_type().unwrap().is_dir() {
                _ if LEFT.iter().any(|left| inside == Path::new(left)) => {}
                true => folders.push(path),
                false => drop(found.insert(inside, fs::read(path).unwrap())),
            }
        }
    }
    found
}

/// Writes an application anew, and locks its dependencies as this repository's.
fn rewrite(folder: &Path, old: &Files, new: &Files) {
    for gone in old.keys().filter(|path| !new.contains_key(*path)) {
        fs::remove_file(folder.join(gone)).unwrap();
    }
    for (path, content) in new.iter().filter(|(path, content)| old.get(*path) != Some(*content)) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    // What the application does not need leaves its lock file.
    let cargo =
        Command::new("cargo").args(["update", "--workspace", "--offline"]).current_dir(folder).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
}

/// The locked packages that come from a registry, each with version and checksum.
fn locked(folder: &Path) -> BTreeSet<String> {
    let lock = fs::read_to_string(folder.join("Cargo.lock")).unwrap_or_default();
    let of_registry = |package: &&str| package.contains("\nsource = ");
    let packages = lock.split("[[package]]").filter(of_registry);
    packages.map(|package| package.split("dependencies = [").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn the_examples_are_what_the_command_line_writes() {
    for name in EXAMPLES {
        let folder = root().join("examples").join(name);
        fs::create_dir_all(&folder).unwrap();
        let (old, new) = (files(&folder), written(name));
        if std::env::var_os("TIDINGS_REWRITE").is_some() {
            rewrite(&folder, &old, &new);
            continue;
        }
        let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let differ: Vec<_> = paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).collect();
        assert!(differ.is_empty(), "examples/{name} is not what `tidings new` writes, see {COMMAND}: {differ:?}");
        let ours = locked(&root());
        let other: Vec<_> = locked(&folder).into_iter().filter(|package| !ours.contains(package)).collect();
        assert!(other.is_empty(), "examples/{name}/Cargo.lock is not as ours, see {COMMAND}: {other:?}");
        assert!(!locked(&folder).is_empty(), "examples/{name}/Cargo.lock should be there, see {COMMAND}");
    }
}
