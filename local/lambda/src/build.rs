//! Building the functions with Cargo.
//!
//! All functions of a Cargo workspace are built by one `cargo build`, with the whole workspace selected, so that
//! features unify as in `cargo run` and `cargo test` and nothing is compiled twice.

mod metadata;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;

use tidings_local_stack::{Function, Stack};

use super::Logs;
use super::program::Program;
use super::script::{Scripts, is_script};
use metadata::{Binary, Workspace};

pub use watch::{Watch, WatchError};

/// What has to be built, and where.
#[derive(Debug)]
pub struct Plan {
    workspaces: Vec<Workspace>,
    scripts: Scripts,
    /// Why a function cannot run here, by logical id.
    pub missing: BTreeMap<String, String>,
}

/// How to build.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// With the release profile instead of the quick one.
    pub release: bool,
    /// Says nothing unless something is wrong.
    pub quiet: bool,
    /// The workspace whose packages are built without their default features, as this program itself was built in it: else
    /// crates that both need would be compiled twice.
    pub without_defaults: Option<&'a Path>,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo is not installed.
    #[error("cargo was not found: install Rust from https://rustup.rs, or give --lambda-endpoint")]
    NoCargo(#[source] std::io::Error),
    /// Cargo could not be run.
    #[error("cargo cannot be run")]
    Cargo(#[source] std::io::Error),
    /// The template and the Cargo package do not fit together.
    #[error("function {function} ({}:{line}): {reason}", template.display())]
    Function {
        /// Logical id.
        function: String,
        /// The template's file.
        template: PathBuf,
        /// Line in the template.
        line: usize,
        /// One clause.
        reason: String,
    },
    /// `cargo metadata` failed.
    #[error("cargo cannot read {}: {message}", manifest.display())]
    Manifest {
        /// The package's `Cargo.toml`.
        manifest: PathBuf,
        /// What Cargo said.
        message: String,
    },
    /// The code does not compile; Cargo has said why.
    #[error("the functions in {} do not build; cargo's messages are above", root.display())]
    Failed {
        /// The workspace.
        root: PathBuf,
    },
    /// Nothing is built yet, and building is off.
    #[error("{} does not exist; run without --no-build, or build it with `cargo build`", path.display())]
    NotBuilt {
        /// Where it should be.
        path: PathBuf,
    },
}

impl Plan {
    /// Finds the Cargo packages of a stack's functions.
    ///
    /// # Errors
    /// When Cargo is missing, or a package is not as the template says.
    pub async fn new(stack: &Stack) -> Result<Self, BuildError> {
        Self::inspecting(stack, &BTreeMap::new()).await
    }

    /// The same, with functions of Node.js by logical id whose processes a debugger may be attached to, and the ports.
    ///
    /// # Errors
    /// As of [`new`](Self::new), when there is no interpreter for a function, or when its code is not where the template
    /// says.
    pub async fn inspecting(stack: &Stack, ports: &BTreeMap<String, u16>) -> Result<Self, BuildError> {
        let mut plan = Self { workspaces: Vec::new(), scripts: Scripts::default(), missing: BTreeMap::new() };
        for (id, function) in &stack.functions {
            match cargo_package(function) {
                Some(code) => plan.add(id, function, code).await?,
                None if is_script(function) => match plan.scripts.add(id, function, ports.get(id).copied()).await {
                    Ok(()) => {}
                    // Nobody may ever call it, so the others start without it.
                    Err(reason) if function.is_for_deployment => drop(plan.missing.insert(id.clone(), reason)),
                    Err(reason) => return Err(fault(id, function, reason)),
                },
                None => drop(plan.missing.insert(id.clone(), not_here(function))),
            }
        }
        Ok(plan)
    }

    async fn add(&mut self, id: &str, function: &Function, code: &Path) -> Result<(), BuildError> {
        let fault = |reason| fault(id, function, reason);
        let manifest = code.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|_| fault(format!("{} does not exist", manifest.display())))?;
        let workspace = match self.workspaces.iter_mut().position(|workspace| workspace.contains(&manifest)) {
            Some(known) => &mut self.workspaces[known],
            None => {
                self.workspaces.push(Workspace::read(&manifest).await?);
                let last = self.workspaces.len() - 1;
                &mut self.workspaces[last]
            }
        };
        workspace.add(id, &manifest, function.binary.as_deref()).map_err(fault)
    }

    /// Builds all functions and returns their programs by logical id.
    ///
    /// # Errors
    /// When Cargo cannot be run or the code does not compile.
    pub async fn build(&self, options: Options<'_>, logs: &Arc<Logs>) -> Result<BTreeMap<String, PathBuf>, BuildError> {
        let mut programs = BTreeMap::new();
        for workspace in &self.workspaces {
            let (alone, shared): (Vec<_>, Vec<_>) =
                workspace.binaries.iter().partition(|binary| workspace.shares_name(binary));
            if !shared.is_empty() {
                programs.extend(build(workspace, &shared, options, logs).await?);
            }
            for binary in alone {
                programs.extend(build(workspace, &[binary], options, logs).await?);
            }
        }
        Ok(programs)
    }

    /// The programs that an earlier build has left.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn existing(&self, release: bool) -> Result<BTreeMap<String, PathBuf>, BuildError> {
        let folder = if release { "release" } else { "debug" };
        let mut programs = BTreeMap::new();
        for workspace in &self.workspaces {
            for binary in &workspace.binaries {
                let path =
                    workspace.target.join(folder).join(format!("{}{}", binary.name, std::env::consts::EXE_SUFFIX));
                if !path.is_file() {
                    return Err(BuildError::NotBuilt { path });
                }
                programs.insert(binary.function.clone(), path);
            }
        }
        Ok(programs)
    }

    /// The programs of functions that need no build, by logical id.
    #[must_use]
    pub fn scripts(&self) -> BTreeMap<String, Program> {
        self.scripts.programs()
    }

    /// How many functions need no build.
    #[must_use]
    pub fn script_count(&self) -> usize {
        self.scripts.len()
    }

    /// What to say of the interpreters of this machine: one sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.scripts.warnings
    }

    /// How many functions there are to build.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.workspaces.iter().map(|workspace| workspace.binaries.len()).sum()
    }

    /// The folders whose sources the functions are made from: workspaces, and packages elsewhere that these depend on by path.
    #[must_use]
    pub fn roots(&self) -> Vec<PathBuf> {
        let folders =
            self.workspaces.iter().flat_map(|workspace| [&workspace.root].into_iter().chain(&workspace.outside));
        let folders: BTreeSet<_> = folders.chain(self.scripts.sources()).cloned().collect();
        folders.into_iter().collect()
    }
}

fn fault(id: &str, function: &Function, reason: String) -> BuildError {
    let template = function.template.clone().unwrap_or_else(|| "template".into());
    BuildError::Function { function: id.to_owned(), template, line: function.line, reason }
}

/// The folder of a function's Cargo package, if it is one.
fn cargo_package(function: &Function) -> Option<&Path> {
    let code = function.code.as_deref()?;
    let by_method = function.build_method.as_deref().is_some_and(|method| method.starts_with("rust-cargolambda"));
    (by_method || code.join("Cargo.toml").is_file()).then_some(code)
}

fn not_here(function: &Function) -> String {
    let runtime = function.runtime.as_deref().unwrap_or("a container image");
    format!(
        "it runs on {runtime} and is no Cargo package, so it needs --lambda-endpoint (for example sam local start-lambda)"
    )
}

/// One `cargo build`; its messages for people go to standard error.
async fn build(
    workspace: &Workspace,
    binaries: &[&Binary],
    options: Options<'_>,
    logs: &Arc<Logs>,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut command = cargo();
    command.current_dir(&workspace.root).args(arguments(workspace, binaries, options)).stdout(Stdio::piped());
    command.stderr(if logs.is_json() { Stdio::piped() } else { Stdio::inherit() });
    let mut child = command.spawn().map_err(cannot_run)?;
    let shown = child.stderr.take().map(|pipe| tokio::spawn(show(pipe, Arc::clone(logs))));
    let mut programs = BTreeMap::new();
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await.map_err(BuildError::Cargo)? {
            note_program(&line, binaries, &mut programs);
        }
    }
    let status = child.wait().await.map_err(BuildError::Cargo)?;
    if let Some(shown) = shown {
        // It ends with the pipe.
        let _ = shown.await;
    }
    if !status.success() {
        return Err(BuildError::Failed { root: workspace.root.clone() });
    }
    if let [binary] = binaries
        && workspace.shares_name(binary)
        && let Some(program) = programs.get_mut(&binary.function)
    {
        *program = set_aside(program, binary).map_err(BuildError::Cargo)?;
    }
    Ok(programs)
}

fn arguments(workspace: &Workspace, binaries: &[&Binary], options: Options<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["build", "--message-format=json-render-diagnostics"].map(Into::into).into();
    match binaries {
        [binary] if workspace.shares_name(binary) => arguments.extend(["-p".into(), binary.package.clone().into()]),
        _ => arguments.push("--workspace".into()),
    }
    let mut names: Vec<&str> = binaries.iter().map(|binary| binary.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    arguments.extend(names.into_iter().flat_map(|name| ["--bin".into(), name.into()]));
    if options.release {
        arguments.push("--release".into());
    }
    if options.quiet {
        arguments.push("--quiet".into());
    }
    if options.without_defaults == Some(workspace.root.as_path()) {
        arguments.push("--no-default-features".into());
    }
    arguments
}

/// Keeps a program apart whose name another package's binary has too, since the next build replaces it.
fn set_aside(program: &Path, binary: &Binary) -> std::io::Result<PathBuf> {
    let folder = program.with_file_name("tidings").join(&binary.package);
    std::fs::create_dir_all(&folder)?;
    let aside = folder.join(&binary.name);
    if aside.exists() {
        std::fs::remove_file(&aside)?;
    }
    std::fs::hard_link(program, &aside)?;
    Ok(aside)
}

/// The part of Cargo's `compiler-artifact` message that says where a program is.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: ArtifactTarget,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct ArtifactTarget {
    name: String,
}

fn note_program(line: &str, binaries: &[&Binary], programs: &mut BTreeMap<String, PathBuf>) {
    // Messages of other kinds do not have these fields.
    let Ok(Artifact { manifest_path, target, executable: Some(program) }) = serde_json::from_str(line) else { return };
    for binary in binaries {
        if binary.name == target.name && binary.manifest == manifest_path {
            programs.insert(binary.function.clone(), program.clone());
        }
    }
}

async fn show(pipe: impl AsyncRead + Unpin, logs: Arc<Logs>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        logs.say(&line);
    }
}

/// Cargo, as the developer's shell would run it: what an outer `cargo run` has set for its program would make build
/// scripts run again.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn cannot_run(error: std::io::Error) -> BuildError {
    if error.kind() == std::io::ErrorKind::NotFound { BuildError::NoCargo(error) } else { BuildError::Cargo(error) }
}
