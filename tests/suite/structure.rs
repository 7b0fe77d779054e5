//! The shape of the code: which file takes from which, what stands in public signatures, and which words are not used.

mod foreign;
mod imports;
mod words;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex_lite::Regex;

/// The files below a folder with one of these endings, without what is built or fetched.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() || name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| endings.iter().any(|one| ending == *one)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A file of Rust without its comments, and without what stands in double quotes.
fn code(text: &str) -> String {
    static LEFT_OUT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""(?:[^"\\]|\\[\s\S])*"|//[^\n]*"#).unwrap());
    LEFT_OUT.replace_all(text, "\"\"").into_owned()
}
