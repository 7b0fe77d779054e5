//! The peers in Node.js, their sources, their packages, one bundle; and the one in Python.

use std::fs::{copy, create_dir_all, read_to_string, write};
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The peers' sources, copied to where their packages are installed.
const PEERS: [(&str, &str); 6] = [
    ("package.json", include_str!("../../bench/peers/package.json")),
    ("runtime.mjs", include_str!("../../bench/peers/runtime.mjs")),
    ("connect.mjs", include_str!("../../bench/peers/connect.mjs")),
    ("notify.mjs", include_str!("../../bench/peers/notify.mjs")),
    ("echo.mjs", include_str!("../../bench/peers/echo.mjs")),
    ("serverless.yml", include_str!("../../bench/peers/serverless.yml")),
];

/// What deploys to ministack, and what.
const MINISTACK: [(&str, &str); 3] = [
    ("requirements.txt", include_str!("../../bench/peers/requirements.txt")),
    ("deploy.py", include_str!("../../bench/peers/deploy.py")),
    ("echo.mjs", include_str!("../../bench/peers/echo.mjs")),
];

/// Copies the peers to `folder`, installs their packages unless they are there already, and bundles what is measured bundled
/// too. Gives the path of Node.js.
///
/// # Errors
///
/// Where Node.js or npm is missing, or npm or the bundler fails.
pub fn install_peers(folder: &Path) -> Result<PathBuf> {
    let node = output("node", &["-p", "process.execPath"], Path::new("."));
    let node = node.map_err(|_| Error::other("Node.js is not installed"))?;
    create_dir_all(folder)?;
    for (name, text) in PEERS {
        write(folder.join(name), text)?;
    }
    let wanted = read_to_string(folder.join("package.json"))?;
    let mark = folder.join("installed.json");
    if read_to_string(&mark).unwrap_or_default() != wanted {
        output("npm", &["install", "--no-audit", "--no-fund", "--silent"], folder)?;
        write(mark, wanted)?;
    }
    let esbuild = folder.join("node_modules/.bin/esbuild");
    let bundled = "--outfile=connect.bundled.cjs";
    let arguments = ["connect.mjs", "--bundle", "--platform=node", "--minify", "--log-level=error", bundled];
    output(&esbuild.to_string_lossy(), &arguments, folder)?;
    Ok(node.into())
}

/// Installs ministack into `folder`, unless it is there already, with what deploys to it. Gives the path of its Python.
///
/// # Errors
///
/// Where Python is missing, or pip fails.
pub fn install_ministack(folder: &Path) -> Result<PathBuf> {
    create_dir_all(folder)?;
    for (name, text) in MINISTACK {
        write(folder.join(name), text)?;
    }
    let (wanted, mark) = (folder.join("requirements.txt"), folder.join("installed.txt"));
    let python = folder.join("venv/bin/python");
    if read_to_string(&mark).unwrap_or_default() != read_to_string(&wanted)? {
        output("python3", &["-m", "venv", "--clear", "venv"], folder)?;
        let pip =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"];
        output(&python.to_string_lossy(), &pip, folder)?;
        copy(wanted, mark)?;
    }
    Ok(python)
}

/// What a program says on its standard output.
fn output(program: &str, arguments: &[&str], folder: &Path) -> Result<String> {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| Error::other(format!("{program} cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::other(format!("{program} failed: {}", said.trim())));
    }
    String::from_utf8(output.stdout).map(|said| said.trim().to_owned()).map_err(Error::other)
}
