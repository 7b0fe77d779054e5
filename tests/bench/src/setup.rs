//! What the rows need: programs that are built, peers that are installed, a folder for what a run leaves behind.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use measure::{Arguments, BASELINE_PROGRAMS, Baseline};

use crate::Result;

/// The bench's surroundings.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Few and small measurements, to see that it works.
    pub(crate) quick: bool,
    /// How often each thing is measured.
    pub(crate) rounds: Option<usize>,
    /// Where to draw the comparison with polling.
    pub(crate) picture: Option<PathBuf>,
    /// The commit to compare with.
    pub(crate) baseline: Option<Baseline>,
    /// Where the programs are.
    programs: PathBuf,
    /// For what a run leaves behind.
    pub(crate) scratch: PathBuf,
    /// Node.js with its packages, or why it is not there.
    pub(crate) node: std::result::Result<Node, String>,
    /// ministack's Python, in the folder of what deploys to it, or why it is not there.
    pub(crate) ministack: std::result::Result<PathBuf, String>,
}

/// Node.js and the folder of its packages.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    program: PathBuf,
    pub(crate) folder: PathBuf,
}

impl Setup {
    /// Builds and installs what the bench needs beside itself.
    pub(crate) async fn new(arguments: &Arguments) -> Result<Self> {
        let own = std::env::current_exe()?;
        let programs = own.parent().ok_or("the bench has no folder")?.to_owned();
        let scratch = programs.parent().ok_or("the bench has no target folder")?.join("bench");
        std::fs::create_dir_all(&scratch)?;
        let peers = scratch.join("peers");
        let node = async {
            match arguments.needs_node() {
                true => Node::install(&peers).await.map_err(|error| error.to_string()),
                false => Err("Node.js was left out (--quick)".to_owned()),
            }
        };
        let python = scratch.join("ministack");
        let ministack = async {
            match arguments.needs_ministack() {
                true => tokio::task::spawn_blocking(move || measure::install_ministack(&python))
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string()),
                false => Err("ministack was left out (--quick)".to_owned()),
            }
        };
        let (rows, build) = (arguments.rows().to_vec(), !arguments.no_build);
        let baseline = arguments.baseline.as_ref().map(|commit| Baseline::new(commit, &scratch.join("baseline")));
        let baseline = baseline.transpose()?;
        let compared = baseline.clone();
        let programs_built = tokio::task::spawn_blocking(move || {
            if !build {
                return Ok(());
            }
            measure::build(&rows, &[])?;
            compared.map_or(Ok(()), |baseline| baseline.build(&BASELINE_PROGRAMS))
        });
        let (built, node, ministack) = tokio::join!(programs_built, node, ministack);
        built??;
        let (quick, picture) = (arguments.quick, arguments.picture.clone());
        let rounds = arguments.rounds.map(usize::from);
        Ok(Self { quick, rounds, picture, baseline, programs, scratch, node, ministack })
    }

    /// How often to measure: what was asked for, or `usually`.
    pub(crate) fn rounds(&self, usually: usize) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { usually })
    }

    /// A size, a hundredth of it in a quick run.
    pub(crate) fn size(&self, full: u64) -> u64 {
        if self.quick { (full / 100).max(10) } else { full }
    }

    /// The file of one of the programs.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.programs.join(name);
        if path.is_file() { Ok(path) } else { Err(format!("{} is not built", path.display()).into()) }
    }

    /// How to start one of the programs.
    pub(crate) fn command(&self, name: &str) -> Result<Vec<OsString>> {
        Ok(vec![self.program(name)?.into()])
    }

    /// How to start the bare client, which is this program in another role.
    pub(crate) fn bare_client(&self) -> Result<Vec<OsString>> {
        Ok(vec![std::env::current_exe()?.into(), "bare-client".into()])
    }

    /// Where a program's output goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.scratch.join(format!("{name}.log"))
    }
}

impl Node {
    async fn install(folder: &Path) -> Result<Self> {
        let peers = folder.to_owned();
        let program = tokio::task::spawn_blocking(move || measure::install_peers(&peers)).await??;
        Ok(Self { program, folder: folder.to_owned() })
    }

    /// How to run a function of the peers.
    pub(crate) fn function(&self, file: &str) -> Vec<OsString> {
        let path = |name: &str| self.folder.join(name).into_os_string();
        vec![self.program.clone().into(), path("runtime.mjs"), path(file)]
    }
}
