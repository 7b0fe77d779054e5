//! What Cargo says about the packages of a workspace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{BuildError, cannot_run, cargo};

/// A Cargo workspace that functions are built in.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) target: PathBuf,
    packages: Vec<Package>,
    /// The folders of packages elsewhere that this workspace depends on by path, also indirectly.
    pub(super) outside: Vec<PathBuf>,
    pub(super) binaries: Vec<Binary>,
}

/// The binary of one function.
#[derive(Debug)]
pub(super) struct Binary {
    /// The function's logical id.
    pub(super) function: String,
    pub(super) package: String,
    pub(super) manifest: PathBuf,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    /// Where it is, if it comes by path.
    path: Option<PathBuf>,
    /// `dev` or `build`; nothing for an ordinary one.
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Workspace {
    /// The workspace that the package with this manifest belongs to.
    pub(super) async fn read(manifest: &Path) -> Result<Self, BuildError> {
        let metadata = metadata(manifest).await?;
        let outside = outside(&metadata).await?;
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            packages: metadata.packages,
            outside,
            binaries: Vec::new(),
        })
    }

    /// Whether this workspace has the package with this manifest, or is the virtual workspace of it.
    pub(super) fn contains(&self, manifest: &Path) -> bool {
        manifest == self.root.join("Cargo.toml")
            || self.packages.iter().any(|package| package.manifest_path == manifest)
    }

    /// Plans a function's binary: the one that is named, or the package's only one, or the one called like the package.
    pub(super) fn add(&mut self, function: &str, manifest: &Path, named: Option<&str>) -> Result<(), String> {
        let here = self.packages.iter().find(|package| package.manifest_path == manifest);
        let (package, name) = match (here, named) {
            (Some(package), Some(named)) if package.binaries().any(|name| name == named) => (package, named),
            (Some(package), None) => (package, package.main_binary()?),
            (_, Some(named)) => {
                let package = self.packages.iter().find(|package| package.binaries().any(|name| name == named));
                (package.ok_or_else(|| format!("no package of {} has a binary {named:?}", self.root.display()))?, named)
            }
            (None, None) => {
                let what = "a workspace, not a package: say which binary in Metadata: BuildProperties: Binary";
                return Err(format!("{} is {what}", manifest.display()));
            }
        };
        self.binaries.push(Binary {
            function: function.to_owned(),
            package: package.name.clone(),
            manifest: package.manifest_path.clone(),
            name: name.to_owned(),
        });
        Ok(())
    }

    /// Whether another package has a binary of the same name, which Cargo would put into the same place.
    pub(super) fn shares_name(&self, binary: &Binary) -> bool {
        let owners = self.packages.iter().filter(|package| package.binaries().any(|name| name == binary.name));
        owners.count() > 1
    }
}

/// What Cargo says of the workspace that a manifest belongs to, without asking any registry.
async fn metadata(manifest: &Path) -> Result<Metadata, BuildError> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(manifest);
    let output = command.output().await.map_err(cannot_run)?;
    let unreadable =
        |message: String| BuildError::Manifest { manifest: manifest.to_owned(), message: one_line(&message) };
    if !output.status.success() {
        return Err(unreadable(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| unreadable(error.to_string()))
}

/// The folders of packages elsewhere that a workspace depends on by path, one by one: the workspaces that they belong to may have
/// much more.
async fn outside(workspace: &Metadata) -> Result<Vec<PathBuf>, BuildError> {
    let (mut folders, mut known) = (Vec::new(), BTreeMap::new());
    let mut open: Vec<PathBuf> = workspace.packages.iter().flat_map(Package::by_path).collect();
    while let Some(folder) = open.pop() {
        if folder.starts_with(&workspace.workspace_root) || folders.contains(&folder) {
            continue;
        }
        let manifest = folder.join("Cargo.toml");
        if !known.contains_key(&manifest) {
            let there = metadata(&manifest).await?;
            known.extend(there.packages.into_iter().map(|package| (package.manifest_path.clone(), package)));
        }
        open.extend(known.get(&manifest).into_iter().flat_map(Package::by_path));
        folders.push(folder);
    }
    Ok(folders)
}

impl Package {
    /// The folders of what its own programs depend on by path.
    fn by_path(&self) -> impl Iterator<Item = PathBuf> {
        let built = self.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        built.filter_map(|dependency| dependency.path.clone())
    }

    fn binaries(&self) -> impl Iterator<Item = &str> {
        let binaries = self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        binaries.map(|target| target.name.as_str())
    }

    fn main_binary(&self) -> Result<&str, String> {
        let names: Vec<&str> = self.binaries().collect();
        match names.as_slice() {
            [] => Err(format!("package {} has no binary", self.name)),
            [only] => Ok(only),
            several => several.iter().find(|name| **name == self.name).copied().ok_or_else(|| {
                let choice = several.join(", ");
                format!(
                    "package {} has several binaries ({choice}): say which in Metadata: BuildProperties: Binary",
                    self.name
                )
            }),
        }
    }
}

fn one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace() -> Workspace {
        let package = |name: &str, binaries: &[&str]| Package {
            name: name.to_owned(),
            manifest_path: format!("/app/{name}/Cargo.toml").into(),
            targets: binaries
                .iter()
                .map(|name| Target { name: (*name).to_owned(), kind: vec!["bin".to_owned()] })
                .collect(),
            dependencies: Vec::new(),
        };
        Workspace {
            root: "/app".into(),
            target: "/app/target".into(),
            packages: vec![package("a", &["bootstrap"]), package("b", &["bootstrap", "b"]), package("c", &["x", "y"])],
            outside: Vec::new(),
            binaries: Vec::new(),
        }
    }

    #[test]
    fn the_binary_is_the_named_the_only_or_the_one_called_like_its_package() {
        let mut workspace = workspace();
        workspace.add("A", Path::new("/app/a/Cargo.toml"), None).unwrap();
        workspace.add("B", Path::new("/app/b/Cargo.toml"), None).unwrap();
        workspace.add("C", Path::new("/app/c/Cargo.toml"), Some("y")).unwrap();
        workspace.add("D", Path::new("/app/Cargo.toml"), Some("x")).unwrap();
        let chosen: Vec<_> = workspace.binaries.iter().map(|binary| (&*binary.package, &*binary.name)).collect();
        assert_eq!(chosen, [("a", "bootstrap"), ("b", "b"), ("c", "y"), ("c", "x")]);
        assert!(workspace.shares_name(&workspace.binaries[0]));
        assert!(!workspace.shares_name(&workspace.binaries[1]));
    }

    #[test]
    fn an_unclear_choice_names_the_property() {
        let mut workspace = workspace();
        for manifest in ["/app/c/Cargo.toml", "/app/Cargo.toml"] {
            let error = workspace.add("F", Path::new(manifest), None).unwrap_err();
            assert!(error.contains("BuildProperties: Binary"), "{error}");
        }
    }
}
