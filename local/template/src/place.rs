//! Where a template stands: its file, its folder, and its place among the stacks that nest it.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

/// The place of one template.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// Logical ids from the main template down to the nested stack; empty for the main one.
    parents: Vec<String>,
    /// The file as people are told it, where the template came from one.
    pub(super) file: Option<PathBuf>,
    /// Where relative paths start; absolute.
    pub(super) folder: PathBuf,
    /// The files from the main template down to this one: without links, and as people are told them.
    chain: Vec<(PathBuf, PathBuf)>,
}

/// A file that cannot be nested here.
pub(super) enum NoPlace {
    /// It is one of those that nest it; the way round, as people are told it.
    Circle(String),
    NoFile(io::Error),
}

impl Place {
    /// The main template's.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path)?;
        Ok(Self {
            parents: Vec::new(),
            file: Some(path.to_owned()),
            folder,
            chain: vec![(path.canonicalize()?, path.to_owned())],
        })
    }

    /// Of a template that is in no file.
    pub(super) fn of_text(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    /// The place of what a stack of this template nests, by its path as it stands here.
    pub(super) fn nested(&self, logical_id: &str, path: &Path) -> Result<Self, NoPlace> {
        let shown = self.beside(path);
        let real = shown.canonicalize().map_err(NoPlace::NoFile)?;
        let mut chain = self.chain.clone();
        if let Some(first) = chain.iter().position(|(file, _)| *file == real) {
            let round = chain[first..].iter().chain([&chain[first]]);
            let round: Vec<_> = round.map(|(_, shown)| shown.display().to_string()).collect();
            return Err(NoPlace::Circle(round.join(" nests ")));
        }
        chain.push((real, shown.clone()));
        let mut parents = self.parents.clone();
        parents.push(logical_id.to_owned());
        let folder = folder_of(&shown).map_err(NoPlace::NoFile)?;
        Ok(Self { parents, file: Some(shown), folder, chain })
    }

    /// A path of this template as people are told it.
    pub(super) fn beside(&self, path: &Path) -> PathBuf {
        let folder = self.file.as_deref().and_then(Path::parent).unwrap_or(&self.folder);
        // What `./` and `//` add is noise.
        folder.join(path).components().filter(|part| *part != Component::CurDir).collect()
    }

    /// The logical id of a resource here, as a path from the main template: `Tidings/NotifierFunction`.
    pub(super) fn path_of(&self, logical_id: &str) -> String {
        let parts: Vec<_> = self.parents.iter().map(String::as_str).chain([logical_id]).collect();
        parts.join("/")
    }

    /// The path of the stack itself, `Tidings`; empty for the main template.
    pub(super) fn stack(&self) -> String {
        self.parents.join("/")
    }

    /// The file as a message names it.
    pub(super) fn shown(&self) -> String {
        self.file.as_ref().map_or_else(|| "the template".to_owned(), |file| file.display().to_string())
    }
}

fn folder_of(file: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(file)?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_owned())
}
