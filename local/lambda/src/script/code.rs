//! The folder that a function's code runs from.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use zip::ZipArchive;

use super::Language;
use tidings_local_stack::{Code, Function};

/// What Lambda takes of an archive at most, in bytes, unpacked (quotas of Lambda: deployment package).
const LARGEST: u128 = 250 * 1024 * 1024;

/// Where the code of a function is.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) folder: PathBuf,
    /// The folders that it is made of, whose changes count.
    pub(super) sources: Vec<PathBuf>,
    /// Files that live as long as it is run.
    pub(super) kept: Option<Arc<TempDir>>,
}

/// Archives that are unpacked, by their paths: one may have several functions.
#[derive(Debug, Default)]
pub(super) struct Archives(BTreeMap<PathBuf, (PathBuf, Arc<TempDir>)>);

impl Archives {
    /// The code of a function; says in one clause why there is none.
    pub(super) fn root(&mut self, function: &Function, language: Language) -> Result<Root, String> {
        match (&function.inline, &function.code) {
            (Some(Code(code)), _) => {
                let (folder, kept) = inline(function, language, code)
                    .map_err(|error| format!("its files cannot be written to the temporary folder: {error}"))?;
                Ok(Root { folder, sources: Vec::new(), kept: Some(Arc::new(kept)) })
            }
            (None, Some(archive)) if archive.is_file() => {
                let (folder, kept) = self.unpacked(function, archive)?;
                Ok(Root { folder, sources: Vec::new(), kept: Some(kept) })
            }
            (None, Some(folder)) => {
                let folder = existing(folder, "the folder of its code")?;
                Ok(Root { sources: vec![folder.clone()], folder, kept: None })
            }
            (None, None) => Err("it has no code".to_owned()),
        }
    }

    fn unpacked(&mut self, function: &Function, archive: &Path) -> Result<(PathBuf, Arc<TempDir>), String> {
        if let Some(known) = self.0.get(archive) {
            return Ok(known.clone());
        }
        let (folder, kept) = unpack(function, archive)
            .map_err(|error| format!("its archive {} cannot be unpacked: {error}", archive.display()))?;
        let unpacked = (folder, Arc::new(kept));
        self.0.insert(archive.to_owned(), unpacked.clone());
        Ok(unpacked)
    }
}

/// A folder that the template says there is.
pub(super) fn existing(folder: &Path, what: &str) -> Result<PathBuf, String> {
    let real = folder.canonicalize().ok().filter(|folder| folder.is_dir());
    real.ok_or_else(|| format!("{what} does not exist: {}", folder.display()))
}

/// Writes code that stands in the template to where CloudFormation has it: a file named `index`.
fn inline(function: &Function, language: Language, code: &str) -> io::Result<(PathBuf, TempDir)> {
    let (folder, kept) = beside(function)?;
    fs::write(folder.join(if language == Language::Node { "index.js" } else { "index.py" }), code)?;
    Ok((folder, kept))
}

fn unpack(function: &Function, archive: &Path) -> io::Result<(PathBuf, TempDir)> {
    let mut archive = ZipArchive::new(File::open(archive)?)?;
    if archive.decompressed_size().is_some_and(|size| size > LARGEST) {
        let largest = LARGEST / 1024 / 1024;
        return Err(io::Error::other(format!("unpacked it is larger than the {largest} MB that Lambda takes")));
    }
    let (folder, kept) = beside(function)?;
    archive.extract(&folder)?;
    Ok((folder, kept))
}

/// A new folder for code that does not lie on this machine. Packages of Node.js that are found from the template's folder are
/// found from there too: Lambda brings the AWS SDK, which here is installed beside the template.
fn beside(function: &Function) -> io::Result<(PathBuf, TempDir)> {
    let kept = tempfile::Builder::new().prefix("tidings-").tempdir()?;
    let template = function.template.as_deref().and_then(|file| file.canonicalize().ok());
    let above = template.iter().flat_map(|file| file.ancestors().skip(1)).map(|folder| folder.join("node_modules"));
    let above: Vec<_> = above.filter(|packages| packages.is_dir()).collect();
    let mut folder = kept.path().to_owned();
    for packages in above.iter().rev() {
        folder.push("above");
        fs::create_dir(&folder)?;
        // Windows lets only some users link; for the others code finds what it has itself.
        let _ = link(packages, &folder.join("node_modules"));
    }
    folder.push("task");
    fs::create_dir(&folder)?;
    Ok((folder, kept))
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(windows)]
fn link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(to, at)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::*;

    fn function(code: Option<PathBuf>, template: &Path) -> Function {
        Function { template: Some(template.to_owned()), ..Function::new("f", code) }
    }

    fn archive(path: &Path, files: &[(&str, &str)]) {
        let mut archive = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in files {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(text.as_bytes()).unwrap();
        }
        archive.finish().unwrap();
    }

    #[test]
    fn an_archive_is_unpacked_once_for_all_its_functions() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("service.zip");
        archive(&path, &[("app.js", "1"), ("lib/more.js", "2")]);
        let function = function(Some(path), &home.path().join("template.json"));
        let mut archives = Archives::default();
        let root = archives.root(&function, Language::Node).unwrap();
        assert_eq!(fs::read_to_string(root.folder.join("lib/more.js")).unwrap(), "2");
        assert_eq!(archives.root(&function, Language::Node).unwrap().folder, root.folder);
        drop(archives);
        assert!(root.folder.is_dir(), "it lives as long as a function runs from it");
    }

    #[test]
    fn an_archive_that_is_none_is_named() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("service.zip");
        fs::write(&path, "no archive").unwrap();
        let function = function(Some(path.clone()), &home.path().join("template.json"));
        let reason = Archives::default().root(&function, Language::Node).unwrap_err();
        assert!(reason.starts_with(&format!("its archive {} cannot be unpacked: ", path.display())), "{reason}");
    }

    #[test]
    fn nothing_of_an_archive_is_written_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("service.zip");
        archive(&path, &[("../escaped.js", "1")]);
        let function = function(Some(path), &home.path().join("template.json"));
        if let Ok(root) = Archives::default().root(&function, Language::Node) {
            assert!(!root.folder.parent().unwrap().join("escaped.js").exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn packages_above_the_template_are_above_the_code_in_the_same_order() {
        let home = tempfile::tempdir().unwrap();
        let templates = home.path().join("service/out");
        for folder in ["node_modules/far", "service/node_modules/near", "service/out"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        fs::write(templates.join("template.json"), "").unwrap();
        let (folder, _kept) = beside(&function(None, &templates.join("template.json"))).unwrap();
        let near = folder.parent().unwrap();
        let far = near.parent().unwrap();
        assert!(near.join("node_modules/near").is_dir() && far.join("node_modules/far").is_dir(), "{folder:?}");
    }
}
