//! Other people's client libraries, unmodified: programs in their languages, and the packages that they need.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::{Mutex, OnceCell};

use crate::stack::root;

/// Packages are installed one after the other: each once for a clone.
static INSTALLING: Mutex<()> = Mutex::const_new(());

/// Whether the machine has a program. The reason why nothing is checked is printed.
#[expect(clippy::print_stderr, reason = "why nothing is checked")]
pub async fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    if found.is_err() {
        eprintln!("skipped: there is no {program} on this machine");
    }
    found.is_ok()
}

fn sources(language: &str) -> PathBuf {
    root().join("tests/clients").join(language)
}

/// Runs a program in a folder.
///
/// # Panics
/// When it fails.
pub async fn do_in(folder: &Path, program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).current_dir(folder).status().await.unwrap();
    assert!(done.success(), "{program} {args:?} in {}", folder.display());
}

/// Copies the sources of a language into the target folder, and has its packages installed there if they are not those of
/// `lock`.
///
/// # Panics
/// When they cannot be installed.
pub async fn installed(language: &str, lock: &str, install: impl AsyncFn(&Path)) -> PathBuf {
    let _one_at_a_time = INSTALLING.lock().await;
    let (from, folder) = (sources(language), root().join("target/clients").join(language));
    std::fs::create_dir_all(&folder).unwrap();
    for file in std::fs::read_dir(&from).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let (wanted, there) = (std::fs::read(from.join(lock)).unwrap(), folder.join("installed"));
    if std::fs::read(&there).ok() != Some(wanted.clone()) {
        install(&folder).await;
        std::fs::write(there, wanted).unwrap();
    }
    folder
}

/// The folder with the programs in JavaScript and their packages.
///
/// # Panics
/// When they cannot be installed.
pub async fn for_javascript() -> PathBuf {
    installed("js", "package-lock.json", install_for_javascript).await
}

/// The folder with the CDK and the Serverless Framework.
///
/// # Panics
/// When they cannot be installed.
pub async fn for_tools() -> PathBuf {
    installed("tools", "package-lock.json", install_for_javascript).await
}

async fn install_for_javascript(folder: &Path) {
    do_in(folder, "npm", &["ci", "--no-audit", "--no-fund", "--quiet", "--ignore-scripts"]).await;
}

/// The folder with the programs in Python and their packages.
///
/// # Panics
/// When they cannot be installed.
pub async fn for_python() -> PathBuf {
    installed("python", "requirements.txt", install_for_python).await
}

/// AWS's own SDK, in Python too.
///
/// # Panics
/// When it cannot be installed.
pub async fn for_aws() -> PathBuf {
    installed("aws", "requirements.txt", install_for_python).await
}

/// Installs what a folder's `requirements.txt` names.
///
/// # Panics
/// When that fails.
pub async fn install_for_python(folder: &Path) {
    do_in(folder, "python3", &["-m", "venv", "venv"]).await;
    do_in(folder, "venv/bin/pip", &["install", "--quiet", "--requirement", "requirements.txt"]).await;
}

/// The folder with the program in Go, which is built.
///
/// # Panics
/// When they cannot be installed.
pub async fn for_go() -> PathBuf {
    // Once: the program cannot be replaced while it runs.
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let build = async || {
        let folder = installed("go", "go.sum", async |_: &Path| {}).await;
        do_in(&folder, "go", &["build", "-o", "client", "."]).await;
        folder
    };
    BUILT.get_or_init(build).await.clone()
}
